"""From a user's config, a loss file and a sampler file to the config of one run."""

import hashlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmseg_balance.experiments.numbers import at_least
from mmseg_balance.experiments.plan import Ingredient, Run
from mmseg_balance.experiments.run_folder import RunFolder
from mmseg_balance.runtime.config_files import (
    ConfigError,
    check_parts,
    override,
    read_config,
    type_name,
)
from mmseg_balance.statistics import mix_after_loading

MEASURES = ('ImbalanceMetric', 'CalibrationMetric')
LR = 'lr'  # the setting that is a factor of the learning rate
# Hooks that act on the config's own loss or sampler, and leave with it.
LOSS_HOOKS, SAMPLER_HOOKS = ('LossScheduleHook',), ('ClassPerformanceHook',)
# What counts iterations in a schedule of the learning rate; lists count one after another.
LENGTHS = ('begin', 'end', 'T_max', 'T_0', 'step_size', 'total_steps', 'milestones', 'periods')
CUSTOM_IMPORTS = ('mmseg_balance', 'mmseg_balance.experiments.prediction_hook')


def prepare_base(
    path: str | Path, cfg_options: dict[str, Any] | None = None, iters: int | None = None
) -> Config:
    """Loads the compared config, overrides it, and shortens it to ``iters`` iterations.

    Raises:
        ValueError: it is no config of a training, or ``iters`` does not fit it.
    """
    config = read_config(path)
    override(config, cfg_options)
    check_parts(config, 'model', 'train_cfg', 'optim_wrapper')
    if not config.model.get('decode_head'):
        raise ConfigError(
            f'model of {path}, {type_name(config.model)}, has no decode_head whose loss could be '
            'replaced: give the config that the segmentor is trained with'
        )
    config.work_dir = None
    config.load_from = config.get('load_from')
    config.resume = False
    if iters is not None:
        shorten(config, iters)
    return config


def shorten(config: Config, iters: int) -> None:
    """Sets the length of an iteration-based training; schedules and intervals keep their share.

    Raises:
        ValueError: ``iters`` is below 1, or the config counts epochs.
    """
    at_least('--iters', iters, 1)
    loop = config.train_cfg
    if loop.get('by_epoch') or 'max_iters' not in loop:
        raise ValueError(
            '--iters: the config counts epochs (train_cfg has no max_iters); '
            'use --cfg-options train_cfg.max_epochs=N instead.'
        )
    share = iters / loop.max_iters

    def scaled(value):
        if isinstance(value, list | tuple):
            return [scaled(part) for part in value]
        return max(1, min(iters, round(value * share)))

    loop.max_iters = iters
    loop.val_interval = scaled(loop.get('val_interval', iters))
    schedulers = config.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        if not scheduler.get('by_epoch', True):
            for key in LENGTHS:
                if scheduler.get(key):
                    scheduler[key] = scaled(scheduler[key])
    hooks = config.get('default_hooks', {})
    for name in ('checkpoint', 'logger'):
        if hooks.get(name) and hooks[name].get('interval', -1) > 0:
            hooks[name].interval = scaled(hooks[name].interval)


def merge_run(base: Config, run: Run) -> Config:
    """Puts the run's loss, sampler, settings and seed into a copy of the base config.

    Everything else (length, data, model, augmentation) stays as it is, and the seed fixes the
    initial weights and the order of the images: the runs differ in what is compared alone.

    Raises:
        ValueError: a file of the run does not set what it must, or a setting leads nowhere.
    """
    config = Config(deepcopy(base._cfg_dict), filename=base.filename)
    _set_loss(config, run.loss)
    _set_sampler(config, run.sampler)
    for name, value in run.settings.items():
        _change(config, name, value, run.loss.path)
    config.randomness = {**config.get('randomness', {}), 'seed': run.seed}
    checkpoint = config.get('default_hooks', {}).get('checkpoint')
    if checkpoint is not None:
        checkpoint.setdefault('max_keep_ckpts', 1)
    return config


def _set_loss(config: Config, loss: Ingredient) -> None:
    source = read_config(loss.path)
    if not isinstance(source.get('loss_decode'), list):
        raise ValueError(
            f'{loss.path}: loss_decode must be set to a list of dicts; got {source.get("loss_decode")!r}.'
        )
    heads = config.model.decode_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.loss_decode = deepcopy(source.loss_decode)
    if 'loss_decode' in config:
        config.loss_decode = deepcopy(source.loss_decode)
    _replace_hooks(config, source, LOSS_HOOKS)


