"""The column schema: typed frames, nulls, refusals, the order of verdicts, complex numbers."""

import math

import numpy as np
import pandas as pd
import pytest
from gradwitness.reports import COLUMNS, VERDICTS, ReportDataError, frame_from_rows, validate, worst
from gradwitness.reports.views import slack
from hypothesis import given
from hypothesis import strategies as st

DESIGN = (
    "case source op program mode runner dtype device layout quantity order wrt verdict z ulp abs_error rel_error entry "
    "torch_value reference_value spread culprit finding known seed seconds message"
)
TEXT = [column.name for column in COLUMNS if column.dtype == "string" and column.name != "verdict"]
REAL = [column.name for column in COLUMNS if column.dtype == "float64"]
WHOLE = [column.name for column in COLUMNS if column.dtype == "Int64"]


def rows() -> st.SearchStrategy[dict[str, object]]:
    """Rows with any legal value in any column; shrinks towards a bare agreement."""
    optional = {
        **{name: st.none() | st.text(max_size=8) for name in TEXT if name != "case"},
        **{name: st.none() | st.floats() for name in REAL},
        **{name: st.none() | st.integers(-(2**63), 2**63 - 1) for name in WHOLE},
    }
    needed = {"case": st.text(max_size=5), "verdict": st.sampled_from(VERDICTS[::-1])}
    return st.fixed_dictionaries(needed, optional=optional)


def test_the_columns_are_those_of_the_design_in_its_order() -> None:
    assert [column.name for column in COLUMNS] == DESIGN.split()


def test_the_verdicts_come_worst_first() -> None:
    order = "mismatch crashed timeout raised accepted indeterminate unsupported inaccurate convention agree"
    assert list(VERDICTS) == order.split()


@given(st.lists(rows(), max_size=6))
def test_every_legal_row_gives_the_dtypes_of_the_schema(given_rows: list[dict[str, object]]) -> None:
    frame = frame_from_rows(given_rows)
    assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in COLUMNS]
    assert len(frame) == len(given_rows)
    pd.testing.assert_frame_equal(validate(frame), frame)


@given(rows())
def test_numbers_arrive_unchanged_and_absent_ones_are_null(row: dict[str, object]) -> None:
    frame = frame_from_rows([row])
    for name in REAL:
        found, given_value = frame[name].iloc[0], row.get(name)
        assert math.isnan(found) if given_value is None or math.isnan(given_value) else found == given_value
    for name in WHOLE:
        found = frame[name].iloc[0]
        assert (found is pd.NA) if row.get(name) is None else int(found) == row[name]


@given(st.lists(st.sampled_from(VERDICTS), min_size=1))
def test_the_worst_verdict_is_in_the_list_and_none_is_worse(names: list[str]) -> None:
    found = worst(names)
    assert found in names
    assert all(VERDICTS.index(found) <= VERDICTS.index(name) for name in names)


def test_the_worst_of_nothing_is_an_error_and_not_agreement() -> None:
    with pytest.raises(ReportDataError, match="no verdict at all"):
        worst([])
    with pytest.raises(ReportDataError, match="'agreed'"):
        worst(["agree", "agreed"])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"case": "c", "verdict": "agree", "zed": 1}, "row 1 has unknown keys 'zed'"),
        ({"verdict": "agree"}, "column 'case' is null in row 1"),
        ({"case": "c"}, "column 'verdict' is null in row 1"),
        ({"case": "c", "verdict": "fine"}, r"column 'verdict' holds \['fine'\] \(first in row 1\)"),
        ({"case": "c", "verdict": "agree", "z": "3"}, "column 'z', row 1: found '3'"),
        ({"case": "c", "verdict": "agree", "order": 1.5}, "column 'order', row 1: found 1.5"),
        ({"case": "c", "verdict": "agree", "seed": 2**63}, "accepted is an integer below"),
        ({"case": "c", "verdict": "agree", "op": 3}, "column 'op', row 1: found 3"),
        ({"case": "c", "verdict": "agree", "seconds": True}, "column 'seconds', row 1: found True"),
    ],
)
def test_a_row_that_does_not_fit_is_named_with_its_number(row: dict[str, object], said: str) -> None:
    with pytest.raises(ReportDataError, match=said):
        frame_from_rows([{"case": "a", "verdict": "agree"}, row])


def test_validate_names_missing_and_unknown_columns() -> None:
    frame = frame_from_rows([{"case": "a", "verdict": "agree"}])
    with pytest.raises(ReportDataError, match=r"lacks columns \['z'\] and has unknown or repeated columns \['zed'\]"):
        validate(frame.rename(columns={"z": "zed"}))


def test_validate_accepts_what_concatenation_leaves_behind() -> None:
    frame = frame_from_rows([{"case": "a", "verdict": "agree", "order": 1}])
    joined = pd.concat([frame, frame]).astype({"op": object, "order": "float64"})
    assert [str(dtype) for dtype in validate(joined).dtypes] == [column.dtype for column in COLUMNS]
    assert list(validate(joined).index) == [0, 1]


@pytest.mark.parametrize(
    ("torch_value", "reference", "part", "pair"),
    [
        (1 + 2j, 1 + 5j, ".imag", (2.0, 5.0)),
        (np.complex128(4 + 2j), 1 + 2j, ".real", (4.0, 1.0)),
        (complex(1, math.nan), 9 + 1j, ".imag", (math.nan, 1.0)),
        (complex(math.inf, 1), complex(math.inf, 3), ".imag", (1.0, 3.0)),
        (2.0, 2 + 1j, ".imag", (0.0, 1.0)),
    ],
)
def test_complex_numbers_are_shown_by_the_part_that_differs_most(
    torch_value: complex, reference: complex, part: str, pair: tuple[float, float]
) -> None:
    row = {"case": "c", "verdict": "mismatch", "entry": "(0,)"}
    frame = frame_from_rows([row | {"torch_value": torch_value, "reference_value": reference}])
    assert frame["entry"].iloc[0] == "(0,)" + part
    np.testing.assert_array_equal(frame[["torch_value", "reference_value"]].iloc[0].to_numpy(dtype=float), pair)


def test_slack_is_the_median_of_allowed_over_observed_of_what_agrees():
    rows = [("float64", "agree", z) for z in (0.0, 2.0, 4.0, 8.0)]
    rows += [("float32", "agree", 16.0), ("float64", "mismatch", 640.0)]
    frame = frame_from_rows({"case": "c", "dtype": d, "verdict": v, "z": z} for d, v, z in rows)
    assert slack(frame, 64.0) == {"float32": 4.0, "float64": 16.0}
    assert slack(frame, None) == {}
