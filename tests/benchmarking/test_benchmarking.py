"""The verb benchmark: fair turns, honest ratios, bytes counted once, and files that can be read."""

import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from mmseg_balance.benchmarking import batches, losses, memory, record, sampler, timing
from mmseg_balance.cli import main
from mmseg_balance.commands import benchmark

SMALL = ['--repeat', '2']


def test_turns_are_counted_and_shuffled():
    calls = []
    cases = [
        timing.Case(
            name, 'ours', lambda name=name: calls.append(name), lambda: calls.append('prepared')
        )
        for name in 'abc'
    ]
    times = timing.time_in_turns(cases, rounds=4, warmup=2)
    assert {name: len(seconds) for name, seconds in times.items()} == dict(a=4, b=4, c=4)
    assert calls[::2] == ['prepared'] * 18
    rounds = [tuple(calls[1::2][i : i + 3]) for i in range(0, 18, 3)]
    assert all(sorted(turn) == list('abc') for turn in rounds)
    assert len(set(rounds)) > 1


def test_a_case_that_fails_is_left_out(capsys):
    def fail():
        raise RuntimeError('no such device')

    cases = [timing.Case('good', 'ours', lambda: None), timing.Case('bad', 'ours', fail)]
    assert list(timing.time_in_turns(cases, rounds=2)) == ['good']
    assert 'bad is left out: RuntimeError: no such device' in capsys.readouterr().out


def test_an_error_without_text_and_a_baseline_that_fails_end_in_a_sentence(capsys):
    def fail():
        raise MemoryError

    cases = [timing.Case('base', 'stock', fail), timing.Case('good', 'ours', lambda: 1)]
    times = timing.time_in_turns(cases, rounds=2)
    assert 'base is left out: MemoryError\n' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='base failed, to which the others are compared'):
        timing.compare(times, 'base')


def test_the_device_clock_starts_behind_a_full_queue(monkeypatch):
    """The order of calls; what a real GPU says of it needs one."""
    calls = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            calls.append('record')

        def elapsed_time(self, end):
            return 1500.0  # milliseconds

    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: calls.append('wait'))
    monkeypatch.setattr(timing, '_fill_the_queue', lambda: calls.append('fill'))
    case = timing.Case('a', 'ours', lambda: calls.append('run'), lambda: calls.append('prepare'))
    times = timing.time_in_turns([case], rounds=1, warmup=0, clock='device', device='cuda')
    assert times == {'a': [1.5]}
    assert calls == ['prepare', 'fill', 'record', 'run', 'record', 'wait']


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_the_device_clock_on_a_gpu():
    small, large = (torch.ones(size, size, device='cuda') for size in (256, 8192))
    cases = [
        timing.Case('small', 'ours', lambda: small @ small),
        timing.Case('large', 'ours', lambda: large @ large),
    ]
    times = timing.time_in_turns(cases, rounds=3, clock='device', device='cuda')
    assert min(times['small']) > 0
    assert 10 * min(times['small']) < min(times['large'])


def test_ratios_are_those_of_the_same_round():
    """Twice as slow in each round, while the machine gets slower tenfold."""
    found = timing.compare({'base': [1.0, 10.0, 100.0], 'other': [2.0, 20.0, 200.0]}, 'base')
    assert found['other'].ratio == 2
    assert found['other'].spread == (2, 2)


def test_saved_bytes_count_a_storage_once_and_leave_out_what_is_there():
    x = torch.ones(10, requires_grad=True)
    assert memory.saved_bytes(lambda: (x * x).exp().sum()) == 2 * 40  # x once, and the result
    assert memory.saved_bytes(lambda: (x * x).exp().sum(), leave_out=(x,)) == 40


def test_labels_lie_in_regions():
    labels = batches.region_labels(2, 19, 128, 256, seed=3)
    assert set(labels.unique().tolist()) <= {*range(19), 255}
    valid = labels[:, 8:]
    assert (valid[..., 1:] == valid[..., :-1]).float().mean() > 0.9
    assert torch.equal(labels, batches.region_labels(2, 19, 128, 256, seed=3))


def test_batches_have_the_asked_shape():
    logits, labels = batches.low_resolution_batch((2, 5, 33, 64), scale=8)
    assert logits.shape == (2, 5, 5, 8)
    assert labels.shape == (2, 33, 64)
    assert logits.requires_grad


