"""The right answer of every pitfall, by pencil and paper: the engine is a witness, not its own judge."""

from math import exp, log, tanh

import pytest
from gradwitness.scenarios import catalogue

E1, E2 = exp(1.0), exp(2.0)

# softmax of (1, 2, -1) / 0.5 = (2, 4, -2); loss = log(sum) - 2; d/dz = (p - first) / 0.5;
# d/dtemperature = -(1 / 0.5^2) sum((p - first) z).
_SUM = exp(2) + exp(4) + exp(-2)
_P = [exp(2) / _SUM, exp(4) / _SUM, exp(-2) / _SUM]
_RESIDUAL = [_P[0] - 1, _P[1], _P[2]]

BY_HAND = {
    # f'(w) = 2 mean(x^2) (w - 2) = 5 (w - 2); w: 0, 1, 1.5, 1.75
    "forgotten-zeroing": {
        "w.grad in step 1": [-10.0],
        "w.grad in step 2": [-5.0],
        "w.grad in step 3": [-2.5],
        "w after 3 steps": [1.75],
    },
    # residuals (1,0)w-1 = 0, (0,1)w-1 = 1, 3-0 = 3, 4-1 = 3; 2/4 * (0+0+3+6, 0+1+3+3)
    "loss-not-divided": {"w.grad": [4.5, 3.5]},
    "unequal-micro-batches": {"w.grad": [(2 - 6 - 8 - 10) / 4]},
    # 6 - 5.5 and 0.5 + 0.25; both within the limit
    "clipped-inside-the-window": {"w.grad at the step": [0.5, 0.75]},
    # (1 - 3)^2 + 5; 2 (1 - 3); -4 + 5
    "second-backward": {"total": [9.0], "plotted": [-4.0], "w.grad": [1.0]},
    "retain-graph-growth": {
        "state after step 1": [0.5],
        "w.grad in step 1": [1.0],
        "state after step 2": [0.25],
        "w.grad in step 2": [0.5],
        "state after step 3": [0.125],
        "w.grad in step 3": [0.25],
        "state after step 4": [0.0625],
        "w.grad in step 4": [0.125],
    },
    "loss-history": {"mean loss": [73.5], "operations kept alive": [0.0]},
    # 2 x w for x = 1, 2, 3 at w = 1
    "kept-gradient": {"kept gradients": [2.0, 4.0, 6.0]},
    # c / 5 - v (c · v) / 125 with c · v = 10
    "detached-path": {"loss": [2.0], "v.grad": [0.16, -0.12]},
    # y = 9, loss = 1; 2 (9 - 10) 3 1.5 and 2 (9 - 10) 3
    "data-attribute": {"loss": [1.0], "a.grad": [-9.0], "b.grad": [-6.0]},
    "item-round-trip": {
        "loss": [log(_SUM) - 2],
        "z.grad": [2 * r for r in _RESIDUAL],
        "temperature.grad": [-4 * (_RESIDUAL[0] * 1 + _RESIDUAL[1] * 2 - _RESIDUAL[2])],
    },
    # d tanh = 1 - tanh^2
    "numpy-round-trip": {
        "loss": [(0.5 + tanh(0.5)) + 2 * (-0.25 + tanh(-0.25))],
        "x.grad": [2 - tanh(0.5) ** 2, 2 * (2 - tanh(0.25) ** 2)],
    },
    # residuals -2 and -1: 4 + 1 + 0.5; 2 (-2) 2 + 2 (-1) 3 + 1
    "rewrapped-loss": {"loss": [5.5], "w.grad": [-13.0]},
    "no-grad-in-forward": {"loss": [12.0], "w.grad": [12.0]},
    # residuals -1 and -1: mean of 1 and 1; mean of -2 and -4
    "requires-grad-on-the-loss": {"loss": [1.0], "w.grad": [-3.0]},
    "nonleaf-grad": {"loss": [5.0], "w.grad": [2.0, -4.0]},
    # v = 0.5, target = 1.9: (-1.4)^2 and 2 (-1.4) 1
    "target-not-detached": {"loss": [1.96], "w.grad": [-2.8]},
    "saved-tensor-overwritten": {"loss": [3 + E1], "x.grad": [1.0, E1]},
    "view-of-a-saved-tensor": {"x.grad": [0.0, 1 - tanh(1.0) ** 2, 1 - tanh(1.0) ** 2]},
    "overwritten-through-data": {"loss": [4.0], "x.grad": [1.0, 0.0]},
    "overwritten-through-numpy": {"loss": [1 + E1 + E2], "image": [1 / E2, E1 / E2, 1.0], "x.grad": [1.0, E1, E2]},
    # 1 - 0.25 * 2 (1 - 3); then 2 (2 - 3)
    "leaf-in-place": {"w after the step": [2.0]},
    "leaf-replaced": {"w after step 1": [2.0], "w.grad in step 2": [-2.0]},
    # y = 12: 2 w x = 12, times 1 + 2 * 2
    "step-before-backward": {"w.grad of both losses": [60.0]},
    # h = (-2, 4); slopes 2 (0 + 1) and 2 (3 + 1)
    "inplace-activation": {"y": [-2.0, 16.0], "x.grad": [2.0, 8.0]},
    "expanded-tensor": {"rows": [0.0, 6.0, 6.0], "w.grad": [6.0]},
}

# Fewer than 64 rounded operations lie behind a number on either side, none of them cancelling more than two of the
# leading bits; each is off by at most 2^-53.
ROUNDING = 4 * 2 * 64 * 2.0**-53


def test_every_pitfall_has_been_worked_out_by_hand():
    assert set(BY_HAND) == set(catalogue())


@pytest.mark.parametrize("name", BY_HAND)
def test_the_truth_is_what_pencil_and_paper_give(name: str):
    right = catalogue()[name].truth()
    assert list(right) == list(BY_HAND[name])
    for quantity, values in BY_HAND[name].items():
        assert right[quantity] == pytest.approx(values, rel=ROUNDING, abs=0.0), quantity
