"""A runner asked for a derivative of a subject: its answers and, where the run shows them, its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from ..judgement.comparing import Subject
from ..recorder.preserving import random_states, set_random_states
from .calling import Calling, calling_of, flat_outputs, functional
from .compiling import Compiled, apart
from .derivatives import Answers, Tensors, by_backward, by_tape, by_transforms
from .expressible import COMPILED, REENTRANT, NotExpressible

PLAIN = "plain"  # no runner of its own: the tape alone, for what a runner is held against


def ask(
    runner: str,
    subject: Subject,
    c: Tensors,
    directions: Sequence[Tensors],
    mode: str,
    between: Callable[[], None],
) -> tuple[Answers, Tensors | None]:
    """One answer per leaf of the subject, or per output where all is F; the outputs are None where only derivatives
    come out. Raises what PyTorch raises, and NotExpressible.

    between: called between a forward pass and its backward pass, where the runner has the two apart.
    """
    with apart() if runner in COMPILED else nullcontext():
        return _ASK[runner](subject, c, directions, mode, between)


def _plainly(subject: Subject) -> Tensors:
    return tuple(x.detach() for x in subject.leaves)


def _func(
    subject: Subject, c: Tensors, directions: Sequence[Tensors], mode: str, between: Callable[[], None]
) -> tuple[Answers, Tensors | None]:
    del between
    fn, last = functional(subject), []

    def noted(*a: torch.Tensor) -> Tensors:
        outputs = fn(*a)
        last[:] = [outputs]
        return outputs

    answers = by_transforms(noted, _plainly(subject), c, directions, mode)
    return list(answers), tuple(_unwrapped(y) for y in last[0])


def _unwrapped(t: torch.Tensor) -> torch.Tensor:
    """The tensor itself under the wrappers of torch.func."""
    level = torch._C._functorch
    while level.is_functorch_wrapped_tensor(t):
        t = level.get_unwrapped(t)
    return t


def _compiled_derivative(
    subject: Subject, c: Tensors, directions: Sequence[Tensors], mode: str, between: Callable[[], None]
) -> tuple[Answers, None]:
    del between
    fn = functional(subject)
    derivative = Compiled(lambda x, c, directions: by_transforms(fn, x, c, directions, mode))
    return list(derivative(_plainly(subject), c, tuple(directions)[: len(mode)])), None


def _taped(wrapped: Callable[[Calling], Callable[..., Any]], create_graph: bool = False) -> Any:
    """A runner that changes how the callable runs and leaves the derivative to the tape."""

    def answer(
        subject: Subject, c: Tensors, directions: Sequence[Tensors], mode: str, between: Callable[[], None]
    ) -> tuple[Answers, Tensors | None]:
        call = wrapped(calling_of(subject))
        count = len(subject.inputs)
        if mode.count("F") > 1:  # dual numbers do not nest

            def held(*tensors: torch.Tensor) -> Tensors:
                with holding(subject)(tensors):
                    return flat_outputs(call(*tensors[:count]))

            return list(by_transforms(held, _plainly(subject), c, directions, mode)), None

        def fn(*tensors: torch.Tensor) -> Tensors:
            return flat_outputs(call(*tensors[:count]))

        begin = random_states()
        options: Any = {"create_graph": create_graph, "between": between}
        try:
            return by_tape(fn, subject.leaves, holding(subject), c, directions, mode, **options)
        except RuntimeError as error:
            if mode != "R" or REENTRANT not in str(error):
                raise
        set_random_states(begin)
        return by_backward(fn, subject.leaves, c, between, create_graph)

    return answer


def holding(subject: Subject) -> Callable[[Sequence[torch.Tensor]], AbstractContextManager[None]]:
    """Within it the subject's module holds the given values as parameters, and copies of its buffers."""

    @contextmanager
    def held_by_it(values: Sequence[torch.Tensor]) -> Iterator[None]:
        if subject.module is None:
            yield
            return
        names = {id(p): name for name, p in subject.module.named_parameters()}
        held = {names[id(p)]: v for p, v in zip(subject.parameters, values[len(subject.inputs) :], strict=True)}
        held |= {name: b.detach().clone() for name, b in subject.module.named_buffers()}
        with torch.nn.utils.stateless._reparametrize_module(subject.module, held, tie_weights=True):
            yield

    return held_by_it


def _compiled(calling: Calling) -> Callable[..., Any]:
    return calling.through(Compiled(calling.fn, as_it_is=calling.compiles))


def compiled_with(subject: Subject) -> Callable[..., Any]:
    """The subject's callable under torch.compile, as a function of the inputs."""
    return _compiled(calling_of(subject))


def _checkpointed(calling: Calling) -> Callable[..., Any]:
    return lambda *tensors: checkpoint(calling, *tensors, use_reentrant=False)


def _saved_on_cpu(calling: Calling) -> Callable[..., Any]:
    def call(*tensors: torch.Tensor) -> Any:
        with torch.autograd.graph.save_on_cpu():
            return calling(*tensors)

    return call


def _reentrant(
    subject: Subject, c: Tensors, directions: Sequence[Tensors], mode: str, between: Callable[[], None]
) -> tuple[Answers, Tensors]:
    del directions, mode
    if not subject.inputs:
        raise NotExpressible("the reentrant checkpoint needs an input that requires grad, and no input does")
    calling, count = calling_of(subject), len(subject.inputs)

    def fn(*tensors: torch.Tensor) -> Tensors:
        return flat_outputs(checkpoint(calling, *tensors[:count], use_reentrant=True))

    return by_backward(fn, subject.leaves, c, between)


_ASK: dict[str, Any] = {
    "func": _func,
    "compile": _taped(_compiled),
    "compile_grad": _compiled_derivative,
    "compile_jvp": _compiled_derivative,
    "checkpoint": _taped(_checkpointed),
    "checkpoint_reentrant": _reentrant,
    "save_on_cpu": _taped(_saved_on_cpu),
    PLAIN: _taped(lambda calling: calling),
    "create_graph": _taped(lambda calling: calling, create_graph=True),
}
