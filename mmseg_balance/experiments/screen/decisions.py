"""From logits to the predicted class: the decision rules that a screening can compare."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from mmseg_balance.functional.decision import decide
from mmseg_balance.functional.logits import as_multiclass

ARGMAX = 'argmax'

# Rules by name: logits (N, C, H, W) at the labels' size to predictions (N, H, W), int64. The rule
# 'argmax' stands for the segmentor's own prediction, which is a threshold on a one-channel head.
DECISIONS: dict[str, Callable[[Tensor], Tensor] | None] = {ARGMAX: None}


def _best_for(decision: str, logits: Tensor) -> Tensor:
    return decide(as_multiclass(logits), decision)


DECISIONS |= {name: partial(_best_for, name) for name in ('iou', 'dice')}


def find_decisions(names: list[str]) -> list[str]:
    """The names, checked.

    Raises:
        ValueError: an unknown or repeated name.

    Example:
        >>> find_decisions(['argmax'])
        ['argmax']
    """
    for i, name in enumerate(names):
        if name not in DECISIONS:
            raise ValueError(f'--decisions: no {name!r}; known: {", ".join(DECISIONS)}.')
        if name in names[:i]:
            raise ValueError(f'--decisions: {name!r} is given twice; name each once.')
    return names
