"""mmseg-balance class_stats and the pictures of frequencies, batches and draws."""

import mmseg_balance  # noqa: F401  first: it makes mmseg importable

# isort: split
import argparse
import json
import re

import numpy as np
import pytest
from mmengine import Config

from mmseg_balance.cli import main
from mmseg_balance.statistics import ClassStatistics, shards
from mmseg_balance.visualization import frequency, performance, sampling


@pytest.fixture
def class_stats(monkeypatch, tmp_path):
    """The verb as a function of its arguments."""
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    for name in ('RANK', 'SLURM_ARRAY_TASK_ID', 'SLURM_STEP_NUM_TASKS'):
        monkeypatch.delenv(name, raising=False)
    return lambda *args: main(['class_stats', *map(str, args)])


@pytest.fixture
def config(tiny_camvid, tmp_path):
    path = tmp_path / 'config.py'
    Config(
        dict(
            train_dataloader=dict(
                dataset=dict(
                    type='CamVidDataset',
                    data_root=str(tiny_camvid),
                    pipeline=[dict(type='LoadAnnotations')],
                    data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
                )
            )
        )
    ).dump(path)
    return path


def test_table_file_and_picture(class_stats, config, tmp_path, capsys):
    out, plot = tmp_path / 's.npz', tmp_path / 'new' / 'f.png'
    assert class_stats(config, '--out', out, '--plot', plot) == 0
    printed = capsys.readouterr().out
    assert 'bicyclist' in printed
    assert f'wrote {out}' in printed
    assert plot.read_bytes()[:4] == b'\x89PNG'
    first = ClassStatistics.load(out)
    assert class_stats(config, '--out', out) == 0
    assert 'is up to date' in capsys.readouterr().out
    assert (
        class_stats(config, '--out', out, '--cfg-options', 'train_dataloader.dataset.indices=2')
        == 0
    )
    assert 'of other labels or options: counting again' in capsys.readouterr().out
    assert ClassStatistics.load(out).num_images == 2 < first.num_images


def test_no_worker_is_not_one_for_each_core(class_stats, config, monkeypatch):
    """``--workers 0`` counts in the process itself."""
    seen = []
    monkeypatch.setattr(shards, 'scan_shard', lambda *args, **options: seen.append(args[3]))
    assert class_stats(config, '--workers', 0) == 0
    assert seen == [0]


def test_a_picture_that_cannot_be_written_ends_in_a_sentence(class_stats, config, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert class_stats(config, '--plot', tmp_path / 'f.txt') == 2
    assert '.pdf' in refusal(capsys, f'--plot {tmp_path}/f.txt must end in .')
    assert class_stats(config, '--plot', tmp_path / 'file' / 'f.png') == 2
    refusal(capsys, f'--plot {tmp_path}/file/f.png cannot be written, ')


def refusal(capsys, begin: str) -> str:
    """The one line on stderr, which begins like this, and nothing on stdout."""
    said = capsys.readouterr()
    assert said.out == ''
    assert said.err.startswith(f'error: {begin}'), said.err
    assert said.err.count('\n') == 1
    return said.err


@pytest.mark.parametrize(
    ('override', 'said'),
    [
        ('type=CamVid', 'CamVid is not in the registry mmseg::dataset: the name is misspelt'),
        ('pallete=[]', ".*unexpected keyword argument 'pallete': the config gives it"),
        ('ann_file=none.txt', '.*none.txt does not exist: look at ann_file and data_root'),
        ('img_suffix=.tif', 'a data set of the config has no image: look at its data_root'),
        ('data_root=none', 'none/.* does not exist .looked from '),
    ],
)
def test_a_data_set_that_cannot_be_read_ends_in_a_sentence(
    class_stats, config, capsys, override, said
):
    """They were tracebacks, or numpy's and the system's own words."""
    assert class_stats(config, '--cfg-options', f'train_dataloader.dataset.{override}') == 2
    assert re.match(f'error: {said}', capsys.readouterr().err)


def test_a_list_of_data_sets_is_told_how_they_are_joined(class_stats, config, capsys):
    content = Config.fromfile(config)
    content.train_dataloader.dataset = [content.train_dataloader.dataset]
    content.dump(config)
    assert class_stats(config) == 2
    assert "is list, and must be a dict with a type; dict(type='ConcatDataset'" in refusal(
        capsys, 'train_dataloader.dataset of '
    )


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--split', 2], '--split must be a share between 0 and 1, as 0.2, got 2.0'),
        (['--split', 0.5, '--seed', -1], '--seed must not be negative, got -1'),
        (['--out', '.'], '--out . is a folder'),
    ],
)
def test_an_option_that_cannot_be_is_named(class_stats, config, capsys, options, said):
    assert class_stats(config, *options) == 2
    refusal(capsys, said)


