"""Record the real run: every ATen call of the user's own code with its values, place in the source, and autograd edges.

In-place writes and views are renamed to single assignment while recording: a write gives its tensor a new variable,
and a tensor whose storage was written through another one is read back from the flat storage.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from ..errors import CannotRecord
from ..lowering import find
from .applied import noting_lines
from .draws import may_draw, state_of
from .geometry import Geometry, are_apart, positions
from .kernels import is_generated, is_opened, run_kernel, run_opened
from .nested import replaced, tensors_in
from .rebased import Marked, noting_marks, rebased
from .recorded_run import Call, Recorded, Recording, Ref
from .source_lines import line_inside, run_code
from .storages import flags_of, geometry_of, looks_otherwise, storage_of, whole_of, written_by
from .values import VIEWS, autocast_of, of_view, to_numpy

HIGHER_ORDER = (
    "torch.{0} is a higher-order operator, which runs functions out of sight of the recording. Write it in Python (if, "
    "for), which is recorded as it runs, or check the functions by themselves"
)
NESTED = (
    "a nested tensor has several shapes, and the witness has arrays of one shape. Pad it, or work on its parts (unbind)"
)
_ALWAYS = 1 << 62  # sequence of a read from flat storage: data movement that belongs to whoever needs it


@dataclass(slots=True)
class _Known:
    tensor: torch.Tensor
    variable: int
    version: int
    storage: int


class Recorder(TorchDispatchMode):
    """The dispatch mode that writes a Recording while the user's code runs as usual."""

    supports_higher_order_operators = True  # so that they arrive here, and are refused by name

    def __init__(self, watchful: bool = False) -> None:
        super().__init__()
        self.watchful = watchful
        self.recording = Recording()
        self._known: dict[int, _Known] = {}
        self._members: dict[int, set[int]] = {}
        self._versions: dict[int, int] = {}
        self._flat: dict[int, int] = {}
        self._writer: dict[int, torch.dtype] = {}  # of what was last written into, by storage

    def variable(self, t: torch.Tensor, maker: int | None = None, value: Any = None) -> int:
        """A new variable holding the present value of `t` (`value`, where it is known already)."""
        if t.is_nested:
            raise CannotRecord("nested tensors", NESTED)
        index = len(self.recording.variables)
        value = to_numpy(t) if value is None else value
        self.recording.variables.append(Recorded(value, t.dtype, maker, geometry=geometry_of(t)))
        storage = storage_of(t)
        self._known[id(t)] = _Known(t, index, self._versions.get(storage, 0), storage)
        self._members.setdefault(storage, set()).add(id(t))
        return index

    def read(self, t: torch.Tensor) -> int:
        """The variable that `t` holds now; its autograd edge is noted."""
        if t.is_nested:
            raise CannotRecord("nested tensors", NESTED)
        storage = storage_of(t)
        known = self._known.get(id(t))
        if t.grad_fn is not None and (known is None or self._is_detached(known)):
            known = self._saved(t, storage) or known
        if known is None and t.grad_fn is not None:
            known = self._as_subclass(t, storage)
        if known is None:
            index = self.variable(t)
            if t.grad_fn is not None:
                self.recording.unseen[index] = t.grad_fn
            if t.requires_grad and t.is_leaf:
                self.recording.leaves[index] = t
                held = [self.recording.variables[self._known[i].variable] for i in self._members[storage]]
                if any(v.maker is not None for v in held):
                    self.recording.made.add(index)  # of memory that the run filled: nn.Parameter(torch.ones(3))
        elif known.storage != storage:  # `t.data = other`
            index = self._pseudo("data::write", (Ref(known.variable),), t, _ALWAYS, False)
            self._known[id(t)] = _Known(t, index, self._versions.get(storage, 0), storage)
            self._members.setdefault(storage, set()).add(id(t))
        elif known.version != self._versions.get(storage, 0) and self._is_unseen(t, known):
            index = self._beside(t, known, self._writer[storage] != t.dtype)
        elif known.version != self._versions.get(storage, 0):
            index = self._pseudo("storage::read", (Ref(self._flat[storage]), geometry_of(t), *flags_of(t)), t, _ALWAYS)
            self._known[id(t)] = _Known(t, index, self._versions[storage], storage)
        elif self.watchful and self._is_other(known):
            index = self._beside(t, known, True)
        else:
            index = known.variable
        if t.requires_grad:
            node = t.grad_fn
            self.recording.edges[(id(t), 0) if node is None else (node, t.output_nr)] = index
        return index

    def _is_unseen(self, t: torch.Tensor, known: _Known) -> bool:
        """Whether autograd takes `t` to be what it was before a write into its storage, with gradients switched on."""
        maker, flat = (self.recording.variables[i].maker for i in (known.variable, self._flat[known.storage]))
        if not t.requires_grad or flat is None or not self.recording.calls[flat].grad_enabled:
            return False
        if t.grad_fn is None or self.recording.edges.get((t.grad_fn, t.output_nr)) == known.variable:
            return True
        return maker is not None and bool(t.grad_fn._sequence_nr() == self.recording.calls[maker].sequence)

    def _beside(self, t: torch.Tensor, known: _Known, edited: bool) -> int:
        """A tensor that something wrote into which autograd does not see: it has other numbers, and its old history.

        edited: no tensor with numbers of its kind was written into, either.
        """
        index = self._pseudo("data::write", (Ref(known.variable),), t, _ALWAYS, False)
        if edited:
            self.recording.edits.append((known.variable, index))
        self._known[id(t)] = _Known(t, index, self._versions.get(known.storage, 0), known.storage)
        return index

    def _is_detached(self, known: _Known) -> bool:
        maker = self.recording.variables[known.variable].maker
        return maker is not None and self.recording.calls[maker].name == "aten::detach"

    def _saved(self, t: torch.Tensor, storage: int) -> _Known | None:
        """What autograd saved comes back as another object, detached and given its node again: it is the result of that
        node in the same storage.
        """
        for i in self._members.get(storage, ()):
            k = self._known[i]
            same = k.tensor.grad_fn is t.grad_fn and k.tensor.output_nr == t.output_nr and not self._is_detached(k)
            if same and k.storage == storage and k.version == self._versions.get(storage, 0):
                self._known[id(t)] = _Known(t, k.variable, k.version, storage)
                self._members[storage].add(id(t))
                return self._known[id(t)]
        return None

    def _as_subclass(self, t: torch.Tensor, storage: int) -> _Known | None:
        """The same tensor as another class of Python's, which PyTorch makes by a node of its own and no ATen call."""
        for i in self._members.get(storage, ()):
            k, before = self._known[i], t.grad_fn.next_functions[0][0] if t.grad_fn.next_functions else None
            made = before is not None and (before is k.tensor.grad_fn or getattr(before, "variable", None) is k.tensor)
            if made and k.version == self._versions.get(storage, 0) and not looks_otherwise(k.tensor, t):
                index = self._pseudo("aten::alias", (Ref(k.variable),), t, t.grad_fn._sequence_nr())
                self._known[id(t)] = _Known(t, index, k.version, storage)
                self._members[storage].add(id(t))
                return self._known[id(t)]
        return None

    def note_edges(self) -> None:
        """The autograd edges of results that no later call read; views are left alone, whose node is made on demand."""
        for known in self._known.values():
            t = known.tensor
            if t._backward_hooks:
                self.recording.hooked.append(t)
            if not t._is_view() and t.grad_fn is not None:
                self.recording.edges.setdefault((t.grad_fn, t.output_nr), known.variable)

    def _pseudo(self, name: str, args: tuple[Any, ...], t: torch.Tensor, sequence: int, seen: bool = True) -> int:
        """A call of our own that moves data between a tensor and its flat storage; `seen` by autograd or not."""
        index = len(self.recording.variables)
        self.recording.variables.append(
            Recorded(to_numpy(t), t.dtype, len(self.recording.calls), geometry=geometry_of(t))
        )
        self.recording.calls.append(Call(name, "strided", None, args, {}, (index,), sequence, seen, ""))
        return index

    def _before_write(self, t: torch.Tensor, sequence: int) -> None:
        """Make sure that the flat storage under `t` is a variable, if anybody else looks at it."""
        storage = storage_of(t)
        others = self._members.get(storage, set()) - {id(t)}
        if storage in self._flat or not any(looks_otherwise(self._known[i].tensor, t) for i in others):
            return
        whole = whole_of(t)
        members = sorted(
            (self._known[i] for i in others | {id(t)} if i in self._known), key=lambda k: -k.tensor.numel()
        )
        flat = len(self.recording.variables)
        self.recording.variables.append(Recorded(to_numpy(whole), t.dtype, None))
        covered = np.zeros(whole.numel(), dtype=bool)
        for member in members:
            place = positions(geometry_of(member.tensor)).ravel()
            same = member.tensor.dtype == t.dtype and self.recording.variables[member.variable].is_float
            if same and not covered[place].all():
                arguments = (Ref(flat), Ref(member.variable), geometry_of(member.tensor), *flags_of(member.tensor))
                flat = self._pseudo("storage::write", arguments, whole, sequence)
                covered[place] = True
        unlike = [m for m in members if m.tensor.dtype != t.dtype and self.recording.variables[m.variable].is_float]
        if unlike and not covered.all():
            flat = self._pseudo(
                "storage::reinterpret", (Ref(flat), *[Ref(m.variable) for m in unlike]), whole, sequence
            )
        self._flat[storage] = flat

    def _after_write(self, t: torch.Tensor, call: int, sequence: int) -> int:
        """Give `t` a new variable, and its storage too, if others look at it."""
        storage = storage_of(t)
        index = len(self.recording.variables)
        self.recording.variables.append(Recorded(to_numpy(t), t.dtype, call, geometry=geometry_of(t)))
        version = self._versions.get(storage, 0) + 1
        geometry = geometry_of(t)
        others = [i for i in self._members.get(storage, set()) if i != id(t)]
        twins: list[int] = []
        untouched: dict[Geometry, bool] = {}  # a storage may have as many views as a loop has steps, of few geometries
        for i in others:
            known = self._known[i]
            place = geometry_of(known.tensor)
            if place == geometry and not looks_otherwise(known.tensor, t):
                twins.append(i)
            if known.version == version - 1 and known.tensor.dtype == t.dtype:
                if place not in untouched:
                    untouched[place] = are_apart(place, geometry)
                known.version = version if untouched[place] else known.version
        self._versions[storage], self._writer[storage] = version, t.dtype
        self._known[id(t)] = _Known(t, index, version, storage)
        self._members.setdefault(storage, set()).add(id(t))
        for i in twins:
            if self._known[i].tensor.requires_grad and not t.requires_grad:
                self._aside.append((self._known[i], version))
            else:
                self._known[i] = _Known(self._known[i].tensor, index, version, storage)
        if storage in self._flat:
            self._pending.append((storage, index, t))
        return index

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.HigherOrderOperator):
            raise CannotRecord(f"torch.{func}", HIGHER_ORDER.format(func))
        opened = is_opened(func, args, kwargs)
        passed = opened and find(func._schema.name, func._overloadname) is None  # on to the calls that its kernel makes
        sequence = torch._C._autograd._get_sequence_nr() - 1
        written = [t for t in written_by(func, args, kwargs) if not t.is_meta]
        for t in written:
            self.read(t)
            self._before_write(t, sequence)
        refs_args, refs_kwargs = replaced((args, kwargs), torch.Tensor, lambda t: Ref(self.read(t)))
        state = state_of(kwargs) if may_draw(func) and not passed else None
        since = len(self.recording.variables), len(self.recording.calls)
        run = functools.partial(run_opened, self if passed else nullcontext()) if opened else run_kernel
        result = run(func, args, kwargs)
        flat = [result] if isinstance(result, torch.Tensor) else tree_flatten(result)[0]
        stands = {id(r) for r in self._made_inside(flat, args, kwargs, since)} if passed else set()
        written = [t for t in written if id(t) not in stands]
        if passed and not written and all(id(r) in stands or not _is_floating(r) for r in flat):
            name = func._schema.name, func._overloadname, func
            self.recording.inside.append(Call(*name, refs_args, refs_kwargs, (), sequence, True, line_inside()))
            return result
        if self.watchful and func.namespace == "aten":
            replaced((args, kwargs), torch.Tensor, functools.partial(self._note_own_write, written))
        if state is not None:
            self.recording.drawn.note(func, kwargs, state, flat)
        if not written and all(not isinstance(r, torch.Tensor) or r.is_meta for r in flat):
            return result  # no numbers: PyTorch's own formulas ask the meta device for the shape of a sum with a zero
        self.recording.autocast = self.recording.autocast or autocast_of(flat[0])
        number = len(self.recording.calls)
        self._pending: list[tuple[int, int, torch.Tensor]] = []
        self._aside: list[tuple[_Known, int]] = []
        outputs: list[int | None] = []
        before, generated = [self._known[id(t)].variable for t in written], is_generated(func)
        fresh = {id(t): self._after_write(t, number, sequence) for t in written}
        if generated:
            self.recording.edits += zip(before, fresh.values(), strict=True)
        for r in flat:
            if not isinstance(r, torch.Tensor) or id(r) in fresh or id(r) in stands:
                outputs.append(fresh.get(id(r)))
            else:
                shared = None
                if func in VIEWS:
                    shared = of_view(func, args, self.recording.variables[refs_args[0].index].value)
                outputs.append(self.variable(r, number, shared))
        hidden = [v for i, v in fresh.items() if v not in outputs]
        name = func._schema.name
        self.recording.calls.append(
            Call(
                name,
                func._overloadname,
                func,
                refs_args,
                refs_kwargs,
                (*outputs, *hidden),
                sequence,
                generated or torch.is_grad_enabled(),
                line_inside(),
                torch.autograd.forward_ad._current_level >= 0,
            )
        )
        for past, version in self._aside:  # written through `.data` or a detached alias, which autograd does not see
            index = self._pseudo("data::write", (Ref(past.variable),), past.tensor, sequence, False)
            self._known[id(past.tensor)] = _Known(past.tensor, index, version, past.storage)
        for storage, index, t in self._pending:
            arguments = (Ref(self._flat[storage]), Ref(index), geometry_of(t), *flags_of(t))
            seen = torch.is_grad_enabled()
            self._flat[storage] = self._pseudo("storage::write", arguments, whole_of(t), sequence, seen)
        return result

    def _note_own_write(self, written: list[torch.Tensor], t: torch.Tensor) -> None:
        """Read an argument anew that an operation wrote into although its schema does not say so, such as the running
        mean of a norm: that is the operation's own.
        """
        known = self._known[id(t)]
        if not any(t is w for w in written) and self._is_other(known):
            self._beside(t, known, False)

    def _made_inside(self, results: Any, args: Any, kwargs: Any, since: tuple[int, int]) -> list[torch.Tensor]:
        """Arguments and results of an operator that are known by the calls that its kernel made. since: the number of
        the first variable and of the first call.

        None are where the kernel wrote into memory past these calls, which are then forgotten. A result that has no
        history, though something requires a gradient, has none in PyTorch either: the operator alone made it.
        """
        given: list[torch.Tensor] = []
        replaced((args, kwargs), torch.Tensor, given.append)
        held = [self._known[id(t)].variable for t in given if id(t) in self._known]
        known = [k for k in self._known.values() if k.variable >= since[0] or k.variable in held]
        if any(self._is_other(k) for k in known):
            for variable in self.recording.variables[since[0] :]:
                variable.maker = None
            del self.recording.calls[since[1] :]
            return []
        follows = torch.is_grad_enabled() and any(t.requires_grad for t in given)
        made = [r for r in results if isinstance(r, torch.Tensor) and id(r) in self._known]
        return [*given, *[r for r in made if r.requires_grad or not follows]]

    def is_other(self, t: torch.Tensor) -> bool:
        """Whether a tensor that was read has other numbers than it was known by."""
        return self._is_other(self._known[id(t)])

    def _is_other(self, known: _Known) -> bool:
        """Whether a tensor has other numbers than the variable that it was last known by."""
        if known.storage != storage_of(known.tensor) or known.version != self._versions.get(known.storage, 0):
            return False  # to be read anew
        value = self.recording.variables[known.variable].value
        return not np.array_equal(to_numpy(known.tensor), value, equal_nan=value.dtype.kind == "f")


