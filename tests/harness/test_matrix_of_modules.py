"""Every runner in every mode of orders 1 and 2 on six kinds of modules: each cell agrees, or one row says why not."""

import json
import subprocess
import sys

import pytest
import torch
from custom_functions import with_backward
from gradwitness.harness import check
from gradwitness.harness.evidence.matrix_modules import MADE, made, unexplained
from gradwitness.harness.judgement.modes import UNASKED as MODES
from gradwitness.harness.runners import RUNNERS
from gradwitness.harness.runners.compiling import missing_compiler
from gradwitness.harness.runners.expressible import COMPILED

EAGER = [r for r in RUNNERS if r not in COMPILED]
needs_compiler = pytest.mark.skipif(missing_compiler() is not None, reason=f"{missing_compiler()}")
# Modes in which something agrees: without this a matrix of refusals would pass.
AGREE = {"autograd": ("R", "RR", "FR"), "checkpoint": ("R", "RR"), "checkpoint_reentrant": ("R",)}
# In a process of its own: torch.compile keeps what other tests of a worker compiled.
ALONE = """
import json, sys
from gradwitness.harness import check
from gradwitness.harness.evidence.matrix_modules import made, unexplained
from gradwitness.harness.judgement.modes import UNASKED as MODES
from gradwitness.harness.runners import RUNNERS
compiled = [r for r in RUNNERS if r.startswith("compile")]
module, x = made(sys.argv[1])
result = check(module, x, modes=MODES, runners=compiled)
table = result.table().droplevel(["op", "dtype", "layout", "device"])
agreeing = [(r, m) for r in compiled for m in MODES if table.loc[r, m] == "agree"]
print(json.dumps([unexplained(result.frame), agreeing]))
"""


@pytest.mark.parametrize("name", MADE)
def test_every_cell_without_a_compiler_agrees_or_says_why_not_in_one_row(name):
    module, x = made(name)
    result = check(module, x, modes=MODES, runners=EAGER)
    assert unexplained(result.frame) == []
    table = result.table().droplevel(["op", "dtype", "layout", "device"])
    assert list(table.index) == EAGER and list(table.columns) == list(MODES)
    for runner, modes in AGREE.items():
        for mode in modes:
            assert table.loc[runner, mode] == "agree", (runner, mode)


@needs_compiler
@pytest.mark.campaign
@pytest.mark.parametrize("name", MADE)
def test_every_compiled_cell_agrees_or_says_why_not_in_one_row(name):
    done = subprocess.run([sys.executable, "-c", ALONE, name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left_open, agreeing = json.loads(done.stdout.splitlines()[-1])
    assert left_open == []
    if name == "MLP":
        agree = {("compile", "R"), *[("compile_jvp", m) for m in ("F", "FR", "FF")]}
        agree |= {(r, m) for r in ("compile_grad", "compile_vmap_grad") for m in ("R", "RR", "RF")}
        assert {tuple(cell) for cell in agreeing} == agree


def test_a_cell_that_is_wrong_and_not_known_is_not_explained():
    Off = with_backward("Off", lambda x: x * 2, lambda x: 2.002)
    result = check(lambda x: Off.apply(x), torch.ones(2, dtype=torch.float64), runners=("autograd", "checkpoint"))
    assert [line.split(":")[0] for line in unexplained(result.frame)] == ["autograd R", "checkpoint R"]