def test_synthetic_statistics_are_valid():
    found = sampler.synthetic_statistics(500, 30)
    assert found.num_images == 500
    for image in range(500):
        classes = found.classes_of(image).astype(int)
        assert (np.diff(classes) > 0).all()
        assert ((classes >= 0) & (classes < 30)).all()


def test_losses(tmp_path, capsys):
    file, table = tmp_path / 'losses.json', tmp_path / 'losses.md'
    main(
        [
            'benchmark',
            'losses',
            '--shape',
            '1',
            '3',
            '32',
            '64',
            *SMALL,
            '--json',
            str(file),
            '--markdown',
            str(table),
        ]
    )
    measured = json.loads(file.read_text())
    rows = {row['loss']: row for row in measured['tables'][0]['rows']}
    ours = {name for name, _, _ in losses.OURS}
    assert ours <= rows.keys()
    assert {'mmseg DiceLoss', 'mmseg TverskyLoss', 'mmseg LovaszLoss'} <= rows.keys()
    assert rows[losses.BASELINE]['ratio'] == 1
    assert rows['SoftDiceLoss']['target'] == 1.7
    assert measured['tables'][0]['environment'].keys() >= {
        'device_name',
        'versions',
        'date',
        'seed',
        'threads',
        'clock',
        'load_average',
    }
    assert '| SoftDiceLoss |' in table.read_text()
    assert 'SoftDiceLoss' in capsys.readouterr().out


def test_losses_of_low_resolution_save_little(tmp_path):
    file = tmp_path / 'losses.json'
    main(
        [
            'benchmark',
            'losses',
            '--shape',
            '1',
            '19',
            '64',
            '64',
            *SMALL,
            '--low-resolution',
            '8',
            '--only',
            'SoftDiceLoss',
            '--json',
            str(file),
        ]
    )
    rows = {row['loss']: row for row in json.loads(file.read_text())['tables'][0]['rows']}
    assert rows.keys() == {losses.BASELINE, 'SoftDiceLoss'}
    assert rows['SoftDiceLoss']['saved / logits'] < 0.3 < rows[losses.BASELINE]['saved / logits']


@pytest.mark.parametrize(
    'arguments',
    [
        ['statistics', '--shape', '3', '16', '32', '--images', '3', '--workers', '0'],
        ['sampler', '--images', '200', '--classes', '8', '--batch-size', '4', '--min-classes', '2'],
    ],
)
def test_other_commands(arguments, tmp_path):
    file = tmp_path / 'measured.json'
    main(['benchmark', *arguments, *SMALL, '--json', str(file)])
    rows = json.loads(file.read_text())['tables'][0]['rows']
    assert len(rows) >= 2
    assert rows[0].get('ratio', rows[0].get('time ratio')) == 1


