"""The precisions that `check` takes by name, and how kernels round in them: what they compute in, what they store in.

In a half precision a kernel computes in float32 and rounds its result once; between kernels every number is stored in
the half precision. Whether the backward pass of an operation is one kernel or a formula of several was seen in the
ATen calls that autograd makes (torch 2.13.0, CPU), and is declared here for whole families.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from ...reference_engine.program import Program, Variable
from ...reference_engine.registry import ELEMENTWISE, PRIMITIVES
from ...reference_engine.reverse import Step
from ...reference_engine.rounding import Rounding
from ..recorder.functions import in_custom_functions
from ..recorder.witnessing import Witnessed

AUTOCAST = "autocast"  # float32 inputs and parameters, the callable run under CPU autocast to bfloat16
# What floating inputs and parameters are converted to.
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    AUTOCAST: torch.float32,
}
HALF = frozenset(("bfloat16", "float16"))
# Operations whose backward pass is one kernel of its own, `aten::…_backward`, that computes in float32 and rounds once
# for each argument. All others are formulas of elementwise kernels, each of which rounds.
ONE_KERNEL = frozenset(
    f"aten::{name}"
    for name in """_log_softmax _softmax _safe_softmax _masked_softmax gelu silu mish sigmoid tanh elu celu selu
    leaky_relu _prelu_kernel rrelu_with_noise softplus hardsigmoid hardswish hardtanh hardshrink
    softshrink threshold glu logit native_layer_norm _fused_rms_norm native_batch_norm _native_batch_norm_legit
    _native_batch_norm_legit_functional _batch_norm_with_update native_group_norm log_sigmoid_forward
    convolution _convolution avg_pool1d avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices
    adaptive_max_pool2d _adaptive_avg_pool2d _adaptive_avg_pool3d mse_loss smooth_l1_loss huber_loss
    binary_cross_entropy nll_loss_forward nll_loss2d_forward multi_margin_loss
    multilabel_margin_loss_forward unfold im2col col2im embedding _embedding_bag upsample_nearest1d upsample_nearest2d
    upsample_nearest3d upsample_linear1d upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d
    _upsample_bilinear2d_aa _upsample_bicubic2d_aa
    _cdist_forward _pdist_forward native_dropout""".split()
)
# Normalisations hand their statistics to that kernel as further outputs. Where these are held in a half precision, it
# works with rounded ones, and the rule is judged as one of several kernels.
STATISTICS = frozenset(n for n in ONE_KERNEL if n.endswith("_norm") or "batch_norm" in n)
# Batch normalisation works with its statistics as they are held in its forward pass too. Layer normalisation adds up
# the gradients of weight and bias, row by row, in the dtype of its input, whatever theirs is.
STATISTICS_FORWARD = frozenset(n for n in STATISTICS if "batch_norm" in n)
SUMS_OF_ROWS = frozenset(("aten::native_layer_norm",))
# Kernels that store intermediate results in the half precision: attention the weights and their adjoints, between its
# matrix products; a recurrent layer the state of each step; a grid sampler the places that it samples at; addr and the
# soft margin loss every step, resampling the weights and the sum of each axis.
RESAMPLING = tuple(f"aten::upsample_{name}" for name in "linear1d bilinear2d bicubic2d trilinear3d".split())
STAGES = frozenset(
    f"aten::{name}"
    for name in """_scaled_dot_product_flash_attention_for_cpu mkldnn_rnn_layer grid_sampler_2d grid_sampler_3d addr
    soft_margin_loss""".split()
) | frozenset(RESAMPLING)
# Kernels that work on numbers as they are stored, with the precisions. log_softmax keeps the sum of a row so, logit its
# 1 - x; logsumexp and the binary cross entropy of logits are formulas. Kernels that add into overlapping places
# (windows, resampled images, repeated indices) add there; PyTorch's own convolution, of float16 and of transposed
# volumes, adds columns, samples and the bias so.
OVERLAPPING = {
    name: HALF
    for name in ONE_KERNEL | STAGES
    if any(w in name for w in ("pool", "upsample", "col", "embed", "grid"))
}
CONVOLUTIONS: dict[str, Collection[str]] = {f"aten::convolution{end}": HALF for end in ("", "_backward")}
SUMS_FORWARD = CONVOLUTIONS | {
    f"aten::{name}": HALF
    for name in """_log_softmax logsumexp logit index_add index_put put scatter_add scatter_reduce index_reduce col2im
    embedding_dense_backward unfold_backward _unsafe_masked_index_put_accumulate addbmm addr
    _adaptive_avg_pool3d binary_cross_entropy_with_logits""".split()
} | dict.fromkeys(RESAMPLING, HALF)
SUMS_BACKWARD = CONVOLUTIONS | OVERLAPPING
# A quotient of which a whole number is made (torch.div with a rounding mode) is rounded first, as any quotient is.
WHOLE_NUMBERS = frozenset(("trunc", "floor", "ceil", "round"))
ONE_SUM = frozenset(("sum", "mean", "matmul", "einsum"))  # in a formula, one kernel each; others sum in several steps


def entered(precision: str | None) -> AbstractContextManager[Any]:
    """The context in which the callable runs (its forward pass alone, as PyTorch advises for autocast)."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if precision == AUTOCAST else nullcontext()


