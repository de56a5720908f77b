"""Every function of `ops`: drawn on symbolic tensors it means what it means on real ones, and it takes arrays as well."""

import numpy as np
import pytest
import torch

from tests.drawing import check_drawing, evaluate, tensors
from tests.expressions import OPS, VALUES, names_in
from torchkeras_fn import Input, Model, ops
from torchkeras_fn import backend as K

NOT_DRAWN = ("ops.squeeze(one)", "ops.broadcast_to(one, (3", "ops.segment_sum(row, [0", "ops.ctc_loss")
NOT_DRAWN += ("ops.image.affine_transform(image, [", "ops.image.perspective_transform(image, [")
DRAWN = [line for line in OPS if not line.startswith(NOT_DRAWN)]


@pytest.mark.parametrize("line", DRAWN)
def test_a_drawn_line_means_what_it_says(line):
    check_drawing(line)


@pytest.mark.parametrize("line", [line for line in OPS if not any(sign in line for sign in "+*>&[" )])
def test_arrays_are_taken_where_tensors_are(line):
    with_arrays = evaluate(line, {name: VALUES[name] for name in names_in(line)})
    for ours, real in zip(with_arrays, evaluate(line, tensors(line)), strict=True):
        np.testing.assert_allclose(ours.numpy(), real.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("subtract", [0.5, -2.0]),
        ("isclose", [False, False]),
        ("heaviside", [1.0, 0.0]),
        ("hypot", np.hypot([1.5, -2], [1, 0])),
        ("logaddexp", np.logaddexp([1.5, -2], [1, 0])),
        ("logaddexp2", np.logaddexp2([1.5, -2], [1, 0])),
    ],
)
def test_truth_values_are_0_and_1_beside_numbers(name, expected):
    numbers, truths = torch.tensor([1.5, -2.0]), torch.tensor([True, False])
    np.testing.assert_allclose(getattr(ops, name)(numbers, truths), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["hypot", "logaddexp2", "nextafter"])
def test_integers_are_taken_as_floats(name):
    x1, x2 = torch.tensor([3, 1]), torch.tensor([4, 1])
    torch.testing.assert_close(getattr(ops, name)(x1, x2), getattr(ops, name)(x1.float(), x2.float()))


@pytest.mark.parametrize(
    "windows",
    [
        lambda x: ops.max_pool(x, 2, padding="same"),
        lambda x: ops.average_pool(x, 3, strides=2, padding="same"),
        lambda x: ops.conv(x, torch.ones(3, 2, 2), strides=2, padding="same"),
    ],
)
def test_windows_with_a_border_fit_odd_sizes_that_are_unknown_while_drawing(windows):
    x, steps = torch.arange(14.0).reshape(1, 7, 2), Input(shape=(None, 2))
    torch.testing.assert_close(Model(steps, windows(steps))(x), windows(x))


@pytest.mark.parametrize(
    "made",
    [
        lambda x: ops.cond(ops.shape(x)[1] < 9, lambda: x, lambda: -x),
        lambda x: K.switch(K.shape(x)[1] < 9, x, -x),
        lambda x: x * ops.maximum(ops.shape(x)[1], 5) + ops.minimum(ops.shape(x)[1] / 2, 9.0),
        lambda x: x * ops.convert_to_tensor(ops.shape(x)[1] / 2),
    ],
)
def test_what_is_made_of_an_unknown_size_can_be_asked_and_counted_with(made):
    x, steps = torch.ones(1, 7, 1), Input(shape=(None, 1))
    torch.testing.assert_close(Model(steps, made(steps))(x), made(x))


def test_parts_along_an_unknown_size_are_as_many_as_said():
    x, steps = torch.ones(1, 2, 3), Input(shape=(None, 3))
    torch.testing.assert_close(Model(steps, ops.unstack(steps, 2, axis=1))(x), ops.unstack(x, 2, axis=1))
    with pytest.raises(ValueError, match="The size along axis 1 of shape .* is unknown: say in 'num'"):
        ops.unstack(steps, axis=1)


def test_classes_with_the_same_score_are_all_among_the_highest():
    assert ops.in_top_k([0, 1, 2], [[0.5, 0.5, 0.5]] * 3, 1).tolist() == [True] * 3


CREATED_AS = [
    "zeros(2, {})",
    "ones(2, {})",
    "full(2, 1.0, {})",
    "zeros_like(x, {})",
    "ones_like(x, {})",
    "full_like(x, 1, {})",
    "eye(2, {})",
    "identity(2, {})",
    "arange(3, {})",
    "linspace(0, 1, 3, {})",
    "logspace(0, 1, 3, {})",
    "linspace(x, 3, 3, {})",
    "logspace(x, 3, 3, {})",
    "geomspace(1, 4, 3, {})",
    "full_like(x, [1, 2], {})",
    "one_hot([0], 2, {})",
    "multi_hot([0], 2, {})",
    "tri(2, {})",
]


