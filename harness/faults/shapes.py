"""Planted faults of layout, broadcasting, missing gradients, duplicate indices, normalisers, random state, matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from .fault import Fault, NodeRule, fault


def _in(fault_class: str) -> Callable[..., Fault]:
    def entry(name: str, operation: str, program: str, node: str, wrong: NodeRule, says: str, **options: Any) -> Fault:
        return fault(name, fault_class, operation, program, node, wrong, says, **options)

    return entry


_layout = _in("layout, aliasing, uninitialised buffer")
_shape = _in("broadcasting or shape ambiguity")
_missing = _in("gradient silently missing")
_indices = _in("duplicate indices")
_scale = _in("cotangent or normaliser misapplied")
_complex = _in("complex conjugation")
_random = _in("recomputation or random state")
_matrix = _in("degenerate decomposition")


def _zeros(n: Any, g: Any, right: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(right)


def _nothing(n: Any, g: Any, right: torch.Tensor) -> None:
    return None


def _as_if_contiguous(n: Any, g: Any, right: torch.Tensor) -> torch.Tensor:
    """The entries in the order in which memory holds them, put into the shape row by row."""
    return right.t().reshape(right.shape)


def _last_write_wins(index: torch.Tensor, g: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """What is left where equal rows overwrite each other instead of being summed."""
    new = torch.zeros_like(right)
    for i, k in enumerate(index.reshape(-1).tolist()):
        new[k] = g[i]
    return new


def _one_of_equal_rows(n: Any, g: Any, right: torch.Tensor) -> torch.Tensor:
    index = next(i for i in (getattr(n, a, None) for a in ("_saved_index", "_saved_indices")) if i is not None)
    return _last_write_wins(index[0] if isinstance(index, tuple) else index, g[0], right)


def _other_mask(n: Any, g: Any, right: torch.Tensor) -> torch.Tensor:
    """A mask drawn again where the saved one was to be used."""
    again = torch.rand(right.shape, generator=torch.Generator().manual_seed(1)) > 0.4
    again.reshape(-1)[0] = not bool(right.reshape(-1)[0] != 0)
    return g[0] * again / 0.6


def _padding_counted(n: Any, g: Any, right: torch.Tensor) -> torch.Tensor:
    """Every window of average pooling is divided by its whole size."""
    return torch.ops.aten.avg_pool2d_backward(g[0], n._saved_self, [3, 3], [1, 1], [1, 1], False, True, None)


FAULTS = (
    _layout("tanh-transposed", "tanh", "tanh of a transposed matrix", "TanhBackward0", _as_if_contiguous,
        "a transposed input is read as if contiguous", source="pytorch/pytorch#32705"),
    _layout("sigmoid-of-a-slice", "sigmoid", "sigmoid of a slice of a buffer of NaN", "SigmoidBackward0",
        lambda n, g, r: r.roll(1), "the stride of a slice is ignored"),
    _layout("max-pool-not-zeroed", "max_pool2d_with_indices max_pool2d", "max_pool2d", "MaxPool2DWithIndicesBackward0",
        lambda n, g, r: torch.where(r == 0, 0.125 + 0 * r, r), "the buffer is not cleared before it is added to",
        source="pytorch/executorch#21686"),
    _layout("layer-norm-uninitialised", "native_layer_norm", "layer_norm with weights", "NativeLayerNormBackward0",
        lambda n, g, r: torch.cat([r[:-1], r[-1:] * 0 + 7]), "the last entry of the weight's gradient is never written",
        edge=1, source="pytorch/pytorch#193061"),
    _layout("group-norm-channels-last", "native_group_norm", "group_norm", "NativeGroupNormBackward0",
        lambda n, g, r: r.roll(1), "channels of the weight's gradient displaced", edge=1,
        source="pytorch/pytorch#115940"),
    _layout("convolution-channels-last", "convolution", "convolution of channels_last", "ConvolutionBackward0",
        lambda n, g, r: r.permute(0, 2, 3, 1).reshape(r.shape), "the weight's gradient is read in channels_last order",
        edge=1),
    _layout("attention-transposed-twice", "_scaled_dot_product_flash_attention_for_cpu", "attention",
        "ScaledDotProductFlashAttentionForCpuBackward0", lambda n, g, r: r.flip(2),
        "the sequence axis of the key is turned round", edge=1, source="huggingface/diffusers#14341"),
    _layout("transpose-forgotten", "t transpose", "transpose", "TBackward0", lambda n, g, r: g[0].reshape(r.shape),
        "reshaped instead of transposed"),
    _layout("permute-not-inverted", "permute", "permute", "PermuteBackward0", lambda n, g, r: g[0].reshape(r.shape),
        "reshaped instead of permuted back"),
    _layout("flip-forgotten", "flip", "flip", "FlipBackward0", lambda n, g, r: g[0], "not flipped back"),
    _layout("roll-direction", "roll", "roll", "RollBackward0",
        lambda n, g, r: g[0].roll(n._saved_shifts, n._saved_dims), "rolled on instead of back"),
    _layout("tril-of-the-other-side", "tril", "tril", "TrilBackward0", lambda n, g, r: g[0].triu(),
        "the upper triangle is kept"),
    _layout("diagonal-offset", "diagonal", "diagonal", "DiagonalBackward0", lambda n, g, r: r.roll(1, 1),
        "off by one column"),
    _layout("select-offset", "select", "select", "SelectBackward0", lambda n, g, r: r.roll(1, 1), "off by one"),
    _layout("slice-offset", "slice", "slice", "SliceBackward0", lambda n, g, r: r.roll(-1, 1),
        "the offset of the slice is ignored"),
    _layout("pad-offset", "constant_pad_nd", "constant pad", "ConstantPadNdBackward0",
        lambda n, g, r: g[0][:, : r.shape[1]], "the left padding is not cut off"),
    _layout("cat-exchanged", "cat", "cat", "CatBackward0", lambda n, g, r: g[0][-r.shape[0] :],
        "the first part gets the last part's gradient"),
    _layout("stack-exchanged", "stack", "stack", "StackBackward0", lambda n, g, r: g[0][1],
        "the first gets the second's gradient"),
    _layout("unfold-overwritten", "unfold", "unfold", "UnfoldBackward0",
        lambda n, g, r: torch.cat([g[0][:, :, 0], g[0][:, -1:, 1]], 1), "overlapping windows overwrite each other"),
    _layout("im2col-overwritten", "im2col", "windows of images", "Im2ColBackward0", lambda n, g, r: r / 2,
        "overlaps are averaged, not summed"),
    _layout("reflection-overwritten", "reflection_pad2d", "reflection pad", "ReflectionPad2DBackward0",
        lambda n, g, r: g[0][:, :, 1:-1, 1:-1], "what the border reflects is dropped"),
    _layout("replication-overwritten", "replication_pad2d", "replication pad", "ReplicationPad2DBackward0",
        lambda n, g, r: g[0][:, :, 1:-1, 1:-1], "what the border repeats is dropped"),
    _layout("slice-scatter-complement", "slice_scatter", "slice_scatter", "SliceScatterBackward0",
        lambda n, g, r: g[0] - r, "kept and overwritten rows exchanged", source="pytorch/pytorch#77128"),
    _layout("select-scatter-complement", "select_scatter", "select_scatter", "SelectScatterBackward0",
        lambda n, g, r: g[0], "the overwritten row still gets a gradient"),
    _layout("same-tensor-twice", "mul", "same factor twice", "MulBackward0", _zeros,
        "a tensor that is used twice is counted once", edge=1),
    _layout("exp-kernel-of-a-block", "exp", "exp", "aten::exp", lambda f, a, y: y.roll(1),
        "the kernel writes its results one place on", mechanism="kernel"),
    _layout("tanh-backward-kernel", "tanh", "tanh", "aten::tanh_backward", lambda f, a, y: y.roll(1),
        "the backward kernel writes one place on", mechanism="kernel"),
    _layout("gelu-backward-kernel", "gelu", "gelu", "aten::gelu_backward",
        lambda f, a, y: torch.where(torch.arange(y.numel()) == y.numel() - 1, 0 * y, y),
        "the backward kernel leaves out its last entry", mechanism="kernel"),
    _layout("nll-loss-kernel", "nll_loss_forward nll_loss", "cross_entropy", "aten::nll_loss_backward",
        lambda f, a, y: y.roll(1, 1), "the backward kernel writes into the next class", mechanism="kernel"),
    _layout("convolution-kernel", "convolution", "convolution", "aten::convolution_backward", lambda f, a, y: y.flip(0),
        "the backward kernel exchanges the batch", mechanism="kernel"),
    _shape("outer-product-not-summed", "mul", "outer product by broadcasting", "MulBackward0",
        lambda n, g, r: (g[0] * n._saved_other)[:, :1], "the first column is taken, not the sum over the axis",
        source="pytorch/pytorch#1787", sized=True),
    _shape("outer-product-averaged", "mul", "outer product by broadcasting", "MulBackward0",
        lambda n, g, r: r / r.shape[0], "the mean over the broadcast axis for the sum", source="pytorch/pytorch#913"),
    _shape("row-of-the-wrong-axis", "add", "square matrix plus a row", "AddBackward0",
        lambda n, g, r: g[0].sum(1) + torch.arange(len(r)), "summed over the other axis of a square matrix", edge=1,
        source="tenstorrent/tt-metal#40008"),
    _shape("divisor-of-the-wrong-axis", "div", "square matrix over a row", "DivBackward0",
        lambda n, g, r: -(g[0] * n._saved_self / n._saved_other**2).sum(1),
        "summed over the other axis of a square matrix", edge=1),
    _shape("expand-not-summed", "expand", "product of expanded rows", "ExpandBackward0", lambda n, g, r: g[0][:1],
        "one row is taken, not the sum of all", source="pytorch/pytorch#30303", sized=True),
    _shape("repeat-not-summed", "repeat", "repeat", "RepeatBackward0", lambda n, g, r: g[0][: r.shape[0]],
        "the first copy is taken, not the sum"),
    _shape("bias-averaged", "addmm linear", "linear", "AddmmBackward0", lambda n, g, r: r / g[0].shape[0],
        "the bias gets the mean over the batch", sized=True),
    _shape("convolution-bias-averaged", "convolution", "convolution", "ConvolutionBackward0",
        lambda n, g, r: r / g[0].shape[0], "the bias gets the mean over the batch", edge=2, sized=True),
    _shape("grouped-convolution-groups", "convolution", "grouped convolution", "ConvolutionBackward0",
        lambda n, g, r: r.roll(2, 0), "the groups of the weight are exchanged", edge=1, source="pytorch/pytorch#75219"),
    _shape("solve-of-batched-vectors", "_linalg_solve_ex linalg_solve", "solve", "LinalgSolveExBackward0",
        lambda n, g, r: r.mT, "a batch of matrices is taken for columns", edge=1),
    _shape("layer-norm-axis", "native_layer_norm", "layer_norm with weights", "NativeLayerNormBackward0",
        lambda n, g, r: r.flip(0), "the weight's gradient is turned round", edge=1, source="pytorch/functorch#534"),
    _shape("batched-weight-averaged", "mm bmm matmul", "batch of matrices times one", "MmBackward0",
        lambda n, g, r: r / 3, "the weight gets the mean over rows", edge=1, sized=True),
    _missing("mse-target", "mse_loss", "mse_loss", "MseLossBackward0", _zeros, "the target gets 0", edge=1,
        source="pytorch/pytorch#3876"),
    _missing("bce-target", "binary_cross_entropy", "binary_cross_entropy", "BinaryCrossEntropyBackward0", _zeros,
        "the target gets 0", edge=1, source="pytorch/pytorch#56683"),
    _missing("bce-with-logits-target", "binary_cross_entropy_with_logits", "bce_with_logits",
        "BinaryCrossEntropyWithLogitsBackward0", _zeros, "the target gets 0", edge=1),
    _missing("smooth-l1-target", "smooth_l1_loss", "smooth_l1_loss", "SmoothL1LossBackward0", _zeros,
        "the target gets 0", edge=1),
    _missing("kl-div-target", "xlogy", "kl_div", "XlogyBackward0", _zeros, "the entropy of the target is held constant",
        source="pytorch/pytorch#65466"),
    _missing("lerp-weight", "lerp", "lerp", "LerpBackward1", _zeros, "the weight gets 0", edge=2),
    _missing("pow-exponent", "pow", "pow", "PowBackward1", _zeros, "the exponent gets 0", edge=1),
    _missing("atan2-second", "atan2", "atan2", "Atan2Backward0", _nothing, "the second argument gets None", edge=1),
    _missing("cdist-second", "_cdist_forward cdist", "distances", "CdistBackward0", _zeros,
        "the second set of points gets 0", edge=1),
    _missing("layer-norm-weight", "native_layer_norm", "layer_norm with weights", "NativeLayerNormBackward0", _nothing,
        "the weight gets None", edge=1),
    _missing("batch-norm-bias", "native_batch_norm", "batch_norm", "NativeBatchNormBackward0", _zeros,
        "the bias gets 0", edge=2),
    _missing("grid-sample-grid", "grid_sampler_2d", "sampled image", "GridSampler2DBackward0", _zeros,
        "the grid gets 0", edge=1),
    _missing("addmm-bias", "addmm linear", "linear", "AddmmBackward0", _nothing, "the bias gets None"),
    _indices("index-select-overwritten", "index_select", "index_select", "IndexSelectBackward0", _one_of_equal_rows,
        "equal indices overwrite each other"),
    _indices("gather-overwritten", "gather", "gather", "GatherBackward0",
        lambda n, g, r: _last_write_wins(n._saved_index[:, 0], g[0], r), "equal indices overwrite each other",
        source="pytorch/pytorch#1631"),
    _indices("index-overwritten", "index", "advanced index", "IndexBackward0", _one_of_equal_rows,
        "equal indices overwrite each other"),
    _indices("take-overwritten", "take", "take", "TakeBackward0",
        lambda n, g, r: _last_write_wins(n._saved_index, g[0], r.reshape(-1)).reshape(r.shape),
        "equal indices overwrite each other"),
    _indices("embedding-overwritten", "embedding", "embedding", "EmbeddingBackward0", _one_of_equal_rows,
        "equal indices overwrite each other"),
    _indices("embedding-bag-overwritten", "_embedding_bag embedding_bag", "embedding_bag", "EmbeddingBagBackward0",
        lambda n, g, r: torch.where(r != 0, g[0].expand(r.shape), r), "an index that is met twice counts once",
        source="pytorch/pytorch#190063"),
    _indices("index-add-overwritten", "index_add", "index_add", "IndexAddBackward0",
        lambda n, g, r: r / n._saved_index.bincount()[n._saved_index][:, None], "divided by how often an index is met",
        edge=1),
    _indices("scatter-add-overwritten", "scatter_add", "scatter_add", "ScatterAddBackward0",
        lambda n, g, r: torch.where(torch.arange(len(r))[:, None] == 0, 0 * r, r),
        "the first of two equal indices gets nothing", edge=1),
    _indices("index-put-overwritten", "index_put", "index_put", "IndexPutBackward0",
        lambda n, g, r: torch.where(torch.arange(len(r))[:, None] == 0, 0 * r, r),
        "accumulate is ignored in the backward", edge=1, source="pytorch/pytorch#188084"),
    _indices("masked-select-order", "masked_select", "masked_select", "MaskedSelectBackward0",
        lambda n, g, r: r.flip(1), "selected entries are put back from the end"),
    _scale("mean-off-by-one", "mean", "mean", "MeanBackward1", lambda n, g, r: r * r.shape[1] / (r.shape[1] - 1),
        "divided by n - 1", sized=True),
    _scale("sum-ignores-g", "sum", "sum", "SumBackward1", lambda n, g, r: torch.ones_like(r),
        "the incoming gradient is taken as 1", sized=True),
    _scale("var-biased", "var", "var", "VarBackward0", lambda n, g, r: r * (r.shape[1] - 1) / r.shape[1],
        "divided by n for n - 1", sized=True),
    _scale("std-biased", "std", "std", "StdBackward0", lambda n, g, r: r * (r.shape[1] - 1) / r.shape[1],
        "divided by n for n - 1", sized=True),
    _scale("logsumexp-ignores-g", "logsumexp", "logsumexp", "LogsumexpBackward0",
        lambda n, g, r: (n._saved_self - n._saved_result.unsqueeze(1)).exp(), "the incoming gradient is taken as 1",
        sized=True),
    _scale("norm-ignores-g", "linalg_vector_norm", "norm", "LinalgVectorNormBackward0",
        lambda n, g, r: n._saved_self / n._saved_result.unsqueeze(1), "the incoming gradient is taken as 1",
        sized=True),
    _scale("mse-normaliser", "mse_loss", "mse_loss", "MseLossBackward0", lambda n, g, r: r / 2,
        "the 2 of the square is missing", sized=True),
    _scale("bce-normaliser", "binary_cross_entropy", "binary_cross_entropy", "BinaryCrossEntropyBackward0",
        lambda n, g, r: r * 1.5, "divided by another count", sized=True),
    _scale("cross-entropy-ignored-rows", "nll_loss_forward nll_loss", "cross_entropy with ignored rows",
        "NllLossBackward0", lambda n, g, r: r * (len(r) - 1) / len(r), "ignored rows are counted in the mean",
        source="pytorch/pytorch#73205", sized=True),
    _scale("smoothed-cross-entropy", "sum", "smoothed cross_entropy", "SumBackward1", lambda n, g, r: r * 1.25,
        "the uniform part counts ignored rows", source="pytorch/pytorch#69339", sized=True),
    _scale("margin-loss-normaliser", "multi_margin_loss", "multi_margin_loss", "MultiMarginLossBackward0",
        lambda n, g, r: r * 4 / 3, "divided by the number of other classes", sized=True),
    _scale("softmax-ignores-the-sum", "softmax _softmax", "softmax", "SoftmaxBackward0",
        lambda n, g, r: g[0] * n._saved_result, "the sum Σ y g is not subtracted", sized=True),
    _scale("layer-norm-without-the-mean", "native_layer_norm", "layer_norm with weights", "NativeLayerNormBackward0",
        lambda n, g, r: r + n._saved_result2 * 0.1, "the mean of g is not subtracted", sized=True),
    _scale("batch-norm-unbiased", "native_batch_norm", "batch_norm", "NativeBatchNormBackward0",
        lambda n, g, r: r * 1.1, "the variance is divided by n - 1", sized=True),
    _scale("group-norm-count", "native_group_norm", "group_norm", "NativeGroupNormBackward0", lambda n, g, r: r / 2,
        "statistics of all groups together", edge=1, sized=True),
    _scale("avg-pool-divisor", "avg_pool2d", "avg_pool2d with padding", "AvgPool2DBackward0", _padding_counted,
        "padding is counted in the divisor", sized=True),
    _scale("adaptive-pool-divisor", "_adaptive_avg_pool2d adaptive_avg_pool2d", "adaptive_avg_pool2d",
        "AdaptiveAvgPool2DBackward0", lambda n, g, r: r * 0.9, "windows are taken as equally long", sized=True),
    _scale("nearest-resize-scale", "upsample_nearest2d", "nearest resize", "UpsampleNearest2DBackward0",
        lambda n, g, r: r / 4, "the mean of the copies for their sum", sized=True),
    _scale("scatter-mean-count", "scatter_reduce", "scatter_reduce mean", "ScatterReduceBackward0",
        lambda n, g, r: r * 0.75, "the start value is counted", edge=1, sized=True),
    _scale("embedding-bag-mean", "_embedding_bag embedding_bag", "embedding_bag mean", "EmbeddingBagBackward0",
        lambda n, g, r: r * 1.5, "divided by the number of distinct indices", source="pytorch/pytorch#190063",
        sized=True),
    _scale("index-add-alpha", "index_add", "index_add", "IndexAddBackward0", lambda n, g, r: g[0][n._saved_index],
        "alpha is not applied", edge=1, sized=True),
    _scale("cdist-scale", "_cdist_forward cdist", "distances", "CdistBackward0", lambda n, g, r: r * 2,
        "the root's 1/2 is missing", sized=True),
    _scale("dist-scale", "dist", "dist", "DistBackward0", lambda n, g, r: r * n._saved_result,
        "the division by the distance is missing", sized=True),
    _scale("long-sum-of-blocks", "sum", "long sum", "SumBackward0",
        lambda n, g, r: torch.where(torch.arange(r.numel()).reshape(r.shape) % 7 == 0, 0 * r, r),
        "one block in seven is left out", sized=True),
    _complex("complex-product-unconjugated", "mul", "complex product", "MulBackward0",
        lambda n, g, r: g[0] * n._saved_other, "the other factor is not conjugated", source="pytorch/pytorch#80928"),
    _complex("complex-exp-unconjugated", "exp", "complex exponential", "ExpBackward0",
        lambda n, g, r: g[0] * n._saved_result, "the slope is not conjugated"),
    _complex("complex-angle", "angle", "complex angle", "AngleBackward0", lambda n, g, r: r.conj(),
        "real and imaginary part: one sign wrong", source="pytorch/pytorch#46144"),
    _random("dropout-drawn-again", "mul dropout native_dropout", "dropout", "MulBackward0", _other_mask,
        "the backward draws another mask", source="pytorch/pytorch#190758"),
    _random("dropout-not-rescaled", "mul dropout native_dropout", "dropout", "MulBackward0", lambda n, g, r: r * 0.6,
        "the factor 1/(1 - p) is missing", sized=True),
    _random("rrelu-drawn-again", "rrelu_with_noise", "randomised leaky slope", "RreluWithNoiseBackward0",
        lambda n, g, r: torch.where(n._saved_noise == 1, r, g[0] * 0.2),
        "the slope is the middle of its range, not the one drawn", sized=True),
    _random("checkpoint-drawn-again", "mul dropout native_dropout", "checkpointed dropout", "MulBackward0", _other_mask,
        "the recomputation draws another mask", source="pytorch/pytorch#14253"),
    _matrix("inverse-not-transposed", "linalg_inv_ex inverse", "inverse", "LinalgInvExBackward0",
        lambda n, g, r: -n._saved_inverse @ g[0] @ n._saved_inverse, "inverses for their transposes", sized=True),
    _matrix("det-not-transposed", "_linalg_det linalg_det", "determinant", "LinalgDetBackward0", lambda n, g, r: r.mT,
        "the inverse for its transpose"),
    _matrix("slogdet-not-transposed", "_linalg_slogdet linalg_slogdet", "slogdet", "LinalgSlogdetBackward0",
        lambda n, g, r: r.mT, "the inverse for its transpose"),
    _matrix("solve-not-transposed", "_linalg_solve_ex linalg_solve", "solve", "LinalgSolveExBackward0",
        lambda n, g, r: torch.linalg.solve(n._saved_A, g[0]), "solved with A for Aᵀ", edge=1, sized=True),
    _matrix("triangular-solve-full", "linalg_solve_triangular", "triangular solve", "LinalgSolveTriangularBackward0",
        lambda n, g, r: r + 0.1 * torch.ones_like(r).triu(1), "the triangle that is never read gets a gradient"),
    _matrix("cholesky-factor-two", "linalg_cholesky_ex cholesky linalg_cholesky", "cholesky",
        "LinalgCholeskyExBackward0", lambda n, g, r: r + torch.diag_embed(r.diagonal(dim1=-2, dim2=-1)),
        "the diagonal is not halved"),
    _matrix("eigenvalues-not-conjugated", "_linalg_eigh linalg_eigh linalg_eigvalsh", "eigenvalues",
        "LinalgEighBackward0",
        lambda n, g, r: n._saved_eigenvectors.mT @ torch.diag_embed(g[0]) @ n._saved_eigenvectors, "Vᵀ g V for V g Vᵀ"),
    _matrix("eigenvectors-differences", "_linalg_eigh linalg_eigh", "eigenvectors", "LinalgEighBackward0",
        lambda n, g, r: -r, "λᵢ - λⱼ for λⱼ - λᵢ"),
    _matrix("singular-values-transposed", "_linalg_svd linalg_svd", "singular values", "LinalgSvdBackward0",
        lambda n, g, r: r.mT, "V g Uᵀ for U g Vᵀ"),
    _matrix("singular-vectors-guarded", "_linalg_svd linalg_svd", "singular vectors", "LinalgSvdBackward0",
        lambda n, g, r: 0.99 * r, "the guard against equal singular values is added everywhere", sized=True,
        source="pytorch/pytorch#194705"),
    _matrix("qr-part", "linalg_qr", "qr", "LinalgQrBackward0", lambda n, g, r: r.mT,
        "the triangle is copied from the other side"),
    _matrix("matrix-exponential-not-transposed", "linalg_matrix_exp", "matrix exponential", "LinalgMatrixExpBackward0",
        lambda n, g, r: r.mT, "A for Aᵀ"),
)  # fmt: skip
