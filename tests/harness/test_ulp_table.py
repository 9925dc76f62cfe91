"""The accuracy table: known cases by independent arithmetic, planted faults, far tails, and its way into the report."""

from __future__ import annotations

import json
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness.arbitration import ulp_table
from gradwitness.harness.arbitration.ulp_points import FEWEST, INSIDE, Points, points
from gradwitness.harness.arbitration.ulp_table import LEFT_OUT, measure, measured
from gradwitness.harness.campaigns import campaign
from gradwitness.harness.campaigns.campaign import Options, run_campaign
from gradwitness.harness.campaigns.units import run_unit
from gradwitness.harness.campaigns.work import Unit
from gradwitness.reference_engine import PRIMITIVES
from gradwitness.reference_engine.registry import ELEMENTWISE


def row(rows, quantity, wrt=""):
    return next(r for r in rows if (r["quantity"], r["wrt"]) == (quantity, wrt))


def only(dtype, *xs):
    return Points(tuple(np.array([x]) for x in xs), dtype)


# -- known cases ------------------------------------------------------------------------------------------------------


def test_the_gradient_of_tanh_in_float32_has_no_right_digit_at_9():
    found = row(measure("tanh", "float32", at=only("float32", 9.0)), "derivative", "x")
    with mp.workdps(50):
        right = 1 / mp.cosh(9) ** 2
        unit = mp.mpf(float(np.spacing(np.float32(right))))
        x = torch.tensor([9.0], requires_grad=True)
        torch.tanh(x).sum().backward()
        assert found["torch_value"] == float(x.grad)
        assert found["right_value"] == float(np.float32(float(right)))
        assert found["ulp"] == pytest.approx(float(abs(mp.mpf(float(x.grad)) - right) / unit), rel=1e-12)
        assert found["digits"] == mp.nstr(right, 20)
    assert found["ulp"] > 2.0**23 / 4  # half of the number or more is wrong
    assert found["halved"]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_exp_and_its_gradient_are_right_to_two_units_everywhere(dtype):
    rows = measure("exp", dtype)
    assert 0.4 < row(rows, "value")["ulp"] <= 2.0
    assert 0.4 < row(rows, "derivative", "x")["ulp"] <= 2.0
    assert row(rows, "value")["points"] >= FEWEST


def test_the_tail_of_tanh_is_found_by_the_search():
    for dtype, digits in (("float64", 53), ("float32", 24)):
        found = row(measure("tanh", dtype), "derivative", "x")
        assert found["ulp"] >= 2.0 ** (digits - 1)  # all digits of a number are between 2^(digits-1) and 2^digits units
        assert found["halved"] and found["confirmed"] > 0
        with mp.workdps(50):
            assert float(1 / mp.cosh(mp.mpf(found["input"][0])) ** 2) == pytest.approx(found["right_value"], rel=1e-6)


def test_a_sum_is_correctly_rounded_and_its_gradient_exact():
    rows = measure("add", "float64")
    assert row(rows, "value")["ulp"] <= 0.5
    assert row(rows, "derivative", "x")["ulp"] == row(rows, "derivative", "y")["ulp"] == 0.0


def test_errors_below_the_normal_range_are_in_units_of_the_smallest_number():
    x = -745.0  # exp is 4.99e-324: one smallest number, and 0.0101 of another
    found = row(measure("exp", "float64", at=only("float64", x)), "value")
    with mp.workdps(50):
        exact = mp.exp(x) / mp.mpf(2.0**-1074)
        assert found["right_value"] == 2.0**-1074 * int(mp.nint(exact))
        off = abs(mp.mpf(found["torch_value"]) / mp.mpf(2.0**-1074) - exact)
        assert found["ulp"] == pytest.approx(float(off), rel=1e-9)


def test_two_arguments_have_a_derivative_each():
    rows = measure("atan2", "float64", at=only("float64", 1.0, 2.0))
    assert row(rows, "derivative", "x")["right_value"] == 0.4
    assert row(rows, "derivative", "y")["right_value"] == -0.2
    assert row(rows, "value")["call"] == "torch.atan2(x, y)"


def test_an_operation_without_a_derivative_in_torch_says_so():
    found = row(measure("heaviside", "float64", at=only("float64", 1.0, 0.5)), "derivative", "y")
    assert "PyTorch raised" in found["message"] and "heaviside" in found["message"]


def test_kinks_are_left_out_of_the_derivative_and_counted():
    found = measure("abs", "float64", at=Points((np.array([-1.0, 0.0, 2.0]),), "float64"))
    assert row(found, "derivative", "x")["kinks"] == 1
    assert row(found, "value")["kinks"] == 0


# -- tests of the tester ----------------------------------------------------------------------------------------------


ExpOff = with_backward("ExpOff", torch.exp, lambda x: torch.exp(x) * torch.where(torch.exp(x) > 1e300, 1 + 1e-6, 1.0))


