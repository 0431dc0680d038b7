"""ImbalanceMetric(per_image=True): its scores, its file, and both on several ranks."""

import json

import numpy as np
import pytest

from mmseg_balance.experiments.stored_runs import load_runs
from mmseg_balance.metrics import ImbalanceMetric
from mmseg_balance.metrics.confusion_file import load_confusions, save_confusions
from tests.metrics.test_metrics import CLASSES, evaluate, evaluator, image
from tests.support import references_metrics as reference
from tests.support.ranks import run_ranks

KEYS = ('mIoU_I', 'mIoU_C', 'mIoU_worst10', 'mIoU_worst5')


def images(number):
    """Images in two folders, some of few classes and one without a valid pixel."""
    made = []
    for seed in range(number):
        sample, logits = image(seed)
        labels = sample['gt_sem_seg']['data']
        labels[labels % 2 == seed % 2] = seed % 4
        if seed == 2:
            labels[:] = 255
        sample['img_path'] = f'/data/test/{"ab"[seed % 2]}/{seed}.jpg'
        made.append((sample, logits))
    return made


def matrices(made):
    return [
        reference.confusion(sample['pred_sem_seg']['data'], sample['gt_sem_seg']['data'], 4)
        for sample, _ in made
    ]


def test_scores_are_those_of_a_loop_beside_the_present_ones():
    made = images(21)
    plain = evaluate(made, ImbalanceMetric())
    scores = evaluate(made, ImbalanceMetric(per_image=True))
    expected = reference.per_image(matrices(made))
    assert {name: scores[f'imbalance/{name}'] for name in KEYS} == pytest.approx(
        {name: expected[name] for name in KEYS}
    )
    np.testing.assert_equal({name: scores[name] for name in plain}, plain)
    assert len(scores) == len(plain) + len(KEYS)


def test_files(tmp_path):
    made = images(5)
    files = dict(out_file=str(tmp_path / 'scores.json'), save=str(tmp_path / 'new' / 'images.npz'))
    scores = evaluate(made, ImbalanceMetric(per_image=True, **files))
    confusions, names = load_confusions(files['save'])
    assert confusions.tolist() == matrices(made)
    assert confusions.dtype == np.uint8
    assert names == ['a/0.jpg', 'b/1.jpg', 'a/2.jpg', 'b/3.jpg', 'a/4.jpg']
    report = json.loads((tmp_path / 'scores.json').read_text())['scores']
    assert report['mIoU_worst5'] == scores['imbalance/mIoU_worst5']
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['images.npz']


def test_absolute_and_relative_paths_together(tmp_path):
    """commonpath raised after the last image, and all scores were lost."""
    made = images(2)
    made[1][0]['img_path'] = 'test/b/1.jpg'
    file = str(tmp_path / 'images.npz')
    evaluate(made, ImbalanceMetric(per_image=True, save=file))
    assert load_confusions(file)[1] == ['/data/test/a/0.jpg', 'test/b/1.jpg']


def rank_results(rank, world_size, numbers, folder):
    """What DefaultSampler gives a rank: every world_size-th image, repeating from the start."""
    results = []
    for number in numbers:
        made = images(number)
        metric = ImbalanceMetric(per_image=True, save=f'{folder}/{rank}/{number}.npz')
        judge = evaluator(metric)
        for index in range(rank, -(-number // world_size) * world_size, world_size):
            judge.process([made[index % number][0]])
        results.append(judge.evaluate(number))
    return results


@pytest.mark.parametrize(('world_size', 'numbers'), [(2, (23, 4, 1)), (3, (7,))])
def test_ranks_report_and_save_what_one_process_does(world_size, numbers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MMEngine gathers through files in the current directory
    results = run_ranks(rank_results, world_size, world_size, numbers, str(tmp_path))
    for place, number in enumerate(numbers):
        alone = evaluate(
            images(number), ImbalanceMetric(per_image=True, save=str(tmp_path / 'alone.npz'))
        )
        for rank in range(world_size):
            np.testing.assert_equal(results[rank][place], alone)
        one, several = (
            load_confusions(path)
            for path in (tmp_path / 'alone.npz', tmp_path / '0' / f'{number}.npz')
        )
        np.testing.assert_array_equal(one[0], several[0])
        assert one[1] == several[1]
    assert not (tmp_path / '1').exists(), 'a file of another rank than the first'


def test_one_small_entry_per_image():
    metric = ImbalanceMetric(per_image=True)
    metric.dataset_meta = dict(classes=['name'] * 200)
    for number in range(1, 6):
        metric.process(None, [image(number)[0]])
        assert len(metric.results) == number
    assert all(cells.nbytes + counts.nbytes <= 16 * 8 for _, cells, counts in metric.results)


def test_stored_runs(tmp_path):
    made = np.arange(18).reshape(2, 3, 3)
    for seed in range(2):
        save_confusions(tmp_path / f'{seed}.npz', made * (500 * seed + 1), ['a', 'b'], 'xyz')
    paths = dict(ce={seed: tmp_path / f'{seed}.npz' for seed in range(2)})
    runs, names = load_runs(paths)
    assert names == ['a', 'b']
    assert {seed: run.tolist() for seed, run in runs['ce'].items()} == {
        0: made.tolist(),
        1: (made * 501).tolist(),
    }
    save_confusions(tmp_path / '1.npz', made, ['b', 'a'], 'xyz')
    with pytest.raises(ValueError, match=r'1.npz has 2 images .*not\s+the same as .*0.npz'):
        load_runs(paths)


def test_refuses(tmp_path):
    with pytest.raises(ValueError, match='set per_image=True'):
        ImbalanceMetric(save='a.npz')
    with pytest.raises(ValueError, match=r'must end in \.npz'):
        ImbalanceMetric(save='a.json', per_image=True)
    with pytest.raises(ValueError, match='for 1 names and 2 classes'):
        save_confusions(tmp_path / 'a.npz', np.zeros((2, 2, 2), int), ['a'], CLASSES[:2])
    with pytest.raises(FileNotFoundError, match='no confusion matrices at'):
        load_confusions(tmp_path / 'a.npz')
    (tmp_path / 'a.npz').write_bytes(b'PK\3\4 half')
    with pytest.raises(ValueError, match='not a file of confusion matrices'):
        load_confusions(tmp_path / 'a.npz')
