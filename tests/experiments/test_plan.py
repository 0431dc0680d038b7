"""The matrix of runs: names to files, order, folders."""

import pytest

from mmseg_balance.experiments.plan import plan_runs


@pytest.fixture
def roots(tmp_path):
    for kind, names in (('losses', ('ce', 'dlnce', 'lmp')), ('samplers', ('uniform',))):
        folder = tmp_path / 'configs' / '_base_' / kind
        folder.mkdir(parents=True)
        for name in names:
            (folder / f'{name}.py').write_text('')
    return [tmp_path / 'configs']


def test_the_matrix_goes_seed_by_seed(roots):
    runs = plan_runs(['ce', 'DLNCE'], ['config', 'uniform'], [3, 1], roots)
    assert [(r.method, r.seed) for r in runs] == [
        ('ce', 3),
        ('DLNCE', 3),
        ('ce + uniform', 3),
        ('DLNCE + uniform', 3),
        ('ce', 1),
        ('DLNCE', 1),
        ('ce + uniform', 1),
        ('DLNCE + uniform', 1),
    ]
    assert runs[1].loss.path == roots[0] / '_base_' / 'losses' / 'dlnce.py'


def test_every_run_has_a_folder_of_its_own_whatever_the_case(roots):
    runs = plan_runs(['ce', 'DLNCE'], ['config', 'uniform'], [0, 1], roots)
    assert len({run.folder for run in runs}) == 8
    upper, lower = (plan_runs([x], ['config'], [0], roots)[0] for x in ('DLNCE', 'dlnce'))
    assert upper.folder == lower.folder


def test_a_loss_may_be_a_file_of_ones_own(roots, tmp_path):
    own = tmp_path / 'mine.py'
    own.write_text('')
    (run,) = plan_runs([str(own)], ['config'], [0], roots)
    assert (run.method, run.loss.path) == ('mine', own)


def test_the_first_folder_wins(roots, tmp_path):
    nearer = tmp_path / 'near' / '_base_' / 'losses'
    nearer.mkdir(parents=True)
    (nearer / 'ce.py').write_text('')
    (run,) = plan_runs(['ce'], ['config'], [0], [tmp_path / 'near', *roots])
    assert run.loss.path == nearer / 'ce.py'


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ((['lpm'], ['config'], [0]), r"--losses: no 'lpm' \(did you mean 'lmp'\? known: ce, dlnce"),
        ((['ce'], ['nonsense'], [0]), r"--samplers: no 'nonsense' \(known: uniform"),
        ((['ce', 'CE'], ['config'], [0]), "--losses: 'ce' is given twice"),
        ((['ce'], ['config'], [0, 0]), '--seeds: 0 is given twice'),
    ],
)
def test_a_mistake_is_named_with_its_remedy(roots, arguments, said):
    with pytest.raises(ValueError, match=said):
        plan_runs(*arguments, roots)


@pytest.mark.parametrize(
    ('losses', 'said'),
    [
        (('a b', 'ab'), "'a b' and 'ab' would both be kept in runs/ab"),
        (('ce', 'ce+uniform'), "'ce.uniform' and 'ce . uniform' would both be kept"),
        (('checkpoint',), "'checkpoint' is the network as it was trained; rename .*checkpoint.py"),
        (('ce', 'ce + iou'), "' . ' joins a loss, a sampler and a decision; rename .*ce . iou.py"),
    ],
)
def test_a_file_s_name_cannot_be_that_of_another_method(roots, tmp_path, losses, said):
    """Two methods wrote into one folder, or a loss took the place of the checkpoint."""
    files = []
    for name in losses:
        path = tmp_path / f'{name}.py'
        path.write_text('')
        files.append(str(path))
    with pytest.raises(ValueError, match=said):
        plan_runs(files, ['config', 'uniform'], [0, 1], roots)


def test_two_files_of_one_name_are_told_apart_or_refused(roots, tmp_path):
    own = tmp_path / 'ce.py'
    own.write_text('')
    with pytest.raises(ValueError, match="'ce' stands for two files"):
        plan_runs(['ce', str(own)], ['config'], [0], roots)
