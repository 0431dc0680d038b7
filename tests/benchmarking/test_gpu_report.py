"""The report of a GPU: tried on a CPU, and its sections may fail without ending it."""

import json
import sys
from pathlib import Path

import pytest
import torch

from mmseg_balance.benchmarking.gpu_report import compiled, report
from mmseg_balance.benchmarking.gpu_report.sections import Section, all_sections
from mmseg_balance.functional.backend import TRITON_USABLE

WRITE = "import json, sys; json.dump({'tables': [dict(title='t', rows=[dict(a=1)])]}, open(sys.argv[1], 'w'))"


def section(name: str, out: Path, code: str, seconds: float = 60, suffix: str = 'json') -> Section:
    output = out / f'{name}.{suffix}'
    return Section(name, name, [sys.executable, '-c', code, str(output)], seconds, output)


@pytest.mark.skipif(not TRITON_USABLE, reason='the kernels need Triton')
def test_every_section_runs_on_a_cpu(tmp_path, repository, monkeypatch):
    """Slow: ten processes, each of which imports MMSegmentation."""
    monkeypatch.chdir(repository)
    page = tmp_path / 'page.md'
    page.write_text('above\n<!-- benchmark: gpu report -->\nold\n<!-- end -->\nbelow\n')
    status = report.main(['--dry-run', '--out', str(tmp_path), '--markdown', str(page), *LONG])
    found = json.loads((tmp_path / 'report.json').read_text())
    assert [s['name'] for s in found['sections']] == [
        s.name for s in all_sections(tmp_path, dry_run=True, gpus=0)
    ]
    wrong = {s['name']: s['problem'] for s in found['sections'] if s['state'] != 'done'}
    assert wrong == {}
    assert status == 0
    by_name = {s['name']: s['tables'] for s in found['sections']}
    assert by_name['half_precision'][0]['rows'][0]['skipped'] >= 21
    assert by_name['kernel_tests'][0]['rows'][0]['passed'] >= 1
    losses = [row['loss'] for row in by_name['losses'][0]['rows']]
    assert 'F.cross_entropy' in losses
    assert 'SoftDiceLoss' in losses
    text = page.read_text()
    assert text.startswith('above\n<!-- benchmark: gpu report -->\nDry run, no measurement.')
    assert text.endswith('<!-- end -->\nbelow\n')
    assert 'old' not in text
    assert '### Steps of DeepLabV3-R50: done' in text


LONG = ['--seconds', '3000']


def run(sections, tmp_path, monkeypatch, *options) -> tuple[int, list[dict]]:
    monkeypatch.setattr(report, 'all_sections', lambda *arguments: sections)
    monkeypatch.setattr(report.torch.cuda, 'is_available', lambda: True)
    status = report.main(['--out', str(tmp_path), *options])
    return status, json.loads((tmp_path / 'report.json').read_text())['sections']


def test_a_section_that_fails_or_hangs_is_told_and_the_others_go_on(tmp_path, monkeypatch):
    sections = [
        section('fails', tmp_path, "raise ValueError('no such kernel')"),
        section('hangs', tmp_path, 'import time; time.sleep(600)', seconds=2),
        section('silent', tmp_path, 'pass'),
        section('garbled', tmp_path, "import sys; open(sys.argv[1], 'w').write('{')"),
        section('fine', tmp_path, WRITE),
    ]
    status, found = run(sections, tmp_path, monkeypatch)
    assert status == 1
    states = {s['name']: s['state'] for s in found}
    assert states == {
        'fails': 'failed',
        'hangs': 'timed out',
        'silent': 'failed',
        'garbled': 'failed',
        'fine': 'done',
    }
    assert 'no such kernel' in found[0]['problem']
    assert 'has no table' in found[2]['problem']
    assert '### hangs: timed out' in (tmp_path / 'report.md').read_text()


def test_what_a_section_wrote_before_its_time_was_over_is_kept(tmp_path, monkeypatch):
    code = f'{WRITE}; import time; time.sleep(600)'
    # The file is closed when the interpreter frees it, which is at once.
    _, (found,) = run([section('slow', tmp_path, code, seconds=4)], tmp_path, monkeypatch)
    assert found['state'] == 'timed out'
    assert found['tables'] == [{'title': 't', 'rows': [{'a': 1}]}]


def test_when_all_time_is_spent_the_rest_is_not_begun(tmp_path, monkeypatch):
    sections = [section('first', tmp_path, WRITE), section('second', tmp_path, WRITE)]
    status, found = run(sections, tmp_path, monkeypatch, '--seconds', '0')
    assert status == 1
    assert {s['state'] for s in found} == {'no time left'}


