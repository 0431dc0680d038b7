"""The probabilities that one loss keeps for its backward pass, for the next loss on these logits.

A head hands the same logits to all its losses, and the exponential is most of their work on a CPU.
Only weak references are held: whatever is found here is alive for another loss's sake anyway.
"""

from typing import NamedTuple

from torch import Tensor
from torch.utils.weak import TensorWeakRef

from mmseg_balance.functional.backend import is_compiling


class _Kept(NamedTuple):
    logits: TensorWeakRef
    labels: TensorWeakRef
    versions: tuple[int, int]  # a tensor changed in place is another one
    ignore_index: int
    probs: TensorWeakRef


_latest: _Kept | None = None


def remember_probs(probs: Tensor, logits: Tensor, labels: Tensor, ignore_index: int) -> None:
    """Note where the probabilities of these logits are, exactly 0 at ignored pixels."""
    global _latest
    # What a graph computed changes in no way but those that its version tells; a leaf's data can
    # (gradcheck writes into it). Nor has a tensor made in inference mode a version.
    if logits.is_leaf or labels.is_inference():
        return
    _latest = _Kept(
        TensorWeakRef(logits),
        TensorWeakRef(labels),
        (logits._version, labels._version),
        ignore_index,
        TensorWeakRef(probs),
    )


def remembered_probs(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor | None:
    """The probabilities of just these logits and labels, if they were the last to be made."""
    if is_compiling():
        return None
    kept = _latest
    if kept is None or kept.logits() is not logits or kept.labels() is not labels:
        return None
    if kept.versions != (logits._version, labels._version) or kept.ignore_index != ignore_index:
        return None
    return kept.probs()
