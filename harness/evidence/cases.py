"""`case.json`: one comparison as plain data, so that it can be kept, sent and replayed.

Four kinds: "call" (one ATen call with its arguments), "generated" (a Program with its inputs), "opinfo" (an entry of
op_db and the number of its sample), "variations" (the same with the name of a variation and a dtype).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from ...reference_engine.program import array_from_json, array_to_json
from ..errors import CaseError
from ..judgement.comparing import Subject
from ..judgement.modes import MODES
from ..recorder.recorded_run import Call, Recording, Ref
from ..recorder.recorded_source import LAZILY
from ..recorder.recording import to_numpy

FORMAT = 1
NAMES = {torch.float64: "float64", torch.complex128: "complex128", torch.bool: "bool"}


def call_to_json(recording: Recording, call: Call, active: set[int], mode: str, seed: int) -> dict[str, Any]:
    """One recorded call as a case; tensors of the recorded variables in `active` are the ones differentiated."""
    return {
        "format": FORMAT,
        "kind": "call",
        "mode": mode,
        "seed": seed,
        "operation": call.name,
        "overload": call.overload,
        "args": [_to_json(a, recording, active) for a in call.args],
        "kwargs": {k: _to_json(a, recording, active) for k, a in call.kwargs.items()},
    }


def _to_json(a: Any, recording: Recording, active: set[int]) -> Any:
    if isinstance(a, Ref):
        v = recording.variables[a.index]
        return {
            "tensor": array_to_json(v.stored),
            "shape": list(v.stored.shape),
            "dtype": str(v.dtype).removeprefix("torch."),
            "active": a.index in active and v.is_float,
        }
    if isinstance(a, (list, tuple)):
        return [_to_json(x, recording, active) for x in a]
    if isinstance(a, float) and (a != a or a in (float("inf"), float("-inf"))):
        return {"float": repr(a)}
    if isinstance(a, torch.dtype | torch.layout | torch.memory_format | torch.device):
        return {"torch": str(a).removeprefix("torch.")}
    return a


def read_case(path: Path) -> dict[str, Any]:
    """The case in a file. Raises CaseError saying what is wrong with it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError(
            f"replay: {path} could not be read ({error.strerror}); accepted is a case.json of a report's findings "
            f"folder. Check the path."
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CaseError(
            f"replay: {path} is not JSON ({error}); accepted is a case.json as `gradwitness run` writes it. Restore "
            f"the file, or run again."
        ) from error
    if not isinstance(data, dict) or data.get("kind") not in ("call", "generated", "opinfo", "variations"):
        found = data.get("kind") if isinstance(data, dict) else type(data).__name__
        raise CaseError(
            f"replay: {path} has kind {found!r}; accepted are 'call', 'generated', 'opinfo' and 'variations'. Use a "
            f"case.json as `gradwitness run` writes it."
        )
    if data.get("mode") not in MODES:
        raise CaseError(
            f"replay: {path} has mode {data.get('mode')!r}; accepted are {', '.join(MODES)}. Restore the file."
        )
    return data


def call_from_json(data: Mapping[str, Any]) -> Subject:
    """The subject of a case of kind "call". Raises CaseError for an operation this torch lacks or arguments that cannot
    be read.
    """
    try:
        namespace, _, name = data["operation"].partition("::")
        if namespace in LAZILY:
            importlib.import_module(LAZILY[namespace])
        func = getattr(getattr(getattr(torch.ops, namespace), name), data["overload"] or "default")
        flat, tree = tree_flatten(
            ([_from_json(a) for a in data["args"]], {k: _from_json(a) for k, a in data["kwargs"].items()})
        )
        seed = int(data["seed"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CaseError(
            f"replay: the call could not be read ({type(error).__name__}: {error}); accepted is a case.json as "
            f"`gradwitness run` writes it. Restore the file."
        ) from error
    positions = [i for i, a in enumerate(flat) if isinstance(a, torch.Tensor) and a.requires_grad]

    def call(*tensors: torch.Tensor) -> Any:
        values = [a.detach() if isinstance(a, torch.Tensor) else a for a in flat]
        for i, t in zip(positions, tensors, strict=True):
            values[i] = t
        args, kwargs = tree_unflatten(values, tree)
        return func(*args, **kwargs)

    return Subject(call, [flat[i] for i in positions], [], [f"argument {i}" for i in positions], None, seed)


def _from_json(a: Any) -> Any:
    if isinstance(a, dict) and "tensor" in a:
        dtype = getattr(torch, a["dtype"])
        kept = NAMES.get(dtype, "float64" if dtype.is_floating_point else "complex128" if dtype.is_complex else "int64")
        t = torch.from_numpy(array_from_json(a["tensor"], kept, a["shape"]).copy()).to(dtype)
        return t.requires_grad_() if a["active"] else t
    if isinstance(a, dict) and "float" in a:
        return float(a["float"])
    if isinstance(a, dict) and "torch" in a:
        return getattr(torch, a["torch"]) if hasattr(torch, a["torch"]) else torch.device(a["torch"])
    return [_from_json(x) for x in a] if isinstance(a, list) else a


def elements(subject: Subject) -> int:
    """Number of entries that are differentiated."""
    return sum(to_numpy(t).size for t in subject.inputs)
