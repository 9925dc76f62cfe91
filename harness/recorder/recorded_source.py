"""A recorded run as PyTorch source: one line per ATen call that depends on the inputs, everything else as literals.

In-place operations are written in their functional form, since the recording is in single assignment form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..generation.emit import number, tensor
from .recorded_run import Call, Recording, Ref

LAZILY = {"torch_nn": "torch.nn.modules.linear_cross_entropy"}  # where torch registers operations on first use


def of_recording(recording: Recording, inputs: Sequence[int], outputs: Sequence[int], name: str = "f") -> str:
    """Source of `f(x0, x1, …)` that returns the tuple of `outputs`, or "" if the run cannot be replayed from its calls.

    inputs, outputs: numbers of recorded variables. A call that draws random numbers cannot be replayed.
    """
    depends = set(inputs)
    calls = []
    for call in recording.calls:
        if any(i in depends for i in call.references()):
            calls.append(call)
            depends.update(o for o in call.outputs if o is not None)
    alive = set(outputs)
    kept: list[Call] = []
    for call in reversed(calls):
        if any(o in alive for o in call.outputs):
            kept.append(call)
            alive.update(call.references())
    kept.reverse()
    names = {v: f"x{i}" for i, v in enumerate(inputs)}
    lines = [f"def {name}({', '.join(names[v] for v in inputs)}):"]
    for module in dict.fromkeys(LAZILY.get(call.name.partition("::")[0]) for call in kept):
        if module is not None:
            lines.append(f"    import {module}")
    for call in kept:
        for v in call.references():
            if v not in names and v not in depends:
                names[v] = f"c{v}"
                lines.append(f"    c{v} = {tensor(recording.variables[v].stored, str(recording.variables[v].dtype))}")
        written = _call(call, names)
        if not written:
            return ""
        # what a call writes into without returning it (running statistics) comes after what it returns
        returned = call.outputs if call.func is None else call.outputs[: len(call.func._schema.returns) or None]
        if any(isinstance(r.type, torch.ListType) for r in (() if call.func is None else call.func._schema.returns)):
            returned = call.outputs
        left = ["_" if o is None else names.setdefault(o, f"v{o}") for o in returned]
        lines.append(f"    {', '.join(left)} = {written}")
    lines.append(f"    return {', '.join(_output(recording, v, names) for v in outputs)},")
    return "\n".join(lines) + "\n"


def _output(recording: Recording, v: int, names: dict[int, str]) -> str:
    return names.get(v) or tensor(recording.variables[v].stored, str(recording.variables[v].dtype))


def _call(call: Call, names: dict[int, str]) -> str:
    """One call, or "" if it cannot be written."""
    args = [_argument(a, names) for a in call.args]
    args += [f"{k}={_argument(a, names)}" for k, a in call.kwargs.items() if not isinstance(a, torch.Generator)]
    if call.func is None:
        return _storage(call, names)
    if torch.Tag.nondeterministic_seeded in call.func.tags or any("?" in a for a in args):
        return ""
    space, _, name = call.name.partition("::")
    overload = call.overload or "default"
    if call.func._schema.is_mutable:
        name = name.removesuffix("_")
        packet = getattr(getattr(torch.ops, space), name, None)
        if packet is None or overload not in packet.overloads():
            return ""
    return f"torch.ops.{space}.{name}.{overload}({', '.join(args)})"


def _storage(call: Call, names: dict[int, str]) -> str:
    """The recorder's own calls: reading a tensor from its flat storage, and writing it back."""
    operands = [names[a.index] for a in call.args if isinstance(a, Ref)]
    geometry = next((a for a in call.args if isinstance(a, tuple)), None)
    if geometry is None:
        return ""
    shape, stride, offset = geometry
    function = "as_strided" if call.name == "storage::read" else "as_strided_scatter"
    return f"torch.{function}({', '.join(operands)}, {shape}, {stride}, {offset})"


def _argument(a: Any, names: dict[int, str]) -> str:
    if isinstance(a, Ref):
        return names.get(a.index, "?")
    if isinstance(a, (list, tuple)):
        return "[" + ", ".join(_argument(x, names) for x in a) + "]"
    if isinstance(a, torch.device):
        return f'torch.device("{a}")'
    if isinstance(a, (bool, int, float, complex)):
        return number(a)
    return repr(a)
