"""Keras 3's `ops`: a table of functions over tensors, real or symbolic, and over arrays and numbers.

They are torch's own functions under Keras' names and arguments; on a symbolic tensor each draws the torch functions it
is made of. `shape(x)` of a symbolic tensor holds symbolic sizes where they are unknown.
"""

# ruff: noqa: F401, I001 - the names are here to be found, and one a line would be three hundred lines

from torchkeras_fn.absent import operation as __getattr__
from torchkeras_fn.ops import core, image, linalg, nn
from torchkeras_fn.ops.core import (
    array, cast, cond, convert_to_numpy, convert_to_tensor, copy, custom_gradient, dtype, fori_loop, is_tensor, map, saturate_cast, scan,
    stop_gradient, switch, vectorized_map, view, while_loop,
)
from torchkeras_fn.ops.creation import (
    arange, empty, empty_like, eye, full, full_like, geomspace, identity, linspace, logspace, ones, ones_like, tri, zeros, zeros_like,
)
from torchkeras_fn.ops.elementwise import (
    abs, absolute, add, allclose, angle, arccos, arccosh, arcsin, arcsinh, arctan, arctan2, arctanh, bitwise_and, bitwise_invert,
    bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor, cbrt, ceil, clip, conj, conjugate, cos, cosh,
    deg2rad, divide, divide_no_nan, equal, erf, erfc, erfinv, exp, exp2, expm1, fabs, floor, floor_divide, fmax, fmin, fmod, gcd, greater,
    greater_equal, heaviside, hypot, i0, imag, isclose, isfinite, isin, isinf, isnan, isneginf, isposinf, isreal, lcm, ldexp, left_shift,
    less, less_equal, log, log10, log1p, log2, logaddexp, logaddexp2, logical_and, logical_not, logical_or, logical_xor, maximum,
    minimum, mod, multiply, nan_to_num, negative, nextafter, not_equal, polar, pow, power, rad2deg, real, reciprocal, right_shift, round,
    rsqrt, select, sign, signbit, sin, sinc, sinh, sqrt, square, subtract, tan, tanh, true_divide, trunc, view_as_complex, view_as_real,
    where,
)
from torchkeras_fn.ops.factors import cholesky, cholesky_inverse, eig, eigh, lu_factor, qr, svd
from torchkeras_fn.ops.fourier import extract_sequences, fft, fft2, ifft2, irfft, istft, rfft, stft
from torchkeras_fn.ops.indexing import (
    argpartition, argsort, bincount, digitize, get_item, histogram, in_top_k, multi_hot, nonzero, one_hot, scatter, scatter_update,
    searchsorted, slice, slice_update, sort, take, take_along_axis, top_k, unique,
)
from torchkeras_fn.ops.linalg import (
    cdist, corrcoef, cross, det, diag, diagflat, diagonal, dot, einsum, inner, inv, kron, logdet, lstsq, matmul,
    matrix_rank, norm, outer, pinv, slogdet, solve, solve_triangular, tensordot, trace, trapezoid, tril, triu, vander,
    vdot,
)
from torchkeras_fn.ops.missing import (
    nanargmax, nanargmin, nancumprod, nancumsum, nanmax, nanmean, nanmedian, nanmin, nanpercentile, nanprod, nanquantile, nanstd, nansum,
    nanvar,
)
from torchkeras_fn.ops.nn import (
    batch_normalization, binary_crossentropy, categorical_crossentropy, celu, ctc_loss, depth_to_space, dot_product_attention, elu,
    gelu, glu, hard_shrink, hard_sigmoid, hard_silu, hard_swish, hard_tanh, layer_normalization, leaky_relu, log_sigmoid,
    log_softmax, normalize, psnr, relu, relu6, rms_normalization, selu, sigmoid, silu, soft_shrink, softmax, softplus, softsign,
    space_to_depth, sparse_categorical_crossentropy, sparse_plus, sparse_sigmoid, sparsemax, squareplus, swish, tanh_shrink,
    threshold,
)
from torchkeras_fn.ops.reductions import (
    all, amax, amin, any, argmax, argmin, average, count_nonzero, cumprod, cumsum, logsumexp, max, mean, median, min, moments,
    percentile, prod, ptp, quantile, std, sum, var,
)
from torchkeras_fn.ops.segments import segment_max, segment_min, segment_prod, segment_sum
from torchkeras_fn.ops.shaping import (
    append, array_split, broadcast_to, concatenate, diff, dsplit, dstack, expand_dims, flip, fliplr, flipud, hsplit, hstack,
    meshgrid, moveaxis, ndim, pad, ravel, repeat, reshape, roll, rot90, shape, size, split, squeeze, stack, swapaxes, tile,
    transpose, unravel_index, unstack, vsplit, vstack,
)
from torchkeras_fn.ops.spatial import average_pool, conv, conv_transpose, depthwise_conv, fold, max_pool, separable_conv, unfold
from torchkeras_fn.ops.windows import bartlett, blackman, hamming, hanning, kaiser
