"""The change of logits that a last 1x1 convolution can absorb: a scale and a bias per class."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class LogitMap:
    r"""``z -> scale * z + bias``, per class.

    Args:
        scale: One number per logit of the head: C of them, or 1 for a one-channel sigmoid head.
            The inverse of a temperature: below 1 it makes a model less confident.
        bias: As many numbers.

    Example:
        >>> LogitMap((.5, .5), (0., 1.))(torch.tensor([4., 4.]).view(2, 1, 1)).flatten()
        tensor([2., 3.])
    """

    scale: tuple[float, ...]
    bias: tuple[float, ...]

    @classmethod
    def of_temperature(cls, temperature: float, bias: tuple[float, ...]) -> 'LogitMap':
        """``z / temperature + bias``.

        Example:
            >>> LogitMap.of_temperature(2., (0., 1.))
            LogitMap(scale=(0.5, 0.5), bias=(0.0, 1.0))
        """
        return cls((1 / temperature,) * len(bias), bias)

    def __call__(self, logits: Tensor) -> Tensor:
        """Apply to ``(..., C, H, W)``; a sigmoid head's logits come as the two ``(0, z)``."""
        scale, bias = (logits.new_tensor(part)[:, None, None] for part in self.of_classes())
        return logits * scale + bias

    def of_classes(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Scales and biases of ``(0, z)`` where there is one channel."""
        if len(self.bias) > 1:
            return self.scale, self.bias
        return (1.0, *self.scale), (0.0, *self.bias)

    def weakened(self, strength: float) -> 'LogitMap':
        """The map between no change (strength 0) and this one (1).

        Example:
            >>> LogitMap((3., 1.), (0., 2.)).weakened(.5)
            LogitMap(scale=(2.0, 1.0), bias=(0.0, 1.0))
        """
        return LogitMap(
            tuple(1 + strength * (scale - 1) for scale in self.scale),
            tuple(strength * bias for bias in self.bias),
        )

    def threshold(self, threshold: float) -> float:
        """The threshold on a one-channel head's probability that keeps its predictions under T.

        The bias has no part in it: to change predictions is what it is for.

        Example:
            >>> round(LogitMap((.5,), (0.,)).threshold(.3), 4)
            0.3956
        """
        logit = torch.logit(torch.tensor(threshold, dtype=torch.float64))
        return float(torch.sigmoid(logit * self.scale[0]))


def prior_bias(priors: np.ndarray, tau: float, out_channels: int) -> tuple[float, ...]:
    r"""Post-hoc logit adjustment as a bias.

    .. math:: b_c = -\tau \log \pi_c

    Args:
        priors: ``(C,)`` shares of the classes in the training set, all positive.
        tau: Strength; 0 changes nothing, 1 aims at the balanced error.
        out_channels: Logits of the head: C, or 1 for a sigmoid head, whose one logit gets
            the difference.

    Raises:
        ValueError: if the number of priors doesn't fit the head.

    Example:
        >>> [round(value, 4) for value in prior_bias(np.array([.5, .25, .25]), 1., 3)]
        [0.6931, 1.3863, 1.3863]
        >>> [round(value, 4) for value in prior_bias(np.array([.8, .2]), 1., 1)]
        [1.3863]

    Reference:
        Menon et al., "Long-tail learning via logit adjustment", 2021, equation 9.
    """
    if len(priors) != max(out_channels, 2):
        raise ValueError(
            f'the statistics have {len(priors)} classes and the head {max(out_channels, 2)}; '
            'scan the training set of this model with mmseg-balance class_stats.'
        )
    bias = -tau * np.log(np.asarray(priors, dtype=np.float64))
    if out_channels == 1:
        bias = bias[1:] - bias[:1]
    return tuple(float(value) for value in bias)
