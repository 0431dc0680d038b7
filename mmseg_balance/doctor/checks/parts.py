"""The parts of a run besides model and data: are they all there, and do they take what they are given?"""

import inspect
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, TestLoop, ValLoop
from mmseg.evaluation import IoUMetric
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import LOOPS, METRICS, MODELS

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, error, not_built
from mmseg_balance.doctor.reading import Reading
from mmseg_balance.runtime.config_files import LOADERS

PARTS_OF_SPLITS = {
    'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'val': ('val_dataloader', 'val_cfg', 'val_evaluator'),
    'test': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}
IOU_METRICS = ('mIoU', 'mDice', 'mFscore')
GIVEN_BY_RUNNER = ('self', 'runner', 'dataloader', 'evaluator')


def split_parts(reading: Reading) -> Iterator[Finding]:
    """Training, validation or test has some of its parts and lacks others."""
    for parts in PARTS_OF_SPLITS.values():
        lacking = [name for name in parts if reading.config.get(name) is None]
        if 0 < len(lacking) < len(parts):
            there = [name for name in parts if name not in lacking]
            yield error(
                lacking[0],
                f'{" and ".join(lacking)}: not set, and {" and ".join(there)} set; MMEngine takes all '
                'three or none',
                f'set all of {", ".join(parts)}, or all to None',
            )


def loop_arguments(reading: Reading) -> Iterator[Finding]:
    """A loop is given an argument that it does not know, or lacks one."""
    for split in PARTS_OF_SPLITS:
        key, loop = f'{split}_cfg', reading.config.get(f'{split}_cfg')
        kind = _loop_type(loop, split)
        if not isinstance(kind, type):
            continue
        known = inspect.signature(kind).parameters
        known = {name: one for name, one in known.items() if name not in GIVEN_BY_RUNNER}
        if any(one.kind is one.VAR_KEYWORD for one in known.values()):
            continue
        given = set(loop) - {'type', 'by_epoch', '_scope_'}
        wrong = sorted(given - set(known))
        needed = [name for name, one in known.items() if one.default is one.empty]
        missing = [name for name in needed if name not in given]
        if wrong or missing:
            what = [f'it has no argument {name}' for name in wrong]
            what += [f'it needs {name}' for name in missing]
            yield error(
                key, f'{kind.__name__}: {", and ".join(what)}', f'it takes {", ".join(known)}'
            )


def _loop_type(loop: Any, split: str) -> type | None:
    """What MMEngine builds of ``train_cfg`` and the like; None if that is not known."""
    if not isinstance(loop, Mapping):
        return None
    if 'type' in loop:
        return view.registered(LOOPS, loop)
    if split != 'train':
        return ValLoop if split == 'val' else TestLoop
    if 'by_epoch' not in loop:
        return None
    return EpochBasedTrainLoop if loop['by_epoch'] else IterBasedTrainLoop


def persistent_workers(reading: Reading) -> Iterator[Finding]:
    """Workers are to persist, or to fetch ahead, in a loader that has none."""
    for name in LOADERS:
        loader = reading.config.get(name)
        given = loader if isinstance(loader, Mapping) else {}
        for option, without in (('persistent_workers', False), ('prefetch_factor', None)):
            if given.get(option) and not given.get('num_workers'):
                yield error(
                    f'{name}.{option}',
                    f'{given[option]}, and num_workers is 0: PyTorch refuses such a loader',
                    fix={f'{name}.{option}': without},
                )


def slide_mode(reading: Reading) -> Iterator[Finding]:
    """``model.test_cfg`` has no mode, or not what its mode needs."""
    model = reading.config.get('model') or {}
    kind = view.registered(MODELS, model)
    evaluated = any(reading.config.get(name) for name in LOADERS[1:])
    if not (evaluated and isinstance(kind, type) and issubclass(kind, EncoderDecoder)):
        return
    mode = (model.get('test_cfg') or {}).get('mode')
    if mode not in ('whole', 'slide'):
        yield error(
            'model.test_cfg.mode',
            f'{mode!r}: the first validation or test fails',
            "'whole' predicts an image at once, 'slide' in windows",
        )
    elif mode == 'slide':
        for name in ('stride', 'crop_size'):
            value = model['test_cfg'].get(name)
            if not isinstance(value, (tuple, list)) or len(value) != 2:
                yield error(
                    f'model.test_cfg.{name}',
                    f"{value!r}, and mode='slide' needs height and width: the first validation or test "
                    'fails',
                    "as in stride=(341, 341), crop_size=(512, 512); or mode='whole'",
                )


def evaluators_build(reading: Reading) -> Iterator[Finding]:
    """A metric cannot be built, or is asked for a score that it does not have."""
    if reading.import_error:
        return
    for key, metric in (one for s in ('val', 'test') for one in view.metrics_of(reading.config, s)):
        if view.registered(METRICS, metric) is None:
            continue  # the check of names reports it
        content = {k: v for k, v in metric.items() if k != 'output_dir'}  # which would be made
        try:
            built = METRICS.build(deepcopy(content))
        except Exception as problem:  # constructors raise whatever they like
            yield not_built(key, problem)
            continue
        asked = view.listed(built.metrics) if isinstance(built, IoUMetric) else []
        unknown = [name for name in asked if name not in IOU_METRICS]
        if unknown:
            yield error(
                f'{key}.iou_metrics',
                f'{unknown[0]!r} is no score of IoUMetric: KeyError after the first validation',
                f'it has {", ".join(IOU_METRICS)}',
            )


def weights_missing(reading: Reading) -> Iterator[Finding]:
    """A local file of weights is not there."""
    named = list(_weights(reading.config.get('model'), 'model'))
    for key, path in [('load_from', reading.config.get('load_from')), *named]:
        local = isinstance(path, str) and path and '://' not in path
        if local and not Path(path).expanduser().is_file():
            yield error(
                key,
                f'{path}: there is no such file (looked from {Path.cwd()})',
                'give the path of a file, an address, or None to start without',
            )


def _weights(part: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Key and name of every checkpoint that the model starts from."""
    if isinstance(part, (list, tuple)):
        for index, one in enumerate(part):
            yield from _weights(one, f'{key}.{index}')
    elif isinstance(part, Mapping):
        for name, value in part.items():
            if name == 'pretrained' or (name == 'checkpoint' and key.endswith('init_cfg')):
                yield f'{key}.{name}', value
            else:
                yield from _weights(value, f'{key}.{name}')
