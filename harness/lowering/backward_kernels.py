"""Lowerings of the backward kernels that run where a callable differentiates inside itself, as gradient penalties do.

`aten::f_backward(g, x, …)` is the reverse mode of `aten::f(x, …)`, read from the lowering of f: no formula is written
twice. tanh and sigmoid are given their result instead of their argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...reference_engine import ops
from ...reference_engine.evaluate import evaluate
from ...reference_engine.reverse import reverse
from ...reference_engine.simplify import simplify
from ...reference_engine.tracing import trace
from .table import CallSite, NotCovered, find, lowers

# Kernels whose arguments are (g, x) and then those of the operation itself.
SAME_ARGUMENTS = """softplus silu gelu hardtanh hardswish mish softshrink hardshrink mse_loss smooth_l1_loss
huber_loss soft_margin_loss glu""".split()


def _pulled_back(call: CallSite, name: str, g: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    """ḡ · ∂f/∂x for the lowering of `aten::name`, f(x, *args, **kwargs)."""
    lowering = find(f"aten::{name}", "default")
    if lowering is None:
        raise NotCovered(f"aten::{name} has no rule")
    site = replace(call, name=f"aten::{name}.default", number_of=lambda a: call.number_of(x if np.shape(a) else a))

    def forward(v: Any) -> Any:
        result = lowering(site, v, *args, **kwargs)
        return result[0] if isinstance(result, tuple) else result

    program = trace(forward, np.zeros(np.shape(x)))
    return evaluate(simplify(reverse(program, [0])), x, g)


def _enter(name: str) -> None:
    @lowers(f"aten::{name}_backward")
    def lowered(call: CallSite, g: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        return _pulled_back(call, name, g, x, *args, **kwargs)

    lowered.__doc__ = f"The reverse mode of aten::{name}."


for _name in SAME_ARGUMENTS:
    _enter(_name)


@lowers("aten::log_sigmoid_backward")
def log_sigmoid_backward(call: CallSite, g: Any, x: Any, buffer: Any) -> Any:
    """The reverse mode of log σ(x); the buffer holds what the forward pass kept."""
    return _pulled_back(call, "log_sigmoid_forward", g, x)


@lowers("aten::leaky_relu_backward")
def leaky_relu_backward(call: CallSite, g: Any, x: Any, negative_slope: Any, self_is_result: bool = False) -> Any:
    """The reverse mode of leaky ReLU; a result has the sign of its argument where the slope is positive."""
    return _pulled_back(call, "leaky_relu", g, x, negative_slope)


@lowers("aten::elu_backward")
def elu_backward(
    call: CallSite, g: Any, alpha: Any, scale: Any, input_scale: Any, is_result: bool, x: Any
) -> Any:
    """The reverse mode of ELU, from its argument."""
    if is_result:
        raise NotCovered("elu_backward from the result of ELU (in place)")
    return _pulled_back(call, "elu", g, x, alpha, scale, input_scale)


def _from_result(name: str, slope: Callable[[Any], Any]) -> None:
    @lowers(f"aten::{name}_backward")
    def lowered(call: CallSite, g: Any, y: Any) -> Any:
        return g * slope(y)

    lowered.__doc__ = f"g times the slope of {name}, as a function of g and the result y."


_from_result("tanh", lambda y: 1.0 - ops.multiply(y, y))
_from_result("sigmoid", lambda y: y * (1.0 - y))
