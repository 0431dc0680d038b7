"""Ways to call the Triton kernels: class counts, dtypes, layouts and powers that matter."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from mmseg_balance.functional.labels import sum_by_label
from mmseg_balance.functional.logits import UpsampledLogits
from mmseg_balance.functional.max_pooling import max_pool_weights
from mmseg_balance.functional.primitives import overlap_sums, pixel_nll, pixel_nll_and_overlap_sums


class Case(NamedTuple):
    """One way to call the kernels.

    Args:
        name: of the row.
        classes: C.
        run: calls the functions.
        quick: whether it is also checked for the capabilities that are checked briefly.
    """

    name: str
    classes: int
    run: Callable[[], None]
    quick: bool = False


def cases() -> list[Case]:
    """Class counts, widths, dtypes, layouts and powers that matter."""
    found = []
    for classes in (2, 19, 60, 150, 171, 1000):
        for dtype, width, last in _variants(classes):
            name = f'C = {classes}, {str(dtype).removeprefix("torch.")}'
            name += ', channels-last' * last + ', odd width' * (width % 2)
            quick = name.endswith('float32') and classes in (19, 150)
            found.append(Case(name, classes, _dense(classes, dtype, width, last), quick))
    found += [Case(f'C = {c}, float32, pair', c, _pair(c)) for c in (19, 150)]
    found.append(Case('C = 150, float32, upsampled', 150, _upsampled(150)))
    for dtype, power, weighted in ((torch.bfloat16, 2, False), (torch.float32, 1.5, True)):
        name = (
            f'C = 150, {str(dtype).removeprefix("torch.")}, power {power}' + ', weighted' * weighted
        )
        found.append(Case(name, 150, _powers(150, dtype, power, weighted)))
    found += [Case(f'C = {c}, sums by label', c, _label_sums(c)) for c in (19, 1024)]
    found.append(Case('p = 1', 1, _max_pooling(1)))
    found.append(Case('p = 1.3', 1, _max_pooling(1.3)))
    return found


def _variants(classes: int) -> Iterator[tuple[torch.dtype, int, bool]]:
    """dtype, width, channels-last."""
    yield torch.float32, 32, False
    if classes in (19, 150):
        yield torch.float16, 32, False
        yield torch.float32, 33, False
        yield torch.float32, 32, True
        yield torch.float16, 33, True


def _dense(classes: int, dtype: torch.dtype, width: int, last: bool) -> Callable[[], None]:
    def run() -> None:
        logits, labels = _batch(classes, dtype, width, last)
        pixel_nll(logits, labels).sum().backward()
        _sum_up(overlap_sums(logits, labels))

    return run


def _pair(classes: int) -> Callable[[], None]:
    def run() -> None:
        nll, sums = pixel_nll_and_overlap_sums(*_batch(classes, torch.float32, 32, False))
        (nll.sum() + sums[0].sum() + sums[1].sum()).backward()

    return run


def _upsampled(classes: int) -> Callable[[], None]:
    def run() -> None:
        _, labels = _batch(classes, torch.float32, 32, False)
        low = torch.zeros(2, classes, 4, 8, requires_grad=True)
        logits = UpsampledLogits(low, labels.shape[1:], align_corners=False)
        pixel_nll(logits, labels).sum().backward()
        _sum_up(overlap_sums(logits, labels))

    return run


def _powers(classes: int, dtype: torch.dtype, power: float, weighted: bool) -> Callable[[], None]:
    def run() -> None:
        logits, labels = _batch(classes, dtype, 32, False)
        weight = torch.ones(labels.shape) if weighted else None
        _sum_up(overlap_sums(logits, labels, power=power, pixel_weight=weight))

    return run


def _label_sums(classes: int) -> Callable[[], None]:
    _, labels = _batch(classes, torch.float32, 32, False)
    return lambda: sum_by_label(torch.zeros(labels.shape), labels, classes)


def _max_pooling(p: float) -> Callable[[], None]:
    losses = torch.zeros(2, 512, 1024)
    return lambda: max_pool_weights(losses, losses == 0, p)


def _batch(classes: int, dtype: torch.dtype, width: int, last: bool):
    logits = torch.zeros(2, classes, 17 if width % 2 else 16, width, dtype=dtype)
    if last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    return logits.requires_grad_(), torch.zeros(2, *logits.shape[2:], dtype=torch.long)


def _sum_up(sums) -> None:
    (sums[0].sum() + sums[1].sum()).backward()
