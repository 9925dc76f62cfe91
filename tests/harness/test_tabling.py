"""The table of a check: one verdict for every cell that was asked, as a frame and in the text of explain()."""

import pandas as pd
import pytest
import torch
from custom_functions import with_every_rule
from gradwitness.harness import check
from gradwitness.harness.tabling import LINES, Cell, tabled, written

MODES = ("R", "F", "RR")


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def frame(*rows: tuple[str, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["verdict", "known"])


def cell(runner: str | None, mode: str | None, dtype: str = "float64") -> Cell:
    return Cell("f", runner, dtype, "strided", "cpu", mode)


def test_one_call_has_one_cell_for_every_runner_precision_layout_and_mode():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()).double()
    runners, dtypes = ("autograd", "vmap", "checkpoint_reentrant"), ("float64", "autocast")
    layouts = ("transposed", "cotangents_expanded", "channels_last")
    result = check(model, numbers(2, 3), modes=MODES, runners=runners, dtypes=dtypes, layouts=layouts)
    table = result.table()
    asked = pd.MultiIndex.from_product([["Sequential"], runners, dtypes, layouts, ["cpu"]])
    assert set(table.index) == set(asked) and list(table.columns) == list(MODES)
    assert set(table.xs("channels_last", level="layout").to_numpy().flat) == {"unsupported"}
    rest = table.drop("channels_last", level="layout")
    assert set(rest["R"]) == {"agree"}
    of_tape = rest.xs(("autograd", "float64"), level=("runner", "dtype"))
    assert set(of_tape.to_numpy().flat) == {"agree"}
    reentrant = rest.xs("checkpoint_reentrant", level="runner")
    assert set(reentrant[["F", "RR"]].to_numpy().flat) == {"unsupported"}
    text = result.explain()
    for name in (*runners, *dtypes, *layouts):
        assert name in text
    assert "strided" not in text and "cpu" not in text  # an axis with one value is no column of the text


def test_a_fault_stands_in_its_own_cell():
    OffForward = with_every_rule("OffForward", torch.sin, torch.cos, lambda x: 1.001 * x.cos())
    table = check(lambda x: OffForward.apply(x), numbers(3), modes=("R", "F"), runners=("autograd", "func")).table()
    assert list(table["R"]) == ["agree", "agree"] and list(table["F"]) == ["mismatch", "mismatch"]


def test_the_in_place_variant_is_a_line_of_its_own():
    table = check(torch.relu, numbers(3), inplace=True).table()
    assert [name.endswith("in place") for name in table.index.get_level_values("op")] == [False, True]
    unable = check(lambda x: x.sin(), numbers(3), inplace=True).table()
    assert list(unable["R"]) == ["agree", "unsupported"]


def test_one_cell_is_no_table():
    result = check(lambda x: x.sin(), numbers(3))
    assert result.table().shape == (1, 1) and "runner" not in result.explain()


def test_the_worst_row_of_a_cell_speaks_and_a_row_about_all_counts_for_each():
    f = frame(("agree", None), ("mismatch", None), ("agree", None), ("unsupported", None))
    cells = [cell("a", "R"), cell("a", "R"), cell("b", "F"), cell(None, None)]
    table = tabled(f, cells)
    assert table.loc[("f", "a", "float64", "strided", "cpu")].to_dict() == {"R": "mismatch", "F": "unsupported"}
    assert table.loc[("f", "b", "float64", "strided", "cpu")].to_dict() == {"R": "unsupported", "F": "unsupported"}


@pytest.mark.parametrize(("second", "shown"), [("owner/name#1", "mismatch*"), (None, "mismatch")])
def test_a_cell_is_marked_known_where_all_that_is_wrong_in_it_is_known(second, shown):
    f = frame(("mismatch", "owner/name#1"), ("mismatch", second), ("agree", None))
    lines = written(f, [cell("a", "R"), cell("a", "R"), cell("b", "R")])
    assert lines[1].split() == ["a", shown] and ("known issue" in lines[-1]) == (second is not None)


def test_of_a_long_table_the_text_shows_the_worst_lines():
    runners = [f"r{i}" for i in range(2 * LINES)]
    f = frame(*[("agree", None)] * (2 * LINES - 1), ("mismatch", None))
    lines = written(f, [cell(r, "R") for r in runners])
    assert len(lines) == LINES + 2 and lines[-2].split() == [runners[-1], "mismatch"]
    assert f"{LINES} lines more" in lines[-1]
