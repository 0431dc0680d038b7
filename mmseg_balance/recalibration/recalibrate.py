"""From config and checkpoint to a calibrated checkpoint and a report of what it changed."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import CheckpointLoader, Runner, save_checkpoint
from mmengine.utils import ProgressBar
from mmseg.apis import init_model
from mmseg.registry import DATASETS
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from mmseg_balance.functional.calibration import calibration_scores
from mmseg_balance.functional.class_weights import class_priors
from mmseg_balance.functional.confidence_bins import calibration_sums
from mmseg_balance.functional.confusion import confusion_matrix, confusion_scores
from mmseg_balance.functional.temperature import TemperatureFit, fit_temperature, temperature_nll
from mmseg_balance.recalibration.folding import (
    check_folding,
    find_classifier,
    fold,
    folding_error,
    predicted_logits,
)
from mmseg_balance.recalibration.logit_map import LogitMap, prior_bias
from mmseg_balance.statistics import build_training_set, load_statistics

FIT_ON = ('half', 'first-half', 'all')
SCORES = ('cal', 'ECE', 'MCE', 'NLL', 'Brier', 'acc', 'mIoU', 'mRecall')


@dataclass(frozen=True)
class Settings:
    """What ``mmseg-balance calibrate`` is asked for.

    Attributes:
        fit_on: ``'half'``: fit on every second image of the validation set, measure on the others;
            ``'first-half'``: on the first half and the second, for frames of one video, whose
            neighbours are nearly the same image; ``'all'``: both on all of it.
        temperature: Fixed instead of fitted.
        prior_tau: Strength of the logit adjustment by the training priors; 0 for none.
        statistics: Training-set statistics for the priors: a path or ``'auto'``.
        ignore_index: Label to leave out; None takes the decode head's.
        num_bins: Bins of the calibration scores.
    """

    fit_on: str = 'half'
    temperature: float | None = None
    prior_tau: float = 0.0
    statistics: str = 'auto'
    ignore_index: int | None = None
    num_bins: int = 10


def recalibrate(config: Config, checkpoint: str, out: str, settings: Settings) -> dict:
    """Fit, measure, fold, and write the new checkpoint.

    Everything that can be refused is refused before the first pass over the data.

    Returns:
        ``temperature``, ``bias``, the ``before`` and ``after`` scores, ``changed`` pixels, the
        numbers of images, ``folding_error`` and, for a sigmoid head, its ``threshold``.
    """
    _check_settings(settings, out)
    model = init_model(copy.deepcopy(config), checkpoint, device=get_device())
    name, classifier = find_classifier(model)
    state = _weights_of(checkpoint, name, classifier)
    dataset = DATASETS.build(config.val_dataloader.dataset)
    fitted, measured = _split(len(dataset), settings.fit_on)
    loaders = [_loader(config, Subset(dataset, part)) for part in (fitted, measured)]
    probe = next(iter(_loader(config, Subset(dataset, measured[:1]))))
    check_folding(model, copy.deepcopy(probe))
    bias = _bias(config, settings, classifier.out_channels)
    if settings.ignore_index is None:
        settings = _with_ignore_index(settings, model)
    fit = _temperature(model, loaders[0], settings)
    logit_map = LogitMap(fit.temperature, bias)
    report = _measure(model, loaders[1], logit_map, settings)
    report |= {
        'temperature': fit.temperature,
        'bias': list(bias),
        'passes': fit.passes,
        'fitted_images': len(fitted) if settings.temperature is None else 0,
        'measured_images': len(measured),
        'held_out': settings.fit_on != 'all',
    }
    if classifier.out_channels == 1:
        report['threshold'] = logit_map.threshold(_head(model).threshold)
    before = _logits_of(model, probe)
    fold(classifier, logit_map)
    report['folding_error'] = folding_error(before, _logits_of(model, probe), logit_map)
    _save(state, name, classifier, report, out)
    return report


def _check_settings(settings: Settings, out: str) -> None:
    if settings.fit_on not in FIT_ON:
        raise ValueError(f'fit_on is {settings.fit_on!r}; it must be one of {", ".join(FIT_ON)}.')
    if settings.temperature is not None and not 0 < settings.temperature < float('inf'):
        raise ValueError(f'temperature is {settings.temperature}; it must be positive.')
    if not Path(out).resolve().parent.is_dir():
        raise ValueError(f'the folder of {out} does not exist; make it first.')


def _with_ignore_index(settings: Settings, model: nn.Module) -> Settings:
    index = _head(model).ignore_index
    return Settings(**{**vars(settings), 'ignore_index': 255 if index is None else index})


def _head(model: nn.Module) -> nn.Module:
    return (
        model.decode_head[-1]
        if isinstance(model.decode_head, nn.ModuleList)
        else (model.decode_head)
    )


def _weights_of(checkpoint: str, name: str, classifier: nn.Conv2d) -> dict:
    """Weights and meta of the file; the optimizer and all else belong to the old run."""
    content = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')
    weights = content.get('state_dict', content)
    weight = weights.get(f'{name}.weight')
    if weight is None or weight.shape != classifier.weight.shape:
        found = 'none' if weight is None else f'one of shape {tuple(weight.shape)}'
        raise ValueError(
            f'{checkpoint} should hold {name}.weight of shape {tuple(classifier.weight.shape)}, '
            f'and there is {found}: give the config that the checkpoint was trained with.'
        )
    return {'meta': dict(content.get('meta', {})), 'state_dict': dict(weights)}


def _split(size: int, fit_on: str) -> tuple[Sequence[int], Sequence[int]]:
    """Images to fit on and to measure on.

    Example:
        >>> _split(5, 'half')
        (range(1, 5, 2), range(0, 5, 2))
        >>> _split(5, 'first-half')
        (range(0, 2), range(2, 5))
    """
    if fit_on == 'all':
        return range(size), range(size)
    if size < 2:
        raise ValueError(f'the validation set has {size} image; fit on all of it.')
    if fit_on == 'half':
        return range(1, size, 2), range(0, size, 2)
    return range(size // 2), range(size // 2, size)


def _loader(config: Config, dataset: Subset) -> DataLoader:
    options = {**config.val_dataloader, 'dataset': dataset}
    options['sampler'] = dict(type='DefaultSampler', shuffle=False)
    options.pop('batch_sampler', None)
    options.setdefault('batch_size', 1)
    if len(dataset) == 1:
        options.update(num_workers=0, persistent_workers=False, prefetch_factor=None)
    return Runner.build_dataloader(options)


def _bias(config: Config, settings: Settings, out_channels: int) -> tuple[float, ...]:
    if not settings.prior_tau:
        return (0.0,) * out_channels
    training_set = build_training_set(config) if settings.statistics == 'auto' else None
    counts = load_statistics(settings.statistics, training_set)
    return prior_bias(class_priors(counts), settings.prior_tau, out_channels)


def _images(model: nn.Module, loader: DataLoader, task: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits ``(1, C, H, W)`` and labels ``(1, H, W)`` of each image, one after the other."""
    print(f'{task}, {len(loader.dataset)} images')
    bar = ProgressBar(len(loader.dataset))
    for batch in loader:
        for sample in predicted_logits(model, batch):
            if 'gt_sem_seg' not in sample:
                raise ValueError('the validation images have no labels to calibrate on.')
            logits = sample.seg_logits.data
            yield (
                logits[None],
                sample.gt_sem_seg.data.to(logits.device).reshape(1, *logits.shape[1:]),
            )
            bar.update()
    print()


