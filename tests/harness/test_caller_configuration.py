"""`check` runs under what its caller has set around it, and puts back every part of it that it has to change."""

import random
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo
from custom_functions import with_backward, with_every_rule
from gradwitness.harness import check
from gradwitness.harness.runners.compiling import missing_compiler
from torch.autograd.graph import disable_saved_tensors_hooks, save_on_cpu, saved_tensors_hooks
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

RUNNERS = ("autograd", "func", "vmap", "checkpoint", "checkpoint_reentrant", "save_on_cpu", "create_graph")
MODES = ("R", "F", "RF")
NEVER = {("create_graph", "F"), ("checkpoint_reentrant", "F"), ("checkpoint_reentrant", "RF")}  # by their nature
FACTOR = 1.5  # a planted fault that every precision shows


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, device="cpu", generator=torch.Generator().manual_seed(seed))


OffSine = with_every_rule("OffSine", torch.sin, lambda x: FACTOR * x.cos())


class Functions(TorchFunctionMode):
    """A mode of the caller's that counts."""

    seen = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        return func(*args, **(kwargs or {}))


class Dispatched(TorchDispatchMode):
    """A mode of the caller's that counts."""

    seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen += 1
        return func(*args, **(kwargs or {}))


def state() -> dict[str, Any]:
    """Everything that a caller may have set and that can be read back."""
    tiny = torch.full((1,), 1e-310, dtype=torch.float64, device="cpu")
    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "threads": torch.get_num_threads(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "kept casts": (torch.is_autocast_cache_enabled(), _nesting()),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch._C._is_fwd_grad_enabled()),
        "function modes": list(map(id, _get_current_function_mode_stack())),
        "dispatch modes": list(map(id, _get_current_dispatch_mode_stack())),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "saved tensor hooks": (
            torch._C._autograd._saved_tensors_hooks_is_enabled(),
            torch._C._autograd._saved_tensors_hooks_get_disabled_error_message(),
            torch._C._autograd._top_saved_tensors_default_hooks(False),
        ),
        "multithreading": torch._C._is_multithreading_enabled(),
        "numpy errors": (np.geterr(), np.geterrcall()),
        "random": (random.getstate(), torch.get_rng_state().tolist(), [str(s) for s in np.random.get_state()]),
        "numpy random": np.random.get_state()[1].tolist(),
        "warnings": list(warnings.filters),
        "dynamo": torch._dynamo.config.get_config_copy(),
        "matmul precision": torch.get_float32_matmul_precision(),
        "denormals": float(tiny * 1),
        "jit": torch._C._jit_texpr_fuser_enabled(),
    }


def _nesting() -> int:
    """How many autocasts are around, each in the other."""
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


