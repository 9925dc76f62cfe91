"""Two runs with equal inputs and equal random state: do they agree, and where do they part if not?"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from ...reference_engine.rounding import UNIT_ROUNDOFF
from ..errors import TheirsRaised, place_of
from ..lowering import find
from ..recorder.kernels import is_opened, run_kernel, run_opened
from ..recorder.nested import tensors_in
from ..recorder.nodes import Node, run_backward
from ..recorder.preserving import random_state, random_state_of_backward, untouched
from ..recorder.recorded_run import Call, Recording
from ..recorder.recording import to_numpy
from ..recorder.source_lines import line_of_call, run_code
from ..result import NONDETERMINISM, RANDOM, Culprit
from .culprits import backward_of, place
from .judging import REAL_PART
from .rows import Rows

if TYPE_CHECKING:
    from .subject import Subject

FOLLOWED = 2  # runs followed call by call: what alternates from run to run is like the recording every other time
TWO_RUNS = "two runs with equal inputs and equal random state of torch, NumPy and Python"
BRANCH = "take different branches: {0} there, where the recorded run had {1}"
DRAWN = "draw other numbers, by a generator of their own"
RAISES = "differ: the first returns, and a further one raises {0}. Make the callable one that can be called again"
SEED = "Seed that generator, or pass what it draws as an input"
KEEPS = "The callable keeps something from one call to the next (a counter, a cache), or is not deterministic there"
OTHER = "give different numbers"
SHARED = "share a part of the graph: the second one uses what the first one made"
LET_GO = (
    "The callable keeps a tensor with its graph from one call to the next (a cache, a hidden state), so that a second "
    "backward pass raises, or numbers of before an optimizer's step come back. Compute it in each call, or detach it"
)


@dataclass
class Parting:
    """Where a second run parts from the recorded one. said: in what way; operation: the call there."""

    operation: str
    where: str
    said: str
    entry: tuple[int, ...]
    recorded: float
    again: float
    raises: bool = False

    @property
    def text(self) -> str:
        """The whole sentence."""
        if self.raises:
            return f"{TWO_RUNS} {self.said}"
        at = f", first at {self.where} ({self.operation})" if self.where else ""
        return f"{TWO_RUNS} {self.said}{at}"

    @property
    def advice(self) -> str:
        """What to do about it."""
        return {DRAWN: SEED, SHARED: LET_GO}.get(self.said, KEEPS)

    @property
    def culprit(self) -> Culprit:
        """The line that two runs part at, with the numbers of both."""
        return Culprit(self.operation, *place(self.where), self.entry, self.again, self.recorded, kind=NONDETERMINISM)


def parting_of(subject: Subject, recording: Recording) -> Parting | None:
    """Where another run of the subject parts from its recording; None if it does not.

    A bare run is made first; where its outputs are those of the recording nothing else is done. Differences of less
    than half of the digits are rounding's: kernels may add in another order where memory is aligned otherwise.
    """
    try:
        with random_state(), untouched(subject.module):
            outputs = tensors_in(run_code(subject.call, *subject.inputs))
            later = _called_once_more(subject)
    except Exception as error:
        return _raising(error)
    pairs = zip(outputs, recording.torch_outputs, strict=False)
    if len(outputs) == len(recording.torch_outputs) and not any(differ(to_numpy(a), to_numpy(b), b) for a, b in pairs):
        return _sharing(outputs, later, recording)
    for _ in range(FOLLOWED):
        follower = _Following(recording)
        try:
            with random_state(), untouched(subject.module), follower:
                run_code(subject.call, *subject.inputs)
        except Exception as error:
            return follower.parting or _raising(error)
        if follower.parting is not None:
            return follower.parting
    return None


def _called_once_more(subject: Subject) -> list[torch.Tensor]:
    """The outputs of a call in the state that one before it has left; none where it raises in that state."""
    try:
        return tensors_in(run_code(subject.call, *subject.inputs))
    except Exception:  # a state that no further call is meant for, which is no matter of the graph
        return []


def _sharing(outputs: Sequence[torch.Tensor], later: Sequence[torch.Tensor], recording: Recording) -> Parting | None:
    """The call whose result, with its graph, a later run uses too, nearest to that run's outputs.

    The graph of the earlier run is that of the recorded one, node by node, which knows the lines.
    """
    outer = _graph(recording.unseen.values())  # made before either
    earlier, known = (_graph([t.grad_fn for t in run]) for run in (outputs, recording.torch_outputs))
    recorded = {own: theirs for own, theirs in zip(earlier, known, strict=False) if own not in outer}
    made = {node: v for (node, _), v in recording.edges.items()}
    for node in _graph([t.grad_fn for t in later]):
        if node in recorded and not hasattr(node, "variable"):
            maker = recording.variables[made[recorded[node]]].maker if recorded[node] in made else None
            at = recording.calls[maker].where if maker is not None else ""
            nothing = float("nan")
            return Parting(node.name(), at, SHARED, (), nothing, nothing)
    return None


def _graph(roots: Iterable[Any]) -> list[Any]:
    """The autograd nodes behind some of them, in the order of their distance."""
    found = dict.fromkeys(root for root in roots if root is not None)
    waiting = list(found)
    for node in waiting:  # what is found is appended
        for before, _ in node.next_functions:
            if before is not None and before not in found:
                found[before] = None
                waiting.append(before)
    return waiting


def _raising(error: Exception) -> Parting:
    """A further run that raises where the recorded one did not."""
    nothing = float("nan")
    said = RAISES.format(TheirsRaised(error).text)
    return Parting(type(error).__name__, place_of(error), said, (), nothing, nothing, raises=True)


class _Following(TorchDispatchMode):
    """A dispatch mode that holds each call of a run against the recording's, and notes the first that differs."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self.recording = recording
        self.calls = deque(c for c in recording.calls if c.func is not None)
        self.parting: Parting | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        opened = is_opened(func, args, kwargs or {}) and find(func._schema.name, func._overloadname) is None
        result = run_opened(self, func, args, kwargs or {}) if opened else run_kernel(func, args, kwargs or {})
        flat = tree_flatten(result)[0]
        if opened and (not self.calls or self.calls[0].func is not func):  # it is recorded by what its kernel called
            return result
        if self.parting is not None or not any(isinstance(r, torch.Tensor) for r in flat):
            return result
        call = self.calls.popleft() if self.calls else None
        if call is None or call.func is not func:
            known = "nothing" if call is None else call.qualified
            said = BRANCH.format(func.name(), known)
            nothing = float("nan")
            self.parting = Parting(func.name(), line_of_call(), said, (), nothing, nothing)
            return result
        for r, o in zip(flat, call.outputs, strict=False):
            if isinstance(r, torch.Tensor) and o is not None and self.parting is None:
                self._hold(call, r, self.recording.variables[o].value)
        return result

    def _hold(self, call: Call, t: torch.Tensor, recorded: np.ndarray[Any, Any]) -> None:
        if call.name.startswith(("aten::empty", "aten::new_empty")):  # memory that nobody has written yet
            return
        again = to_numpy(t)
        if not differ(again, recorded, t):
            return
        said = DRAWN if not call.references() or torch.Tag.nondeterministic_seeded in call.func.tags else OTHER
        entry, a, b = numbers(again, recorded)
        self.parting = Parting(call.qualified, line_of_call(), said, entry, b, a)


