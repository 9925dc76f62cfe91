"""All declarations, one module per family; importing this package fills the registry."""

from . import arithmetic, choice, comparison, contraction, exponential, reduction, shape  # noqa: F401
