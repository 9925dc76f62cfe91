"""Options and tables of the pytest plugin: what is accepted, and the sentence for what is not."""

import pytest

# Loaded here: pytester forgets modules that are first loaded within a test, and PyTorch cannot be loaded twice.
from gradwitness.harness.judgement.modes import MODES
from gradwitness.harness.judgement.precisions import DTYPES
from gradwitness.harness.runners import RUNNERS

pytest_plugins = "pytester"

MISUSES = [
    (["--gradwitness", "none.py:example"], "--gradwitness: .*none.py is not a file"),
    (["--gradwitness", "train.py"], "--gradwitness: 'train.py'; accepted is FILE.py:NAME"),
    (["--gradwitness-modes", "Q"], f"--gradwitness-modes: mode 'Q': accepted are {', '.join(MODES)}"),
    (["--gradwitness-modes", " ,"], "--gradwitness-modes ' ,' names none"),
    (["--gradwitness-dtypes", "int8"], f"--gradwitness-dtypes: dtype 'int8': accepted are {', '.join(DTYPES)}"),
    (["--gradwitness-runners", "car"], f"--gradwitness-runners: runner 'car': accepted are {', '.join(RUNNERS)}"),
    (["--gradwitness-out", "file/report"], "--gradwitness-out 'file/report' cannot be written .*is not a folder"),
]


@pytest.mark.parametrize(("options", "sentence"), MISUSES)
def test_an_option_that_is_not_accepted_stops_before_any_test(pytester, options, sentence):
    pytester.path.joinpath("file").write_text("")
    with pytest.raises(pytest.UsageError, match=sentence):
        pytester.parseconfigure(*options)


def test_a_table_that_is_not_accepted_stops_before_any_test(pytester):
    pytester.makepyprojecttoml('[tool.gradwitness]\nmodus = ["R"]')
    with pytest.raises(pytest.UsageError, match="has the unknown key 'modus'; accepted are modes"):
        pytester.parseconfigure()


def test_options_may_be_written_with_spaces_and_the_prefix_of_torch(pytester):
    from gradwitness.harness.pytest_plugin import CHOSEN

    options = ("--gradwitness-dtypes", "torch.float64, float32", "--gradwitness-runners=func,vmap")
    config = pytester.parseconfigure(*options)
    found = config.stash[CHOSEN]
    assert (found.dtypes, found.runners, found.modes) == (("float64", "float32"), ("func", "vmap"), None)
