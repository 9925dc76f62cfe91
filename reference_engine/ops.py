"""NumPy-like functions with the Python array API standard's names; they take arrays or traced values."""

from __future__ import annotations

from .primitives.activation import gelu, gelu_tanh, mish
from .primitives.alignment import ctc
from .primitives.arithmetic import (
    abs,
    add,
    ceil,
    copysign,
    divide,
    floor,
    floor_divide,
    fmod,
    multiply,
    nan_to_num,
    negative,
    pow,
    reciprocal,
    remainder,
    round,
    rsqrt,
    sign,
    sqrt,
    square,
    subtract,
    to_float,
    trunc,
)
from .primitives.blending import lerp, pieces
from .primitives.cast import cast
from .primitives.comparison import (
    any_along,
    clip,
    equal,
    fmax,
    fmin,
    greater,
    greater_equal,
    heaviside,
    isfinite,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    not_equal,
    relu,
    stop_gradient,
    where,
)
from .primitives.contraction import kron, matmul, outer, tensordot, trace, vecdot
from .primitives.convolution import conv, conv_transpose
from .primitives.determinant import det, logabsdet
from .primitives.diagonal import diag_embed, diagonal, tril, triu
from .primitives.eigen import eig
from .primitives.einsum import einsum
from .primitives.exponential import (
    acosh,
    asinh,
    atanh,
    cosh,
    entr,
    exp,
    exp2,
    expm1,
    log,
    log1p,
    log2,
    log10,
    log_sigmoid,
    logaddexp,
    logaddexp2,
    logit,
    sigmoid,
    silu,
    sinh,
    softplus,
    tanh,
    xlog1py,
    xlogy,
)
from .primitives.factorization import cholesky, lu, qr
from .primitives.fourier import fourier
from .primitives.householder import householder_product
from .primitives.indexing import embedding, index_add, scatter_add, take, take_along_axis, take_flat
from .primitives.inverse import inv, pinv, solve
from .primitives.layout import concat, pad, slices, split, stack, unstack
from .primitives.logcumsumexp import logcumsumexp
from .primitives.loss import binary_cross_entropy, cross_entropy_with_logits, squared_difference
from .primitives.matrix_exponential import matrix_exp
from .primitives.moments import norm, std, var
from .primitives.normalization import batch_norm, group_norm, instance_norm, layer_norm, rms_norm, standardize
from .primitives.ordering import argsort, scatter, sort, topk
from .primitives.pooling import avg_pool, max_pool
from .primitives.product import ldexp, prod
from .primitives.reduction import amax, amin, max, mean, min, sum
from .primitives.resizing import adaptive_avg_pool, upsample_linear, upsample_nearest
from .primitives.scan import cummax, cummin, cumprod, cumsum
from .primitives.shape import (
    broadcast_arrays,
    broadcast_to,
    expand_dims,
    flatten,
    flip,
    moveaxis,
    repeat,
    reshape,
    roll,
    squeeze,
    swap_last,
    swapaxes,
    tile,
    transpose,
)
from .primitives.softmax import log_softmax, logsumexp, softmax
from .primitives.special import (
    digamma,
    erf,
    erfc,
    erfcx,
    erfinv,
    gammainc,
    gammaincc,
    i0,
    i0e,
    i1,
    i1e,
    lgamma,
    log_ndtr,
    modified_bessel,
    multigammaln,
    ndtr,
    ndtri,
    polygamma,
)
from .primitives.spectral import eigh, svd
from .primitives.subscript import getitem, masked_select, put
from .primitives.triangular import solve_triangular
from .primitives.trigonometric import (
    acos,
    asin,
    atan,
    atan2,
    cos,
    deg2rad,
    hypot,
    rad2deg,
    sin,
    sinc,
    tan,
)
from .primitives.trigonometric_complex import imaginary_of_tanh, real_of_tanh
from .primitives.windows import fold, windows
