"""The witness: reverse-mode differentiation on NumPy alone, independent of PyTorch."""

__all__: list[str] = []