@dataclass(frozen=True)
class Made:
    """How the call that made a value rounds. forward: the dtype of its result; backward: the shortest dtype that its
    backward formula meets; kernel: whether that is one kernel; sums_forward, sums_backward: whether sums are kept in
    that dtype, not in float32; sums_of_rows: whether those of a weight and a bias are; statistics_forward,
    statistics_backward: whether statistics are rounded before they are used; stages: whether intermediate results are
    stored in that dtype."""

    forward: str
    backward: str
    kernel: bool
    sums_forward: bool = False
    sums_backward: bool = False
    sums_of_rows: bool = False
    statistics_forward: bool = False
    statistics_backward: bool = False
    stages: bool = False


@dataclass(frozen=True)
class Kept:
    """What a recorded run kept its numbers in. held: the dtype of each traced value that PyTorch held; made: how each
    value that a call made was made, whether PyTorch held it or not."""

    held: Mapping[Variable, str]
    made: Mapping[Variable, Made]

    def key(self, program: Program) -> tuple[Any, ...]:
        """Hashable; what of this a derived program depends on."""
        return tuple((self.held.get(v), self.made.get(v)) for v in program.variables())


def kept(seen: Witnessed) -> Kept | None:
    """How the run was kept; None where no number of it was held in a half precision: then all are rounded alike."""
    if seen.kept is None:
        seen.kept = _kept(seen)
    found: Kept = seen.kept
    return found if not HALF.isdisjoint(found.held.values()) else None


def _kept(seen: Witnessed) -> Kept:
    variables = seen.recording.variables
    held: dict[Variable, str] = {}
    for i, tracer in seen.tracers.items():
        held.setdefault(tracer.variable, _name(variables[i].dtype))
    made: dict[Variable, Made] = {}
    theirs = in_custom_functions(seen.recording)
    for number, (start, end) in seen.spans.items():
        call = seen.recording.calls[number]
        outputs = [variables[o].dtype for o in call.outputs if o is not None and variables[o].is_float]
        if not outputs:
            continue
        first = _name(outputs[0])
        met = [variables[i].dtype for i in call.references() if variables[i].is_float]
        coarsest = _name(max([outputs[0], *met], key=lambda d: torch.finfo(d).eps))
        rounded = call.name in STATISTICS and any(_name(d) in HALF for d in outputs[1:])
        kernel = call.name in ONE_KERNEL and number not in theirs and not rounded
        sums = first in SUMS_FORWARD.get(call.name, ()), coarsest in SUMS_BACKWARD.get(call.name, ())
        of_rows = call.name in SUMS_OF_ROWS and coarsest in HALF
        statistics = rounded and call.name in STATISTICS_FORWARD, rounded
        how = Made(first, coarsest, kernel, *sums, of_rows, *statistics, call.name in STAGES and first in HALF)
        made.update(dict.fromkeys([v for e in seen.builder.equations[start:end] for v in e.outputs], how))
    return Kept(held, made)


def _name(dtype: torch.dtype) -> str:
    return str(dtype.to_real() if dtype.is_complex else dtype).removeprefix("torch.")