def _set_sampler(config: Config, sampler: Ingredient) -> None:
    if sampler.path is None:
        return
    source = read_config(sampler.path)
    keys = [key for key in ('sampler', 'batch_sampler') if source.get(key)]
    if not keys:
        raise ValueError(
            f'{sampler.path}: sampler or batch_sampler must be set to a dict; neither is.'
        )
    config.train_dataloader.pop('batch_sampler', None)
    for key in keys:
        config.train_dataloader[key] = deepcopy(source[key])
    if source.get('paste'):
        config.train_dataloader.dataset = mix_after_loading(
            config.train_dataloader.dataset, [source.paste]
        )
    _replace_hooks(config, source, SAMPLER_HOOKS)


def _change(config: Config, name: str, value: Any, path: Path) -> None:
    """Set what a setting's name leads to, in every head of a cascade."""
    if name == LR:
        optimizer = config.optim_wrapper.get('optimizer') or {}
        if 'lr' not in optimizer:
            raise ValueError(
                f'--tune tries learning rates: set optim_wrapper.optimizer.lr in {config.filename}.'
            )
        optimizer['lr'] *= value
        return
    heads = config.model.decode_head
    *parents, last = name.split('.')
    for node in heads if isinstance(heads, list) else [heads]:
        try:
            for key in parents:
                node = node[int(key)] if isinstance(node, list | tuple) else node[key]
            node[int(last) if isinstance(node, list) else last] = value
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ValueError(
                f'{path}: search names {name!r}, and the head has no such place; the names start '
                "with 'loss_decode.0.'."
            ) from error


def _replace_hooks(config: Config, source: Config, leave: tuple[str, ...]) -> None:
    kept = [h for h in config.get('custom_hooks') or [] if type_name(h) not in leave]
    hooks = kept + deepcopy(source.get('custom_hooks') or [])
    if hooks or 'custom_hooks' in config:
        config.custom_hooks = hooks


def measures(evaluator, folder: Path) -> list[dict]:
    """ImbalanceMetric and CalibrationMetric that write what the report needs.

    Args:
        evaluator: of a config; one that it has keeps its other arguments.
        folder: gets imbalance.json, calibration.json and confusions.npz.
    """
    given = evaluator if isinstance(evaluator, list | tuple) else [evaluator or {}]
    own = {type_name(m): dict(m) for m in given if type_name(m) in MEASURES}
    files = {
        'ImbalanceMetric': dict(
            out_file=str(folder / 'imbalance.json'),
            per_image=True,
            save=str(folder / 'confusions.npz'),
        ),
        'CalibrationMetric': dict(out_file=str(folder / 'calibration.json')),
    }
    return [{**own.get(name, {}), 'type': name, **files[name]} for name in MEASURES]


def add_measures(config: Config, folder: RunFolder, images: list[str]) -> None:
    """Lets the test write what the report needs into the run's folder.

    Args:
        folder: of the run; gets the scores on test and predictions/.
        images: paths of the test images whose predictions are kept.
    """
    given = config.get('test_evaluator') or []
    given = [dict(m) for m in (given if isinstance(given, list | tuple) else [given])]
    others = [m for m in given if type_name(m) not in MEASURES]
    if not any(type_name(m) == 'IoUMetric' for m in others):
        others.insert(0, dict(type='IoUMetric', iou_metrics=['mIoU']))
    config.test_evaluator = others + measures(given, folder.scores('test'))
    config.custom_hooks = [
        *config.get('custom_hooks', []),
        dict(type='PredictionHook', images=images, out_dir=str(folder.path / 'predictions')),
    ]
    imports = config.get('custom_imports') or {}
    names = [*imports.get('imports', []), *CUSTOM_IMPORTS]
    config.custom_imports = {
        'allow_failed_imports': False,
        **imports,
        'imports': list(dict.fromkeys(names)),
    }


def dev_test(config: Config, folder: RunFolder) -> Config:
    """The config whose test scores dev, the config's validation data."""
    dev = Config(deepcopy(config._cfg_dict), filename=config.filename)
    dev.test_dataloader = dev.val_dataloader
    dev.test_evaluator = measures(config.get('val_evaluator'), folder.scores('dev'))
    dev.custom_hooks = [h for h in config.custom_hooks if type_name(h) != 'PredictionHook']
    return dev


def fingerprint(config: Config, without_loss: bool = False) -> str:
    """Hash of everything that a config sets, 12 hexadecimal digits.

    Args:
        without_loss: leaves out the main head's loss: equal for runs that may be compared.
    """
    content = deepcopy(config._cfg_dict.to_dict())
    content.pop('work_dir', None)
    if without_loss:
        content.pop('loss_decode', None)
        heads = content['model']['decode_head']
        for head in heads if isinstance(heads, list) else [heads]:
            head.pop('loss_decode', None)
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