def test_the_metric_is_measured_beside_the_softmax(tmp_path):
    """CalibrationMetric was left out: its data set had no classes."""
    file = tmp_path / 'measured.json'
    main(['benchmark', 'metric', '--shape', '3', '16', '32', *SMALL, '--json', str(file)])
    rows = {row['metric']: row for row in json.loads(file.read_text())['tables'][0]['rows']}
    assert rows['softmax']['ratio'] == 1
    assert {'argmax', "decide_probs(…, 'iou')", 'CalibrationMetric'} <= rows.keys()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['losses', '--clock', 'thread', '--threads', '2'], 'one CPU thread'),
        (['losses', '--clock', 'device'], 'add --device cuda'),
        (['sampler', '--repeat', '0'], '--repeat must be at least 1, got 0'),
        (['sampler', '--threads', '0'], '--threads must be at least 1, got 0'),
        (['sampler', '--device', 'cuda'], "invalid choice: 'cuda'"),
        pytest.param(
            ['losses', '--device', 'cuda'],
            'sees no GPU',
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU'),
        ),
    ],
)
def test_arguments_that_cannot_be(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(['benchmark', *arguments])
    assert message in f'{end.value} {capsys.readouterr().err}'


def test_markdown_has_the_environment(tmp_path):
    facts = record.environment('cpu', 'wall', 7)
    tables = [dict(title='A', environment=facts, rows=[{'x': 'y', 'n': 1.25}])]
    record.write_markdown(tmp_path / 'a.md', 'losses cpu', tables)
    text = (tmp_path / 'a.md').read_text()
    assert 'seed 7' in text
    assert torch.__version__ in text
    assert text.endswith('**A**\n\n| x | n |\n|---|---|\n| y | 1.25 |\n<!-- end -->\n')


def test_markdown_replaces_its_section_alone(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(
        '# Page\n\n<!-- benchmark: losses cpu -->\nold\n<!-- end -->\n\n'
        '<!-- benchmark: metric cpu -->\nkept\n<!-- end -->\n'
    )
    facts = record.environment('cpu', 'wall', 0)
    for ratio in (2, 3):
        record.write_markdown(
            page, 'losses cpu', [dict(title='A', environment=facts, rows=[{'r': ratio}])]
        )
    text = page.read_text()
    assert text.startswith('# Page\n\n<!-- benchmark: losses cpu -->\n')
    assert '| 3 |\n<!-- end -->\n\n<!-- benchmark: metric cpu -->\nkept\n<!-- end -->\n' in text
    assert 'old' not in text
    assert '| 2 |' not in text


def test_a_page_without_marks_is_kept_and_the_tools_own_file_has_one_section(tmp_path):
    page, own = tmp_path / 'notes.md', tmp_path / 'own.md'
    page.write_text('# Notes\n')
    for text in ('first', 'second'):
        record.replace_section(page, 'losses cpu', text)
        record.replace_section(own, 'losses cpu', text)
    section = '<!-- benchmark: losses cpu -->\nsecond\n<!-- end -->\n'
    assert page.read_text() == f'# Notes\n\n{section}'
    assert own.read_text() == section
    page.write_text('<!-- benchmark: losses cpu -->\nmine\n')
    with pytest.raises(ValueError, match='add that line'):
        record.replace_section(page, 'losses cpu', 'third')
    assert 'mine' in page.read_text()


def test_a_size_measured_again_takes_its_place_and_the_others_stay(tmp_path):
    def table(title, ratio, seed):
        facts = record.environment('cpu', 'wall', seed) | dict(
            load_average=[0.0, 0.0, 0.0], date=''
        )
        return dict(title=title, environment=facts, rows=[{'r': ratio}])

    file = tmp_path / 'measured.json'
    record.write(file, 'losses', [table('A', 1, 0), table('B', 2, 0), table('C', 3, 0)])
    written = record.write(file, 'losses', [table('B', 4, 7)])
    assert written == json.loads(file.read_text())['tables']
    assert [(part['title'], part['rows'][0]['r']) for part in written] == [
        ('A', 1),
        ('B', 4),
        ('C', 3),
    ]
    record.write_markdown(tmp_path / 'a.md', 'losses cpu', written)
    text = (tmp_path / 'a.md').read_text()
    # The environment stand above the first table that they hold for.
    assert [text.count(f'seed {seed}') for seed in (0, 7)] == [2, 1]
    assert text.index('**A**') < text.index('seed 7') < text.index('**B**') < text.rindex('seed 0')


def test_every_section_of_the_page_has_its_command():
    page = (Path(__file__).parents[2] / 'docs' / 'benchmarks.md').read_text()
    for name in benchmark.TABLES:
        assert f'<!-- benchmark: {name} cpu -->' in page


def test_measuring_saved_bytes_frees_them():
    logits = torch.ones(8, requires_grad=True)
    kept = []

    def forward():
        product = (logits * 2) * (logits * 3)
        kept.append(weakref.ref(product))
        return (product * product).sum()

    assert memory.saved_bytes(forward) == 3 * 32
    assert kept[0]() is None


def test_peers_that_are_installed_are_measured_and_the_others_named(monkeypatch, capsys):
    """A stand-in for kornia; MONAI and segmentation_models.pytorch cannot be imported."""
    import sys
    from types import ModuleType

    from mmseg_balance.benchmarking.peers import peer_losses

    class Loss(torch.nn.Module):
        def __init__(self, *arguments, ignore_index=-100, **options):
            super().__init__()
            self.ignore_index = ignore_index

        def forward(self, logits, labels):
            return torch.nn.functional.cross_entropy(logits, labels, ignore_index=self.ignore_index)

    kornia = ModuleType('kornia.losses')
    kornia.DiceLoss = kornia.FocalLoss = kornia.TverskyLoss = Loss
    monkeypatch.setitem(sys.modules, 'kornia', ModuleType('kornia'))
    monkeypatch.setitem(sys.modules, 'kornia.losses', kornia)
    monkeypatch.setitem(sys.modules, 'monai', None)
    monkeypatch.setitem(sys.modules, 'monai.losses', None)
    monkeypatch.setitem(sys.modules, 'segmentation_models_pytorch', None)
    found = peer_losses()
    names = ['DiceLoss', 'DiceLoss (pooled over classes)', 'TverskyLoss', 'FocalLoss']
    assert list(found) == [f'kornia {name}' for name in names]
    said = capsys.readouterr().out
    assert 'MONAI is left out' in said
    assert 'SMP is left out' in said
    logits, labels = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    labels[0, 0] = 255
    expected = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
    assert found['kornia DiceLoss'](logits, labels, ignore_index=255) == expected
    as_first_class = torch.nn.functional.cross_entropy(logits, labels.where(labels != 255, 0))
    pooled = found['kornia DiceLoss (pooled over classes)']
    assert pooled(logits, labels, ignore_index=255) == as_first_class


def test_versions_of_the_peers_stand_beside_their_times(tmp_path, monkeypatch):
    from mmseg_balance.runtime import environment

    installed = dict.fromkeys(('torch', 'kornia'), '1.0')

    def version(name):
        if name not in installed:
            raise environment.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(environment.metadata, 'version', version)
    options = ['--shape', '1', '3', '16', '16', '--only', 'F.cross', '--repeat', '1']
    for peers in ([], ['--peers']):
        file = tmp_path / 'times.json'
        main(['benchmark', 'losses', *options, '--json', str(file), *peers])
        found = json.loads(file.read_text())['tables'][0]['environment']['versions']
        assert ('kornia' in found) == bool(peers)
        assert 'monai' not in found


def test_losses_of_a_package_that_cannot_be_imported_itself(tmp_path, monkeypatch):
    """segmentation_models.pytorch imports torchvision; its losses need PyTorch alone."""
    import importlib

    from mmseg_balance.benchmarking.peers import folder_of_package

    package = tmp_path / 'needs_much'
    (package / 'losses').mkdir(parents=True)
    (package / '__init__.py').write_text('import not_there')
    (package / 'losses' / '__init__.py').write_text('from .dice import DICE')
    (package / 'losses' / 'dice.py').write_text('DICE = 3')
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match='not_there'):
        importlib.import_module('needs_much')
    assert folder_of_package('needs_much', 'losses').DICE == 3
    with pytest.raises(ImportError, match="no folder 'encoders'"):
        folder_of_package('needs_much', 'encoders')
    with pytest.raises(ImportError, match="No module named 'not_there_either'"):
        folder_of_package('not_there_either', 'losses')


def _span(ratios: list[float]) -> str:
    """Least and largest ratio as the page prints them."""
    return '–'.join(f'{r:.1f}' if r < 10 else f'{r:.0f}' for r in (min(ratios), max(ratios)))


def test_times_on_the_page_of_peers_are_those_of_the_benchmark():
    root = Path(__file__).parents[2] / 'docs'
    tables = json.loads((root / 'benchmarks' / 'losses_cpu.json').read_text())['tables']
    ratios = {}
    for row in (row for table in tables for row in table['rows']):
        ratios.setdefault(row['loss'], []).append(row['ratio'])

    def spans(*losses):
        return ', '.join(_span(ratios[loss]) for loss in losses)

    (line,) = [
        line
        for line in (root / 'peers.md').read_text().splitlines()
        if line.startswith('| time of')
    ]
    _, _, ours, stock, others, _ = (cell.strip() for cell in line.split('|'))
    assert ours == spans('SoftDiceLoss', 'SoftTverskyLoss', 'LovaszSoftmaxLoss')
    assert stock == spans('mmseg DiceLoss', 'mmseg TverskyLoss', 'mmseg LovaszLoss')
    assert others == (
        f'kornia: {spans("kornia DiceLoss", "kornia TverskyLoss")}, –; '
        f'MONAI: {spans("MONAI DiceLoss")}, –, –; '
        f'SMP: {spans("SMP DiceLoss", "SMP TverskyLoss", "SMP LovaszLoss")}'
    )
