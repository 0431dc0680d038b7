"""The primitives in plain PyTorch, on a CPU a tile of rows at a time.

A tile of logits stays in the processor's cache from one pass to the next. For the backward pass a
CPU keeps the probabilities, because the exponential is most of the work; half precision, GPUs and
interpolated logits keep the logits and each pixel's log-sum-exp, and recompute the probabilities.
An ignored pixel's normaliser is +inf: its probabilities are then exactly 0, and it drops out of
every sum and gradient without a mask. With ``align_corners`` given, a tile is interpolated from
logits of low resolution, so that those of full resolution never exist as a whole. A second loss on
the same logits uses the probabilities that the first has kept (``shared_softmax``).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from mmseg_balance.functional.backend import is_compiling
from mmseg_balance.functional.labels import sum_by_label, valid_and_index
from mmseg_balance.functional.primitives.shared_softmax import remember_probs, remembered_probs
from mmseg_balance.functional.primitives.upsampled import add_rows_gradient, upsample_rows

CPU_TILE = 1 << 19  # logits in a tile: 2 MB of float32
GPU_TILE = 1 << 26
MODERATE = 40.0  # largest logits so far from 0 at most: exponentials of the logits are harmless
SMALLEST_PROB = 1e-20  # what lies below may be an exponential that underflowed


class PixelNLL(Function):
    """``(N, H, W)`` negative log-probabilities and whether the label's logit is the largest."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, return_hits, align_corners):
        kept = None if return_hits else remembered_probs(logits, labels, ignore_index)
        if kept is None:
            nll, lse, hits, kept = _make_nll(
                logits, labels, ignore_index, return_hits, align_corners
            )
        else:
            nll, lse, hits = _nll_of_probs(kept, logits, labels, ignore_index), None, None
        ctx.save_for_backward(logits if kept is None else kept, lse, labels)
        ctx.ignore_index, ctx.align_corners = ignore_index, align_corners
        if return_hits:
            ctx.mark_non_differentiable(hits)
        return nll, hits

    @staticmethod
    def backward(ctx, grad, _):
        source, lse, labels = ctx.saved_tensors
        out = _gradient_buffer(source, ctx.align_corners)
        valid, index = valid_and_index(labels, ctx.ignore_index)
        slope = torch.where(valid, grad, 0)
        at_label = -slope
        for tile in _tiles(source, labels, ctx.align_corners):
            probs = _probs(tile, lse)
            step = torch.mul(probs, tile.pixels(slope), out=_room_for_step(out, tile))
            step.scatter_add_(1, tile.pixels(index), tile.pixels(at_label))
            out = _put(out, step, tile, labels, ctx.align_corners)
        return out.to(source.dtype), None, None, None, None


class OverlapSums(Function):
    """Intersection, predicted and target mass, ``(N, C)`` each."""

    @staticmethod
    def forward(ctx, logits, labels, ignore_index, power, pixel_weight, align_corners):
        classes = logits.shape[1]
        label_prob, lse = _pixel_maps(2, logits, labels)
        kept = shared = remembered_probs(logits, labels, ignore_index)
        if shared is None:
            kept = _room_for_probs(logits, align_corners)
        predicted = torch.zeros(logits.shape[:2], dtype=torch.float64, device=logits.device)
        valid, index = valid_and_index(labels, ignore_index)
        for tile in _tiles(logits, labels, align_corners, kept):
            probs = tile.room
            if shared is None:
                largest, excess, total, exponentials = _exponentials(
                    tile.scores, valid[tile.at], tile.room
                )
                probs = exponentials.div_(total.unsqueeze(1))
            label_prob[tile.at] = probs.gather(1, tile.pixels(index)).squeeze(1)
            if kept is None:
                lse[tile.at] = largest + excess.log()
            if power == 2 and pixel_weight is None:  # a norm reads them once and makes no squares
                predicted[tile.at[0]] += torch.linalg.vector_norm(probs, dim=(2, 3)).square()
                continue
            mass = _power(probs, power)
            if pixel_weight is not None:
                mass = mass * tile.pixels(pixel_weight)
            predicted[tile.at[0]] += mass.sum((2, 3))
        if kept is not None:
            remember_probs(kept, logits, labels, ignore_index)
        ctx.save_for_backward(
            *((logits, lse) if kept is None else (kept, None)), labels, label_prob, pixel_weight
        )
        ctx.ignore_index, ctx.power, ctx.align_corners = ignore_index, power, align_corners
        weight, weighted = valid.to(label_prob.dtype), label_prob  # 0 where ignored
        if pixel_weight is not None:
            weight, weighted = weight * pixel_weight, label_prob * pixel_weight
        return (
            sum_by_label(weighted, labels, classes, ignore_index),
            predicted.to(weight.dtype),
            sum_by_label(weight, labels, classes, ignore_index),
        )

    @staticmethod
    def backward(ctx, grad_intersection, grad_predicted, _):
        source, lse, labels, label_prob, pixel_weight = ctx.saved_tensors
        out = _gradient_buffer(source, ctx.align_corners)
        slope = (ctx.power * grad_predicted)[:, :, None, None]
        _, index = valid_and_index(labels, ctx.ignore_index)
        # With a_c = p_c dL/dp_c, the softmax turns dL/dp into dL/dz_c = a_c - p_c sum_k a_k.
        at_label = grad_intersection.gather(1, index.flatten(1)).view_as(index) * label_prob
        for tile in _tiles(source, labels, ctx.align_corners):
            probs = _probs(tile, lse)
            # Where the probabilities were recomputed they lie in the tile's room already.
            room = _room_for_step(out, tile) if lse is None else None
            if ctx.power == 2:
                step = torch.mul(probs, probs, out=room).mul_(slope[tile.at[0]])
            else:
                step = torch.mul(_power(probs, ctx.power), slope[tile.at[0]], out=room)
            total = step.sum(1, keepdim=True).add_(tile.pixels(at_label))
            step.addcmul_(probs, total, value=-1)
            step.scatter_add_(1, tile.pixels(index), tile.pixels(at_label))
            if pixel_weight is not None:
                step.mul_(tile.pixels(pixel_weight))
            out = _put(out, step, tile, labels, ctx.align_corners)
        return out.to(source.dtype), None, None, None, None, None


