"""The callable under check with its arguments: a function of the differentiated tensors alone.

Another callable or another first argument can be put in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..judgement.comparing import Subject
from ..judgement.precisions import entered
from ..recorder.copies import fresh
from ..recorder.nested import Nest, flatten, tensors_in, unflatten
from .surroundings import Surroundings


@dataclass(frozen=True)
class Calling:
    """fn with all of its arguments; `positions` of the flat ones are filled with the tensors that it is called on.

    flat, tree: the arguments (args, kwargs), flattened. precision: as for `entered`. same: positions that hold the
    tensor of another position too. copied: positions whose tensor is copied first, for a callable that writes into it.
    Every other tensor is copied for each call. after: what becomes of the result. around: what the caller has set for
    the callable. compiles: the caller has compiled a part of it, and is asking about that code.
    """

    fn: Callable[..., Any]
    flat: Sequence[Any]
    tree: Nest
    positions: Sequence[int]
    precision: str | None = None
    same: Mapping[int, int] = field(default_factory=dict)
    copied: Sequence[int] = ()
    after: Callable[[Any], Any] | None = None
    around: Surroundings = Surroundings()
    compiles: bool = False

    def __call__(self, *tensors: torch.Tensor) -> Any:
        filled: dict[int, Any] = dict(enumerate(self.flat))
        for i, t in zip(self.positions, tensors, strict=True):
            filled[i] = t.clone(memory_format=torch.preserve_format) if i in self.copied else t
        others = {id(a): a for i, a in filled.items() if i not in self.positions and isinstance(a, torch.Tensor)}
        copies = {key: fresh(a) for key, a in others.items()}
        for i, a in filled.items():
            if i in self.same:
                filled[i] = filled[self.same[i]]
            elif i not in self.positions:
                filled[i] = copies.get(id(a), a)
        args, kwargs = unflatten(list(filled.values()), self.tree)
        with self.around.placed(), self.around.cast(), entered(self.precision):
            result = self.fn(*args, **kwargs)
        return result if self.after is None else self.after(result)

    def through(self, fn: Callable[..., Any]) -> Calling:
        """The same arguments given to another callable."""
        return replace(self, fn=fn)

    @property
    def batch(self) -> torch.Tensor | None:
        """The first argument where it is a tensor with an axis 0, whose entries are samples; else None."""
        args, _ = unflatten(self.flat, self.tree)
        first = args[0] if args else None
        return first if isinstance(first, torch.Tensor) and first.dim() > 0 else None


def with_its_own_code(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, of which the runner `compile` compiles nothing more than the caller has."""
    return replace(call, compiles=True) if isinstance(call, Calling) else call


def calling_of(subject: Subject) -> Calling:
    """How the subject calls its callable; one that is a plain function of its inputs is its own callable."""
    if isinstance(subject.call, Calling):
        return subject.call
    flat, tree = flatten((tuple(subject.inputs), {}))
    return Calling(subject.call, flat, tree, range(len(flat)))


def flat_outputs(result: Any) -> tuple[torch.Tensor, ...]:
    """The floating and complex tensors of a result, in order."""
    return tuple(t for t in tensors_in(result) if t.is_floating_point() or t.is_complex())


def functional(subject: Subject, calling: Calling | None = None) -> Callable[..., tuple[torch.Tensor, ...]]:
    """The subject as a function of all of its leaves, inputs then parameters.

    Buffers are copied inside, so that a transform may let the module write its running statistics.
    """
    calling = calling or calling_of(subject)
    module, count = subject.module, len(subject.inputs)
    if module is None:
        return lambda *tensors: flat_outputs(calling(*tensors))
    known = {id(p): name for name, p in module.named_parameters()}
    names = [known[id(p)] for p in subject.parameters]

    def of_leaves(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values: dict[str, torch.Tensor] = dict(zip(names, tensors[count:], strict=True))
        values |= {name: b.clone() for name, b in module.named_buffers()}

        def call(*args: Any, **kwargs: Any) -> Any:
            return torch.func.functional_call(module, values, args, kwargs)

        return flat_outputs(calling.through(call)(*tensors[:count]))

    return of_leaves
