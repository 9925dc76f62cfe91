"""All declarations, one module per family; importing this package fills the registry."""

from . import (  # noqa: F401
    arithmetic,
    cast,
    choice,
    comparison,
    contraction,
    convolution,
    diagonal,
    exponential,
    indexing,
    layout,
    ordering,
    pooling,
    reduction,
    shape,
    special,
    subscript,
    windows,
    trigonometric,
)
