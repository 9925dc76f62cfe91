"""The advised repair that makes it worse: w = w - rate * grad

Symptom: The first step works, the second finds `w.grad` to be `None`. It was meant to answer the error about an
    in-place operation on a leaf, and that error is indeed gone.
Cause: Out of place, the update is recorded. The name w now stands for an intermediate result; the leaf, and with it
    the place for gradients, is behind it. Each step would moreover make the graph longer.
Fix: Update the leaf itself, in place, under `torch.no_grad()`, and clear its gradient.
Shapes: w: () -> loss: ()
Source: BaiTheBest/SparseLLM#13, karpathy/nn-zero-to-hero#31
Seen on: torch 2.13.0, CPU, float64
"""

from ...reference_engine import grad
from ..scenario import Numbers, Scenario, plain

W, RATE = 1.0, 0.25


def faulty() -> Numbers:
    """Two steps of gradient descent on (w - 3)^2; the gradient of the second is looked at."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    ((w - 3) ** 2).backward()
    w = w - RATE * w.grad
    after = plain(w)
    ((w - 3) ** 2).backward()
    return {"w after step 1": after, "w.grad in step 2": plain(w.grad)}


def fixed() -> Numbers:
    """One tensor, from the first step to the last."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    ((w - 3) ** 2).backward()
    with torch.no_grad():
        w -= RATE * w.grad
        w.grad = None
    after = plain(w)
    ((w - 3) ** 2).backward()
    return {"w after step 1": after, "w.grad in step 2": plain(w.grad)}


def truth() -> Numbers:
    """From 1 to 2, where the derivative 2 (w - 3) is -2. A weight has a derivative wherever it came from."""
    slope = grad(lambda w: (w - 3) ** 2)
    after = W - RATE * slope(W)
    return {"w after step 1": plain(after), "w.grad in step 2": plain(slope(after))}


SCENARIO = Scenario.from_essay(__doc__, faulty, fixed, truth, same=("w after step 1",))
