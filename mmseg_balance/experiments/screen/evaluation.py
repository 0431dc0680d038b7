"""Scores of many heads in one pass over a split; the features of an image are computed once."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import mmengine
import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmseg.models import EncoderDecoder
from mmseg.registry import METRICS
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmseg_balance.experiments.merging import measures
from mmseg_balance.experiments.prediction_hook import PredictionHook
from mmseg_balance.experiments.results import write_json
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.experiments.screen.decisions import ARGMAX, DECISIONS
from mmseg_balance.experiments.screen.frozen import FeatureMemo
from mmseg_balance.functional.calibration import harmonic_mean
from mmseg_balance.runtime.config_files import type_name


class Scorer:
    """The metrics of one head on one split, one set for each decision rule.

    Args:
        folder: Of the head's run.
        split: ``'dev'`` or ``'test'``.
        decisions: Names of rules.
        evaluator: ``val_evaluator`` or ``test_evaluator`` of the config.
        dataset_meta: Of the split's data set, with the names of the classes.
        keep_images: Paths of images whose predictions are kept.
    """

    def __init__(
        self,
        folder: RunFolder,
        split: str,
        decisions: Sequence[str],
        evaluator,
        dataset_meta: Mapping,
        keep_images: Sequence[str] = (),
    ) -> None:
        self.folders = {name: folder.scores(split, name) for name in decisions}
        self.metrics = {
            name: _built(measures(evaluator, path), name, dataset_meta)
            for name, path in self.folders.items()
        }
        self.pictures = (
            PredictionHook(keep_images, str(folder.path / 'predictions')) if keep_images else None
        )

    def start(self, loader: DataLoader) -> None:
        for path in self.folders.values():
            path.mkdir(parents=True, exist_ok=True)
        if self.pictures is not None:
            self.pictures.before_test(SimpleNamespace(test_dataloader=loader))

    def add(self, batch: dict, samples: list) -> None:
        """Take in the predictions of a batch."""
        if self.pictures is not None:
            self.pictures.after_test_iter(None, 0, batch, samples)
        for name, metrics in self.metrics.items():
            rule = DECISIONS[name]
            for sample in samples:
                content = sample.to_dict()
                if rule is not None:
                    logits = content['seg_logits']['data'][None]
                    if logits.shape[1] == 1:  # MMSegmentation keeps the sigmoid of one channel
                        logits = logits.logit(eps=1e-7)
                    content['pred_sem_seg'] = {'data': rule(logits)}
                for metric in metrics:
                    metric.process(batch, [content])

    def finish(self, size: int) -> None:
        """Write the scores of ``size`` images."""
        for name, metrics in self.metrics.items():
            for metric in metrics:
                metric.evaluate(size)
            if name != ARGMAX:
                self._calibration_of(name)

    def _calibration_of(self, decision: str) -> None:
        """A rule changes classes, not probabilities: only the means with its scores are new."""
        content = mmengine.load(self.folders[ARGMAX] / 'calibration.json')
        scores = mmengine.load(self.folders[decision] / 'imbalance.json')['scores']
        known = [content['scores']['cal'], scores['acc'], scores['mRecall']]
        cal, accuracy, recall = np.array(known, float)  # null, which is undefined, as nan
        content['scores']['S_acc'] = harmonic_mean(cal, accuracy)
        content['scores']['S_rec'] = harmonic_mean(cal, recall)
        write_json(self.folders[decision] / 'calibration.json', content)


def _built(configs: list[dict], decision: str, dataset_meta: Mapping) -> list[BaseMetric]:
    if decision != ARGMAX:
        configs = [config for config in configs if type_name(config) != 'CalibrationMetric']
    metrics = [METRICS.build(config) for config in configs]
    for metric in metrics:
        metric.dataset_meta = dict(dataset_meta)
    return metrics


class _Logits(Tensor):
    """Logits whose ``argmax`` over classes is ``max``'s: on a CPU 4 ms in place of 35 at 480x360."""

    def argmax(self, dim: int, keepdim: bool = False) -> Tensor:
        return self.max(dim, keepdim=keepdim).indices


def predicted(segmentor: nn.Module, batch: dict) -> list:
    """What ``segmentor.predict`` gives for a batch, whose data samples stay as they are."""
    samples = [sample.clone() for sample in batch['data_samples']]
    if type(segmentor).predict is not EncoderDecoder.predict:
        return segmentor.predict(batch['inputs'], samples)
    logits = segmentor.inference(batch['inputs'], [sample.metainfo for sample in samples])
    samples = segmentor.postprocess_result(logits.as_subclass(_Logits), samples)
    for sample in samples:
        for field in (sample.seg_logits, sample.pred_sem_seg):
            field.data = field.data.as_subclass(Tensor)
    return samples


@torch.no_grad()
def score_heads(
    segmentor: nn.Module,
    heads: Mapping[str, nn.Module],
    scorers: Mapping[str, Scorer],
    loader: DataLoader,
    on_batch: Callable[[int], None] = lambda images: None,
) -> None:
    """Predict with every head and let its scorer take it in.

    Predictions are those of the segmentor's own ``predict``, whole or by windows, at the size of
    the labels.

    Args:
        segmentor: Frozen.
        heads: By name.
        scorers: By the same names.
        loader: Of the split.
        on_batch: Called with the number of images done.
    """
    memo = FeatureMemo(segmentor)
    for head in heads.values():
        head.eval()
    for scorer in scorers.values():
        scorer.start(loader)
    done = 0
    try:
        for raw in loader:
            batch = segmentor.data_preprocessor(raw, False)
            memo.new_batch()
            for name, head in heads.items():
                memo.new_head()
                segmentor.decode_head = head
                scorers[name].add(raw, predicted(segmentor, batch))
            done += len(batch['data_samples'])
            on_batch(done)
    finally:
        memo.close()
    for scorer in scorers.values():
        scorer.finish(len(loader.dataset))
