"""`[tool.gradwitness]`: where it is found, what it fills in, what it refuses, and what the user's own issues excuse."""

from datetime import date, timedelta

import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness import UnsupportedOperation, UsageError, assert_gradients, check
from gradwitness.harness.cli import main
from gradwitness.harness.configuration import find

X = torch.ones(3, dtype=torch.float64)


Off = with_backward("Off", torch.square, lambda x: 3 * x)  # 2 x is right: wrong, not infinitely so


class AlsoOff(Off):
    """The same fault under another name."""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A function that writes a pyproject.toml into the current directory, which is empty otherwise."""
    monkeypatch.chdir(tmp_path)
    return lambda text: (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")


def known(operation="OffBackward", reason="on purpose", more=""):
    return f'[[tool.gradwitness.known]]\noperation = "{operation}"\nreason = "{reason}"\n{more}\n'


def test_the_nearest_file_with_the_table_is_found_and_others_are_passed_over(tmp_path):
    inner = tmp_path / "package" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.gradwitness]\nmodes = ["F", "RR"]\nseed = 7\n')
    (tmp_path / "package" / "pyproject.toml").write_text('[project]\nname = "uses-gradwitness"\n')
    (inner / "pyproject.toml").write_text("this is = = no TOML, and says nothing of us")
    found = find(inner)
    assert (found.path, found.modes, found.seed) == (tmp_path / "pyproject.toml", ("F", "RR"), 7)
    assert (found.dtypes, found.runners, found.known) == (None, None, ())


def test_an_edited_file_is_read_again(project, tmp_path):
    project('[tool.gradwitness]\nmodes = ["F"]\n')
    assert find(tmp_path).modes == ("F",)
    project('[tool.gradwitness]\nmodes = ["R", "F"]\n')
    assert find(tmp_path).modes == ("R", "F")


def test_the_table_fills_in_what_is_left_out_and_arguments_override_it(project):
    project('[tool.gradwitness]\nmodes = ["F"]\ndtypes = ["float64"]\nseed = 5\n')
    single = X.float()
    assert {*check(torch.sin, single).frame["mode"]} == {"F"}
    assert {*check(torch.sin, single).frame["dtype"]} == {"float64"}
    assert {*check(torch.sin, single).frame["seed"]} == {5}
    assert {*check(torch.sin, single, modes="R").frame["mode"]} == {"R"}
    assert {*check(torch.sin, single, modes="R", dtypes=None).frame["dtype"]} == {"float32"}
    assert {*check(torch.sin, single, seed=0).frame["seed"]} == {0}


def test_without_a_table_the_defaults_are_reverse_mode_the_dtypes_given_and_seed_0(project):
    frame = check(torch.sin, X.float()).frame
    assert ({*frame["mode"]}, {*frame["dtype"]}, {*frame["seed"]}) == ({"R"}, {"float32"}, {0})
    assert {*frame["runner"]} == {"autograd"}


REFUSED = [
    ("tool.gradwitness = 3", "is 3; accepted is a table"),
    ('[tool.gradwitness]\nmodus = ["R"]', "has the unknown key 'modus'; accepted are modes, dtypes"),
    ('[tool.gradwitness]\nmodes = "R"', "modes = 'R'; accepted is a list of at least one text"),
    ("[tool.gradwitness]\nmodes = []", "modes = []; accepted is a list of at least one text"),
    ("[tool.gradwitness]\ndtypes = [64]", "dtypes = [64]; accepted is a list of at least one text"),
    ("[tool.gradwitness]\nseed = -1", "seed = -1; accepted are whole numbers from 0"),
    ("[tool.gradwitness]\nseed = true", "seed = True; accepted are whole numbers from 0"),
    ("[tool.gradwitness]\nknown = 1", "known = 1; accepted are [[tool.gradwitness.known]] tables"),
    ('[tool.gradwitness]\nmodes = ["Q"]', "mode 'Q': accepted are R, F"),
    ('[tool.gradwitness]\ndtypes = ["int8"]', "dtype 'int8': accepted are float64"),
    ('[tool.gradwitness]\nrunners = ["car"]', "runner 'car': accepted are autograd"),
    ('[[tool.gradwitness.known]]\noperation = "aten::mul"', "number 1 in {path} has no reason"),
    ('[[tool.gradwitness.known]]\nreason = "so"', "number 1 in {path} has no operation"),
    (known(reason=" "), "reason = ' '; accepted is a text that is not empty"),
    (known(more='mode = "X"'), "mode = 'X'; accepted are mode strings of R and F"),
    (known(more='until = "x"'), "has the unknown key 'until'; accepted are operation, mode, reason, expires"),
    (known(more='expires = "tomorrow"'), "expires = 'tomorrow'; accepted is a date"),
    (known(more="expires = 2031"), "expires = 2031; accepted is a date"),
    (known(more="expires = 2031-01-01T10:00:00"), "expires = 2031-01-01 10:00:00; accepted is a date"),
    ("[tool.gradwitness\n", "is not TOML"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_a_table_that_is_not_accepted_is_refused_in_one_sentence_naming_the_file(project, tmp_path, text, sentence):
    project(text)
    with pytest.raises(UsageError) as raised:
        check(torch.sin, X)
    assert sentence.format(path=tmp_path / "pyproject.toml") in str(raised.value)
    assert str(tmp_path / "pyproject.toml") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_known_issue_of_the_users_own_makes_a_result_ok_and_the_rows_keep_their_verdict(project):
    project(known(more=f"expires = {date.today()}"))
    result = assert_gradients(lambda x: Off.apply(x).sin(), X)
    assert (result.verdict, result.known, result.ok) == ("mismatch", True, True)
    wrong = result.frame[result.frame["verdict"] == "mismatch"]
    assert {*wrong["program"]} == {"OffBackward", "whole"}  # the operation, and the end-to-end gradient that holds it
    assert {*wrong["known"]} == {f"yours: on purpose (until {date.today()})"}
    assert "a known issue: yours: on purpose" in result.explain()


@pytest.mark.parametrize(
    "text",
    [
        "",
        known(operation="AlsoOffBackward"),
        known(more='mode = "F"'),
        known(more=f"expires = {date.today() - timedelta(days=1)}"),
    ],
    ids=["no issue", "another operation", "another mode", "expired"],
)
def test_what_no_live_issue_covers_is_not_ok(project, text):
    project(text)
    result = check(Off.apply, X)
    assert (result.verdict, result.known, result.ok) == ("mismatch", False, False)
    assert result.frame["known"].isna().all()


def test_an_expired_issue_says_so(project):
    day = date.today() - timedelta(days=1)
    project(known(more=f'expires = "{day}"'))
    sentence = f"your known issue of OffBackward expired on {day} and no longer counts: on purpose"
    assert sentence in check(Off.apply, X).explain()
    assert "expired" not in check(torch.sin, X).explain()  # said only where it would have counted


def test_a_second_fault_beside_a_known_one_is_not_excused(project):
    project(known())
    result = check(lambda x: AlsoOff.apply(Off.apply(x)), X)
    assert not result.ok
    by_name = result.frame[result.frame["verdict"] == "mismatch"].groupby("program")["known"].count()
    assert by_name.to_dict() == {"OffBackward": 1, "AlsoOffBackward": 0, "whole": 0}


def test_an_operation_without_a_rule_is_never_excused(project):
    project(known(operation="*"))
    with pytest.raises(UnsupportedOperation):
        assert_gradients(lambda x: torch.asin(torch.complex(x, x)).real, X)


def test_a_pattern_without_overload_covers_all_overloads(project):
    project(known(operation="aten::hypot", reason="the slope at the origin is ours to choose"))
    zero = torch.zeros(1, dtype=torch.float64)
    result = check(torch.hypot, (zero, zero))  # PyTorch has NaN there
    assert (result.verdict, result.ok) == ("mismatch", True)
    project("")
    assert not check(torch.hypot, (zero, zero)).ok


TARGET = """
import torch

class Off(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x
    @staticmethod
    def backward(ctx, g):
        return 3 * g

def example():
    return Off.apply, torch.ones(3, dtype=torch.float64)
"""


def run(*arguments):
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return left.value.code or 0


def test_the_command_line_reads_the_table_and_its_options_override_it(project, tmp_path, capsys):
    (tmp_path / "off.py").write_text(TARGET)
    project("")
    assert run("check", "off.py:example") == 1
    project(known() + '[tool.gradwitness]\nmodes = ["F"]\n')
    capsys.readouterr()
    assert run("check", "off.py:example", "--modes", "R") == 0
    assert "a known issue: yours: on purpose" in capsys.readouterr().out
    assert run("check", "off.py:example") == 1
    assert capsys.readouterr().out.startswith("unsupported")  # mode F of the table: it has no forward derivative


def test_the_command_line_leaves_with_2_where_the_table_is_not_accepted(project, tmp_path, capsys):
    (tmp_path / "off.py").write_text(TARGET)
    project("[tool.gradwitness]\nseed = 1.5\n")
    assert run("check", "off.py:example") == 2
    assert "seed = 1.5; accepted are whole numbers from 0" in capsys.readouterr().err