def test_a_section_alone_keeps_what_the_report_has_of_the_others(tmp_path, monkeypatch):
    sections = [section(name, tmp_path, WRITE) for name in ('first', 'second')]
    run(sections, tmp_path, monkeypatch)
    sections[1] = section('second', tmp_path, "raise ValueError('broken since')")
    status, found = run(sections, tmp_path, monkeypatch, '--only', 'second')
    assert status == 1
    assert [(s['name'], s['state']) for s in found] == [('first', 'done'), ('second', 'failed')]


PAGE = 'docs/benchmarks.md'
MEASURED = 'docs/benchmarks/gpu_h200.json'
SHORT = {
    'weighted cross entropy': ['WeightedCrossEntropyLoss'],
    'focal loss': ['SoftmaxFocalLoss'],
    'OHEM': ['OHEMCrossEntropyLoss'],
    'recall loss': ['RecallLoss'],
    'loss max-pooling': ['LMPLoss'],
    'soft Dice': ['SoftDiceLoss'],
    'Tversky': ['SoftTverskyLoss'],
    'generalised Dice': ['GeneralizedDiceLoss'],
    'LDAM': ['LDAMLoss'],
    'soft Dice + weighted cross entropy': ['SoftDice + WeightedCrossEntropy'],
    '`PairedLoss` of the two': ['PairedLoss of the two'],
    "MMSegmentation's Dice + cross entropy": ['mmseg Dice + CE'],
    "MMSegmentation's OHEM sampler + cross entropy": ['mmseg OHEMPixelSampler + CE'],
}


def test_the_page_shows_the_measured_report(repository):
    measured = json.loads((repository / MEASURED).read_text())
    assert not measured['dry_run']
    text = (repository / PAGE).read_text()
    shown = text.split('<!-- benchmark: gpu report -->\n')[1].split('\n<!-- end -->')[0]
    assert shown == report.page(measured)


@pytest.mark.parametrize('name', SHORT)
def test_the_short_table_is_that_of_the_report(name, repository):
    sections = json.loads((repository / MEASURED).read_text())['sections']
    tables = next(s['tables'] for s in sections if s['name'] == 'losses')
    rows = [
        {row['loss']: row for row in next(t for t in tables if t['title'] == title)['rows']}
        for title in ('2 x 19 x 512 x 1024', '4 x 150 x 512 x 512')
    ]
    line = next(
        line
        for line in (repository / PAGE).read_text().splitlines()
        if line.startswith(f'| {name} |')
    )
    _, _, *ratios, _, small, large, _ = (cell.strip(' *') for cell in line.split('|'))
    for loss in SHORT[name]:
        for of_loss, ratio in zip(rows, ratios, strict=True):
            places = len(ratio.partition('.')[2])
            assert float(ratio) == pytest.approx(of_loss[loss]['ratio'], abs=0.51 * 10**-places)
        peaks = [round(of_loss[loss]['peak MiB']) for of_loss in rows]
        assert [int(small), int(large)] == peaks


def test_failed_tests_are_listed(tmp_path):
    path = tmp_path / 'tests.xml'
    path.write_text(
        '<testsuites><testsuite tests="3" failures="1" errors="0" skipped="1">'
        '<testcase name="good"/><testcase name="absent"><skipped/></testcase>'
        '<testcase name="bad"><failure message="1 != 2"/></testcase></testsuite></testsuites>'
    )
    counts, failed = report.tables_of(path)
    assert counts['rows'] == [dict(tests=3, failures=1, errors=0, skipped=1, passed=1)]
    assert failed['rows'] == [dict(test='bad', message='1 != 2')]
    path.write_text('<testsuite tests="0" failures="0" errors="0" skipped="0"/>')
    with pytest.raises(ValueError, match='no test was run'):
        report.tables_of(path)


def test_the_limits_of_all_sections_fit_a_few_times_into_the_whole(tmp_path):
    """Each may need its limit, not all of them: the later ones have what is left."""
    for gpus in (1, 2):
        sections = all_sections(tmp_path, dry_run=False, gpus=gpus)
        assert report.SECONDS < 540
        assert max(s.seconds for s in sections) < report.SECONDS / 3
        assert all('--dry-run' not in s.command for s in sections)
        assert len({s.output for s in sections}) == len(sections)


def test_without_a_gpu_the_remedy_is_named(capsys, monkeypatch):
    monkeypatch.setattr(report.torch.cuda, 'is_available', lambda: False)
    with pytest.raises(SystemExit):
        report.main([])
    assert '--dry-run tries the sections on a CPU' in capsys.readouterr().err


def test_a_gradient_compiled_to_zero_does_not_agree():
    gradient = torch.tensor([3e-7, -2e-7, 0.0])  # as small as those of a mean over a million pixels
    assert compiled.agree(gradient * (1 + 1e-5), gradient)
    assert not compiled.agree(torch.zeros(3), gradient)