@pytest.mark.parametrize("line", CREATED_AS)
@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_what_is_created_has_the_type_that_was_asked_for(line, dtype):
    made = eval("ops." + line.format(f"dtype={dtype!r}"), {"ops": ops, "x": torch.ones(2)})
    assert made.dtype is getattr(torch, dtype)


def test_whole_numbers_on_a_logarithmic_scale_are_cut_off_at_the_end():
    assert ops.logspace(0, 2, 5, dtype="int32").tolist() == [1, 3, 10, 31, 100]


def test_a_transform_of_too_few_axes_is_refused():
    with pytest.raises(ValueError, match=r"two tensors of one shape with 2 axes or more, but the shapes are \(2,\) and \(2,\)"):
        ops.fft2((torch.ones(2), torch.ones(2)))


def test_a_map_along_symbolic_tensors_says_where_to_put_it():
    with pytest.raises(ValueError, match="vectorized_map walks along tensors, and these are symbolic"):
        ops.vectorized_map(lambda row: row, Input(shape=(3,)))


# ---------------------------------------------------------------------- types and their limits


@pytest.mark.parametrize(
    ("values", "dtype", "wanted", "expected"),
    [
        ([5, 200], "uint8", "int8", [5, 127]),
        ([-3, 5], "int8", "uint8", [0, 5]),
        ([300, -300], "int32", "int8", [127, -128]),
        ([1e10, -1e10, 3.7], "float32", "int32", [2**31 - 1, -(2**31), 3]),
        ([1e20, -1e20], "float32", "int64", [2**63 - 1, -(2**63)]),
        ([1e6, -1e6], "float32", "float16", [65504, -65504]),
        ([1e6, -1e6], "int32", "float16", [65504, -65504]),
        ([-2.0, 0.0, 2.0], "float32", "bool", [False, False, True]),
        ([True, False], "bool", "uint8", [1, 0]),
    ],
)
def test_a_saturated_cast_stops_at_the_limits_of_the_type(values, dtype, wanted, expected):
    found = ops.saturate_cast(torch.tensor(values, dtype=getattr(torch, dtype)), wanted)
    assert (found.dtype, found.tolist()) == (getattr(torch, wanted), expected)


def test_a_range_between_floats_of_numpy_has_floats():
    assert ops.arange(np.float32(0.5), np.float32(3)).tolist() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
def test_quantiles_of_half_precision_are_of_half_precision(name):
    found = getattr(ops, name)(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float16), [0.25, 0.5])
    assert (found.dtype, found.tolist()) == (torch.float16, [1.5, 2.0])


@pytest.mark.parametrize(("name", "expected"), [("max", 3.0), ("min", 3.0)])
def test_the_initial_value_stands_where_there_are_no_elements(name, expected):
    assert getattr(ops, name)(torch.ones(0, 2), axis=0, keepdims=True, initial=3).tolist() == [[expected, expected]]


def test_without_axes_every_element_stands_for_itself():
    x = torch.tensor([[1.0, -2.0]])
    assert ops.var(x, axis=[]).tolist() == ops.nanstd(x, axis=()).tolist() == [[0.0, 0.0]]
    assert ops.max(x, axis=[], initial=0.0).tolist() == [[1.0, 0.0]]


def test_moments_of_all_processes_are_refused():
    with pytest.raises(ValueError, match="BatchNormalization\\(synchronized=True\\)"):
        ops.moments(torch.ones(2), 0, synchronized=True)


def test_a_single_number_is_where_a_scale_begins():
    assert ops.linspace(torch.tensor([1.0, 2.0]), 5.0, 1).tolist() == [[1.0, 2.0]]
    assert ops.linspace(1.0, 5.0, 1, retstep=True)[0].tolist() == [1.0]


# ---------------------------------------------------------------------- places


def test_rows_of_no_segment_are_left_out():
    assert ops.segment_sum([1.0, 2.0, 3.0, 4.0], [0, -1, 1, 2], 2).tolist() == [1.0, 3.0]


def test_without_rows_there_are_no_segments():
    assert ops.segment_sum(torch.ones(0, 2), []).shape == (0, 2)
    assert ops.bincount(torch.ones(2, 0, dtype=torch.int64), minlength=3).tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize(("name", "expected"), [("max", -(2**31)), ("min", 2**31 - 1), ("sum", 0), ("prod", 1)])
def test_a_segment_without_rows_changes_nothing(name, expected):
    assert getattr(ops, f"segment_{name}")(torch.tensor([5, 6], dtype=torch.int32), [0, 2]).tolist() == [5, expected, 6]