def test_the_config_is_not_overwritten(class_stats, config, capsys):
    before = config.read_text()
    assert class_stats(config, '--out', config, '--again') == 2
    refusal(capsys, f'--out {config} is the config itself')
    assert config.read_text() == before


def test_an_error_is_not_on_the_line_of_the_progress_bar(class_stats, config, tmp_path, capsys):
    content = Config.fromfile(config)
    dataset = content.train_dataloader.dataset
    dataset.update(type='BaseSegDataset', metainfo=dict(classes=['a', 'b']))
    content.dump(config)
    assert class_stats(config, '--workers', 0) == 2
    assert '\nerror: ' in capsys.readouterr().err


def test_ranks_each_count_a_part(class_stats, config, tmp_path, capsys, monkeypatch):
    out = tmp_path / 's.npz'
    monkeypatch.setenv('WORLD_SIZE', '2')
    for rank, message in (('0', 'part 1 of 2 is done'), ('1', f'wrote {out}')):
        monkeypatch.setenv('RANK', rank)
        assert class_stats(config, '--out', out) == 0
        assert message in capsys.readouterr().out
    assert ClassStatistics.load(out).num_images == 4


def test_split_writes_two_lists_that_cover_the_images(class_stats, config, tmp_path, capsys):
    out = tmp_path / 'splits'
    assert class_stats(config, '--split', '.5', '--split-folder', out) == 0
    assert f'{out}/train.txt: 2 images, {out}/dev.txt: 2 images' in capsys.readouterr().out
    lists = [(out / f'{name}.txt').read_text().split() for name in ('train', 'dev')]
    assert sorted(lists[0] + lists[1]) == ['0', '1', '2', '3']
    assert class_stats(config, '--split', '.5', '--groups', 'video', '--split-folder', out) == 2
    assert "finds no group in the name '0'" in capsys.readouterr().err
    for args in ((config, '--groups', '.'), ('--merge', out, '--split', '.5', '--out', out)):
        assert class_stats(*args) == 2


def test_options_that_would_do_nothing_are_refused(class_stats, config, tmp_path, capsys):
    assert class_stats(config, '--split', '.5', '--plot', tmp_path / 'f.png') == 2
    assert '--plot draws the whole training set' in capsys.readouterr().err
    assert class_stats(config, '--address', 'auto') == 2
    assert '--address is for --engine ray' in capsys.readouterr().err
    assert class_stats(config, '--engine', 'ray', '--workers', '2') == 2
    assert '--workers is for --engine local' in capsys.readouterr().err
    for option, value in (('--seed', '0'), ('--split-folder', tmp_path), ('--groups', '.')):
        assert class_stats(config, option, value) == 2
        assert f'{option} needs --split' in capsys.readouterr().err


@pytest.mark.parametrize(
    'option',
    [
        ('--split', '.5'),
        ('--again',),
        ('--workers', '0'),
        ('--engine', 'ray'),
        ('--cfg-options', 'a=1'),
    ],
    ids=lambda option: option[0],
)
def test_what_merge_has_no_use_for_is_refused(class_stats, tmp_path, capsys, option):
    path = ClassStatistics.from_rows('xy', [[1, 2]]).save(tmp_path / 'a.npz')
    assert class_stats('--merge', path, '--out', tmp_path / 'b.npz', *option) == 2
    assert f'error: {" ".join(option[:1])}' in capsys.readouterr().err
    assert not (tmp_path / 'b.npz').exists()


def test_a_config_without_a_training_set_ends_in_a_sentence(class_stats, tmp_path, capsys):
    path = tmp_path / 'loss.py'
    path.write_text("loss_decode = dict(type='LMPLoss')")
    assert class_stats(path) == 2
    assert f'{path} has no train_dataloader: give the config' in capsys.readouterr().err
    with pytest.raises(SystemExit, match='has no train_dataloader'):
        main(['plot', 'sampling', str(path), '--min-classes', '2'])


def test_no_such_batch_is_a_sentence_in_plot_sampling(config, tmp_path, monkeypatch):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    line = ['plot', 'sampling', str(config), '--min-classes', '2', '--batch-size', '2']
    with pytest.raises(SystemExit, match='--batches must be at least 1, got 0'):
        main([*line, '--batches', '0'])

    def in_vain(*args):
        raise RuntimeError('no batch of 2 images')

    monkeypatch.setattr(sampling, 'draw_balanced', in_vain)
    with pytest.raises(SystemExit, match='error: no batch of 2 images'):
        main(line)


