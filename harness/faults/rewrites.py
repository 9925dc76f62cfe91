"""Planted faults of the compiler: a wrong rewriting of the graph of the backward pass, in inductor's own pass manager.

The rule gets each node of the place's operation in a compiled graph, and changes it. These operations stand in the
backward graphs of their programs alone, so that values stay right and only the gradient is wrong.
"""

from __future__ import annotations

from typing import Any

import torch

from .fault import Fault, NodeRule, fault

aten = torch.ops.aten


def _instead(target: Any) -> NodeRule:
    """Another operation of the same arguments."""

    def rewrite(node: Any, g: Any, right: Any) -> None:
        node.target = target

    return rewrite


def _exchanged(first: int, second: int) -> NodeRule:
    """Two arguments exchanged."""

    def rewrite(node: Any, g: Any, right: Any) -> None:
        arguments = list(node.args)
        arguments[first], arguments[second] = arguments[second], arguments[first]
        node.args = tuple(arguments)

    return rewrite


def _bypassed(node: Any, g: Any, right: Any) -> None:
    """The operation is taken for one that changes nothing, and removed."""
    node.replace_all_uses_with(node.args[0])


def _rewrite(name: str, program: str, place: str, rule: NodeRule, says: str, source: str = "") -> Fault:
    return fault(name, "compiler rewrite", "compile", program, place, rule, says, mechanism="rewrite", source=source)


FAULTS = (
    _rewrite("compiled-slope-of-sine", "sin", "aten::cos", _instead(aten.sin.default),
        "a decomposition with the sine for its slope"),
    _rewrite("compiled-arms-of-relu", "relu", "aten::where", _exchanged(1, 2),
        "the arms of a fused selection are exchanged"),
    _rewrite("compiled-slope-of-tanh", "tanh", "aten::sub", _exchanged(0, 1), "y² - 1 for 1 - y² after fusion"),
    _rewrite("compiled-sum-as-maximum", "outer product by broadcasting", "aten::sum", _instead(aten.amax.default),
        "the sum over a broadcast axis becomes a maximum when reductions are fused"),
    _rewrite("compiled-square-root-removed", "asinh", "aten::rsqrt", _bypassed,
        "1/√ is taken for a conversion that changes nothing"),
)  # fmt: skip
