"""retain_graph=True to silence an error: every step differentiates all steps before it

Symptom: Each step is slower and needs more memory than the last; gradients are not those of the step. It began when
    "Trying to backward through the graph a second time" was answered by `retain_graph=True`.
Cause: The state that is carried over still hangs on the graph of the last step, and of all before. The error was
    right: that graph had been used up. Keeping it alive makes the chain one link longer each step, and the gradient
    contains every old use of the weight.
Fix: Cut at the border of the step: `state = state.detach()`. Keep `retain_graph` for two losses on one graph.
Shapes: w: (), state: () -> state: ()
Source: quark0/darts#56, jeshraghian/snntorch#250, MorvanZhou/PyTorch-Tutorial#57
Seen on: torch 2.13.0, CPU, float64
"""

from ..scenario import Numbers, Scenario, plain

W = 0.5
STEPS = 4


def faulty() -> Numbers:
    """A recurrent state, state <- state w, starting at 1; each step is meant to learn from itself alone."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    state = torch.ones((), dtype=torch.float64)
    seen = {}
    for step in range(1, STEPS + 1):
        state = state * w
        w.grad = None
        state.backward(retain_graph=True)
        seen[f"state after step {step}"] = plain(state)
        seen[f"w.grad in step {step}"] = plain(w.grad)
    return seen


def fixed() -> Numbers:
    """The state goes on as a number, without its history."""
    import torch

    w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
    state = torch.ones((), dtype=torch.float64)
    seen = {}
    for step in range(1, STEPS + 1):
        state = state.detach() * w
        w.grad = None
        state.backward()
        seen[f"state after step {step}"] = plain(state)
        seen[f"w.grad in step {step}"] = plain(w.grad)
    return seen


def truth() -> Numbers:
    """Within one step the old state is a constant, so d(state w)/dw = state. PyTorch's numbers are k w^(k-1)."""
    state, seen = 1.0, {}
    for step in range(1, STEPS + 1):
        slope, state = state, state * W
        seen[f"state after step {step}"] = [state]
        seen[f"w.grad in step {step}"] = [slope]
    return seen


SCENARIO = Scenario.from_essay(
    __doc__, faulty, fixed, truth, same=tuple(f"state after step {step}" for step in range(1, STEPS + 1))
)
