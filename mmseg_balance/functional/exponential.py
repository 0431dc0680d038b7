"""The exponential of large tensors on a CPU.

PyTorch's ``exp`` calls MKL. On an AMD processor it took 438 µs for 2^19 numbers on one thread,
``exp2`` 161 and the multiplication by log2(e) 49 (EPYC, PyTorch 2.13; ``python -m timeit -s 'import
torch; torch.set_num_threads(1); x = torch.randn(2**19)' 'x.exp()'``).
"""

import math

from torch import Tensor

LOG2_E = math.log2(math.e)


def exp_(exponents: Tensor) -> Tensor:
    r"""``exp`` in place.

    .. math:: e^x = 2^{x \log_2 e}

    Convention:
        - dtype: float32 or float64. On a CPU the relative error grows to ``|x|`` times the unit
          roundoff; the subtraction of the largest logit before it rounds as much.
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
