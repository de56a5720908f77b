"""One line for each function of `ops` and of the backend, over arrays of known names: the table of several tests."""

# ruff: noqa: SIM905 - so many words read better without quotes

import re

import numpy as np

random = np.random.default_rng(0)


def floats(*shape):
    return random.normal(size=shape).astype("float32")


VALUES = {
    "x": floats(3, 4, 6),
    "y": floats(3, 4, 6),
    "p": random.uniform(0.1, 0.9, (3, 4, 6)).astype("float32"),
    "q": random.uniform(0.1, 0.9, (3, 5)).astype("float32"),
    "one": floats(3, 1, 6),
    "row": floats(3, 5),
    "other": floats(3, 5),
    "wide": floats(3, 6, 2),
    "square": floats(3, 4, 4) + 4 * np.eye(4, dtype="float32"),
    "steps": floats(3, 9, 2),
    "image": floats(3, 9, 8, 2),
    "volume": floats(3, 5, 6, 5, 2),
    "i": np.array([[0, 2], [3, 1], [2, 2]]),
    "c": np.array([0, 4, 2]),
    "b": random.uniform(size=(3, 4, 6)) > 0.4,
    "d": random.uniform(size=(3, 4, 6)) > 0.4,
    "n": random.integers(1, 6, (3, 4)).astype("int32"),
    "k": random.integers(1, 6, (3, 4)).astype("int32"),
    "hot": np.eye(5, dtype="float32")[[0, 4, 2]],
    "labels": np.array([[0, 1], [2, 0], [1, 1]]),
    "two": np.array([2, 1, 2]),
    "nine": np.array([9, 8, 9]),
}
KERNELS = {
    "kernel1": floats(3, 2, 4),
    "kernel2": floats(3, 3, 2, 4),
    "kernel2b": floats(2, 3, 2, 4),
    "kernel3": floats(2, 3, 3, 2, 4),
    "back1": floats(3, 4, 2),
    "back2": floats(3, 3, 4, 2),
    "deep1": floats(3, 2, 2),
    "deep2": floats(3, 3, 2, 2),
    "point1": floats(1, 4, 5),
    "point2": floats(1, 1, 4, 5),
    "table": floats(7, 3),
    "per_feature": floats(6),
    "positive": random.uniform(0.5, 1.5, 6).astype("float32"),
    "bins": np.array([-0.5, 0.0, 1.0], dtype="float32"),
    "back3": floats(3, 3, 3, 4, 2),
}


def names_in(line):
    """The arrays of `VALUES`, which are inputs of a model, that a line speaks of."""
    return [name for name in dict.fromkeys(re.findall(r"\b[a-z]+\b(?!\s*=[^=])", line)) if name in VALUES]


_UNARY = """abs absolute arctan arctanh arcsinh ceil cos cosh deg2rad erf erfc exp exp2 expm1 floor isfinite isinf isnan isneginf isposinf
isreal negative rad2deg real imag conj conjugate angle reciprocal sign signbit sin sinc sinh square tan tanh trunc cbrt i0 nan_to_num round
relu relu6 leaky_relu elu selu celu gelu glu sigmoid log_sigmoid hard_sigmoid sparse_sigmoid silu swish hard_silu hard_swish hard_tanh
tanh_shrink hard_shrink soft_shrink softplus sparse_plus squareplus softsign softmax log_softmax
sum mean var std max min amax amin prod any all argmax argmin logsumexp count_nonzero average median ptp nansum nanmean cumsum cumprod
shape ndim size ravel transpose flip sort argsort zeros_like ones_like copy stop_gradient convert_to_tensor normalize rms_normalization
layer_normalization nonzero""".split()
_POSITIVE = "arccos arcsin erfinv log log10 log1p log2 rsqrt sqrt".split()
_REDUCTIONS = "sum mean var std max min amax amin prod any all logsumexp median ptp nansum nanmean".split()
_BINARY = """add subtract multiply divide true_divide floor_divide mod equal not_equal greater greater_equal less less_equal arctan2 fmax
fmin hypot logaddexp maximum minimum divide_no_nan isclose""".split()
_INTEGERS = "bitwise_and bitwise_or bitwise_xor left_shift right_shift bitwise_left_shift bitwise_right_shift gcd lcm".split()
_BOOLEANS = "logical_and logical_or logical_xor".split()

