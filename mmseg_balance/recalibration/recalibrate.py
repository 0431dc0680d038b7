"""From config and checkpoint to a calibrated checkpoint and a report of what it changed."""

import copy
from dataclasses import replace

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import BaseTTAModel
from mmengine.runner import load_state_dict
from mmseg.apis import init_model
from mmseg.registry import DATASETS
from torch import nn

from mmseg_balance.functional.class_weights import class_priors
from mmseg_balance.recalibration.fitting import fit_map
from mmseg_balance.recalibration.folding import find_foldable, fold, folding_error, image_logits
from mmseg_balance.recalibration.images import groups_of, images_of, loader_of, measure
from mmseg_balance.recalibration.judgement import gain, verdict
from mmseg_balance.recalibration.logit_map import LogitMap, prior_bias
from mmseg_balance.recalibration.partition import Partition, fold_of_groups, partition
from mmseg_balance.recalibration.pixel_sample import PixelSample, draw_pixels
from mmseg_balance.recalibration.settings import JUDGES, Settings, check_settings
from mmseg_balance.runtime.atomic_files import atomic_write
from mmseg_balance.runtime.checkpoints import check_fit, read_weights
from mmseg_balance.runtime.models import final_head
from mmseg_balance.statistics import build_training_set, load_statistics

SCORES = ('cal', 'ECE', 'MCE', 'NLL', 'Brier', 'acc', 'mIoU', 'mIoU_I', 'mIoU_C', 'mRecall')


def recalibrate(config: Config, checkpoint: str, out: str, settings: Settings) -> dict:
    """Fit, judge on images that were not fitted on, and write the new checkpoint if it is better.

    Everything that can be refused is refused before the first pass over the data.

    Returns:
        ``written``, and if not, ``reason``; ``scale``, ``bias``, ``temperature`` (None unless there
        is one for all classes); the ``before`` and ``after`` scores and the ``gains`` (mean, low,
        high); ``changed`` predictions among ``pixels``; the numbers of images and groups;
        ``folding_error`` and, for a sigmoid head, its ``threshold``.
    """
    check_settings(settings, checkpoint, out)
    if not config.get('model'):
        raise ValueError(
            'the config has no model; give the one that the checkpoint was trained with.'
        )
    if config.get('val_dataloader') is None:
        raise ValueError(
            'the config has no val_dataloader, on whose images a change is fitted and judged.'
        )
    weights, meta = read_weights(checkpoint)  # the optimizer and all else belong to the old run
    # Without the checkpoint: init_model wants a meta that a prediction does not need.
    model = init_model(copy.deepcopy(config), device=get_device())
    if isinstance(model, BaseTTAModel):  # as DecisionSegmentor, which has no weights of its own
        model = model.module
    check_fit(model, checkpoint, weights)
    load_state_dict(model, weights)
    dataset = DATASETS.build(config.val_dataloader.dataset)
    part = partition(groups_of(dataset, settings.groups), settings.fit_on)
    probe = next(iter(loader_of(config, dataset, part.measured[:1])))
    name, classifier = find_foldable(model, probe)
    settings = _with_ignore_index(settings, model)
    prior = _prior(config, settings, classifier.out_channels)
    threshold = final_head(model).threshold if classifier.out_channels == 1 else None
    sample = draw_pixels(
        images_of(model, loader_of(config, dataset, part.fitted), 'Pixels to fit on'),
        part.fitted,
        settings.ignore_index,
    )
    logit_map, maps = _maps(sample, part, settings, prior, threshold)
    before, after, changed = measure(
        model,
        loader_of(config, dataset, part.measured),
        maps,
        threshold,
        settings.ignore_index,
        settings.num_bins,
    )
    measured_groups = part.groups[part.measured]
    gains = {judge: gain(before.sums, after.sums, judge, measured_groups) for judge in JUDGES}
    reason = verdict(gains, settings.judge, settings.accuracy_drop)
    report = {
        'written': reason is None,
        'reason': reason,
        **_about(settings, logit_map, part),
        'before': before.scores(SCORES),
        'after': after.scores(SCORES),
        'gains': {key: [one.mean, one.low, one.high] for key, one in gains.items()},
        'changed': changed,
        'pixels': int(after.sums.pixels.sum()),
    }
    if threshold is not None:
        report['threshold'] = logit_map.threshold(threshold)
    expected = image_logits(model, probe)
    fold(classifier, logit_map)
    report['folding_error'] = folding_error(expected, image_logits(model, probe), logit_map)
    if report['written']:
        _save(dict(meta=meta, state_dict=weights), name, classifier, report, out)
    return report