def test_the_number_of_segments_is_asked_for_where_it_is_not_known():
    with pytest.raises(ValueError, match="'num_segments' must be given where the ids are symbolic"):
        ops.segment_max(Input(shape=(3,)), Input(shape=(), dtype="int64"))


def test_updates_are_put_where_negative_indices_say():
    assert ops.scatter_update(torch.ones(2, 3), [[-1, -2], [1, 1]], [5.0, 3.0], "max").tolist() == [[1, 1, 1], [1, 5, 1]]


def test_an_unknown_reduction_of_updates_is_refused():
    with pytest.raises(ValueError, match="'reduction' must be one of 'add', 'max', 'min', 'mul'; got 'mean'"):
        ops.scatter_update(torch.ones(3), [[0]], [1.0], "mean")


def test_the_first_places_of_what_is_unique_are_known():
    values, firsts, inverse, counts = ops.unique(
        torch.tensor([[4, 1], [4, 1], [0, 1], [4, 1]]), return_index=True, return_inverse=True, return_counts=True, axis=0
    )
    assert (values.tolist(), firsts.tolist(), inverse.tolist(), counts.tolist()) == ([[0, 1], [4, 1]], [2, 0], [1, 1, 0, 1], [1, 3])


def test_what_is_unique_is_filled_up_along_its_axis():
    assert ops.unique(torch.tensor([[4, 4, 1], [3, 3, 1]]), axis=1, size=3, fill_value=9).tolist() == [[1, 4, 9], [1, 3, 9]]


def test_a_histogram_of_integers_counts_all_of_them():
    counts, bounds = ops.histogram(torch.tensor([[1, 2], [2, 4]]), 3)
    assert (counts.tolist(), bounds.tolist()) == ([1.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0])


# ---------------------------------------------------------------------- images


def test_one_transform_moves_all_images_of_a_batch():
    images = torch.arange(24.0).reshape(2, 3, 4, 1)
    moved = ops.image.affine_transform(images, [1, 0, 1, 0, 1, 0, 0, 0])
    assert moved[..., :-1, :].tolist() == images[..., 1:, :].tolist()
    drawn = Input((None, 4, 1))
    model = Model(drawn, ops.image.affine_transform(drawn, [1, 0, 1, 0, 1, 0, 0, 0]))
    assert model(images).tolist() == moved.tolist()


def test_images_are_moved_with_the_channels_first_too():
    images = torch.rand(2, 3, 4, 5)
    transform = [1.1, 0.1, -0.4, 0.05, 0.9, 0.3, 0.01, 0.02]
    last = ops.image.affine_transform(images.permute(0, 2, 3, 1), transform)
    torch.testing.assert_close(ops.image.affine_transform(images, transform, data_format="channels_first"), last.permute(0, 3, 1, 2))


def test_a_perspective_takes_the_starts_to_the_ends():
    image = torch.zeros(5, 5, 1)
    image[1, 2] = 1.0  # at x=2, y=1
    starts, ends = [[0, 0], [2, 1], [0, 4], [4, 4]], [[0, 0], [3, 1], [0, 4], [4, 4]]
    moved = ops.image.perspective_transform(image, starts, ends)
    assert moved[1, 3].item() == pytest.approx(1.0, abs=1e-4)


def test_between_integers_there_are_rounded_integers():
    assert ops.image.map_coordinates(torch.tensor([0, 10, 13]), [[0.56, 1.5]], 1).tolist() == [6, 12]


@pytest.mark.parametrize(
    ("fill_mode", "expected"), [("wrap", [3, 1, 2, 1]), ("mirror", [2, 2, 2, 3]), ("reflect", [1, 3, 2, 1]), ("nearest", [1, 3, 3, 1])]
)
def test_beyond_the_border_there_is_what_the_mode_says(fill_mode, expected):
    assert ops.image.map_coordinates(torch.tensor([1, 2, 3]), [[-1, 3, 7, -6]], 0, fill_mode).tolist() == expected
    assert ops.image.map_coordinates(torch.tensor([5]), [[-1, 0, 3]], 0, fill_mode).tolist() == [5, 5, 5]


def test_coordinates_have_one_row_for_each_axis():
    with pytest.raises(ValueError, match="one entry for each axis of inputs, 2; got 1"):
        ops.image.map_coordinates(torch.ones(2, 2), [[0.0]], 1)
    with pytest.raises(ValueError, match="'order' must be 0, .* or 1, .*; got 3"):
        ops.image.map_coordinates(torch.ones(2), [[0.0]], 3)


def test_a_transform_has_eight_numbers():
    with pytest.raises(ValueError, match=r"8 numbers, or of rows of 8 for each image, got the shape \(6,\)"):
        ops.image.affine_transform(torch.ones(3, 3, 1), [1.0, 0, 0, 0, 1, 0])
    with pytest.raises(ValueError, match=r"\(4, 2\), or \(batch, 4, 2\); got \(3, 2\) and \(4, 2\)"):
        ops.image.perspective_transform(torch.ones(3, 3, 1), [[0, 0]] * 3, [[0, 0]] * 4)


