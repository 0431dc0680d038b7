"""Checks of arguments, each with a sentence that names the argument."""

import torch
from torch import Tensor


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """The value if it is allowed, else a ValueError that names the argument.

    Example:
        >>> one_of('over', 'batch', ('batch', 'image'))
        'batch'
    """
    if value not in allowed:
        raise ValueError(f'{name}={value!r} must be {" or ".join(map(repr, allowed))}.')
    return value


def json_name(name: str, path: str | None) -> str | None:
    """The path if it ends in .json, or None, else a ValueError that names the argument.

    Example:
        >>> json_name('out_file', 'work_dirs/run/scores.json')
        'work_dirs/run/scores.json'
    """
    if path is not None and not str(path).endswith('.json'):
        raise ValueError(f'{name}={path!r} must end in .json.')
    return path


def not_negative(name: str, value: float) -> float:
    """The value if it is at least 0, else a ValueError that names the argument.

    Example:
        >>> not_negative('smooth', 1.0)
        1.0
    """
    if not value >= 0:
        raise ValueError(f'{name}={value!r} must not be negative.')
    return value


def positive(name: str, value: float) -> float:
    """The value if it is above 0, else a ValueError that names the argument.

    Example:
        >>> positive('power', 2)
        2
    """
    if not value > 0:
        raise ValueError(f'{name}={value!r} must be above 0.')
    return value


def below_one(name: str, value: float) -> float:
    """The value if it is in [0, 1), else a ValueError that names the argument.

    Example:
        >>> below_one('momentum', 0.9)
        0.9
    """
    if not 0 <= value < 1:
        raise ValueError(f'{name}={value!r} must be in [0, 1).')
    return value


def check_per_class(name: str, values: Tensor | None, num_classes: int) -> None:
    """Raise ValueError unless there is a number for each class: a single one would broadcast.

    A TypeError for a list or an array, which has no device.

    Args:
        name: of the argument.
        values: ``(C,)``, or None.
        num_classes: number of classes C, two for one channel.

    Example:
        >>> check_per_class('class_weight', torch.ones(3), 3)
        >>> check_per_class('class_weight', torch.ones(1), 3)
        Traceback (most recent call last):
        ValueError: class_weight has 1 entries for 3 classes: give one per class.
    """
    if values is not None and not torch.is_tensor(values):
        raise TypeError(
            f'{name}={values!r} must be a tensor: torch.tensor(…, device=logits.device).'
        )
    if values is not None and values.shape[-1:] != (num_classes,):
        raise ValueError(
            f'{name} has {values.numel()} entries for {num_classes} classes: give one per class.'
        )
