"""Graphs that were cut, and graphs that should have been.

PyTorch differentiates what it recorded. A value that leaves the graph and comes back is a constant with the right
number and no past, so the loss is right and the gradient is not. Sometimes the cut is wanted, and forgotten.
"""

READING_ORDER = (
    "detached_path",
    "data_attribute",
    "item_round_trip",
    "numpy_round_trip",
    "rewrapped_loss",
    "no_grad_in_forward",
    "requires_grad_on_the_loss",
    "nonleaf_grad",
    "target_not_detached",
)