def _is_floating(r: Any) -> bool:
    return isinstance(r, torch.Tensor) and (r.is_floating_point() or r.is_complex())


def capture(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Recording:
    """The recording of `fn(*args, **kwargs)`; see `captured`."""
    return captured(fn, args, kwargs)


def captured(fn: Callable[..., Any], args: Any, kwargs: Any, watchful: bool = False) -> Recording:
    """Run `fn(*args, **kwargs)` and record it.

    Tensors in `args` and `kwargs` become the inputs, in order; the tensors that `fn` returns (nested in tuples, lists
    or dictionaries) the outputs. The run is PyTorch's own: same values, same autograd graph. Errors that `fn` raises
    pass through unchanged.

    watchful: each tensor that is read is held against what it was known by, so that writes are seen which no call
    shows; it costs as much as the recording. Else only outputs are, whether they are.
    """
    recorder = Recorder(watchful)
    recording = recorder.recording
    given = tensors_in((args, kwargs))
    recording.inputs = [recorder.read(t) for t in given]
    marked: Marked = []
    with noting_lines(recording.applied), noting_marks(marked), recorder:
        recording.result = run_code(fn, *args, **kwargs)
    recording.torch_outputs = tensors_in(recording.result)
    recording.outputs = [recorder.read(t) for t in recording.torch_outputs]
    recording.moved = any(recorder.is_other(t) for t in recording.torch_outputs)
    recorder.note_edges()
    recording.rebased = rebased(marked)
    return recording
