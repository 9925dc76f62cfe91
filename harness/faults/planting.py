"""Plant a wrong rule into PyTorch while it runs, and take it out again without a trace.

Nothing of PyTorch is patched. A torch-function mode sees each call of the program and prepares the autograd nodes that
the call made. Such a node carries two hooks that change nothing; when it is about to run, the first of them puts the
damage in front of all hooks that listen to what the node sends. So there is no custom Function, no further node in the
graph, and no hook that could be seen to change a gradient: whoever watches the node sees its own rule go wrong, as with
a wrong formula in ATen. A tangent is replaced on the result of the call. A kernel is replaced by a dispatch mode, which
lies under every dispatch mode entered later, the witness's recorder too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from ..errors import UsageError
from .fault import EXTENTS, Fault

SOME = 0.01  # the share of entries that the extent "some" damages, at least two


@contextmanager
def planted(
    fault: Fault | str, size: float | None = None, extent: str = "all", position: float = 0.5
) -> Iterator[Fault]:
    """Within it, PyTorch differentiates by the wrong rule of `fault` (a Fault, or the name of one).

    size: None for the wrong rule itself; otherwise each damaged entry is moved towards it by `size` times its own
    magnitude. extent: "one" entry, "some" (1 %), or "all" entries. position: from 0 to 1, which entry of those that can
    be damaged is the one. Afterwards, and after an exception, PyTorch is as before. Raises UsageError for a name that
    is no fault, a size of a fault that has none, and an unknown extent.
    """
    if isinstance(fault, str):
        from .catalogue import named

        fault = named(fault)
    if size is not None and not fault.sized:
        raise UsageError(
            f"planted: {fault.name} with size={size}; accepted is size=None, since this fault is there or not. Leave "
            f"size out."
        )
    if extent not in EXTENTS:
        raise UsageError(f"planted: extent={extent!r}; accepted are {', '.join(EXTENTS)}. Choose one of them.")
    if fault.mechanism == "rewrite":
        with _rewriting(fault):
            yield fault
        return
    damage = _Damage(fault, size, extent, position)
    mode = {"tangent": _Tangents, "kernel": _Kernels}.get(fault.mechanism, _Nodes)(damage)
    with ExitStack() as stack:
        stack.callback(damage.stop)
        stack.enter_context(mode)
        yield fault


@contextmanager
def _rewriting(fault: Fault) -> Iterator[None]:
    """Within it torch.compile applies the wrong rule to every graph that it makes, after its own passes."""
    from torch._inductor import config as inductor

    def spoil(graph: torch.fx.Graph) -> None:
        for node in list(graph.nodes):
            if getattr(getattr(node.target, "_schema", None), "name", "") == fault.place:
                fault.wrong(node, (), None)  # type: ignore[arg-type]

    with inductor.patch(post_grad_custom_post_pass=spoil):
        yield


class _Damage:
    """What happens to one gradient: the wrong rule, whole or in part, on the entries asked for."""

    def __init__(self, fault: Fault, size: float | None, extent: str, position: float) -> None:
        self.fault, self.size, self.extent, self.position = fault, size, extent, position
        self.handles: list[Any] = []
        self.on = True

    def stop(self) -> None:
        """Take the hooks off, so that a graph that outlives the context is as before."""
        self.on = False
        for handle in self.handles:
            handle.remove()
        self.handles.clear()

    def __call__(self, source: Any, g: tuple[Any, ...], right: torch.Tensor) -> Any:
        wrong = self.fault.wrong(source, g, right)
        if wrong is None:
            return None
        wrong = wrong.to(right.dtype).expand(right.shape)
        if self.size is None:
            return wrong
        with torch.no_grad():
            apart = (wrong - right).sgn()
            apart = torch.where(torch.isfinite(wrong.abs()), apart, torch.ones_like(apart))
            scale = right.abs()
            typical = scale[scale > 0].mean() if bool((scale > 0).any()) else scale.new_ones(())
            step = self.size * apart * (scale if self.extent == "one" else torch.where(scale > 0, scale, typical))
            step = step * self._chosen((step != 0) & torch.isfinite(step.abs()))
        return right + step

    def _chosen(self, possible: torch.Tensor) -> torch.Tensor:
        """A mask of the entries to damage, among those that can be damaged."""
        places = possible.reshape(-1).nonzero().reshape(-1)
        if self.extent != "all" and len(places):
            count = 1 if self.extent == "one" else max(2, int(len(places) * SOME))
            start = int(self.position * (len(places) - 1))
            places = places.roll(-start)[:: max(1, len(places) // count)][:count]
        mask = torch.zeros_like(possible.reshape(-1)).index_fill(0, places, True)  # not in place: it may be wrapped
        return mask.reshape(possible.shape)


class _Nodes(TorchFunctionMode):
    """Hooks the nodes named by the fault as soon as the call that makes them returns."""

    def __init__(self, damage: _Damage) -> None:
        super().__init__()
        self.damage = damage
        fault = damage.fault
        self.wanted = fault.through if fault.mechanism == "inner node" else fault.place

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            made = [result.grad_fn] if result.grad_fn is not None else []
        elif isinstance(result, tuple | list):
            made = [t.grad_fn for t in result if isinstance(t, torch.Tensor) and t.grad_fn is not None]
        else:
            return result
        for node in _nodes_named(made, self.wanted):
            hook = self._look_inside if self.damage.fault.mechanism == "inner node" else self._replace
            self._hook(node, hook)
        return result

    def _hook(self, node: Any, hook: Any) -> None:
        """Let `hook` be the first to see what the node sends, from the moment that the node is about to run."""
        after = node.register_hook(lambda sent, received: None)

        def just_before(received: tuple[Any, ...]) -> None:
            table = after.hooks_dict_ref()
            others = {key: h for key, h in table.items() if key != after.id}
            table.clear()
            table[after.id] = lambda sent, received: hook(node, sent, received)
            table.update(others)

        self.damage.handles += [after, node.register_prehook(just_before)]

    def _replace(self, node: Any, sent: tuple[Any, ...], received: tuple[Any, ...]) -> Any:
        damage = self.damage
        edge = damage.fault.edge
        if not damage.on or edge >= len(sent) or sent[edge] is None or all(g is None for g in received):
            return None
        new = list(sent)
        new[edge] = damage(node, received, sent[edge])
        return tuple(new)

    def _look_inside(self, node: Any, sent: tuple[Any, ...], received: tuple[Any, ...]) -> None:
        made = [g.grad_fn for g in sent if g is not None and g.grad_fn is not None]
        for inner in _nodes_named(made, self.damage.fault.place):
            self._hook(inner, self._replace)


def _nodes_named(made: list[Any], name: str) -> Iterator[Any]:
    """The nodes of this name that nobody met before, behind the given ones; each is marked as met."""
    waiting = list(made)
    while waiting:
        node = waiting.pop()
        if node is None or "AccumulateGrad" in node.name():
            continue
        if "gradwitness planted" in node.metadata:
            continue
        node.metadata["gradwitness planted"] = True
        if node.name() == name:
            yield node
        waiting += [before for before, _ in node.next_functions]


class _Tangents(TorchFunctionMode):
    """Replaces the tangent of the result of the functions named by the fault."""

    def __init__(self, damage: _Damage) -> None:
        super().__init__()
        self.damage = damage
        self.names = damage.fault.place.split()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").split(".")[0]
        if name not in self.names or forward_ad._current_level < 0 or not forward_ad._is_fwd_grad_enabled():
            return result
        if isinstance(result, torch.Tensor):
            return self._damaged(result, args, kwargs)
        return (self._damaged(result[0], args, kwargs), *result[1:])

    def _damaged(self, result: torch.Tensor, args: Any, kwargs: Any) -> torch.Tensor:
        value, tangent = forward_ad.unpack_dual(result)
        if tangent is None:
            return result
        flat = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)]
        primals = tuple(forward_ad.unpack_dual(a) for a in flat)
        return forward_ad.make_dual(value, self.damage(value, primals, tangent))


class _Kernels(TorchDispatchMode):
    """Replaces the result of the ATen kernel named by the fault."""

    def __init__(self, damage: _Damage) -> None:
        super().__init__()
        self.damage = damage

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._schema.name != self.damage.fault.place:
            return result
        plain = tree_map(lambda a: a.detach() if isinstance(a, torch.Tensor) else a, args)
        if isinstance(result, torch.Tensor):
            return self.damage(func, plain, result)
        several = list(result)
        edge = self.damage.fault.edge
        if isinstance(several[edge], torch.Tensor):
            several[edge] = self.damage(func, plain, several[edge])
        return type(result)(several)
