"""Config files: what is not one is named in a sentence before MMEngine reads it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.utils import ConfigParsingError
from mmengine.utils import import_modules_from_strings

SUFFIXES = ('.py', '.yml', '.yaml', '.json')  # what MMEngine reads
PACKAGES = ('mmseg_balance', 'mmseg', 'mmengine', 'mmcv', 'torch')
CHECKPOINTS = ('.pth', '.pt', '.ckpt', '.safetensors')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
PARTS = ('model', 'train_cfg', 'optim_wrapper', 'default_hooks', *LOADERS)
# The least that each can be.
WHOLE_NUMBERS = {
    'train_cfg': {'max_iters': 1, 'max_epochs': 1, 'val_interval': 1},
    **{key: {'batch_size': 1, 'num_workers': 0} for key in LOADERS},
}


class ConfigError(ValueError):
    """A file that is no config; the message names it and the remedy."""


def read_config(path: str | Path, import_custom_modules: bool = True) -> Config:
    """Read a config.

    The types of a pure Python config come by their names, as MMEngine dumps them
    (``'mmseg.models.FCNHead'``): registries know both, and names compare and can be copied.

    Args:
        path: Of the file.
        import_custom_modules: Whether to do what its ``custom_imports`` asks for.

    Raises:
        ConfigError: The file or one of its bases is missing, or it is no config, as where config
            and checkpoint are swapped, or its Python cannot be read or is not what MMEngine takes.
    """
    if not Path(path).is_file():
        raise ConfigError(f'there is no config {path} (looked from {os.getcwd()})')
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        remedy = (
            'a checkpoint comes after the config'
            if suffix in CHECKPOINTS
            else f'a config is one of {", ".join(SUFFIXES)}'
        )
        raise ConfigError(f'{path} is not a config: {remedy}')
    try:
        config = Config.fromfile(str(path), import_custom_modules=False)
    except FileNotFoundError as error:
        raise ConfigError(
            f'{path}: a file that it inherits is not there: {error.filename or error}'
        ) from error
    except SyntaxError as error:
        raise ConfigError(
            f'{path} or a file that it inherits is no Python: {error.msg}, line {error.lineno}: '
            f'{(error.text or "").strip()}'
        ) from error
    except ConfigParsingError as error:
        raise ConfigError(
            f'{path} or a file that it inherits is no config that MMEngine reads: {error}'
        ) from error
    except Exception as error:  # a config is a program: it may raise anything
        first = str(error).strip().partition('\n')[0]
        raise ConfigError(
            f'{path} or a file that it inherits cannot be read: {type(error).__name__}: {first}'
        ) from error
    if not is_pure_python(path):
        if import_custom_modules:
            _import_custom_modules(config)
        return config
    return Config(config.to_dict(), cfg_text=config.text, filename=config.filename)


def _import_custom_modules(config: Config) -> None:
    """Do what ``custom_imports`` asks for; an error inside a module keeps its traceback."""
    try:
        import_modules_from_strings(**(config.get('custom_imports') or {'imports': []}))
    except ImportError as error:
        raise ConfigError(
            f'custom_imports of {config.filename}: {error.__context__ or error}; install the package, or '
            'set PYTHONPATH to the folder of the module'
        ) from error


def override(config: Config, options: Mapping[str, Any] | None) -> None:
    """Change entries of a config as ``--cfg-options`` says.

    Raises:
        ConfigError: One of them leads nowhere, or a main entry has a value that it cannot have.
    """
    try:
        config.merge_from_dict(dict(options or {}))
    except (KeyError, TypeError) as error:
        given = ' '.join(f'{key}={value}' for key, value in options.items())
        raise ConfigError(
            f'--cfg-options {given}: {error.args[0]}; give keys that {config.filename} has, as in '
            'model.decode_head.dropout_ratio=0'
        ) from error
    _check_main_entries(config)


def _check_main_entries(config: Config) -> None:
    """What all else takes for granted: parts are dicts, lengths and sizes are whole numbers."""
    for key in PARTS:
        part = config.get(key)
        if isinstance(part, (str, int, float)):
            raise ConfigError(f'{key}={part!r} of {config.filename}: give a dict')
        for name, least in WHOLE_NUMBERS.get(key, {}).items() if isinstance(part, Mapping) else ():
            value = part.get(name)
            if value is not None and not (_is_whole(value) and int(value) >= least):
                raise ConfigError(
                    f'{key}.{name}={value!r} of {config.filename}: give a whole number of at least {least}'
                )


def check_parts(config: Config, *parts: str) -> None:
    """Raise ConfigError for a main entry that is not set."""
    for part in parts:
        if not config.get(part):
            raise ConfigError(f'{config.filename} has no {part}: give the config of a training')


def _is_whole(value: Any) -> bool:
    try:
        return int(value) == float(value)
    except (ValueError, TypeError, OverflowError):
        return False


def is_pure_python(path: str | Path) -> bool:
    """Whether MMEngine reads the config as Python with imports, which no text config can inherit."""
    return Path(path).suffix == '.py' and Config._is_lazy_import(str(path))


def type_name(part: Mapping) -> str:
    """Name of the type that a part of a config gives, without scope or module.

    Names of other packages stay whole: ``'mmdet.CrossEntropyLoss'`` is not MMSegmentation's.

    >>> type_name({'type': 'mmseg.CrossEntropyLoss'}), type_name({'type': 'torch.optim.AdamW'})
    ('CrossEntropyLoss', 'AdamW')
    """
    kind = part.get('type', '')
    if isinstance(kind, type):
        return kind.__name__
    name = str(kind)
    return name.rpartition('.')[2] if name.partition('.')[0] in PACKAGES else name
