"""The exponential of large tensors on a CPU.

PyTorch's ``exp`` calls MKL, which takes 2.5 times as long as ``exp2`` on an AMD processor; with the
multiplication by log2(e) the way over ``exp2`` takes half the time.
"""

import math

from torch import Tensor

LOG2_E = math.log2(math.e)


def exp_(exponents: Tensor) -> Tensor:
    r"""``exp`` in place.

    .. math:: e^x = 2^{x \log_2 e}

    Convention:
        - dtype: float32 or float64. On a CPU the relative error grows to ``|x|`` times the unit
          roundoff, as the subtraction of a largest logit before it has it anyway.
        - -inf gives 0, NaN stays NaN.

    Args:
        exponents: any shape; overwritten.

    Returns:
        The same tensor.

    Example:
        >>> import torch
        >>> exp_(torch.tensor([0.0, 1.0, -torch.inf]))
        tensor([1.0000, 2.7183, 0.0000])
    """
    if exponents.device.type != 'cpu':
        return exponents.exp_()
    return exponents.mul_(LOG2_E).exp2_()
