"""All planted faults by name, and their driver programs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ..errors import UsageError
from . import branches, formulas, orders, programs_of_arrays, programs_of_layers, reported, rewrites, shapes
from .fault import CLASSES, Fault
from .programs import PROGRAMS

assert programs_of_arrays.PROGRAMS is programs_of_layers.PROGRAMS is PROGRAMS  # their programs are entered on import
_FAULTS: dict[str, Fault] = {}
for _fault in (*formulas.FAULTS, *branches.FAULTS, *shapes.FAULTS, *orders.FAULTS, *reported.FAULTS, *rewrites.FAULTS):
    assert _fault.name not in _FAULTS, f"two faults are called {_fault.name}"
    assert _fault.program in PROGRAMS, f"{_fault.name}: no program is called {_fault.program}"
    _FAULTS[_fault.name] = _fault


def catalogue() -> Mapping[str, Fault]:
    """Every planted fault by its name; read-only."""
    return MappingProxyType(_FAULTS)


def named(name: str) -> Fault:
    """The fault of this name. Raises UsageError with the nearest names."""
    if name in _FAULTS:
        return _FAULTS[name]
    raise UsageError(f"faults: {name!r} is no planted fault; {_nearest(name, _FAULTS)}.")


def chosen(only: Iterable[str] = (), classes: Iterable[str] = ()) -> list[Fault]:
    """The faults with these names (all if none is given) in these classes (a part of a class's name is enough).

    Raises UsageError for a name or a class that is not known, with the nearest ones.
    """
    faults = [named(n) for n in only] or list(_FAULTS.values())
    wanted: set[str] = set()
    for part in classes:
        met = [c for c in CLASSES if part.lower() in c]
        if not met:
            raise UsageError(f"faults: {part!r} is no fault class; {_nearest(part, CLASSES)}.")
        wanted.update(met)
    return [f for f in faults if not wanted or f.fault_class in wanted]


def _nearest(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(name, known, 3, 0.4) or [k for k in known if name.split("-")[0] in k][:3]
    return f"the nearest are {', '.join(near)}. Choose one" if near else f"accepted are {', '.join(known[:8])}, …"
