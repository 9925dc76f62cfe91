"""The pitfalls of automatic differentiation, one scenario each."""