def test_merge(class_stats, tmp_path, capsys):
    a = ClassStatistics.from_rows('xy', [[1, 2]]).save(tmp_path / 'a.npz')
    b = ClassStatistics.from_rows('xy', [[3, 0], [0, 1]]).save(tmp_path / 'b.npz')
    assert class_stats('--merge', a, b, '--out', tmp_path / 'ab.npz') == 0
    assert ClassStatistics.load(tmp_path / 'ab.npz').pixels.tolist() == [4, 3]
    assert class_stats('--merge', a, tmp_path / 'none.npz', '--out', tmp_path / 'c.npz') == 2
    assert 'no class statistics at' in capsys.readouterr().err
    for args in ((), ('--merge', a), (a, '--merge', b)):
        assert class_stats(*args) == 2


def test_frequency_figure_has_every_class_in_order(tmp_path):
    found = ClassStatistics.from_rows(('rare', 'never', 'common'), [[1, 0, 99]], dataset='D')
    figure = frequency.frequency_figure([found, found])
    axes = figure.axes[0]
    assert len(figure.axes) == 2
    assert [label.get_text() for label in axes.get_xticklabels()] == ['common', 'rare', 'never']
    assert [bar.get_height() for bar in axes.patches] == [0.99, 0.01, 0]
    assert axes.get_yscale() == 'log'
    path = found.save(tmp_path / 's.npz')
    frequency.run(argparse.Namespace(statistics=[path], out=str(tmp_path / 'f.png')))
    assert (tmp_path / 'f.png').stat().st_size > 1000


def test_sampling_figure_and_numbers(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'auto'))
    parser = argparse.ArgumentParser()
    sampling.add_arguments(parser)
    sampling.run(
        parser.parse_args(
            [
                str(config),
                '--min-classes',
                '8',
                '--batch-size',
                '2',
                '--batches',
                '20',
                '--out',
                str(tmp_path / 's.png'),
            ]
        )
    )
    printed = capsys.readouterr().out
    assert 'Balance-batch  20 batches' in printed
    assert (tmp_path / 's.png').stat().st_size > 1000


def test_no_image_in_a_batch_is_not_the_batch_of_the_config(config):
    line = ['plot', 'sampling', str(config), '--min-classes', '2', '--batch-size', '0']
    with pytest.raises(SystemExit, match='^error: --batch-size must be at least 1, got 0'):
        main(line)


def test_what_batches_hold():
    found = ClassStatistics.from_rows('ab', [[1, 0], [0, 1], [1, 1]])
    draws = sampling.draw_plain(found, [0, 1, 0, 0, 2, 0], batch_size=2, batches=3)
    assert draws.shown.tolist() == [1, 2 / 3]
    assert draws.num_classes.tolist() == [2, 1, 2]
    assert draws.num_images.tolist() == [2, 2, 2]


def test_performance_figure_reads_the_run_s_scalars(tmp_path):
    folder = tmp_path / '20200101' / 'vis_data'
    folder.mkdir(parents=True)
    lines = [dict(lr=0.1, step=1)]
    for step, iou in ((20, 0.2), (40, 0.6)):
        lines.append(
            {
                'iou/a': iou,
                'iou/b': 0.5,
                'draw_probability/a': 1 - iou,
                'draw_probability/b': 0.5,
                'draw_share/a': 0.5,
                'draw_share/b': 0.5,
                'step': step,
            }
        )
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    reports = performance.read_reports(tmp_path)
    assert reports['iou']['a'] == ([20, 40], [0.2, 0.6])
    figure = performance.performance_figure(reports)
    labels = [line.get_label() for line in figure.axes[1].lines]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == labels
    assert labels == ['a', 'b']  # the one whose probability changed most comes first
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [0.8, 0.4])
    picture = tmp_path / 'performance.png'
    assert main(['plot', 'performance', str(tmp_path), '--out', str(picture)]) == 0
    assert picture.stat().st_size > 1000
    resumed = tmp_path / '20200102' / 'vis_data' / 'scalars.json'
    resumed.parent.mkdir(parents=True)
    resumed.write_text(
        '\n'.join(json.dumps({'iou/a': iou, 'step': step}) for step, iou in ((40, 0.7), (60, 0.8)))
    )
    assert performance.read_reports(tmp_path)['iou']['a'] == ([20, 40, 60], [0.2, 0.7, 0.8])
    resumed.unlink()
    with pytest.raises(ValueError, match=r"classes \['c'\] are not in the run"):
        performance.performance_figure(reports, ['c'])
    (folder / 'scalars.json').write_text(json.dumps(dict(lr=0.1, step=1)))
    with pytest.raises(ValueError, match='no scalars of a ClassPerformanceHook'):
        performance.read_reports(tmp_path)
