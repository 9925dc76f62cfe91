"""The pitfalls of automatic differentiation, one scenario each."""

__all__: list[str] = []