def roundings(program: Program, derived: Program, trail: Sequence[Step], run: Kept) -> dict[Variable, Rounding]:
    """How each variable of `derived`, the program that reverse mode made of `program`, is rounded.

    A value or adjoint that PyTorch held is stored in its dtype; so is every step of a backward formula of several
    kernels; what is inside a kernel is not. trail: of that reverse mode, empty where `derived` is `program` itself.
    """
    given = [(v, run.made.get(v)) for e in program.equations for v in e.outputs]
    stored = {v: run.held[v] for v, _ in given if v in run.held}
    stored.update({v: m.forward for v, m in given if m is not None and m.stages and v not in stored})
    computed = {v: _computed(m.forward, m.sums_forward) for v, m in given if m is not None}
    for e in program.equations:
        m = run.made.get(e.outputs[0])
        if m is None or e.primitive not in ("standardize", "var"):
            continue
        if m.statistics_backward if trail else m.statistics_forward:
            computed[e.outputs[0]] = m.forward
    for step in trail:
        y = step.equation.outputs[0]
        how = run.made.get(y) or Made(run.held.get(y, "float64"), run.held.get(y, "float64"), False)
        gathered = run.held.get(y, how.forward)  # sums of what arrives from several places
        for v in [v for e in step.gathering for v in e.outputs]:
            computed[v] = _computed(gathered, False)
            if y in run.held or not how.kernel:
                stored[v] = gathered
        affine = how.sums_of_rows and PRIMITIVES[step.equation.primitive].kind == ELEMENTWISE
        for e in step.backward:
            several = _is_several(e.primitive)
            for v in e.outputs:
                sums = how.sums_backward or (several and not how.kernel) or (affine and e.primitive == "sum")
                computed[v] = _computed(how.backward, sums)
                if not how.kernel:
                    stored[v] = how.backward
        stored.update({part: run.held[x] for x, part in step.contributions if x in run.held})
    stored.update(_at_inputs(program, derived, trail, run))
    one = {v for v, c in derived.constants.items() if v.shape == () and c == 1.0}
    for e in reversed(derived.equations):  # data movement rounds nothing: what it moves is rounded where it is made
        if PRIMITIVES[e.primitive].ulps == 0.0 or (e.primitive == "multiply" and not one.isdisjoint(e.inputs)):
            for v in e.outputs:
                if v in stored and v.dtype.kind in "fc":
                    stored.update({w: stored[v] for w in e.inputs if w.dtype.kind in "fc" and w not in stored})
    jumps = {v for e in derived.equations if e.primitive in WHOLE_NUMBERS for v in e.inputs}
    found = {}
    for e in derived.equations:
        for v in e.outputs:
            last = stored.get(v)
            works = computed.get(v) or _computed(last or "float64", False)
            rounded = last if last in HALF and last != works else None
            sums = PRIMITIVES[e.primitive].accumulates
            in_stages = works in HALF and sums is not None and sums.stages is not None
            found[v] = Rounding(works, rounded, e.primitive == "divide" and v in jumps, in_stages)
    return found


def _at_inputs(program: Program, derived: Program, trail: Sequence[Step], run: Kept) -> dict[Variable, str]:
    """The sums of what arrives at an input from several places, with the dtype that the input is held in."""
    within = {e for step in trail for e in (*step.gathering, *step.backward)}
    owners = dict(zip(derived.inputs[len(program.inputs) :], program.outputs, strict=False))  # an input may be returned
    owners.update({part: x for step in trail for x, part in step.contributions})
    owners = {part: x for part, x in owners.items() if x in run.held}
    found = {}
    for e in derived.equations:
        if e.primitive == "add" and e not in within and owners.keys() >= set(e.inputs):
            owners[e.outputs[0]] = owners[e.inputs[0]]
            found[e.outputs[0]] = run.held[owners[e.inputs[0]]]
    return found


def _is_several(name: str) -> bool:
    """Whether a formula takes several kernels for one primitive, between which sums are stored."""
    primitive = PRIMITIVES[name]
    return primitive.accumulates is not None and primitive.kind != ELEMENTWISE and name not in ONE_SUM


def _computed(dtype: str, sums: bool) -> str:
    """The precision that a kernel on numbers of `dtype` works in; sums: it keeps its sums in that dtype."""
    return "float32" if dtype in HALF and not sums else dtype
