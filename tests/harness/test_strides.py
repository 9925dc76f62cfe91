"""A kernel that steps from matrix to matrix by the stride of an axis of length 1: found, known, and nothing else is."""

import pytest
import torch
from gradwitness.harness import check
from gradwitness.harness.evidence.known import load
from gradwitness.harness.judgement.strides import lone_axis
from gradwitness.harness.recorder.recorded_run import Call, Recorded, Recording, Ref
from torch.func import jacfwd, jacrev, vmap

ID = "lu-solve-steps-by-a-lone-axis"
EYE = torch.eye(2, dtype=torch.float64)


def values(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


def solved(p):
    return torch.linalg.solve(p @ p.T + EYE, p).sum()


def determinant(p):
    return torch.linalg.det(p @ p.T + EYE)


def log_determinant(p):
    return torch.linalg.slogdet(p @ p.T + EYE)[1]


def under_vmap(loss, jacobian):
    return lambda x: vmap(jacobian(lambda q: loss(torch.stack([q, q * q]))))(x).pow(2).sum()


def known(result):
    wrong = result.frame[result.frame["verdict"] == "mismatch"]
    return {str(k).partition(":")[0] for k in wrong.loc[wrong["program"] != "whole", "known"].fillna("")}


@pytest.mark.parametrize("loss", [solved, determinant, log_determinant])
def test_a_jacobian_in_forward_mode_under_vmap_is_wrong_at_lu_solve_and_known(loss):
    result = check(under_vmap(loss, jacfwd), values(2, 3))
    assert result.verdict == "mismatch"
    assert result.culprit.operation == "aten::linalg_lu_solve.default"
    assert known(result) == {ID}


@pytest.mark.parametrize("loss", [solved, determinant, log_determinant])
def test_the_same_jacobian_in_reverse_mode_agrees(loss):
    result = check(under_vmap(loss, jacrev), values(2, 3))
    assert result.verdict == "agree", result.explain()


class Doubled(torch.autograd.Function):
    """The identity, with twice its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return 2 * g


def test_a_fault_beside_the_known_one_is_not_covered_by_it():
    pivots = torch.tensor([[[1, 2]], [[1, 2]]], dtype=torch.int32)
    lu = torch.tensor([[[1.0, 1.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 2.0]]], dtype=torch.float64)
    by_columns = lu.mT.contiguous().mT

    def fn(x):
        return torch.linalg.lu_solve(by_columns.unsqueeze(1), pivots, Doubled.apply(x))

    assert known(check(fn, values(2, 1, 2, 1))) == {ID, ""}
    copied = check(lambda x: torch.linalg.lu_solve(lu.unsqueeze(1), pivots, x), values(2, 1, 2, 1))
    assert copied.verdict == "agree", copied.explain()


def test_a_wrong_lu_solve_whose_strides_are_in_order_is_not_covered():
    (issue,) = [k for k in load() if k.id == ID]
    asked = ["aten::linalg_lu_solve.default"], "R", "autograd", "float64", "mismatch", 1.0
    note = "argument 0 has stride 2 along the axis of length 1 before its matrices of 4 entries"
    assert issue.covers(*asked, note=note)
    assert not issue.covers(*asked)


@pytest.mark.parametrize(
    ("shape", "stride", "odd"),
    [
        ((2, 1, 2, 2), (4, 2, 1, 2), True),
        ((2, 1, 2, 2), (4, 4, 1, 2), False),
        ((2, 2, 2), (4, 1, 2), False),
        ((1, 1, 2, 2), (4, 2, 1, 2), False),  # one matrix alone: no step is taken
        ((1, 2, 2), (2, 1, 2), False),
        ((2, 2), (1, 2), False),
        ((), (), False),
    ],
)
def test_the_stride_of_an_axis_of_length_one_is_told_where_a_kernel_may_step_by_it(shape, stride, odd):
    zeros = Recorded(torch.zeros(shape).numpy(), torch.float64, None, False, (shape, stride, 0))
    recording = Recording(variables=[zeros])
    call = Call("aten::linalg_lu_solve", "default", None, (Ref(0),), {}, (), 0, True, "")
    assert bool(lone_axis(recording, call)) is odd