@contextmanager
def changed(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> Iterator[None]:
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


@contextmanager
def deterministic(warn_only: bool) -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def seeded() -> Iterator[None]:
    random.seed(3), np.random.seed(4), torch.manual_seed(5)  # noqa: B018 - three statements of one kind
    yield


@contextmanager
def errors_for_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def identity(t: torch.Tensor) -> torch.Tensor:
    return t


# What the caller sets, and what every run of the callable must then see; None where runs differ, as in a checkpoint.
SETTINGS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str, Callable[[Any], bool] | None]] = {
    "deterministic": (lambda: deterministic(False), "deterministic", bool),
    "deterministic, warnings alone": (lambda: deterministic(True), "warn only", bool),
    "one thread": (lambda: changed(torch.get_num_threads, torch.set_num_threads, 1), "threads", lambda n: n == 1),
    "two threads": (lambda: changed(torch.get_num_threads, torch.set_num_threads, 2), "threads", lambda n: n == 2),
    "anomaly mode": (lambda: torch.autograd.set_detect_anomaly(True), "anomaly", lambda a: a == (True, True)),
    "anomaly mode without NaN": (
        lambda: torch.autograd.set_detect_anomaly(True, check_nan=False), "anomaly", lambda a: a == (True, False)
    ),
    "function mode": (Functions, "function modes", bool),
    "dispatch mode": (Dispatched, "dispatch modes", bool),
    "default dtype": (
        lambda: changed(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
        "default dtype",
        lambda d: d is torch.float64,
    ),
    "default device": (
        lambda: changed(lambda: None, torch.set_default_device, "cpu"), "default device", lambda d: d.type == "cpu"
    ),
    "NumPy raises": (lambda: np.errstate(all="raise"), "numpy errors", lambda e: e[0]["over"] == "raise"),
    "warnings are errors": (errors_for_warnings, "warnings", lambda f: f[0][0] == "error"),
    "one backward thread": (
        lambda: torch.autograd.set_multithreading_enabled(False), "multithreading", lambda m: not m
    ),
    "products": (
        lambda: changed(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
        "matmul precision",
        lambda p: p == "medium",
    ),
    "no denormals": (lambda: changed(lambda: False, torch.set_flush_denormal, True), "denormals", lambda x: x == 0.0),
    "dynamo": (lambda: torch._dynamo.config.patch(recompile_limit=3), "dynamo", lambda c: c["recompile_limit"] == 3),
    # What is put off around a check, since nothing could be differentiated under it:
    "gradients off": (lambda: torch.set_grad_enabled(False), "gradients", None),
    "no_grad": (torch.no_grad, "gradients", None),
    "inference mode": (torch.inference_mode, "gradients", lambda g: not g[1]),
    "no forward gradients": (lambda: torch.autograd.forward_ad._set_fwd_grad_enabled(False), "gradients", None),
    "seeds": (seeded, "random", None),
}
seen: list[dict[str, Any]] = []


def right(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    seen.append(state())
    return torch.tanh(x @ w).sin()


def wrong(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return OffSine.apply(x @ w)


def verdicts(result) -> dict[tuple[str, str], str]:
    """The worst verdict of the derivatives of the whole callable, by runner and mode, of what can be expressed."""
    f = result.frame
    f = f[(f["quantity"] == "derivative") & ((f["program"] == "whole") | f["verdict"].isin(("unsupported", "raised")))]
    order = ("mismatch", "raised", "indeterminate", "unsupported", "convention", "agree")
    cells = f.groupby(["runner", "mode"])["verdict"].agg(lambda v: min(v, key=order.index))
    return {key: v for key, v in cells.items() if key not in NEVER}


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_caller_has_set_is_in_force_while_the_callable_runs_and_is_as_it_was_afterwards(name):
    entered, part, holds = SETTINGS[name]
    x, w = numbers(3, 4), numbers(4, 2, seed=1)
    for fn, expected in ((right, "agree"), (wrong, "mismatch")):
        seen.clear()
        with entered():
            before = state()
            result = check(fn, (x, w), runners=RUNNERS, modes=MODES)
            after = state()
        assert [key for key in before if before[key] != after[key]] == []
        cells = verdicts(result)
        assert len(cells) == len(RUNNERS) * len(MODES) - len(NEVER)
        assert set(cells.values()) == {expected}, cells
        if fn is right:
            assert len(seen) >= len(cells)
        if fn is right and holds is not None:
            held = [holds(s[part]) for s in seen]  # PyTorch leaves a function mode while it handles backward()
            assert held[0] if part == "function modes" else all(held)


@pytest.mark.parametrize("kind", [Functions, Dispatched])
def test_a_mode_of_the_caller_s_sees_what_the_callable_does(kind):
    with kind() as mode:
        assert check(torch.sin, numbers(3)).verdict == "agree"
    assert mode.seen > 0


@pytest.mark.parametrize("fn", [torch.tanh, OffSine.apply])
def test_tensors_of_a_check_are_not_made_on_the_caller_s_default_device_and_those_of_the_callable_are(fn):
    made = []

    def noted(x):
        made.append(torch.empty(()).device.type)
        return fn(x)

    with torch.device("meta"):
        cells = verdicts(check(noted, numbers(3, 4), runners=RUNNERS, modes=MODES))
    assert set(cells.values()) == {"agree" if fn is torch.tanh else "mismatch"}
    assert set(made) == {"meta"}


class SinesForCosines(TorchDispatchMode):
    """A mode of the caller's that spoils a derivative."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        func = torch.ops.aten.sin.default if func is torch.ops.aten.cos.default else func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("runner", ["autograd", "func", "checkpoint", "save_on_cpu", "create_graph"])
def test_a_fault_that_a_mode_of_the_caller_s_makes_is_found(runner):
    with SinesForCosines():
        assert check(lambda x: x.sin().sum(), numbers(3), runners=runner).verdict == "mismatch"


@pytest.mark.parametrize("short", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_autocast_that_the_caller_is_under_is_the_precision_that_is_checked(short, dtype):
    made = []

    def layer(x, w):
        y = x @ w
        made.append(y.dtype)
        return torch.tanh(y).float().sin()

    x, w = numbers(3, 4, dtype=dtype), numbers(4, 2, seed=1, dtype=dtype)
    with torch.autocast("cpu", dtype=short):
        before = state()
        result, bad = (check(fn, (x, w), runners=RUNNERS, modes=MODES) for fn in (layer, wrong))
        assert before == state()
    held = short if dtype is torch.float32 else dtype  # autocast leaves float64 as it is
    assert set(made) == {held}
    assert set(verdicts(result).values()) == {"agree"}
    assert {v for (_, mode), v in verdicts(bad).items() if mode == "R"} == {"mismatch"}
    of_product = bad.frame[(bad.frame["runner"] == "func") & (bad.frame["quantity"] == "derivative")]
    assert set(of_product["dtype"]) == {str(held).removeprefix("torch.")}
    if dtype is torch.float64:
        assert set(verdicts(bad).values()) == {"mismatch"}


def test_what_autocast_has_cast_in_a_check_is_not_found_by_the_caller_s_own_run():
    layer, x = torch.nn.Linear(4, 2), numbers(3, 4, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert check(layer, x, runners=RUNNERS).verdict == "agree"
        layer(x).float().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("hooks", [lambda: saved_tensors_hooks(identity, identity), save_on_cpu])
def test_saved_tensor_hooks_of_the_caller_are_active_and_transforms_say_that_they_refuse_them(hooks):
    x, w = numbers(3, 4), numbers(4, 2, seed=1)
    for fn, expected in ((right, "agree"), (wrong, "mismatch")):
        with hooks():
            before = state()
            result = check(fn, (x, w), runners=RUNNERS, modes=MODES)
            assert before == state()
        cells = verdicts(result)
        refused = {key for key in cells if key[0] in ("func", "vmap") and "R" in key[1]}
        assert {cells[key] for key in refused} == {"unsupported"}
        assert {v for key, v in cells.items() if key not in refused} == {expected}
    assert result.frame["message"].str.contains("saved tensor hooks").any()


def test_a_saved_tensor_hook_of_the_caller_that_changes_a_number_is_found():
    with saved_tensors_hooks(lambda t: t * FACTOR, identity):
        assert check(lambda x: x.square().sum(), numbers(3)).verdict == "mismatch"


def test_runners_that_need_saved_tensor_hooks_say_that_the_caller_has_disabled_them():
    with disable_saved_tensors_hooks("none of them here"):
        result = check(right, (numbers(3, 4), numbers(4, 2, seed=1)), runners=RUNNERS)
    cells = verdicts(result)
    without = {key for key in cells if key[0] in ("checkpoint", "save_on_cpu")}
    assert {cells[key] for key in without} == {"unsupported"}
    assert {v for key, v in cells.items() if key not in without} == {"agree"}
    said = result.frame["message"][result.frame["verdict"] == "unsupported"]
    assert said.str.contains("the caller has disabled them").all() and said.str.contains("none of them here").all()


def test_a_deterministic_mode_that_refuses_an_operation_is_what_the_row_says():
    def refused(x):
        return torch.put(x, torch.tensor([0]), x[:1], accumulate=False).sum()

    assert check(refused, numbers(3)).verdict == "agree"
    with deterministic(False):
        result = check(refused, numbers(3), runners=("autograd", "checkpoint"))
    assert set(result.frame["verdict"]) == {"raised"}
    assert result.frame["message"].str.contains("deterministic").all()


# Without a `jvp` of its own, which dynamo does not compile.
OffTanh = with_backward("OffTanh", torch.tanh, lambda x: FACTOR * (1 - x.tanh() ** 2))


@pytest.mark.skipif(missing_compiler() is not None, reason=f"{missing_compiler()}")
def test_compiled_runners_hold_the_caller_s_configuration_too():
    runners = ("compile", "compile_grad")
    x, w = numbers(3, 4), numbers(4, 2, seed=1)
    for name in ("deterministic", "two threads", "products", "dynamo", "no_grad"):
        with SETTINGS[name][0]():
            before = state()
            good = check(lambda x, w: torch.tanh(x @ w).sin(), (x, w), runners=runners)
            bad = check(lambda x, w: OffTanh.apply(x @ w), (x, w), runners="compile")
            assert [key for key, value in state().items() if before[key] != value] == [], name
        assert good.verdict == "agree" and bad.verdict == "mismatch", name


ENVIRONMENT = """
import os, warnings
import torch
from gradwitness.harness import check
before, filters = dict(os.environ), list(warnings.filters)
check(torch.sin, torch.ones(2, dtype=torch.float64), modes=("R", "F"))
print([k for k in {**before, **os.environ} if before.get(k) != os.environ.get(k)])
print([f for f in warnings.filters if f not in filters and "scipy" not in str(f)])
"""


def test_the_environment_of_a_process_is_as_before_its_first_check():
    done = subprocess.run([sys.executable, "-c", ENVIRONMENT], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


def test_checks_of_several_threads_run_one_after_the_other() -> None:
    """Forward mode has one stack of levels for the whole process, and our plans compute in buffers that they keep."""
    start = threading.Barrier(2)
    running: list[int] = []
    verdicts: list[str] = []

    def fn(x: torch.Tensor) -> torch.Tensor:
        running.append(threading.get_ident())
        time.sleep(0.01)
        return x.sin() * x

    def work() -> None:
        start.wait()
        verdicts.append(check(fn, torch.ones(3, dtype=torch.float64), modes=("R", "F")).verdict)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == ["agree", "agree"]
    assert running == sorted(running, key=running.index)
