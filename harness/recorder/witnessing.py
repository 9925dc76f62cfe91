"""From a recording to the witness's program: every call that matters is lowered once, into one trace.

What PyTorch held fixed is fixed here too: results of integer and Boolean operations, random numbers, detached values,
and what ran with gradients switched off.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from ...reference_engine import ops
from ...reference_engine.errors import EngineError
from ...reference_engine.program import Equation, Program, Variable
from ...reference_engine.rounding import UNIT_ROUNDOFF
from ...reference_engine.tracing import Builder, Tracer
from ..errors import UnsupportedOperation
from ..lowering import CallSite, NotCovered, find, is_constant
from ..lowering.complex_numbers import Pair, find_complex
from .functions import CHECKPOINT, carrying, in_custom_functions, left_torch
from .origins import coarsest_behind, drift_so_far
from .recorded_run import Call, Recording, Ref

# Operations that move a Python number they are given into their result (or divide by it in its precision): the kernel
# first converts it to the dtype of the result. Others compute with it in the precision they compute in.
MOVED = frozenset(
    f"aten::{name}{inplace}"
    for name in "clamp clamp_min clamp_max clip fill fmod hardtanh index_fill masked_fill nan_to_num remainder "
    "threshold constant_pad_nd _unsafe_masked_index".split()
    for inplace in ("", "_")
)


@dataclass
class Witnessed:
    """The witness's reading of a recording.

    tracers: recorded variable -> traced value, for those that depend on the differentiated inputs.
    spans: per call, the slice of equations it lowered to. unsupported: call number -> why it has no reading; its
    outputs are opaque inputs.
    values: the recorded number of every traced variable that is the output of a call, so that a reading can start from
    PyTorch's own values. followed: per call, the names of documented definitions its reading relies on.
    cut: calls under no_grad whose results are held fixed. passed: writes under no_grad, which adjoints pass by. beside:
    whether there are writes that autograd does not see, which adjoints and tangents pass by. left: variables that a
    custom Function made of its inputs outside torch -> why they have no reading; they are opaque inputs too. kept: the
    dtypes of the run, for the judge. only_adjoints: derivatives are asked for in reverse mode alone. by_definition:
    calls that are read by a documented definition that not every run bears out. undecided: calls that may be.
    """

    recording: Recording
    builder: Builder
    tracers: dict[int, Tracer] = field(default_factory=dict)
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    unsupported: dict[int, str] = field(default_factory=dict)
    values: dict[Variable, Any] = field(default_factory=dict)
    opaque: list[Variable] = field(default_factory=list)
    followed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    cut: list[int] = field(default_factory=list)
    passed: list[int] = field(default_factory=list)
    beside: bool = False
    left: dict[int, str] = field(default_factory=dict)
    kept: Any = None
    only_adjoints: bool = False
    by_definition: Collection[int] = ()
    undecided: list[int] = field(default_factory=list)

    @property
    def missing(self) -> dict[str, str]:
        """What has no reading and reaches an output, by the name of the operation, and why."""
        calls, needed = self.recording.calls, set(self.recording.outputs) if self.unsupported else set()
        for call in reversed(calls if needed else []):
            if not needed.isdisjoint(call.outputs):
                needed.update(call.references())
        reaching = [i for i in self.unsupported if not needed.isdisjoint(calls[i].outputs)]
        named = {calls[i].qualified: self.unsupported[i] for i in reaching}
        return named | {why.partition(":")[0]: why for why in self.left.values()}

    def program(self, wrt: list[int], outputs: list[int], name: str = "f") -> Program:
        """The whole run as a program from the recorded variables `wrt` to `outputs`. Constant outputs are constants of
        the program.
        """
        inputs = tuple(self.tracers[i].variable for i in wrt)
        results = [
            self.tracers[o] if o in self.tracers else self.builder.lift(self.recording.variables[o].value)
            for o in outputs
        ]
        program = self.builder.finish(results, name)
        constants = dict(program.constants)
        for variable in program.inputs:
            if variable not in inputs:
                constants[variable] = self.values[variable]
        return Program(inputs, constants, program.equations, program.outputs, name)

    def region(self, calls: list[int]) -> list[Equation]:
        """The equations of some calls, in order."""
        equations: list[Equation] = []
        for number in sorted(calls):
            if number in self.spans:
                equations += self.builder.equations[slice(*self.spans[number])]
        return equations


def witness(
    recording: Recording,
    wrt: list[int],
    *,
    cut_no_grad: bool = True,
    follow_detached: bool = False,
    only_adjoints: bool = False,
    by_definition: Collection[int] = (),
) -> Witnessed:
    """Lower every call that depends on the recorded variables `wrt`.

    `cut_no_grad`: what ran under no_grad outside a custom Function is a constant, as reverse mode has it; False
    follows tangents through it. `follow_detached`: detached values are followed too, as if nothing were detached.
    `only_adjoints`: it will be asked in reverse mode alone, for which PyTorch documents some gradients otherwise than
    the value has them. `by_definition`: calls to be read by a documented definition that is right behind some runs and
    wrong behind others.
    """
    how = cut_no_grad, follow_detached, only_adjoints, by_definition
    seen = _read(recording, wrt, {}, *how)
    # what is read as if nothing were detached needs a reading of all that is; mostly there is nothing unseen
    used = {*recording.unseen} if follow_detached or not recording.unseen else carrying(recording, cut_no_grad)
    left = left_torch(recording, seen.tracers, seen.spans, used)
    return _read(recording, wrt, left, *how) if left else seen


def _read(
    recording: Recording,
    wrt: list[int],
    left: dict[int, str],
    cut_no_grad: bool,
    follow_detached: bool,
    only_adjoints: bool,
    by_definition: Collection[int],
) -> Witnessed:
    seen = Witnessed(recording, Builder(), left=left, only_adjoints=only_adjoints, by_definition=by_definition)
    for i in (*wrt, *left):
        _enter(seen, i)
    seen.opaque += [seen.tracers[i].variable for i in left]
    inside = in_custom_functions(recording)
    custom = inside - recording.held if cut_no_grad else set()
    checkpointed = in_custom_functions(recording, CHECKPOINT)  # what is detached in there is meant to be
    for number, call in enumerate(recording.calls):
        references = call.references()
        if not any(i in seen.tracers for i in references) or left.keys() & set(call.outputs):
            continue
        followed = follow_detached or (number in custom and number not in checkpointed)
        unseen = cut_no_grad and not call.grad_enabled and number not in custom and call.name != "aten::detach_"
        if unseen and _replace_unseen(seen, number, call):  # what writes a constant too, such as zero_
            seen.passed.append(number)
            continue
        if is_constant(call.name) and not (followed and call.name == "aten::detach"):
            continue
        if not any(o is not None and recording.variables[o].is_float for o in call.outputs):
            continue
        if call.name == "data::write" and number not in inside and not follow_detached:
            seen.beside = _replace_unseen(seen, number, call) or seen.beside
            continue
        if cut_no_grad and not call.grad_enabled and number not in custom:
            seen.cut.append(number)
            continue
        _lower(seen, number, call)
        if not cut_no_grad and not call.grad_enabled and number not in inside:
            seen.followed[number] = (*seen.followed.get(number, ()), "tangents-through-no-grad")
    return seen


def program_of(recording: Recording) -> Program:
    """The run as a program from its floating inputs to its floating outputs. Raises UnsupportedOperation."""
    wrt = [i for i in dict.fromkeys(recording.inputs) if recording.variables[i].is_float]
    seen = witness(recording, wrt)
    if seen.missing:
        raise UnsupportedOperation(
            seen.missing,
            f"capture: the witness has no rule for {', '.join(sorted(seen.missing))}; accepted are the operations of "
            "gradwitness.harness.lowering.known_operations(). Write the operation differently.",
        )
    return seen.program(wrt, [o for o in recording.outputs if recording.variables[o].is_float])


def _enter(seen: Witnessed, index: int) -> None:
    """A recorded variable as a fresh input of the trace."""
    recorded = seen.recording.variables[index]
    tracer = seen.builder.input(recorded.value.shape, recorded.value.dtype)
    seen.tracers[index] = tracer
    seen.values[tracer.variable] = recorded.value


def _replace_unseen(seen: Witnessed, number: int, call: Call) -> bool:
    """A tensor written under no_grad: autograd does not see it, so the value changes and the derivative is as before.

    (x - before) + after, which is `after` to the last digit, with derivative 1 in x. False for any other call.
    """
    old = call.args[0] if call.args else None
    new = call.outputs[0] if call.outputs else None
    if (
        not call.name.endswith(("_", "::write"))
        or not isinstance(old, Ref)
        or new is None
        or old.index not in seen.tracers
    ):
        return False
    before, after = (seen.recording.variables[i].value for i in (old.index, new))
    start = len(seen.builder.equations)
    tracer = (seen.tracers[old.index] - before) + after
    seen.tracers[new] = tracer
    seen.values[tracer.variable] = after
    seen.spans[number] = (start, len(seen.builder.equations))
    return True


def functional_overload(func: Any) -> str:
    """The overload of an operation that gives what one with `out=` writes: "Tensor" for aten::div.out."""
    given = [(a.name, str(a.type)) for a in func._schema.arguments if not a.is_out]
    if len(given) < len(func._schema.arguments):
        for name in func.overloadpacket.overloads():
            schema = getattr(func.overloadpacket, name)._schema
            if [(a.name, str(a.type)) for a in schema.arguments] == given:
                return str(schema.overload_name)
    return str(func._overloadname)


def _lower(seen: Witnessed, number: int, call: Call) -> None:
    recording = seen.recording
    overload = functional_overload(call.func) if call.func is not None else call.overload
    lowering = find(call.name, overload)
    outputs = tuple(None if o is None else recording.variables[o].value for o in call.outputs)
    first = next(recording.variables[o] for o in call.outputs if o is not None)
    start = len(seen.builder.equations)
    results: Any = None
    is_complex = any(
        recording.variables[i].dtype.is_complex for i in (*call.references(), *call.outputs) if i is not None
    )
    if is_complex:
        lowering = find_complex(call.name, overload)
    short = _too_short(seen, call)
    if short:
        seen.unsupported[number] = f"{call.qualified}: numbers of {short}, whose rounding the witness does not know"
    elif lowering is None:
        what = "no rule in the witness" + (" for complex numbers" if is_complex else "")
        seen.unsupported[number] = f"{call.qualified}: {what}{'' if is_complex else _next_step(call)}"
    else:
        geometries = tuple(recording.variables[i].geometry for i in call.references())
        dtype = str(first.dtype).removeprefix("torch.")
        site = CallSite(
            call.qualified,
            outputs,
            dtype,
            lambda a: _number(seen, a),
            geometries,
            only_adjoints=seen.only_adjoints,
            tangents=call.tangents,
            made_in=lambda: coarsest_behind(recording, call.references()),
            drifts=lambda a, held: drift_so_far(seen.builder, seen.values, a, held),
            by_definition=number in seen.by_definition,
        )

        def argument(a: Any) -> Any:
            if not isinstance(a, Ref):
                return _stored(a, first.dtype) if call.name in MOVED and type(a) is float else a
            promoted = _promoted(seen, a.index, first.dtype)
            return _parts(seen, a.index, promoted) if recording.variables[a.index].dtype.is_complex else promoted

        try:
            written = {a.name for a in call.func._schema.arguments if a.is_out} if call.func is not None else ()
            named = {name: a for name, a in call.kwargs.items() if name not in written}  # what it writes, it ignores
            results = lowering(site, *tree_map(argument, call.args), **tree_map(argument, named))
            results = _whole(results) if is_complex else results
        except (EngineError, NotCovered) as error:
            seen.unsupported[number] = f"{call.qualified}: {error}"
        except TypeError as error:
            seen.unsupported[number] = f"{call.qualified}: the rule does not take these arguments ({error})"
        if site.undecided:
            seen.undecided.append(number)
        if site.followed:
            seen.followed[number] = tuple(site.followed)
    results = results if isinstance(results, tuple) else (results,)
    for o, r in zip(call.outputs, [*results, *([None] * len(call.outputs))], strict=False):
        if o is None or not recording.variables[o].is_float:
            continue
        if isinstance(r, Tracer) and r.shape != recording.variables[o].value.shape:
            seen.unsupported[number] = (
                f"{call.qualified}: the rule gives shape {r.shape}, the run gave {recording.variables[o].value.shape}"
            )
        elif isinstance(r, Tracer):
            seen.tracers[o] = r
            seen.values.setdefault(r.variable, recording.variables[o].value)
    if number in seen.unsupported:
        for o in call.outputs:
            if o is not None and recording.variables[o].is_float:
                _enter(seen, o)
                seen.opaque.append(seen.tracers[o].variable)
    seen.spans[number] = (start, len(seen.builder.equations))


def _next_step(call: Call) -> str:
    """What to do where a custom operator has no rule; nothing for the operations of PyTorch."""
    if call.func is None or call.func.namespace in ("aten", "prims"):
        return ""
    if call.func._schema.is_mutable:
        return (
            " for this custom operator. It writes into its arguments: let it return a new tensor, and then say what it "
            "computes with register_lowering"
        )
    return f' for this custom operator. Say what it computes with register_lowering("{call.name}", fn)'


def _too_short(seen: Witnessed, call: Call) -> str:
    """A dtype of differentiated numbers of a call that is none of those whose rounding is known; "" if none is."""
    variables = seen.recording.variables
    traced = [*[i for i in call.references() if i in seen.tracers], *[o for o in call.outputs if o is not None]]
    floats = [variables[i].dtype for i in traced if variables[i].is_float]
    names = [str(d.to_real() if d.is_complex else d).removeprefix("torch.") for d in floats]
    return next((name for name in names if name not in UNIT_ROUNDOFF), "")


def _parts(seen: Witnessed, index: int, whole: Any) -> Pair:
    """The real and the imaginary part of a recorded complex number; their numbers are known too."""
    value = seen.recording.variables[index].value
    parts = [whole[..., k] for k in (0, 1)]
    for k, part in enumerate(parts):
        if isinstance(part, Tracer):
            seen.values.setdefault(part.variable, value[..., k])
    return Pair(*parts)


def _whole(results: Any) -> Any:
    """Results with every pair joined along a last axis, as complex numbers are recorded."""
    if isinstance(results, (tuple, list)):
        return tuple(_whole(r) for r in results)
    return ops.stack([results.x, results.y], axis=-1) if isinstance(results, Pair) else results


def _promoted(seen: Witnessed, index: int, dtype: torch.dtype) -> Any:
    """An argument of a call whose result has `dtype`: one that is held in a coarser one is converted first.

    The number stays, but PyTorch rounds its cotangent to the coarser one, as `cast` says. A tensor without axes does
    not promote the others: where it is held in a finer dtype than the result, it is rounded to that of the result.
    """
    argument, recorded = _argument(seen, index), seen.recording.variables[index]
    if not recorded.is_float or not (dtype.is_floating_point or dtype.is_complex):
        return argument
    own, other = torch.finfo(recorded.dtype).eps, torch.finfo(dtype).eps
    if own < other and recorded.value.shape == () and not recorded.dtype.is_complex:
        rounded = ops.cast(argument if index in seen.tracers else seen.builder.lift(recorded.value))
        seen.values[rounded.variable] = np.asarray(_stored(float(recorded.value), dtype))
        return rounded
    if index not in seen.tracers or own <= other:
        return argument
    converted = ops.cast(argument)
    seen.values[converted.variable] = recorded.value
    return converted


def _stored(number: float, dtype: torch.dtype) -> float:
    """A Python number as a tensor of `dtype` holds it."""
    return float(torch.tensor(number, dtype=torch.float64).to(dtype)) if dtype.is_floating_point else number


def _number(seen: Witnessed, argument: Any) -> Any:
    """The recorded number of an argument of a lowering."""
    if not isinstance(argument, Tracer):
        return np.asarray(argument)
    return (
        seen.values[argument.variable]
        if argument.variable in seen.values
        else seen.builder.constants[argument.variable]
    )


def _argument(seen: Witnessed, index: int) -> Any:
    """A recorded variable as the lowering sees it: traced if it depends on what is differentiated, else its number."""
    recorded = seen.recording.variables[index]
    if index in seen.tracers:
        return seen.tracers[index]
    if recorded.is_float:
        return seen.builder.lift(recorded.value)
    return np.asarray(recorded.value)