class _Tile(NamedTuple):
    """Images and rows, what is there (interpolated if need be), and memory to work in.

    ``room`` is None where one tile is everything and PyTorch makes the memory.
    """

    at: tuple[slice, slice]
    scores: Tensor
    room: Tensor | None

    def pixels(self, of: Tensor) -> Tensor:
        """``(N, 1, h, w)``: the tile's part of ``(N, H, W)``."""
        return of[self.at].unsqueeze(1)


def _tiles(
    source: Tensor, labels: Tensor, align_corners: bool | None, rooms: Tensor | None = None
) -> Iterator[_Tile]:
    images, classes = source.shape[:2]
    height, width = labels.shape[1:]
    whole = is_compiling() or (source.is_cuda and align_corners is None)
    if whole or not labels.numel():
        yield _Tile((slice(None), slice(None)), source, None)
        return
    rows = max(1, min(height, (GPU_TILE if source.is_cuda else CPU_TILE) // (classes * width)))
    dtype = _wide_dtype(source)
    scratch = torch.empty(classes * rows * width, dtype=dtype, device=source.device)
    for image in range(images):
        for top in range(0, height, rows):
            at = slice(image, image + 1), slice(top, min(top + rows, height))
            if align_corners is None:
                scores = source[at[0], :, at[1]]
            else:
                scores = upsample_rows(
                    source[at[0]].to(dtype), at[1], (height, width), align_corners
                )
            if rooms is None:
                yield _Tile(at, scores, scratch[: scores.numel()].view(scores.shape))
            else:
                yield _Tile(at, scores, rooms[at[0], :, at[1]])


def _make_nll(
    logits: Tensor, labels: Tensor, ignore_index: int, return_hits: bool, align_corners: bool | None
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """The losses, log-sum-exp or None, hits or None, and the probabilities where they are kept."""
    largest, excess, label_score = _pixel_maps(3, logits, labels)
    kept = _room_for_probs(logits, align_corners)
    valid, index = valid_and_index(labels, ignore_index)
    for tile in _tiles(logits, labels, align_corners, kept):
        largest[tile.at], excess[tile.at], total, exponentials = _exponentials(
            tile.scores, valid[tile.at], tile.room
        )
        label_score[tile.at] = tile.scores.gather(1, tile.pixels(index)).squeeze(1)
        if kept is not None:
            exponentials.div_(total.unsqueeze(1))
    hits = (label_score >= largest) & valid if return_hits else None
    log_excess = excess.log_()
    lse = largest + log_excess if kept is None else None
    # Not -log of a probability: that underflows where its logarithm is far from infinite.
    nll = torch.where(valid, (largest - label_score) + log_excess, 0)
    if kept is not None:
        remember_probs(kept, logits, labels, ignore_index)
    return nll, lse, hits, kept


def _nll_of_probs(probs: Tensor, logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    valid, index = valid_and_index(labels, ignore_index)
    label_prob = probs.gather(1, index.unsqueeze(1)).squeeze(1)
    nll = torch.where(valid, -label_prob.log(), 0)
    underflown = valid & (label_prob < SMALLEST_PROB)
    if underflown.any():
        nll[underflown] = F.cross_entropy(
            logits.movedim(1, -1)[underflown], labels[underflown], reduction='none'
        )
    return nll


def _exponentials(
    scores: Tensor, valid: Tensor, room: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Largest logit, sum of exp(logit - largest); the sum of the exponentials and they themselves.
    Both sums are inf where ignored.
    (By hand: torch's softmax over dim 1 of an NCHW tensor takes longer on a CPU.)"""
    largest = scores.amax(1).to(_wide_dtype(scores))
    moderate = _moderate(scores, largest, valid) if _may_look_at(scores, room) else None
    if moderate is not None:
        scores, largest = moderate
        exponentials = torch.exp(scores, out=room)  # a pass less than with the largest taken off
        total = torch.where(valid, exponentials.sum(1), torch.inf)
        return largest, (total * largest.neg().exp_()).clamp_(min=1), total, exponentials
    exponentials = torch.sub(scores, largest.unsqueeze(1), out=room).exp_()
    total = torch.where(valid, exponentials.sum(1), torch.inf)
    return largest, total, total, exponentials


def _may_look_at(scores: Tensor, room: Tensor | None) -> bool:
    """Whether a value may decide what comes next (on a GPU the queue would stall)."""
    return room is not None and scores.dtype == room.dtype and scores.device.type == 'cpu'


def _moderate(scores: Tensor, largest: Tensor, valid: Tensor) -> tuple[Tensor, Tensor] | None:
    """Logits and the largest ones, if exponentials of the logits neither overflow nor lose what
    counts. Ignored pixels have no say in it, lest they change how others are rounded."""
    if _are_moderate(largest):
        return scores, largest
    largest = torch.where(valid, largest, 0)
    if _are_moderate(largest):
        return torch.where(valid.unsqueeze(1), scores, 0), largest
    return None


def _are_moderate(largest: Tensor) -> bool:
    low, high = largest.aminmax()
    return bool(low > -MODERATE) and bool(high < MODERATE)


def _pixel_maps(number: int, logits: Tensor, labels: Tensor) -> list[Tensor]:
    return [torch.empty_like(labels, dtype=_wide_dtype(logits)) for _ in range(number)]


def _room_for_probs(logits: Tensor, align_corners: bool | None) -> Tensor | None:
    """Where the probabilities are kept for the backward pass, or None: they are recomputed."""
    if (
        align_corners is not None
        or logits.device.type != 'cpu'
        or not logits.numel()
        or logits.dtype != _wide_dtype(logits)
        or is_compiling()
    ):
        return None
    return torch.empty_like(logits)


def _probs(tile: _Tile, lse: Tensor | None) -> Tensor:
    """The probabilities: kept, or made from logits and log-sum-exp."""
    if lse is None:
        return tile.scores
    return torch.sub(tile.scores, lse[tile.at].unsqueeze(1), out=tile.room).exp_()


def _gradient_buffer(source: Tensor, align_corners: bool | None) -> Tensor:
    """Tiles of interpolated logits overlap where they come from: their gradients add up."""
    if align_corners is None:
        return torch.empty_like(source)
    return torch.zeros_like(source, dtype=_wide_dtype(source))


def _room_for_step(out: Tensor, tile: _Tile) -> Tensor | None:
    """A tile's gradient is made in its place, unless that is too narrow or interpolated from."""
    if tile.room is None:
        return None
    place = out[tile.at[0], :, tile.at[1]]
    same = place.shape == tile.room.shape and place.dtype == tile.room.dtype
    return place if same else tile.room


def _put(
    out: Tensor, step: Tensor, tile: _Tile, labels: Tensor, align_corners: bool | None
) -> Tensor:
    """The gradient with that of one tile in it."""
    if tile.room is None:
        return step
    if align_corners is not None:
        add_rows_gradient(out[tile.at[0]], step, tile.at[1], labels.shape[1:], align_corners)
        return out
    place = out[tile.at[0], :, tile.at[1]]
    if place.data_ptr() != step.data_ptr():
        place.copy_(step)
    return out


def _power(probs: Tensor, power: float) -> Tensor:
    if power == 1:
        return probs
    return probs * probs if power == 2 else probs**power


def _wide_dtype(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32