def test_a_blur_weighs_the_neighbours_by_a_bell_curve():
    image = torch.zeros(5, 7, 2)
    image[2, 3, 0] = 1.0
    rows, columns = np.exp(-np.arange(-1, 2) ** 2 / 2 / 0.5**2), np.exp(-np.arange(-2, 3) ** 2 / 2 / 2.0**2)
    expected = np.outer(rows / rows.sum(), columns / columns.sum())
    blurred = ops.image.gaussian_blur(image, (3, 5), (0.5, 2.0))
    np.testing.assert_allclose(blurred[1:4, 1:6, 0], expected, rtol=1e-5)
    assert (blurred[..., 1].sum(), blurred.sum().item()) == (0, pytest.approx(1.0))


@pytest.mark.parametrize("name", ["pad_images", "crop_images"])
@pytest.mark.parametrize("numbers", [(1, 2, None, 1), (1, 2, 3, 4, 9), (9, 1, None, 1, 5)])
def test_two_numbers_say_what_becomes_of_an_axis(name, numbers):
    with pytest.raises(ValueError, match="top_(padding|cropping), bottom_"):
        getattr(ops.image, name)(torch.ones(1, 6, 6, 1), *numbers)


def test_grays_of_integers_are_integers():
    assert ops.image.rgb_to_grayscale(torch.full((1, 1, 3), 201, dtype=torch.uint8)).tolist() == [[[200]]]


def test_images_are_cropped_or_padded_but_not_both():
    with pytest.raises(ValueError, match="Only one of 'crop_to_aspect_ratio' and 'pad_to_aspect_ratio'"):
        ops.image.resize(torch.ones(4, 4, 1), (2, 3), crop_to_aspect_ratio=True, pad_to_aspect_ratio=True)
    with pytest.raises(ValueError, match="of known sizes to be brought in proportion"):
        ops.image.resize(Input((None, 4, 1)), (2, 3), crop_to_aspect_ratio=True)


# ---------------------------------------------------------------------- signals and gradients


@pytest.mark.parametrize("window", ["hann", "hamming", None, torch.linspace(0.5, 1.0, 6)])
def test_the_short_transform_is_undone_by_its_inverse(window):
    x = torch.sin(torch.arange(32.0).reshape(2, 16))
    parts = ops.stft(x, 6, 2, 8, window)
    torch.testing.assert_close(ops.istft(parts, 6, 2, 8, 16, window), x)


def test_a_signal_that_no_window_reaches_is_zero():
    assert ops.istft(ops.stft(torch.ones(8), 4, 2, 4), 4, 2, 4, length=12).tolist()[-2:] == [0.0, 0.0]


def test_a_window_is_no_longer_than_its_transform():
    with pytest.raises(ValueError, match=r"'sequence_length' weights, at most 'fft_length' \(4\)"):
        ops.stft(torch.ones(16), 6, 2, 4)


def test_a_gradient_of_ones_own_is_taken():
    def clipped(x, y):
        return x * y, lambda upstream: (torch.clamp(upstream * y, -1, 1), None)

    x = torch.tensor([2.0, 3.0], requires_grad=True)
    ops.sum(ops.custom_gradient(clipped)(x, torch.tensor([0.5, 7.0]))).backward()
    assert x.grad.tolist() == [0.5, 1.0]


def test_a_gradient_of_ones_own_is_not_drawn():
    with pytest.raises(ValueError, match="A gradient of one's own is not drawn. Put the function in a Lambda layer"):
        ops.custom_gradient(lambda x: (x, lambda upstream: upstream))(Input((3,)))


@pytest.mark.parametrize("axis", [np.arange(1, 3), range(1, 3), torch.tensor([1, 2])])
@pytest.mark.parametrize("name", ["sum", "max", "prod", "flip", "median", "count_nonzero", "squeeze", "expand_dims"])
def test_axes_come_in_arrays_too(name, axis):
    x = torch.rand(2, 1, 1)
    torch.testing.assert_close(getattr(ops, name)(x, axis=axis), getattr(ops, name)(x, axis=(1, 2)))


@pytest.mark.parametrize("name", ["sum", "any", "prod", "flip", "quantile", "squeeze", "expand_dims", "average"])
def test_an_axis_is_an_integer_of_numpy_too(name):
    x, others = torch.rand(2, 1, 3), {"quantile": [0.5], "average": []}.get(name, [])
    torch.testing.assert_close(getattr(ops, name)(x, *others, axis=np.int64(1)), getattr(ops, name)(x, *others, axis=1))
