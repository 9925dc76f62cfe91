"""A project for the tests of the pytest plugin, and what reads back what pytest prints and writes of it."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

TABLE = """
[tool.gradwitness]
modes = ["F"]
dtypes = ["float64"]
seed = 3

[[tool.gradwitness.known]]
operation = "Known*"
reason = "as we want it"
"""

TARGETS = '''
"""Functions that return (fn, inputs), and some that do not."""
import torch

X = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)

class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 4 * ctx.saved_tensors[0] ** 2 * g

class KnownCube(Cube):
    pass

def right():
    return torch.sin, X

def module():
    return torch.nn.Linear(3, 2).double(), (X,)

def with_keywords():
    return lambda x, *, beta: torch.nn.functional.softplus(x, beta), X, {"beta": 2.0}

def wrong():
    return Cube.apply, X

def raising():
    raise RuntimeError("of mine")

def fn_raising():
    def of_mine(x):
        return x @ torch.ones(7, dtype=torch.float64)
    return of_mine, X

def garbage():
    return X

def needing(size):
    return torch.sin, X

number = 3
'''

PROJECT = '''
import pytest, torch, unittest
from gradwitness.harness import assert_gradients, check
from hypothesis import given, settings, strategies as st
from targets import Cube, KnownCube

X = torch.tensor([0.5, -1.0, 2.0])
few = settings(deadline=None, database=None, derandomize=True, max_examples=15)

def columns(result, *names):
    return tuple({*result.frame[name]} for name in names)

def test_options_come_before_the_table(gradient_check):
    result = gradient_check(torch.sin, X)
    assert columns(result, "mode", "dtype", "seed", "runner") == ({"R", "F"}, {"float64"}, {3}, {"autograd"})

def test_arguments_come_before_options(gradient_check):
    result = gradient_check(torch.sin, X, modes="R", dtypes=None, seed=4)
    assert columns(result, "mode", "dtype", "seed") == ({"R"}, {"float32"}, {4})

def test_every_argument(gradient_check):
    result = gradient_check(torch.add, (X, X.clone()), {"alpha": 2.0}, modes="R", runners=("autograd", "func"), wrt=[1],
                            dtypes=("float64", "float32"), layouts=("sliced",), devices=("cpu",), seed=5)
    assert columns(result, "layout", "device", "seed", "dtype") == ({"sliced"}, {"cpu"}, {5}, {"float64", "float32"})
    derivatives = result.frame.query("program == 'whole' and quantity == 'derivative'")
    assert {*derivatives["wrt"]} == {"input1"}
    assert {"autograd", "func"} == {*result.frame["runner"]}

def test_in_place(gradient_check):
    result = gradient_check(torch.relu, X, modes="R", inplace=True)
    assert {"aten::relu.default", "aten::relu_.default"} <= {*result.frame["program"]}

def test_wrong(gradient_check):
    gradient_check(Cube.apply, X, modes="R")

def test_known(gradient_check):
    assert gradient_check(KnownCube.apply, X, modes="R").known

def test_raising(gradient_check):
    def of_mine(x):
        raise KeyError("mine")
    gradient_check(of_mine, X)

def test_unsupported(gradient_check):
    gradient_check(lambda x: torch.special.bessel_j0(x) + torch.sinc(x).to_sparse().to_dense(), X, modes="R")

def test_no_derivative():
    assert_gradients(lambda x: torch.special.zeta(x + 3, X), X, modes="R")

def test_misuse(gradient_check):
    gradient_check(torch.sin, [X])

def test_asserted():
    assert_gradients(torch.sin, X, modes="R")

def test_asserted_wrong():
    assert_gradients(Cube.apply, X, modes="R")

def test_asserted_raising():
    def of_mine(x):
        raise KeyError("mine")
    assert_gradients(of_mine, X)

def test_asserted_misuse():
    assert_gradients(torch.sin, [X])

def test_checked_by_all_three(gradient_check):
    results = [gradient_check(torch.sin, X, modes="R"), assert_gradients(torch.sin, X, modes="R")]
    assert all(r.ok for r in [*results, check(torch.sin, X, modes="R")])

class TestOfUnittest(unittest.TestCase):
    def test_in_unittest(self):
        assert_gradients(torch.cos, X, modes="R")

@few
@given(st.floats(-2, 2))
def test_asserted_for_every_example(scale):
    assert_gradients(lambda x: scale * x, X, modes="R")

def test_twice(gradient_check, request):
    request.node.user_properties.append(("verdict", "the author's own"))
    gradient_check(torch.sin, X, modes="R")
    gradient_check(torch.cos, X, modes="R")

@pytest.mark.parametrize("f", [torch.exp, torch.tanh], ids=["exp", "tanh"])
def test_parametrised(gradient_check, f):
    gradient_check(f, X, modes="R")

@few
@given(st.floats(-2, 2))
def test_all_examples_agree(gradient_check, scale):
    gradient_check(lambda x: scale * x, X, modes="R")

@few
@given(st.integers(0, 100))
def test_some_example_is_wrong(gradient_check, n):
    gradient_check(torch.sin if n < 11 else Cube.apply, X, modes="R")

@pytest.fixture
def checked(gradient_check):
    return gradient_check(torch.sin, X, modes="R")

def test_checked_by_its_fixture(checked):
    assert checked.ok

class TestInAClass:
    def test_method(self, gradient_check):
        gradient_check(torch.cos, X, modes="R")

def test_without_a_check():
    pass
'''


def run(folder, *options):
    """`python -m pytest` in a folder, in a process of its own; it finds the same gradwitness as this one."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV_", "GRADWITNESS"))}
    folders = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    env["PYTHONPATH"] = os.pathsep.join(str(Path(p).absolute()) for p in folders)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def failure(printed, name):
    """What is printed of one test that failed."""
    return re.search(rf"^__+ {re.escape(name)} __+\n(.*?)(?=^__+ |^[=-]+ )", printed, re.DOTALL | re.MULTILINE).group(1)


def properties(path):
    """Test -> its properties in the XML, as pairs."""
    return {
        case.get("name"): [(p.get("name"), p.get("value")) for p in case.iter("property")]
        for case in ET.parse(path).iter("testcase")
    }
