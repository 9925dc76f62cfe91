"""All declarations, one module per family; importing this package fills the registry."""

from . import (  # noqa: F401
    arithmetic,
    cast,
    choice,
    comparison,
    contraction,
    diagonal,
    exponential,
    indexing,
    layout,
    ordering,
    reduction,
    shape,
    special,
    subscript,
    trigonometric,
)
