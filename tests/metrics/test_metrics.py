"""The registered metrics: in an evaluator, on ranks, in constant memory, and what they refuse."""

import json
import logging
import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmseg_balance.metrics import BoundaryMetric, CalibrationMetric, ImbalanceMetric
from mmseg_balance.statistics import ClassStatistics
from tests.support import references_metrics as reference
from tests.support.ranks import run_ranks

CLASSES = ('road', 'tree', 'car', 'pole')


def image(seed=0, channels=4, size=(12, 16), threshold=0.3):
    """A data sample as a segmentor leaves it, and the logits that it was made from."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(channels, *size, generator=generator)
    labels = torch.randint(0, max(channels, 2), (1, *size), generator=generator)
    labels[:, :2] = 255
    if channels > 1:
        scores, pred = logits, logits.argmax(0, keepdim=True)
    else:
        scores = logits.sigmoid()
        pred = (scores > threshold).to(scores)
    sample = {
        name: dict(data=data)
        for name, data in (('seg_logits', scores), ('pred_sem_seg', pred), ('gt_sem_seg', labels))
    }
    return sample | dict(img_path=f'{seed}.jpg'), logits


def evaluator(*metrics, classes=CLASSES):
    init_default_scope('mmseg')
    result = Evaluator(list(metrics))
    result.dataset_meta = dict(classes=classes)
    return result


def evaluate(images, *metrics, size=None, classes=CLASSES):
    judge = evaluator(*metrics, classes=classes)
    for sample, _ in images:
        judge.process([sample])
    return judge.evaluate(len(images) if size is None else size)


@pytest.fixture
def log():
    """What MMEngine's logger says during the test."""
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


BOTH = (dict(type='CalibrationMetric'), dict(type='ImbalanceMetric'))


@pytest.mark.parametrize(('channels', 'classes'), [(4, CLASSES), (1, ('back', 'vessel'))])
def test_scores_are_those_of_loops_over_all_pixels(channels, classes):
    images = [image(seed, channels) for seed in range(3)]
    scores = evaluate(images, *BOTH, classes=classes)
    rows = [
        row
        for sample, logits in images
        for row in reference.rows_of(logits[None], sample['gt_sem_seg']['data'])
    ]
    expected = reference.calibration(rows, 10)
    for name in ('cal', 'ECE', 'MCE', 'cwECE', 'NLL', 'Brier'):
        assert scores[name] == pytest.approx(expected[name], abs=1e-5)
    pred, labels = (
        torch.stack([sample[name]['data'] for sample, _ in images]).long()
        for name in ('pred_sem_seg', 'gt_sem_seg')
    )
    matrix = np.array(reference.confusion(pred, labels, len(classes)))
    accuracy = np.trace(matrix) / matrix.sum()
    recall = np.mean(np.diag(matrix) / matrix.sum(1))
    assert scores['imbalance/acc'] == pytest.approx(accuracy)
    assert scores['imbalance/mRecall'] == pytest.approx(recall)
    for name, other in (('S_acc', accuracy), ('S_rec', recall)):
        cal = scores['cal']
        assert scores[name] == pytest.approx(2 * cal * other / (cal + other) if cal > 0 else 0)


def test_beside_stock_iou_metric():
    images = [image(seed) for seed in range(2)]
    scores = evaluate(images, dict(type='IoUMetric', iou_metrics=['mIoU']), *BOTH)
    assert scores['mIoU'] == pytest.approx(100 * scores['imbalance/mIoU'], abs=0.01)
    assert scores['aAcc'] == pytest.approx(100 * scores['imbalance/acc'], abs=0.01)