def _about(settings: Settings, logit_map: LogitMap, part: Partition) -> dict:
    """What was fitted, and on how much it was fitted and measured."""
    return {
        'judge': settings.judge,
        'method': settings.method,
        'scale': list(logit_map.scale),
        'bias': list(logit_map.bias),
        'temperature': 1 / logit_map.scale[0] if settings.method == 'temperature' else None,
        'fitted_images': len(part.fitted),
        'measured_images': len(part.measured),
        'measured_groups': len(np.unique(part.groups[part.measured])),
        'cross_fitted': part.cross_fitted,
    }


def _maps(
    sample: PixelSample,
    part: Partition,
    settings: Settings,
    prior: tuple[float, ...],
    threshold: float | None,
) -> tuple[LogitMap, list[LogitMap]]:
    """The map to write, and the map under which each measured image is judged."""
    limit = 0.5 if threshold is None else threshold
    whole = fit_map(sample, part.groups, settings, prior, limit)
    if not part.cross_fitted:
        return whole, [whole] * len(part.measured)
    fold = fold_of_groups(part.groups)
    without = [
        fit_map(sample.of(fold[sample.image] != held_out), part.groups, settings, prior, limit)
        for held_out in range(fold.max() + 1)
    ]
    return whole, [without[number] for number in fold]


def _with_ignore_index(settings: Settings, model: nn.Module) -> Settings:
    if settings.ignore_index is not None:
        return settings
    index = final_head(model).ignore_index
    return replace(settings, ignore_index=255 if index is None else index)


def _prior(config: Config, settings: Settings, out_channels: int) -> tuple[float, ...]:
    if not settings.prior_tau:
        return (0.0,) * out_channels
    training_set = build_training_set(config) if settings.statistics == 'auto' else None
    counts = load_statistics(settings.statistics, training_set)
    return prior_bias(class_priors(counts), settings.prior_tau, out_channels)


def _save(state: dict, name: str, classifier: nn.Conv2d, report: dict, out: str) -> None:
    state['state_dict'][f'{name}.weight'] = classifier.weight.detach().cpu()
    state['state_dict'][f'{name}.bias'] = classifier.bias.detach().cpu()
    state['meta']['calibration'] = {
        key: report[key] for key in ('method', 'temperature', 'scale', 'bias')
    }
    with atomic_write(out) as file:
        torch.save(state, file)


def summary(report: dict) -> str:
    """The report as a table and sentences."""
    if report['temperature'] is not None:
        lines = [f'temperature {report["temperature"]:.4f}']
    else:
        scale, bias = (' '.join(f'{v:.3f}' for v in report[key]) for key in ('scale', 'bias'))
        lines = [f'scale {scale}', f'bias {bias}']
    lines[0] += f' ({report["method"]}, fitted on {report["fitted_images"]} images)'
    how = 'each under the map fitted without its group' if report['cross_fitted'] else 'not fitted'
    lines += [
        f'measured on {report["measured_images"]} images ({how}) in '
        f'{report["measured_groups"]} groups:',
        f'{"":10}{"before":>10}{"after":>10}   difference with 95 % interval',
    ]
    for name in SCORES:
        line = f'{name:10}{report["before"][name]:10.4f}{report["after"][name]:10.4f}'
        if name in report['gains']:
            mean, low, high = report['gains'][name]
            if name == 'NLL':
                mean, low, high = -mean, -high, -low
            line += f'   {mean:+.4f} [{low:+.4f}, {high:+.4f}]'
        lines.append(line)
    lines.append(
        f'{report["changed"]} of {report["pixels"]} predictions changed; the folded model '
        f'differs from the formula by {report["folding_error"]:.1e} (relative)'
    )
    if not report['written']:
        lines.append(f'nothing to gain: {report["reason"]}; nothing is written')
    elif 'threshold' in report:
        lines.append(
            f'to keep the predictions, set model.decode_head.threshold={report["threshold"]:.6f}'
        )
    return '\n'.join(lines)
