"""The change of logits that a last 1x1 convolution can absorb: divide, then add a constant."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class LogitMap:
    r"""``z -> z / temperature + bias``, per class.

    Args:
        temperature: T > 0; above 1 it makes a model less confident.
        bias: One number per logit of the head: C of them, or 1 for a one-channel sigmoid head.

    Example:
        >>> LogitMap(2., (0., 1.))(torch.tensor([4., 4.]).view(2, 1, 1)).flatten()
        tensor([2., 3.])
    """

    temperature: float
    bias: tuple[float, ...]

    def __call__(self, logits: Tensor) -> Tensor:
        """Apply to ``(..., C, H, W)``; a sigmoid head's logits come as the two ``(0, z)``."""
        bias = self.bias if len(self.bias) > 1 else (0.0, *self.bias)
        return logits / self.temperature + logits.new_tensor(bias)[:, None, None]

    def threshold(self, threshold: float) -> float:
        """The threshold on a one-channel head's probability that keeps its predictions under T.

        The bias has no part in it: to change predictions is what it is for.

        Example:
            >>> round(LogitMap(2., (0.,)).threshold(.3), 4)
            0.3956
        """
        logit = torch.logit(torch.tensor(threshold, dtype=torch.float64))
        return float(torch.sigmoid(logit / self.temperature))


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
