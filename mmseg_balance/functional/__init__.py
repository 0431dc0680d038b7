"""The mathematics, on PyTorch and NumPy alone."""
