"""Gradients that add up, wanted or not.

`backward()` does not set `.grad`: it adds to it. That is what makes one large batch out of many small ones possible,
and it is why the moments of clearing, scaling, clipping and looking at a gradient matter.
"""

READING_ORDER = (
    "forgotten_zeroing",
    "loss_not_divided",
    "unequal_micro_batches",
    "clipped_inside_the_window",
    "second_backward",
    "retain_graph_growth",
    "loss_history",
    "kept_gradient",
)
