"""From what a config says about class weights to a tensor on the logits' device."""

import os
from collections.abc import Sequence

import torch
from mmengine.fileio import load
from torch import Tensor, nn

from mmseg_balance.functional.class_weights import check_rule, class_weights
from mmseg_balance.functional.logits import wide_dtype
from mmseg_balance.statistics import load_statistics, name_of_run

REMEDY = (
    "give a list of numbers, a file with one (.json, .yaml, .pkl: as MMSegmentation's losses "
    "take), or dict(type='inverse_frequency', statistics='auto')"
)


class ClassWeight(nn.Module):
    """Class weights, those of a list as a non-persistent buffer; ``None`` where there are none.

    A list is there from the start. A file or a rule is read when training begins (LabelCheckHook
    asks for it) or else at the first call: before, there is no run whose training set
    ``statistics='auto'`` could mean.

    Args:
        spec: None, a list of C numbers, the path of a file that holds such a list or class
            statistics (.npz: their inverse frequencies), or a rule,
            ``dict(type=RULE, statistics=PATH or 'auto', …)`` with the rule's own arguments.

    Raises:
        TypeError, ValueError: a ``spec`` that is none of these, or a number that is negative or
            not finite.
    """

    def __init__(self, spec: Sequence[float] | str | os.PathLike | dict | None = None) -> None:
        super().__init__()
        self._pending = None
        self._run = name_of_run()
        self.register_buffer('_given', None, persistent=False)
        # No buffer: EMAHook pairs the buffers of a model that it has copied before this is read.
        self._read: Tensor | None = None
        if isinstance(spec, (str, os.PathLike)):
            self._pending = (
                dict(type='inverse_frequency', statistics=str(spec))
                if str(spec).endswith('.npz')
                else str(spec)
            )
        elif isinstance(spec, dict):
            if not {'type', 'statistics'} <= spec.keys():
                raise ValueError(f"class_weight={spec} lacks 'type' or 'statistics': {REMEDY}.")
            check_rule(spec['type'])
            self._pending = dict(spec)
        elif spec is not None:
            # The bits of float64 as integers, which model.half() leaves alone.
            self._given = _as_weights(spec).view(torch.int64)

    @property
    def values(self) -> Tensor | None:
        """``(C,)`` float64, None where there are no weights or they have not been read yet."""
        if self._read is not None:
            return self._read
        return None if self._given is None else self._given.view(torch.float64)

    def read_statistics(self, dataset=None) -> None:
        """Read the file or apply the rule, unless that has been done.

        Args:
            dataset: what ``statistics='auto'`` means, by default the training set of the run in
                which this module was built.
        """
        if self._pending is not None:
            self._read = _resolve(self._pending, dataset, self._run)
            self._pending = None

    def forward(self, logits: Tensor) -> Tensor | None:
        """The weights in the dtype of sums, float32 or float64, checked against the logits.

        Args:
            logits: ``(N, C, H, W)``.

        Raises:
            ValueError: not as many weights as classes (two for one channel).
        """
        if self._pending is not None:
            torch.compiler.disable(self.read_statistics)()  # beside a compiled step
        if self.values is None:
            return None
        classes = max(logits.shape[1], 2)
        if len(self.values) != classes:
            raise ValueError(
                f'class_weight has {len(self.values)} numbers and the head '
                f'{classes} classes; give one number a class, in their order.'
            )
        if self._read is not None and self._read.device != logits.device:
            self._read = self._read.to(logits.device)
        return self.values.to(wide_dtype(logits))


def _resolve(spec: str | dict, dataset, run: str) -> Tensor:
    if isinstance(spec, str):
        return _as_weights(load(spec))
    spec = dict(spec)
    rule, source = spec.pop('type'), spec.pop('statistics')
    statistics = load_statistics(source, dataset if source == 'auto' else None, run)
    return _as_weights(class_weights(rule, statistics, **spec))


def _as_weights(values: Sequence[float]) -> Tensor:
    try:
        weights = torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f'class_weight={values!r} is not a list of numbers: {REMEDY}.') from error
    if weights.dim() != 1 or not weights.numel():
        raise TypeError(f'class_weight={values!r} is not a list of numbers: {REMEDY}.')
    if not (weights.isfinite() & (weights >= 0)).all() or not weights.any():
        raise ValueError(
            f'class_weight={weights.tolist()} must be finite, not negative and not all 0.'
        )
    return weights
