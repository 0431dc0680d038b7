"""The primitives as Triton kernels: ``kernels`` on ``tiles``, called by ``launches``."""