def _temperature(model: nn.Module, loader: DataLoader, settings: Settings) -> TemperatureFit:
    if settings.temperature is not None:
        return TemperatureFit(settings.temperature, float('nan'), 0)

    def one_pass(temperatures: np.ndarray) -> np.ndarray:
        task = f'NLL at temperatures {temperatures[0]:.4g} to {temperatures[-1]:.4g}'
        nll = partial(
            temperature_nll, temperatures=temperatures, ignore_index=settings.ignore_index
        )
        return sum(nll(logits, labels) for logits, labels in _images(model, loader, task))

    return fit_temperature(one_pass)


def _measure(model: nn.Module, loader: DataLoader, logit_map: LogitMap, settings: Settings) -> dict:
    """Scores of the logits as they are and as mapped, in one pass."""
    threshold = _head(model).threshold if len(logit_map.bias) == 1 else None
    sums, changed, pixels = {}, 0, 0
    for logits, labels in _images(model, loader, 'Scores before and after'):
        versions = {
            'before': (logits, threshold),
            'after': (logit_map(logits), threshold and logit_map.threshold(threshold)),
        }
        predictions = {}
        for key, (scores, limit) in versions.items():
            pred = predictions[key] = _predict(scores, limit)
            parts = (
                calibration_sums(scores, labels, settings.num_bins, settings.ignore_index),
                confusion_matrix(pred, labels, scores.shape[1], settings.ignore_index),
            )
            old = sums.get(key)
            sums[key] = (
                parts if old is None else tuple(a + b for a, b in zip(old, parts, strict=True))
            )
        changed += int((predictions['before'] != predictions['after']).sum())
        pixels += predictions['before'].numel()
    report = {'changed': changed, 'pixels': pixels}
    for key, (calibration, confusion) in sums.items():
        scores = calibration_scores(calibration) | confusion_scores(confusion.cpu())
        report[key] = {name: scores[name] for name in SCORES}
    return report


def _predict(logits: Tensor, threshold: float | None) -> Tensor:
    if threshold is None:
        return logits.argmax(1)
    return (logits[:, 1].sigmoid() > threshold).long()


def _logits_of(model: nn.Module, batch: dict) -> list[Tensor]:
    return [sample.seg_logits.data for sample in predicted_logits(model, copy.deepcopy(batch))]


def _save(state: dict, name: str, classifier: nn.Conv2d, report: dict, out: str) -> None:
    state['state_dict'][f'{name}.weight'] = classifier.weight.detach().cpu()
    state['state_dict'][f'{name}.bias'] = classifier.bias.detach().cpu()
    state['meta']['calibration'] = {key: report[key] for key in ('temperature', 'bias')}
    save_checkpoint(state, out)


def summary(report: dict) -> str:
    """The report as a table and sentences."""
    where = 'images not fitted on' if report['held_out'] else 'images, the fitted ones'
    lines = [
        f'temperature {report["temperature"]:.4f}'
        + (
            f' (fitted on {report["fitted_images"]} images in {report["passes"]} passes)'
            if report['passes']
            else ' (given)'
        ),
        f'measured on {report["measured_images"]} {where}:',
        f'{"":10}{"before":>10}{"after":>10}',
    ]
    for name in SCORES:
        before, after = report['before'][name], report['after'][name]
        lines.append(f'{name:10}{before:10.4f}{after:10.4f}')
    lines.append(
        f'{report["changed"]} of {report["pixels"]} predictions changed; the folded model '
        f'differs from the formula by {report["folding_error"]:.1e} (relative)'
    )
    if 'threshold' in report:
        lines.append(
            f'to keep the predictions, set model.decode_head.threshold={report["threshold"]:.6f}'
        )
    return '\n'.join(lines)
