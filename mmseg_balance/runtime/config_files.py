"""Config files: what is not one is named in a sentence before MMEngine reads it."""

import os
from pathlib import Path

from mmengine.config import Config

SUFFIXES = ('.py', '.yml', '.yaml', '.json')  # what MMEngine reads
CHECKPOINTS = ('.pth', '.pt', '.ckpt', '.safetensors')


class ConfigError(ValueError):
    """A file that is no config; the message names it and the remedy."""


def read_config(path: str | Path, import_custom_modules: bool = True) -> Config:
    """Read a config.

    Args:
        path: Of the file.
        import_custom_modules: Whether to do what its ``custom_imports`` asks for.

    Raises:
        ConfigError: The file or one of its bases is missing, or it is no config, as where config
            and checkpoint are swapped.
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
        return Config.fromfile(str(path), import_custom_modules=import_custom_modules)
    except FileNotFoundError as error:
        raise ConfigError(
            f'{path}: a file that it inherits is not there: {error.filename or error}'
        ) from error
