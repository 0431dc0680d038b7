"""What the run needs around model and data."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from mmseg.registry import (
    DATA_SAMPLERS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASK_UTILS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
)

from mmseg_balance.doctor import config_view as view
from mmseg_balance.doctor.findings import Finding, advice, error, warning
from mmseg_balance.doctor.fixes import REGISTER
from mmseg_balance.doctor.reading import Reading

LONG = 20_000  # iterations
OURS = 'mmseg_balance'
KEYS = (
    *('model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg'),
    *('test_cfg', 'auto_scale_lr', 'optim_wrapper', 'param_scheduler', 'val_evaluator'),
    *('test_evaluator', 'default_hooks', 'custom_hooks', 'custom_imports', 'data_preprocessor'),
    *('env_cfg', 'log_processor', 'visualizer', 'default_scope', 'randomness', 'work_dir'),
    *('load_from', 'resume', 'launcher', 'log_level', 'vis_backends', 'train_pipeline'),
    *('test_pipeline', 'val_pipeline', 'optimizer', 'tta_model', 'tta_pipeline', 'norm_cfg'),
)
NEARLY = 0.88


def custom_imports(reading: Reading) -> Iterator[Finding]:
    """``custom_imports`` cannot be imported."""
    if reading.import_error:
        yield error(
            'custom_imports',
            f'{reading.import_error}; the model and what depends on it are not looked at',
            'install the package that it names, such as mmpretrain or mmdet',
        )


def plugin_imported(reading: Reading) -> Iterator[Finding]:
    """Losses, hooks or samplers of this package without ``custom_imports``."""
    imports = reading.config.get('custom_imports') or {}
    if any(str(name).split('.')[0] == OURS for name in view.listed(imports.get('imports'))):
        return
    ours = sorted(
        {
            view.type_name(part)
            for registry, part in _every_part(reading)
            if not str(part.get('type')).startswith(
                f'{OURS}.'
            )  # a name with its module is imported
            and getattr(view.registered(registry, part), '__module__', '').startswith(OURS)
        }
    )
    if ours:
        yield error(
            'custom_imports',
            f'{", ".join(ours)}: of mmseg_balance, which the config does not import; the training '
            'says "not in the registry"',
            fix=REGISTER,
        )


def registered_names(reading: Reading) -> Iterator[Finding]:
    """A type that no registry has."""
    if reading.import_error:
        return
    for key, registry, part in _parts(reading):
        kind = part.get('type')
        if isinstance(kind, str) and '.' in kind.removeprefix('mmseg.'):
            continue  # of another package, whose absence stops the model from being built
        if isinstance(kind, str) and view.registered(registry, part) is None:
            near = difflib.get_close_matches(kind, _names(registry), n=3)
            yield error(
                f'{key}.type',
                f'{kind!r} is not registered',
                f'the nearest names are {", ".join(near) or "none"}; if it is '
                'your own, import its module with custom_imports',
            )


def _names(registry) -> list[str]:
    """What a registry and the one that it falls back to have."""
    return [*registry.module_dict, *getattr(registry.parent, 'module_dict', ())]


def _every_part(reading: Reading) -> Iterator[tuple[object, Mapping]]:
    """Registry and config of whatever a training or test may take from this package."""
    for part in view.typed_parts(reading.config.get('model')):
        yield from ((registry, part) for registry in (MODELS, TASK_UTILS))
    yield from ((registry, part) for _, registry, part in _parts(reading))


def _parts(reading: Reading) -> Iterator[tuple[str, object, Mapping]]:
    """Key, registry and config of every part of the run that is given as a dict."""
    return (one for one in _possible_parts(reading) if isinstance(one[2], Mapping))


def _possible_parts(reading: Reading) -> Iterator[tuple[str, object, Any]]:
    """Key, registry and config of losses, hooks, samplers, transforms, metrics, loops and the like."""
    config = reading.config
    for head in reading.heads:
        yield head.key, MODELS, head.config
        yield from ((loss.key, MODELS, loss.config) for loss in head.losses)
    yield from ((key, HOOKS, hook) for key, hook in view.hooks_of(config))
    for split in ('train', 'val', 'test'):
        loader = view.loader_of(config, split)
        for name in ('sampler', 'batch_sampler'):
            yield f'{split}_dataloader.{name}', DATA_SAMPLERS, loader.get(name)
        yield from ((key, view.DATASETS, leaf) for key, leaf in view.leaf_datasets(config, split))
        yield from ((key, TRANSFORMS, step) for key, step in view.steps_of(config, split))
        yield from ((key, METRICS, metric) for key, metric in view.metrics_of(config, split))
        yield f'{split}_cfg', LOOPS, config.get(f'{split}_cfg')
    wrapper = config.get('optim_wrapper')
    yield 'optim_wrapper', OPTIM_WRAPPERS, wrapper
    if isinstance(wrapper, Mapping):
        yield 'optim_wrapper.optimizer', OPTIMIZERS, wrapper.get('optimizer')
    yield from ((key, PARAM_SCHEDULERS, one) for key, one in view.schedulers_of(config))
    yield 'visualizer', VISUALIZERS, config.get('visualizer')
    for index, backend in enumerate(view.listed(config.get('vis_backends'))):
        yield f'vis_backends.{index}', VISBACKENDS, backend


def misspelt_keys(reading: Reading) -> Iterator[Finding]:
    """A key of the config that nothing reads, one letter from one that is."""
    for key, value in reading.config.items():
        near = difflib.get_close_matches(key, KEYS, n=1, cutoff=NEARLY)
        if key not in KEYS and near and isinstance(value, (Mapping, list)):
            yield warning(
                key,
                f'nothing reads it: what it sets has no effect. Is it {near[0]!r}?',
                f'rename it to {near[0]}, or to something less like it if it is a variable',
            )


def sync_bn(reading: Reading) -> Iterator[Finding]:
    """SyncBN where one process trains."""
    if reading.gpus == 1 and view.has_type(reading.config.get('model'), 'SyncBN'):
        yield advice(
            'model',
            'SyncBN on one GPU is plain batch norm over the images of one batch'
            f' ({reading.batch_size}); mmseg-balance train of this package replaces it on a CPU',
            "norm_cfg = dict(type='BN', requires_grad=True) in the model says what happens",
        )


def slow_resume(reading: Reading) -> Iterator[Finding]:
    """A long run that loads all earlier batches again when it is resumed."""
    loop = reading.config.get('train_cfg') or {}
    if view.type_name(loop) == 'IterBasedTrainLoop' and (loop.get('max_iters') or 0) >= LONG:
        yield advice(
            'train_cfg.type',
            f'IterBasedTrainLoop: a run that is resumed near its end loads up to '
            f'{loop["max_iters"]} batches again first',
            fix={'train_cfg.type': 'FastResumeTrainLoop', **REGISTER},
        )


def seed(reading: Reading) -> Iterator[Finding]:
    """No seed."""
    randomness = reading.config.get('randomness') or {}
    if randomness.get('seed') is None:
        yield advice(
            'randomness.seed',
            'not set: every run starts from other weights and another order of images, and its '
            'score cannot be had again',
            fix={'randomness.seed': 0},
        )