def differ(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], like: torch.Tensor) -> bool:
    """Whether two arrays differ by more than half of the digits of their dtype, measured at their greatest entry."""
    if a.shape != b.shape:
        return True
    if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
        return False
    if a.dtype.kind not in "fc":
        return True
    name = str(like.dtype).removeprefix("torch.")
    half = np.sqrt(UNIT_ROUNDOFF.get(REAL_PART.get(name, name), UNIT_ROUNDOFF["float32"]))
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        size = np.max(np.abs(np.where(np.isfinite(b), b, 0.0)), initial=0.0)
        return bool((~same & ~(np.abs(a - b) <= half * size)).any())


def numbers(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> tuple[tuple[int, ...], float, float]:
    """The entry in which two arrays differ most, with both numbers."""
    if a.shape != b.shape or not a.size:
        return (), float("nan"), float("nan")
    with np.errstate(all="ignore"):
        error = np.nan_to_num(np.abs(a.astype(complex) - b), nan=np.inf)
    entry = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape))
    return entry, float(np.real(a[entry])), float(np.real(b[entry]))


def row_of_parting(subject: Subject, recording: Recording, rows: Rows, mode: str) -> Parting | None:
    """One `indeterminate` row where two runs differ: there is no one function to differentiate."""
    parting = parting_of(subject, recording)
    if parting is not None:
        row_of(parting, subject, rows, mode)
    return parting


def row_of(parting: Parting, subject: Subject, rows: Rows, mode: str) -> None:
    """The row that says where two runs part."""
    rows.add(
        operation="two runs",
        mode=mode,
        quantity="value",
        order=0,
        wrt=parting.where,
        dtype=subject.dtype,
        verdict="indeterminate",
        entry=str(list(parting.entry)),
        torch_value=parting.again,
        reference_value=parting.recorded,
        culprit=parting.operation,
        message=parting.text if parting.raises else f"{parting.text}. {parting.advice}",
    )


def backward_parts(
    subject: Subject, recording: Recording, nodes: Sequence[Node], c: Sequence[torch.Tensor | None]
) -> Culprit | None:
    """The node that sends other gradients in a second backward pass through the same graph, with equal random state,
    or else in a third one with another random state.
    """
    for seed, kind in ((subject.seed, NONDETERMINISM), (subject.seed + 1, RANDOM)):
        again = [replace(n, sent=[], received=[], ran=False, returned={}, writes=[]) for n in nodes]
        try:
            with random_state_of_backward(seed):
                run_backward(recording, again, subject.leaves, c)
        except Exception:  # a backward that can run but once: what it did then stands
            return None
        for n, other in zip(nodes, again, strict=True):
            received = _parts_differ(n.received, other.received, recording)
            if _parts_differ(n.sent, other.sent, recording) and not received:
                return _parting_node(n, other, kind)
    return None


def _parting_node(n: Node, other: Node, kind: str) -> Culprit:
    """The node with the numbers of both passes."""
    own = backward_of(n) if n.is_custom else ""
    pairs = [(a, b) for a, b in zip(other.sent, n.sent, strict=False) if a is not None and b is not None]
    entry, x, y = max((numbers(a, b) for a, b in pairs), key=lambda p: abs(p[1] - p[2]))
    return Culprit(n.name, *place(own or n.called), entry, x, y, "R", n.called if own else "", kind)


def _parts_differ(a: Sequence[Any], b: Sequence[Any], recording: Recording) -> bool:
    like = recording.torch_outputs[0]
    return len(a) != len(b) or any(
        (x is None) != (y is None) or (x is not None and differ(x, y, like)) for x, y in zip(a, b, strict=True)
    )