def rank_scores(rank, world_size, numbers):
    """What DefaultSampler gives a rank: every world_size-th image, repeating from the start."""
    results = []
    for number in numbers:
        judge = evaluator(*BOTH)
        for index in range(rank, -(-number // world_size) * world_size, world_size):
            judge.process([image(index % number)[0]])
        results.append(judge.evaluate(number))
    return results


@pytest.mark.parametrize(('world_size', 'numbers'), [(2, (5, 4, 1)), (3, (7, 2))])
def test_ranks_report_exactly_what_one_process_does(world_size, numbers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MMEngine gathers through files in the current directory
    results = run_ranks(rank_scores, world_size, world_size, numbers)
    for place, number in enumerate(numbers):
        alone = evaluate([image(index) for index in range(number)], *BOTH)
        for rank in range(world_size):
            scores = results[rank][place]
            assert list(scores) == list(alone)
            np.testing.assert_array_equal(list(scores.values()), list(alone.values()))


def test_every_evaluation_starts_anew():
    judge = evaluator(*BOTH)
    first = []
    for _ in range(2):
        for seed in range(3):
            judge.process([image(seed)[0]])
        first.append(judge.evaluate(3))
    np.testing.assert_array_equal(list(first[0].values()), list(first[1].values()))


def test_a_sampler_that_repeats_more_than_one_image_is_reported(log):
    # Six entries cut to four: two images too many are in the sums.
    evaluate([image(seed) for seed in range(6)], CalibrationMetric(), size=4)
    assert 'counted 5 images of a data set of 4' in ''.join(log)


@pytest.mark.parametrize('metric', [CalibrationMetric, ImbalanceMetric])
def test_memory_does_not_grow_with_the_images(metric):
    sample, _ = image(channels=50)

    def peak(number):
        judge = metric()
        judge.dataset_meta = dict(classes=['name'] * 50)
        judge.process(None, [sample] * 3)
        tracemalloc.start()
        for _ in range(number):
            judge.process(None, [sample])
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used, len(pickle.dumps(judge.results))

    (few, few_bytes), (many, many_bytes) = peak(10), peak(100)
    # The sums of one image take over 12 kB here; the rest is one pointer per image, and tuples
    # that Python keeps for reuse.
    assert many - few < 2 * 12_000
    assert many_bytes - few_bytes < 90 * 3


def test_entries_are_one_per_image():
    judge = CalibrationMetric()
    judge.dataset_meta = dict(classes=CLASSES)
    for number in range(1, 6):
        judge.process(None, [image(number)[0]])
        assert len(judge.results) == number


def test_half_precision_logits():
    sample, _ = image()
    exact = evaluate([(sample, None)], CalibrationMetric())
    half = sample['seg_logits']['data'].half()
    sample['seg_logits'] = dict(data=half)
    sample['pred_sem_seg'] = dict(data=half.argmax(0, keepdim=True))
    assert evaluate([(sample, None)], CalibrationMetric())['NLL'] == pytest.approx(
        exact['NLL'], abs=1e-3
    )


def test_files(tmp_path):
    files = [str(tmp_path / 'new' / name) for name in ('cal.json', 'imb.json')]
    scores = evaluate(
        [image(seed) for seed in range(2)],
        CalibrationMetric(out_file=files[0]),
        ImbalanceMetric(out_file=files[1]),
    )
    calibration, imbalance = (json.load(open(name)) for name in files)  # noqa: SIM115
    assert calibration['scores']['cal'] == scores['cal']
    assert np.shape(calibration['bins']['count']) == (4, 10)
    assert np.sum(calibration['bins']['positive']) == 2 * 10 * 16
    assert np.sum(calibration['bins']['confidence']) == pytest.approx(2 * 10 * 16, rel=1e-5)
    assert imbalance['classes'] == list(CLASSES)
    assert imbalance['scores']['mIoU'] == scores['imbalance/mIoU']
    assert np.sum(imbalance['confusion']) == 2 * 10 * 16
    assert list(imbalance['per_class']) == ['IoU', 'recall', 'precision', 'F1']
    assert len(imbalance['per_class']['recall']) == 4


@pytest.mark.parametrize('metric', [CalibrationMetric, ImbalanceMetric, BoundaryMetric])
def test_an_undefined_score_is_null_in_the_file(metric, tmp_path):
    """It was NaN, which is not JSON: jq, JavaScript and a strict reader refuse the file."""
    sample, _ = image()
    sample['gt_sem_seg']['data'][:] = 255
    path = tmp_path / 'scores.json'
    scores = evaluate([(sample, None)], metric(out_file=str(path)))
    report = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    for name, value in scores.items():
        written = report['scores'][name.split('/')[-1]]
        assert written is None if np.isnan(value) else written == value
    assert None in report['scores'].values()


def test_table_per_class_is_logged(log):
    evaluate([image()], *BOTH)
    text = ''.join(log)
    assert all(text.count(f' {name} ') >= 2 for name in CLASSES)


@pytest.mark.parametrize(
    'options',
    [
        dict(groups=dict(head=['road', 1], tail=['pole'])),
        dict(statistics=ClassStatistics.from_rows(CLASSES, [[500, 400, 40, 3]])),
    ],
)
def test_groups_given_or_by_training_pixels(options, tmp_path):
    report = tmp_path / 'imb.json'
    scores = evaluate([image()], ImbalanceMetric(out_file=str(report), **options))
    iou = json.loads(report.read_text())['per_class']['IoU']
    assert scores['imbalance/mIoU_head'] == pytest.approx((iou[0] + iou[1]) / 2)
    assert scores['imbalance/mIoU_tail'] == pytest.approx(iou[3])


def without(name):
    def change(sample):
        del sample[name]

    return change


def merged_views(sample):
    """As SegTTAModel leaves it: the prediction of all views, the logits of the last one."""
    other = image(99)[0]['seg_logits']['data'].softmax(0)
    merged = sample['seg_logits']['data'].softmax(0) + other
    sample['pred_sem_seg'] = dict(data=merged.argmax(0))


def summed_probabilities(sample):
    total = sum(image(seed)[0]['seg_logits']['data'].softmax(0) for seed in range(3))
    sample['seg_logits'] = dict(data=total)
    sample['pred_sem_seg'] = dict(data=total.argmax(0))


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (without('seg_logits'), KeyError, 'seg_logits is missing from the data sample of 0.jpg'),
        (without('gt_sem_seg'), KeyError, "gt_sem_seg is missing.*dict.type='LoadAnnotations'"),
        (merged_views, ValueError, 'not the argmax of seg_logits.*no SegTTAModel'),
        (summed_probabilities, ValueError, 'probabilities that add up to 3.*without test-time'),
    ],
)
def test_calibration_refuses(change, error, message):
    sample, _ = image()
    change(sample)
    with pytest.raises(error, match=message):
        evaluate([(sample, None)], CalibrationMetric())


def test_calibration_refuses_merged_views_of_a_binary_head():
    sample, _ = image(channels=1)
    other, _ = image(5, channels=1)
    sample['pred_sem_seg'] = other['pred_sem_seg']
    with pytest.raises(ValueError, match='not a threshold on seg_logits'):
        evaluate([(sample, None)], CalibrationMetric(), classes=('back', 'vessel'))


def test_calibration_refuses_raw_logits_of_a_binary_head():
    """It asked for an argument that a config cannot give."""
    sample, _ = image(channels=1)
    sample['seg_logits'] = dict(data=torch.logit(sample['seg_logits']['data'].clamp(0.01, 0.99)))
    with pytest.raises(ValueError, match='seg_logits of one channel hold .* sigmoid values'):
        evaluate([(sample, None)], CalibrationMetric(), classes=('back', 'vessel'))


def test_calibration_refuses_a_head_of_other_classes_at_the_first_image():
    judge = evaluator(CalibrationMetric(), classes=('vessel',))
    with pytest.raises(ValueError, match='seg_logits tell 2 classes apart and the data set has 1'):
        judge.process([image(channels=1)[0]])


def test_imbalance_takes_merged_views():
    sample, _ = image()
    merged_views(sample)
    del sample['seg_logits']
    assert np.isfinite(evaluate([(sample, None)], ImbalanceMetric())['imbalance/mIoU'])


def test_nan_logits_are_reported_not_raised(log):
    sample, _ = image()
    sample['seg_logits']['data'][:, 5, 5] = float('nan')
    scores = evaluate([(sample, None)], CalibrationMetric())
    assert np.isnan(scores['cal'])
    assert np.isnan(scores['S_rec'])
    assert '1 pixels have nan or infinite logits' in ''.join(log)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(groups=dict(tail=['moon'])), "holds 'moon', neither a class"),
        (dict(groups=dict(tail=[7])), 'holds 7, neither a class nor an index below 4'),
        (
            dict(statistics=ClassStatistics.from_rows(['a', 'b'], [[1, 2]])),
            'statistics has 2 classes',
        ),
    ],
)
def test_imbalance_refuses_groups(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate([image()], ImbalanceMetric(**arguments))


@pytest.mark.parametrize('metric', [CalibrationMetric, ImbalanceMetric, BoundaryMetric])
def test_a_file_of_another_kind_is_refused_before_the_evaluation(metric):
    """MMEngine refused it after the last image, and all scores were lost."""
    with pytest.raises(ValueError, match="out_file='scores.txt' must end in .json"):
        metric(out_file='scores.txt')


def test_refuses_arguments():
    with pytest.raises(ValueError, match='num_bins is 0'):
        CalibrationMetric(num_bins=0)
    with pytest.raises(ValueError, match='give one'):
        ImbalanceMetric(groups={}, statistics='auto')