def test_a_slope_that_is_wrong_in_the_far_tail_alone_is_found(monkeypatch):
    monkeypatch.setattr(torch, "exp", ExpOff.apply)
    rows = measure("exp", "float64")
    found = row(rows, "derivative", "x")
    assert found["ulp"] == pytest.approx(1e-6 * 2.0**53, rel=0.5)  # 1e-6 of a number of 2^52 to 2^53 units
    assert found["input"][0] > np.log(1e300)
    assert row(rows, "value")["ulp"] <= 2.0


def test_a_number_that_is_not_finite_is_counted_apart_with_an_example(monkeypatch):
    cosh = torch.cosh
    monkeypatch.setattr(torch, "cosh", lambda x: torch.where(x > 100.0, torch.nan, cosh(x)))
    found = row(measure("cosh", "float64"), "value")
    assert found["not_finite"] > 1000
    assert found["not_finite_input"][0] > 100.0 and np.isnan(found["not_finite_torch"])
    assert found["ulp"] <= 2.0


def test_an_error_of_the_witness_is_not_laid_at_torchs_door(monkeypatch):
    def wrong(x, **kwargs):
        return np.where(x > 2.0, np.nan, np.exp(x) * (1 + 1e-9))

    monkeypatch.setitem(PRIMITIVES._table, "exp", replace(PRIMITIVES["exp"], forward=wrong, ufunc=False))
    found = row(measure("exp", "float64"), "value")
    assert found["ulp"] <= 2.0
    assert found["not_finite"] == 0


# -- what is measured, and where --------------------------------------------------------------------------------------


def test_every_elementwise_operation_with_a_torch_spelling_is_measured_or_left_out_with_a_reason():
    spelled = {n for n, p in PRIMITIVES.items() if p.kind == ELEMENTWISE and p.torch}
    assert set(measured()) | set(LEFT_OUT) == spelled
    assert not set(measured()) & set(LEFT_OUT)
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["tanh", "log", "atanh", "logit", "acosh", "log1p", "i0", "pow", "gammainc"])
def test_points_are_many_in_the_domain_and_of_the_precision(name, dtype):
    at = points(name, PRIMITIVES[name].domain, dtype, 0)
    assert at.count >= FEWEST
    for x, tag in zip(at.arrays, ulp_table_tags(name), strict=True):
        assert INSIDE[tag](x).all() and np.isfinite(x).all()
        assert np.array_equal(x, x.astype(dtype).astype(np.float64))


def ulp_table_tags(name):
    from gradwitness.harness.arbitration.ulp_points import DOMAINS

    return DOMAINS.get(name, PRIMITIVES[name].domain)


def test_points_reach_far_tails_both_signs_subnormals_and_the_surroundings_of_one():
    (x,) = points("tanh", ("real",), "float64", 0).arrays
    size = np.abs(x[x != 0.0])
    assert 0.0 in x and size.min() < 1e-320 and size.max() > 1e307
    for sign in (1.0, -1.0):
        side = sign * x[sign * x > 0.0]
        assert ((side > 5.0) & (side < 40.0)).sum() > 5000
        assert (np.abs(side - 1.0) < 1e-12).sum() > 500
        assert (side < 1e-200).sum() > 3000 and (side > 1e200).sum() > 2000


def test_a_seed_gives_the_same_rows_again_and_another_seed_other_points():
    assert measure("sigmoid", "float32", 3) == measure("sigmoid", "float32", 3)
    assert not np.array_equal(*[points("sin", ("real",), "float64", s).arrays[0][:9000] for s in (0, 1)])


# -- into the report --------------------------------------------------------------------------------------------------


def test_a_unit_has_rows_in_both_precisions_and_makes_no_finding():
    result = run_unit(Unit("referee", "expm1", (), 0))
    assert {r["dtype"] for r in result.ulp} == {"float64", "float32"}
    assert result.rows == [] and result.candidates == [] and result.coverage == []


def test_the_table_does_not_depend_on_the_workers_and_reaches_every_page(monkeypatch, tmp_path):
    monkeypatch.setattr(ulp_table, "measured", lambda: ["tanh", "exp", "hypot"])
    one, two = (run_campaign(Options("referee", workers=n)) for n in (1, 2))
    assert one.ulp == two.ulp and len(one.ulp) == 2 * (2 + 2 + 3)
    assert one.findings == [] and one.fails == []
    out = campaign.write(one, tmp_path / "out", None, [], "gradwitness run")
    summary = json.loads((out / "summary.json").read_text())
    assert [r["call"] for r in summary["ulp"]] == [r["call"] for r in one.ulp]
    assert len((out / "ulp.csv").read_text().splitlines()) == 1 + len(one.ulp)
    for page in ("report.html", "report.md"):
        assert "tanh(x)" in (out / page).read_text().replace("<wbr>", "").replace("\\", "")


def test_all_sources_include_the_table_and_only_leaves_it_out():
    names = {u.name for u in campaign.units(Options("all")) if u.source == "referee"}
    assert names == set(measured())
    assert {u.source for u in campaign.units(Options("all", only=("tanh",)))} == {"opinfo"}
