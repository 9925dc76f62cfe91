"""Memory that was written to while somebody still needed it.

A backward needs values of the forward: autograd keeps them, but does not copy them. An in-place write that PyTorch
can see raises, which is the good case. A write through `.data`, NumPy or a shared view goes unseen, and the gradient
is that of another computation.
"""

READING_ORDER = (
    "saved_tensor_overwritten",
    "view_of_a_saved_tensor",
    "overwritten_through_data",
    "overwritten_through_numpy",
    "leaf_in_place",
    "leaf_replaced",
    "step_before_backward",
    "inplace_activation",
    "expanded_tensor",
)