OPS = [
    *(f"ops.{name}(x)" for name in _UNARY if name not in ("shape", "size", "ndim")),
    *(f"ops.{name}(p)" for name in _POSITIVE),
    "ops.arccosh(p + 1.0)",
    *(f"ops.{name}(x, {arguments})" for name in _REDUCTIONS for arguments in ("axis=1", "axis=(-1, 1), keepdims=True", "axis=(1, 2)")),
    *(f"ops.{name}({operands})" for name in _BINARY for operands in ("x, y", "x, 0.5", "0.5, y", "x, one")),
    *(f"ops.{name}(n, k)" for name in _INTEGERS),
    *(f"ops.{name}(b, d)" for name in _BOOLEANS),
    *("ops.logical_not(b)", "ops.bitwise_not(n)", "ops.bitwise_invert(n)"),
    *("ops.power(p, 2)", "ops.power(p, y)", "ops.power(2.0, x)", "ops.fmod(x, y)", "ops.heaviside(x, y)", "ops.ldexp(x, k[:, :, None])"),
    *("ops.logaddexp2(x, y)", "ops.nextafter(x, y)", "ops.round(x, 1)", "ops.clip(x, -0.5, 0.5)", "ops.clip(x, y, y + 1.0)"),
    *("ops.where(b, x, y)", "ops.where(b, x, 0.0)", "ops.where(b, 1.0, 0.0)", "ops.where(x > 0, x, 0.5)", "ops.mean(b)", "ops.sum(n)"),
    *("ops.threshold(x, 0.5, 1.0)", "ops.softmax(x, axis=1)", "ops.leaky_relu(x, negative_slope=0.1)", "ops.gelu(x, approximate=False)"),
    *("ops.argmax(x, axis=-1)", "ops.argmin(x, axis=1, keepdims=True)"),
    *("ops.max(x, axis=1, initial=2.0)", "ops.min(x, axis=1, initial=0.0)"),
    *("ops.average(x, axis=1, weights=[1.0, 2.0, 3.0, 4.0])", "ops.average(x, axis=1, weights=p)", "ops.quantile(x, 0.3, axis=1)"),
    *("ops.quantile(x, [0.25, 0.5], axis=(1, 2), keepdims=True)", "ops.moments(x, axes=[1, 2])", "ops.moments(x, axes=0, keepdims=True)"),
    *("ops.cumsum(x, axis=1)", "ops.cumprod(x, axis=-1)", "ops.count_nonzero(b, axis=1)"),
    # shapes
    *("ops.reshape(x, (-1, 24))", "ops.reshape(x, (-1, 2, 12))", "ops.transpose(x, (0, 2, 1))", "ops.swapaxes(x, 1, 2)"),
    *("ops.moveaxis(x, 1, -1)", "ops.expand_dims(x, 1)", "ops.expand_dims(x, (1, -1))", "ops.squeeze(one, 1)", "ops.squeeze(one)"),
    *("ops.flip(x, 1)", "ops.flip(x, (1, 2))", "ops.roll(x, 1, 1)", "ops.roll(x, (1, 2), (1, 2))", "ops.rot90(x, 1, (1, 2))"),
    *("ops.tile(x, (1, 2, 3))", "ops.repeat(x, 2, axis=1)", "ops.repeat(x, [1, 2, 3, 1], axis=1)", "ops.repeat(x, 2)"),
    *("ops.pad(x, ((0, 0), (1, 2), (0, 1)))", "ops.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=2.0)", "ops.pad(x, 1)"),
    *("ops.pad(x, ((0, 0), (1, 2), (0, 1)), mode='reflect')", "ops.pad(x, ((0, 0), (1, 2), (0, 1)), mode='symmetric')"),
    *("ops.concatenate([x, y])", "ops.concatenate([x, y, one], axis=1)", "ops.stack([x, y])", "ops.stack([x, y], axis=-1)"),
    *("ops.hstack([x, y])", "ops.vstack([x, y])", "ops.append(x, y)", "ops.append(x, y, axis=1)", "ops.split(x, 2, axis=1)"),
    *("ops.split(x, [1, 3], axis=2)", "ops.array_split(x, 3, axis=1)", "ops.unstack(x, axis=1)", "ops.broadcast_to(one, (3, 4, 6))"),
    *("ops.meshgrid(c, c)", "ops.meshgrid(c, c, indexing='ij')"),
    # by places
    *("ops.take(x, [1, 0, -1], axis=1)", "ops.take(table, i, axis=0)", "ops.take(x, 5)", "ops.take_along_axis(row, i, axis=1)"),
    *("ops.get_item(x, 1)", "ops.top_k(row, 2)", "ops.top_k(row, 2)[1]", "ops.in_top_k(c, row, 2)", "ops.digitize(x, bins)"),
    *("ops.searchsorted(bins, row)", "ops.searchsorted(bins, row, side='right')", "ops.sort(x, axis=1)", "ops.argsort(x, axis=None)"),
    *("ops.slice(x, (0, 1, 2), (2, 2, 3))", "ops.slice_update(x, (0, 1, 2), y[:2, :2, :3])"),
    *("ops.one_hot(i, 5)", "ops.one_hot(i, 3, axis=1)"),
    *("ops.multi_hot(i, 5)", "ops.scatter(i[:, :1], row[:, 0], (4,))", "ops.scatter_update(table, i[:, :1], table[:3] * 0.0)"),
    *("ops.fft((x, x * x))", "ops.fft2((x, x * x))", "ops.ifft2((x, x * x))", "ops.rfft(x)", "ops.rfft(x, fft_length=7)"),
    *("ops.irfft((x, x * x))", "ops.irfft((x, x * x), fft_length=5)"),
    *("ops.segment_sum(row, [0, 1, 1], 4)", "ops.tril(square)", "ops.triu(square, 1)", "ops.diagonal(square, 0, 1, 2)"),
    # products
    *("ops.matmul(x, wide)", "ops.matmul(x, ops.ones((6, 2)))", "ops.dot(x, table[:6])"),
    *("ops.dot(row, ops.ones((5, 5)))", "ops.dot(x, 2.0)"),
    *("ops.inner(row, other)", "ops.outer(row, other)", "ops.vdot(row, other)"),
    *("ops.tensordot(x, wide, axes=[[2], [1]])", "ops.tensordot(x, table[:6], axes=1)", "ops.einsum('bij,bjk->bik', x, wide)"),
    *("ops.cross(x[:, :, :3], y[:, :, :3])", "ops.kron(row, other)", "ops.trace(square, axis1=1, axis2=2)", "ops.diag(row[0])"),
    *("ops.norm(row)", "ops.norm(x, axis=-1)", "ops.norm(x, ord=1, axis=1, keepdims=True)", "ops.norm(x, ord='fro', axis=(1, 2))"),
    *("ops.inv(square)", "ops.det(square)", "ops.slogdet(square)", "ops.solve(square, x)", "ops.pinv(square)"),
    "ops.cholesky(ops.matmul(square, ops.transpose(square, (0, 2, 1))))",
    *("ops.linalg.norm(row)", "ops.nn.relu(x)", "ops.svd(square, compute_uv=False)"),
    *("ops.eigh(square + ops.transpose(square, (0, 2, 1)))[0]",),
    # types and branches
    *("ops.diff(x, 1, 1)", "ops.logdet(square)", "ops.cast(b, 'float32')", "ops.cast(x, 'int32')", "ops.saturate_cast(x * 300.0, 'uint8')"),
    *("ops.cond(ops.sum(x) > 0, lambda: x, lambda: y)", "ops.full_like(x, 2)", "ops.zeros_like(x, dtype='int32')"),
    # networks
    *("ops.normalize(x, axis=1, order=1)", "ops.batch_normalization(x, per_feature, positive, -1, per_feature, positive)"),
    *("ops.batch_normalization(x, per_feature[:4], positive[:4], 1)", "ops.rms_normalization(x, positive)"),
    *("ops.layer_normalization(x, positive, per_feature, epsilon=1e-3)", "ops.categorical_crossentropy(hot, q)"),
    *("ops.categorical_crossentropy(hot, row, from_logits=True)", "ops.sparse_categorical_crossentropy(c, q)"),
    *("ops.sparse_categorical_crossentropy(c, row, from_logits=True)", "ops.binary_crossentropy(hot, q)"),
    *("ops.binary_crossentropy(hot, row, from_logits=True)", "ops.ctc_loss(labels + 1, steps[:, :, [0, 1, 0, 1]], two, nine)"),
    "ops.dot_product_attention(x[:, :, None], y[:, :, None], y[:, :, None])",
    "ops.dot_product_attention(x[:, :, None], y[:, :, None], y[:, :, None], is_causal=True)",
    "ops.dot_product_attention(x[:, :, None], y[:, :, None], y[:, :, None], mask=p[:, None, :, :4] > 0.3, scale=0.3)",
    *(f"ops.conv(steps, kernel1{more})" for more in ("", ", 2, 'same'", ", padding='same', dilation_rate=2")),
    *(f"ops.conv(image, {rest})" for rest in ("kernel2", "kernel2b, 2, 'same'", "kernel2, (2, 1), 'valid'", "kernel2b, padding='same'")),
    *("ops.conv(image, kernel2[:, :, :1], padding='same')", "ops.conv(volume, kernel3, 2, 'same')"),
    "ops.conv(ops.transpose(image, (0, 3, 1, 2)), kernel2, 2, 'same', data_format='channels_first')",
    *(f"ops.image.extract_patches(image, {rest})" for rest in ("2", "(3, 2)", "3, strides=(1, 2)", "(2, 3), padding='same'", "2, 1, 2")),
    *("ops.image.extract_patches(image[0], 2)", "ops.image.extract_patches(volume[0], 2, data_format='channels_first')"),
    *(f"ops.image.resize(image, {rest})" for rest in ("(5, 11)", "(4, 4), 'nearest'", "(12, 5), 'bicubic'", "(4, 3), antialias=True")),
    *("ops.image.resize(image[0], (5, 11))", "ops.image.resize(volume[0], (3, 4), data_format='channels_first')"),
    "ops.image.rgb_to_grayscale(ops.concatenate([image, image[..., :1]], -1))",
    *(f"ops.conv_transpose(steps, back1{more})" for more in ("", ", 2", ", 2, 'same'", ", 4", ", 2, 'same', 1")),
    *(f"ops.conv_transpose(image, back2{more})" for more in (", 2", ", (2, 1), 'same'", ", dilation_rate=2")),
    *("ops.depthwise_conv(image, deep2)", "ops.depthwise_conv(steps, deep1, 2, 'same')"),
    *("ops.separable_conv(image, deep2, point2, 2, 'same')",),
    *(
        f"ops.{kind}_pool({what})"
        for kind in ("max", "average")
        for what in ("steps, 2", "image, 3, 2, 'same'", "image, (2, 3), 1, 'same'")
    ),
    *("ops.max_pool(volume, 2)", "ops.average_pool(volume, 2, padding='same')"),
]
CREATED = [
    *("ops.zeros((2, 3))", "ops.ones((2,), dtype='int32')", "ops.full((2, 3), 0.5)", "ops.full((2, 3), [1.0, 2.0, 3.0])", "ops.arange(5)"),
    *("ops.arange(1, 9, 2)", "ops.arange(5, 1, -2)", "ops.arange(0.0, 1.0, 0.25)", "ops.arange(3, dtype='float32')", "ops.eye(3)"),
    *("ops.eye(2, 4, 1)", "ops.identity(3)", "ops.tri(3)", "ops.tri(3, 4, -1)", "ops.linspace(0.0, 1.0, 5)", "ops.logspace(0.0, 2.0, 5)"),
    *("ops.linspace(0.0, 1.0, 4, endpoint=False)", "ops.array([1.0, 2.0])", "ops.bincount([0, 2, 2], minlength=5)"),
    *("ops.map(lambda a: a * 2.0, ops.ones((3, 2)))", "ops.vectorized_map(lambda a: a * 2.0, ops.ones((3, 2)))"),
    *("ops.scan(lambda s, a: (s + a, s * a), ops.zeros((2,)), ops.ones((3, 2)))", "ops.fori_loop(0, 5, lambda i, a: a + i, ops.zeros(()))"),
    *("ops.while_loop(lambda a: a < 5, lambda a: (a + 2,), (0,))", "ops.switch(1, [lambda a: a, lambda a: -a], ops.ones((2,)))"),
]
_REDUCED = "max min sum prod var std mean any all".split()
_APPLIED = "abs exp square sign sin cos tan tanh round sigmoid softmax softplus softsign relu elu".split()
BACKEND = {
    **{f"K.{name}(x)": f"ops.{name}(x)" for name in _APPLIED},
    **{f"K.{name}(x{rest})": f"ops.{name}(x{rest})" for name in _REDUCED for rest in ("", ", axis=1", ", [1, 2], True")},
    **{f"K.{name}(x, y)": f"ops.{name}(x, y)" for name in "equal not_equal greater greater_equal less less_equal maximum minimum".split()},
    **{f"K.{name}(x, 0.5)": f"ops.{name}(x, 0.5)" for name in "equal greater less_equal maximum minimum".split()},
    "K.log(p)": "ops.log(p)",
    "K.sqrt(x)": "ops.sqrt(ops.maximum(x, 0.0))",
    "K.pow(p, 3)": "ops.power(p, 3)",
    "K.clip(x, -0.5, 0.5)": "ops.clip(x, -0.5, 0.5)",
    "K.clip(x, None, 0.5)": "ops.minimum(x, 0.5)",
    "K.hard_sigmoid(x)": "ops.clip(0.2 * x + 0.5, 0.0, 1.0)",
    "K.relu(x, alpha=0.1, max_value=1.0, threshold=0.2)": "ops.where(x >= 1.0, 1.0, ops.where(x >= 0.2, x, 0.1 * (x - 0.2)))",
    "K.elu(x, 0.5)": "ops.where(x > 0, x, 0.5 * (ops.exp(x) - 1.0))",
    "K.logsumexp(x, axis=1)": "ops.logsumexp(x, axis=1)",
    "K.argmax(x)": "ops.argmax(x, -1)",
    "K.argmin(x, axis=1)": "ops.argmin(x, 1)",
    "K.cumsum(x, 1)": "ops.cumsum(x, 1)",
    "K.cumprod(x, 1)": "ops.cumprod(x, 1)",
    "K.mean(K.equal(K.argmax(row), K.argmax(other)))": "ops.mean(ops.equal(ops.argmax(row, -1), ops.argmax(other, -1)))",
    "K.cast(b, 'float32')": "ops.cast(b, 'float32')",
    "K.cast_to_floatx(n)": "ops.cast(n, 'float32')",
    "K.cast(K.shape(x)[0], 'float32') * x": "3.0 * x",
    "K.sum(x) / K.cast(K.shape(x)[0], K.floatx())": "ops.sum(x) / 3.0",
    "K.exp(K.shape(x)[0])": "ops.exp(3.0)",
    "K.zeros_like(x)": "ops.zeros_like(x)",
    "K.ones_like(x)": "ops.ones_like(x)",
    "K.identity(x)": "x",
    "K.stop_gradient(x)": "x",
    "K.transpose(x)": "ops.transpose(x)",
    "K.permute_dimensions(x, (0, 2, 1))": "ops.transpose(x, (0, 2, 1))",
    "K.reshape(x, (-1, 24))": "ops.reshape(x, (-1, 24))",
    "K.reshape(x, (K.shape(x)[0], 24))": "ops.reshape(x, (3, 24))",
    "K.reshape(x, K.shape(y))": "x",
    "K.flatten(x)": "ops.ravel(x)",
    "K.batch_flatten(x)": "ops.reshape(x, (3, -1))",
    "K.expand_dims(x)": "ops.expand_dims(x, -1)",
    "K.expand_dims(x, 1)": "ops.expand_dims(x, 1)",
    "K.squeeze(one, 1)": "ops.squeeze(one, 1)",
    "K.concatenate([x, y])": "ops.concatenate([x, y], -1)",
    "K.concatenate([x, y], axis=0)": "ops.concatenate([x, y], 0)",
    "K.stack([x, y], axis=1)": "ops.stack([x, y], 1)",
    "K.tile(x, (1, 2, 1))": "ops.tile(x, (1, 2, 1))",
    "K.tile(row, (K.shape(x)[0], 1))": "ops.tile(row, (3, 1))",
    "K.repeat(row, 4)": "ops.repeat(ops.expand_dims(row, 1), 4, axis=1)",
    "K.repeat(row, K.shape(x)[1])": "ops.repeat(ops.expand_dims(row, 1), 4, axis=1)",
    "K.repeat_elements(x, 2, 1)": "ops.repeat(x, 2, 1)",
    "K.reverse(x, 1)": "ops.flip(x, 1)",
    "K.slice(x, (0, 1, 2), (2, 2, 3))": "x[:2, 1:3, 2:5]",
    "K.slice(x, (0, 1, 0), (-1, 2, -1))": "x[:, 1:3]",
    "K.gather(table, i)": "ops.take(table, i, axis=0)",
    "K.gather(x, [0, 2])": "ops.take(x, [0, 2], axis=0)",
    "K.one_hot(i, 5)": "ops.one_hot(i, 5)",
    "K.arange(K.shape(x)[0])": "ops.arange(3)",
    "K.arange(1, K.shape(x)[0] * 2, 2)": "ops.arange(1, 6, 2)",
    "K.zeros((K.shape(x)[0], 2))": "ops.zeros((3, 2))",
    "K.ones(K.shape(x))": "ops.ones((3, 4, 6))",
    "K.eye(K.shape(x)[0])": "ops.eye(3)",
    "x + K.constant(2.0, shape=(6,))": "x + 2.0",
    "K.dot(x, table[:6])": "ops.dot(x, table[:6])",
    "K.batch_dot(x, wide)": "ops.matmul(x, wide)",
    "K.batch_dot(row, other)": "ops.sum(row * other, -1, keepdims=True)",
    "K.batch_dot(row, other, axes=1)": "ops.sum(row * other, -1, keepdims=True)",
    "K.batch_dot(x, y, axes=(2, 2))": "ops.matmul(x, ops.transpose(y, (0, 2, 1)))",
    "K.batch_dot(x, y, axes=[1, 1])": "ops.matmul(ops.transpose(x, (0, 2, 1)), y)",
    "K.temporal_padding(steps, (1, 2))": "ops.pad(steps, ((0, 0), (1, 2), (0, 0)))",
    "K.spatial_2d_padding(image)": "ops.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))",
    "K.spatial_2d_padding(image, ((1, 0), (2, 3)), 'channels_first')": "ops.pad(image, ((0, 0), (0, 0), (1, 0), (2, 3)))",
    "K.spatial_3d_padding(volume)": "ops.pad(volume, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))",
    "K.resize_images(image, 2, 3, 'channels_last')": "ops.repeat(ops.repeat(image, 2, 1), 3, 2)",
    "K.resize_images(image, 2, 2, 'channels_last', 'bilinear')": "ops.image.resize(image, (18, 16), 'bilinear')",
    "K.resize_volumes(volume, 2, 1, 3, 'channels_last')": "ops.repeat(ops.repeat(volume, 2, 1), 3, 3)",
    "K.switch(b, x, y)": "ops.where(b, x, y)",
    "K.switch(c > 1, x, y)": "ops.where((c > 1)[:, None, None], x, y)",
    "K.switch(K.sum(x) > 0, lambda: x, lambda: y)": "ops.where(ops.sum(x) > 0, x, y)",
    "K.in_train_phase(x, y, training=True)": "x",
    "K.in_train_phase(x, lambda: y, training=False)": "y",
    "K.in_test_phase(x, y, training=False)": "x",
    "K.l2_normalize(x, axis=-1)": "ops.normalize(x, axis=-1)",
    "K.l2_normalize(x)": "x / ops.sqrt(ops.sum(ops.square(x)))",
    "K.in_top_k(row, c, 2)": "ops.in_top_k(c, row, 2)",
    "K.categorical_crossentropy(hot, q)": "ops.categorical_crossentropy(hot, q)",
    "K.categorical_crossentropy(hot, row, from_logits=True)": "ops.categorical_crossentropy(hot, row, from_logits=True)",
    "K.sparse_categorical_crossentropy(c, q)": "ops.sparse_categorical_crossentropy(c, q)",
    "K.sparse_categorical_crossentropy(c[:, None], row, from_logits=True)": "ops.sparse_categorical_crossentropy(c, row, from_logits=True)",
    "K.binary_crossentropy(hot, q)": "ops.binary_crossentropy(hot, q)",
    "K.ctc_batch_cost(labels, K.softmax(steps[:, :, [0, 1, 0, 1]]), nine[:, None], two[:, None])": "ops.ctc_loss("
    "(labels + 1) % 4, ops.take(steps, [1, 0, 1, 0], axis=-1), two, nine)[:, None]",
    "K.batch_normalization(x, per_feature, positive, per_feature, positive)": "ops.batch_normalization("
    "x, per_feature, positive, -1, per_feature, positive)",
    "K.normalize_batch_in_training(x, positive, per_feature, [0, 1])[0]": "ops.batch_normalization("
    "x, ops.mean(x, (0, 1)), ops.var(x, (0, 1)), -1, per_feature, positive)",
    "K.conv1d(steps, kernel1, 2, 'same')": "ops.conv(steps, kernel1, 2, 'same')",
    "K.conv1d(steps, kernel1, padding='causal')": "ops.conv(ops.pad(steps, ((0, 0), (2, 0), (0, 0))), kernel1)",
    "K.conv2d(image, kernel2)": "ops.conv(image, kernel2)",
    "K.conv3d(volume, kernel3, padding='same')": "ops.conv(volume, kernel3, padding='same')",
    "K.conv2d_transpose(image, back2, (3, 18, 16, 4), (2, 2), 'same')": "ops.conv_transpose(image, back2, 2, 'same')",
    "K.conv2d_transpose(image, back2, (3, 19, 17, 4), (2, 2))": "ops.conv_transpose(image, back2, 2)",
    "K.conv2d_transpose(image, back2, (K.shape(image)[0], 17, 15, 4), (2, 2), 'same')": "ops.conv_transpose(image, back2, 2, 'same', 0)",
    "K.conv3d_transpose(volume, back3, (3, 10, 12, 10, 4), (2, 2, 2), 'same')": "ops.conv_transpose(volume, back3, 2, 'same')",
    "K.conv3d_transpose(volume, back3, (3, 7, 8, 7, 4))": "ops.conv_transpose(volume, back3)",
    "K.local_conv1d(steps, K.stack([ops.reshape(kernel1, (6, 4))] * 4), (3,), (2,))": "ops.conv(steps, kernel1, 2)",
    "K.local_conv2d(image, K.stack([ops.reshape(kernel2, (18, 4))] * 21), (3, 3), (1, 2), (7, 3))": "ops.conv(image, kernel2, (1, 2))",
    "K.depthwise_conv2d(image, deep2, padding='same')": "ops.depthwise_conv(image, deep2, padding='same')",
    "K.separable_conv1d(steps, deep1, point1)": "ops.separable_conv(steps, deep1, point1)",
    "K.separable_conv2d(image, deep2, point2)": "ops.separable_conv(image, deep2, point2)",
    "K.pool2d(image, (2, 2))": "ops.max_pool(image, 2, 1)",
    "K.pool2d(image, (2, 3), (2, 2), 'same', pool_mode='avg')": "ops.average_pool(image, (2, 3), 2, 'same')",
    "K.pool3d(volume, (2, 2, 2), (2, 2, 2))": "ops.max_pool(volume, 2)",
    "K.bias_add(image, [1.0, 2.0])": "image + ops.array([1.0, 2.0])",
    "K.bias_add(image, K.constant([1.0] * 9), 'channels_first')": "image + 1.0",
    "K.rnn(lambda a, s: (a + s[0], [a + s[0]]), x, [row[:, :1] * 0.0])[1]": "ops.cumsum(x, 1)",
    "K.rnn(lambda a, s: (a + s[0], [a + s[0]]), x, [row[:, :1] * 0.0], go_backwards=True)[0]": "ops.sum(x, 1)",
    "K.rnn(lambda a, s: (a + s[0], [a + s[0]]), x, [row[:, :1] * 0.0], mask=b[:, :, 0])[0]": "ops.sum(ops.where(b[:, :, :1], x, 0.0), 1)",
}
