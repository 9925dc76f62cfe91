"""A planted fault as one declaration: which operation is damaged, by which wrong rule, and where it shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

# The sixteen classes of a survey of public reports on wrong gradients, most frequent first.
CLASSES = (
    "special-value branch",
    "overflow, underflow, cancellation",
    "layout, aliasing, uninitialised buffer",
    "rule that is not itself differentiable",
    "wrong formula in one mode",
    "masked or kinked branch composed",
    "convention differs between modes",
    "broadcasting or shape ambiguity",
    "gradient silently missing",
    "duplicate indices",
    "cotangent or normaliser misapplied",
    "compiler rewrite",
    "complex conjugation",
    "recomputation or random state",
    "degenerate decomposition",
    "vector body differs from scalar tail",
)

EXTENTS = ("one", "some", "all")

# wrong(node, g, right): the wrong gradient of one argument. node: the autograd node, whose `_saved_…` attributes are
# what the rule may read; g: the incoming gradients, one per output; right: what PyTorch would send.
NodeRule = Callable[[Any, tuple[Any, ...], torch.Tensor], Any]


@dataclass(frozen=True)
class Fault:
    """One wrong rule.

    name: unique. fault_class: one of CLASSES. operation: ATen names without namespace and overload, any of which names
    the culprit. program: the driver in PROGRAMS that meets it. says: what is wrong, in one sentence.
    place: the autograd node ("SinBackward0"), the torch functions whose tangent is damaged (separated by blanks), or
    the kernel ("aten::exp"), according to `mechanism`:

    - node: the gradient that this node of the forward run sends along `edge` is replaced.
    - inner node: the same for a node that the first backward pass makes (`through` names the node that makes it).
    - tangent: the tangent of the function's result, under forward mode.
    - kernel: the result of an ATen kernel, below everything that watches; its `edge`-th, where there are several.
    - rewrite: torch.compile changes each node of this operation in the graphs that it makes; `wrong` does so.

    modes: mode strings in which it shows. sized: the wrong rule may also be approached in steps, `size` relative to
    each entry; otherwise it replaces the right one. source: a public report of this fault, where there is one.
    accepted: why gradwitness may take it for right, where it does.
    """

    name: str
    fault_class: str
    operation: tuple[str, ...]
    program: str
    place: str
    wrong: NodeRule
    says: str
    mechanism: str = "node"
    edge: int = 0
    modes: tuple[str, ...] = ("R",)
    sized: bool = False
    source: str = ""
    through: str = ""
    accepted: str = ""

    def __post_init__(self) -> None:
        assert self.fault_class in CLASSES, self
        assert self.mechanism in ("node", "inner node", "tangent", "kernel", "rewrite"), self

    @property
    def runner(self) -> str:
        """How PyTorch runs the program: a fault of the compiler shows in compiled code alone."""
        return "compile" if self.mechanism == "rewrite" else "autograd"


def fault(
    name: str,
    fault_class: str,
    operation: str,
    program: str,
    place: str,
    wrong: NodeRule,
    says: str,
    **options: Any,
) -> Fault:
    """A Fault; `operation` and `modes` are names separated by blanks."""
    if "modes" in options:
        options["modes"] = tuple(options["modes"].split())
    return Fault(name, fault_class, tuple(operation.split()), program, place, wrong, says, **options)
