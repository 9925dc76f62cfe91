"""Writing to one row of an expanded tensor changes all rows

Symptom: After masking one row, every row is masked; the loss is wrong, and the gradient is zero or far too small.
    Some writes to expanded tensors raise ("more than one element of the written-to tensor refers to a single memory
    location"); a write to a single row does not.
Cause: `expand` copies nothing: all rows are the same memory, seen three times (stride 0). Writing to row 0 is writing
    to all. Autograd follows the memory, not the intention.
Fix: Give the rows memory of their own before writing: `expand(3).clone()`, or `repeat(3)`.
Shapes: w: () -> rows: (3,), loss: ()
Source: PyTorch documentation of torch.Tensor.expand (its note on in-place operations); pytorch/pytorch#957, #4664
Seen on: torch 2.13.0, CPU, float64
"""

from ..scenario import Numbers, Scenario, plain

W = 2.0


def faulty() -> Numbers:
    """One value, 3 w, for three rows; the first row is masked; the loss is the sum."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    rows = (3 * w).expand(3)
    rows[0] = 0
    rows.sum().backward()
    return {"rows": plain(rows), "w.grad": plain(w.grad)}


def fixed() -> Numbers:
    """Three rows in memory, as on paper."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    rows = (3 * w).expand(3).clone()
    rows[0] = 0
    rows.sum().backward()
    return {"rows": plain(rows), "w.grad": plain(w.grad)}


def truth() -> Numbers:
    """Two rows of 3 w are left, so the loss is 6 w and its derivative 6."""
    return {"rows": [0.0, 3 * W, 3 * W], "w.grad": [3.0 + 3.0]}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth)
