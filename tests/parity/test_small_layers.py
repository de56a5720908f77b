"""The small layers against the real Keras: activations, normalizations, noise, masks, resizing, preprocessing."""

from itertools import product

import keras
import numpy as np
import pytest
import torch

import torchkeras_fn as tk
from parity.test_layers import compare, inputs_of, model_of, table
from parity.twins import LIBRARIES, array, same, twins


def case(name, *shapes, **options):
    """Rows for a layer with options, one for each shape, in which `None` is unknown."""
    described = ", ".join(f"{key}={value}" for key, value in options.items())
    return {f"{name}({described}) of {shape}": (lambda k: getattr(k.layers, name)(**options), shape) for shape in shapes}


VECTOR, STEPS, IMAGE, VOLUME = (5,), (4, 6), (4, 5, 6), (3, 4, 5, 2)
FORMATS = ("channels_last", "channels_first")

ACTIVATIONS = {
    **case("ReLU", VECTOR, IMAGE, (None, 3)),
    **case("ReLU", VECTOR, max_value=0.7),
    **case("ReLU", VECTOR, negative_slope=0.2),
    **case("ReLU", VECTOR, threshold=0.5),
    **case("ReLU", IMAGE, max_value=0.8, negative_slope=0.2, threshold=0.3),
    **case("LeakyReLU", VECTOR, IMAGE, (None, 3)),
    **case("LeakyReLU", VECTOR, negative_slope=0.0),
    **case("LeakyReLU", VECTOR, alpha=0.1),
    **case("ELU", VECTOR, IMAGE, (None, 3)),
    **case("ELU", VECTOR, alpha=0.3),
    **case("PReLU", VECTOR, STEPS, IMAGE),
    **case("PReLU", STEPS, (None, 3), shared_axes=1),
    **case("PReLU", IMAGE, (None, None, 6), shared_axes=[1, 2]),
    **case("PReLU", IMAGE, shared_axes=[2]),
    **case("PReLU", IMAGE, shared_axes=[1, 2, 3]),
    **case("PReLU", VECTOR, alpha_initializer="ones"),
    **case("Softmax", VECTOR, IMAGE, (None, 3)),
    **case("Softmax", STEPS, (None, 3), axis=1),
    **case("Softmax", IMAGE, axis=[1, 2]),
    **case("Softmax", IMAGE, axis=[-1]),
}
NORMALIZATIONS = {
    **case("LayerNormalization", VECTOR, STEPS, IMAGE, (None, 3)),
    **case("LayerNormalization", STEPS, axis=[1, 2]),
    **case("LayerNormalization", IMAGE, (None, 4, 2), axis=[-2, -1]),
    **case("LayerNormalization", IMAGE, axis=[1, 2, 3]),
    **case("LayerNormalization", IMAGE, axis=[1, 3]),
    **case("LayerNormalization", STEPS, center=False),
    **case("LayerNormalization", STEPS, scale=False),
    **case("LayerNormalization", STEPS, center=False, scale=False),
    **case("LayerNormalization", STEPS, epsilon=0.1),
    **case("LayerNormalization", STEPS, IMAGE, rms_scaling=True),
    **case("LayerNormalization", STEPS, rms_scaling=True, axis=1),
    **case("LayerNormalization", STEPS, rms_scaling=True, center=False, scale=False),
    **case("RMSNormalization", VECTOR, STEPS, IMAGE, (None, 3)),
    **case("RMSNormalization", IMAGE, axis=[2, 3], epsilon=0.1),
    **case("GroupNormalization", STEPS, IMAGE, VECTOR[:0] + (6,), (None, 6), groups=2),
    **case("GroupNormalization", IMAGE, groups=3),
    **case("GroupNormalization", IMAGE, groups=1),
    **case("GroupNormalization", IMAGE, STEPS, groups=-1),
    **case("GroupNormalization", IMAGE, (4, None, None), groups=2, axis=1),
    **case("GroupNormalization", VOLUME, groups=2),
    **case("GroupNormalization", (32, 3, 32)),
    **case("GroupNormalization", IMAGE, groups=2, center=False),
    **case("GroupNormalization", IMAGE, groups=2, scale=False),
    **case("GroupNormalization", IMAGE, groups=2, center=False, scale=False, epsilon=0.1),
    **case("UnitNormalization", VECTOR, STEPS, IMAGE, (None, 3)),
    **case("UnitNormalization", IMAGE, axis=1),
    **case("UnitNormalization", IMAGE, axis=[1, 2]),
    **case("UnitNormalization", IMAGE, axis=[-1]),
}
AT_INFERENCE = {
    **case("SpatialDropout1D", STEPS, (None, 3), rate=0.5),
    **case("SpatialDropout2D", IMAGE, rate=0.5),
    **case("SpatialDropout3D", VOLUME, rate=0.5),
    **case("GaussianNoise", VECTOR, STEPS, stddev=0.5),
    **case("GaussianDropout", VECTOR, STEPS, rate=0.5),
    **case("AlphaDropout", VECTOR, STEPS, rate=0.5),
    **case("ActivityRegularization", VECTOR, l1=0.1, l2=0.2),
    **case("Masking", STEPS, (None, 3), IMAGE, mask_value=0.5),
}


def resizings():
    """Every form of the options of each layer, in both data formats, with known and unknown sizes."""
    yield from (("UpSampling1D", {"size": size}, shape) for size, shape in product((1, 2, 3), (STEPS, (None, 3))))
    yield from (("Cropping1D", {"cropping": cut}, shape) for cut, shape in product((1, (1, 1), (0, 2), [2, 0]), (STEPS, (None, 3))))
    for data_format, pad in product(FORMATS, (0, 1, (1, 2), [0, 3])):
        yield "ZeroPadding1D", {"padding": pad, "data_format": data_format}, STEPS
    yield "ZeroPadding1D", {}, (None, 3)
    yield "Cropping2D", {}, IMAGE
    yield "Cropping3D", {}, (3, 4, 5, 2)
    for data_format in FORMATS:
        is_last = data_format == "channels_last"
        images = [IMAGE, (None, None, 2) if is_last else (2, None, None), (None, 5, 2) if is_last else (2, 5, None)]
        volumes = [(4, 5, 6, 4), (None, None, None, 2) if is_last else (2, None, None, None)]
        for image, size in product(images, (1, 2, (2, 3), [3, 1])):
            yield "UpSampling2D", {"size": size, "data_format": data_format}, image
        for image, size, kind in product(images, (2, (3, 2)), ("bilinear", "bicubic")):
            yield "UpSampling2D", {"size": size, "data_format": data_format, "interpolation": kind}, image
        for volume, size in product(volumes, (2, (1, 2, 3))):
            yield "UpSampling3D", {"size": size, "data_format": data_format}, volume
        for image, amount in product(images, (0, 1, (1, 0), [0, 1], ((1, 0), (0, 1)), [(0, 1), [1, 1]])):
            yield "ZeroPadding2D", {"padding": amount, "data_format": data_format}, image
            yield "Cropping2D", {"cropping": amount, "data_format": data_format}, image
        for volume, amount in product(volumes, (0, 1, (1, 0, 1), ((1, 0), (0, 1), (1, 1)), [1, (0, 1), 0])):
            yield "ZeroPadding3D", {"padding": amount, "data_format": data_format}, volume
            yield "Cropping3D", {"cropping": amount, "data_format": data_format}, volume


RESIZINGS = {}
for _name, _options, _shape in resizings():
    RESIZINGS |= case(_name, _shape, **_options)


@pytest.mark.parametrize(("make", "shape"), table(ACTIVATIONS | NORMALIZATIONS | AT_INFERENCE))
def test_layer(make, shape):
    ours, theirs = compare(make, [shape])
    assert [weight.name for weight in ours.layers[-1].named_weights()] == [weight.name for weight in theirs.layers[-1].weights]


@pytest.mark.parametrize(("make", "shape"), table(ACTIVATIONS | NORMALIZATIONS))
def test_layer_in_training_mode(make, shape):
    compare(make, [shape], training=True)


@pytest.mark.parametrize(("make", "shape"), table(RESIZINGS))
def test_resizing(make, shape):
    filled = tuple(4 if size is None else size for size in shape)
    compare(make, [filled])
    ours, theirs = (model_of(make, [shape])(library) for library in LIBRARIES)
    assert ours.output_shape == theirs.output_shape
    x = inputs_of([filled], seed=3)[0]
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))


@pytest.mark.parametrize(
    ("name", "options"), [("UpSampling2D", {}), ("ZeroPadding2D", {}), ("ZeroPadding1D", {}), ("Cropping2D", {"cropping": 1})]
)
def test_the_data_format_of_the_configuration_is_taken(name, options):
    shape = STEPS if name.endswith("1D") else IMAGE
    for library in LIBRARIES:
        library.config.set_image_data_format("channels_first")
    try:
        compare(lambda k: getattr(k.layers, name)(**options), [shape])
    finally:
        for library in LIBRARIES:
            library.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"epsilon": 0.1}])
@pytest.mark.parametrize(("axis", "shape"), [(1, STEPS), (1, IMAGE), (2, IMAGE), (-2, IMAGE), (1, (3, 3))])
def test_layer_normalization_along_a_middle_axis(axis, shape, options):
    """Keras 3.15 on torch takes the last axis, or fails: there the axis is moved last by hand."""
    ours, theirs = tk.layers.LayerNormalization(axis, **options), keras.layers.LayerNormalization(**options)
    x = inputs_of([shape])[0]
    moved = np.moveaxis(x, axis, -1)
    for layer, given in ((ours, x), (theirs, moved)):
        layer(given)
    values = [np.random.default_rng(0).normal(size=weight.shape) for weight in theirs.get_weights()]
    ours.set_weights(values)
    theirs.set_weights(values)
    same(ours(x).detach(), np.moveaxis(array(theirs(moved)), -1, axis))


@pytest.mark.parametrize("theta", [0.0, 0.5, 1.0])
def test_thresholded_relu_is_keras_relu_with_a_threshold(theta):
    compare(lambda k: k.layers.ThresholdedReLU(theta) if k is tk else k.layers.ReLU(threshold=theta), [STEPS])


def test_defaults_are_those_of_keras():
    made = {
        "LeakyReLU": "negative_slope",
        "ELU": "alpha",
        "LayerNormalization": "epsilon center scale",
        "GroupNormalization": "groups epsilon axis",
        "UpSampling1D": "size",
        "UpSampling2D": "size interpolation data_format",
        "UpSampling3D": "size data_format",
        "Masking": "mask_value",
        "ActivityRegularization": "l1 l2",
        "ReLU": "max_value negative_slope threshold",
    }
    for name, settings in made.items():
        ours, theirs = (getattr(library.layers, name)() for library in LIBRARIES)
        for setting in settings.split():
            mine, other = getattr(ours, setting), getattr(theirs, setting)
            assert mine == other or mine in ((other,), (other, other)), (name, setting)


@pytest.mark.parametrize("axis", [-1, 1, [1, 2]])
@pytest.mark.parametrize("kind", ["bool", "float32"])
def test_softmax_with_a_mask(axis, kind):
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
    mask = np.random.default_rng(1).random((3, 4, 5)) > 0.4
    mask[0, 0] = mask[0, :, 1] = False
    ours, theirs = (library.layers.Softmax(axis=axis)(torch.tensor(x), mask=torch.tensor(mask.astype(kind))) for library in LIBRARIES)
    same(ours, theirs)


def test_softmax_takes_the_mask_of_the_steps():
    x = np.array([[1, 2, 0, 0], [1, 0, 2, 1]])

    def recipe(k):
        inputs = k.Input((4,), dtype="int64")
        scores = k.layers.Masking()(k.layers.Reshape((4, 1))(k.ops.cast(inputs, "float32") if k is keras else inputs.float()))
        return k.Model(inputs, k.layers.Softmax(axis=1)(scores))

    outputs = recipe(tk).predict(x, verbose=0)
    assert outputs[0, 2:].tolist() == [[0], [0]]
    np.testing.assert_allclose(outputs.sum(1), 1, rtol=1e-6)


# ---------------------------------------------------------------------- random layers

RANDOM = {
    **case("GaussianNoise", (50, 40), stddev=0.3),
    **case("GaussianNoise", (50, 40), stddev=0.3, seed=1),
    **case("GaussianDropout", (50, 40), rate=0.3),
    **case("GaussianDropout", (50, 40), rate=0.3, seed=1),
    **case("AlphaDropout", (50, 40), rate=0.3),
    **case("AlphaDropout", (50, 40), rate=0.3, seed=1),
    **case("AlphaDropout", (50, 40), rate=0.3, noise_shape=(None, 1, 40)),
    **case("SpatialDropout1D", (50, 40), rate=0.3),
    **case("SpatialDropout1D", (50, 40), rate=0.3, seed=1),
    **{key: row for form in FORMATS for key, row in case("SpatialDropout2D", (20, 10, 20), rate=0.3, data_format=form).items()},
    **{key: row for form in FORMATS for key, row in case("SpatialDropout3D", (10, 5, 4, 10), rate=0.3, data_format=form).items()},
}


@pytest.mark.parametrize(("make", "shape"), table(RANDOM))
def test_statistics_in_training_mode(make, shape):
    x = np.full((200, *shape), 2.0, "float32")
    ours, theirs = (array(make(library)(torch.tensor(x), training=True).detach()) for library in LIBRARIES)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.05)
    assert ours.std() == pytest.approx(theirs.std(), abs=0.05)
    assert np.quantile(ours, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(theirs, [0.1, 0.5, 0.9]), abs=0.05)
    assert (ours == 0).mean() == pytest.approx((theirs == 0).mean(), abs=0.05)
    for axis in range(1, ours.ndim):  # along which axes the pattern is shared
        assert (np.ptp(ours, axis=axis) == 0).all() == (np.ptp(theirs, axis=axis) == 0).all()


@pytest.mark.parametrize("factors", [{"l1": 0.1}, {"l2": 0.1}, {"l1": 0.1, "l2": 0.2}, {}])
def test_activity_regularization_adds_to_the_loss(factors):
    def recipe(k):
        # Keras 3 divides activity losses by the size of the batch, 8; here they are what they say, as in Keras 2
        options = {name: factor * (8 if k is keras else 1) for name, factor in factors.items()}
        x = k.Input((5,))
        model = k.Model(x, k.layers.Dense(2)(k.layers.ActivityRegularization(**options)(k.layers.Dense(3)(x))))
        model.compile("sgd", "mse")
        return model

    ours, theirs = twins(recipe)
    x, y = inputs_of([(5,), (2,)], batch=8)
    assert ours.evaluate(x, y, verbose=0) == pytest.approx(theirs.evaluate(x, y, verbose=0), rel=1e-5)
    histories = [model.fit(x, y, batch_size=8, epochs=3, verbose=0, shuffle=False).history["loss"] for model in (ours, theirs)]
    np.testing.assert_allclose(*histories, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_masking_is_seen_by_the_loss(value):
    def recipe(k):
        x = k.Input((4, 3))
        model = k.Model(x, k.layers.Dense(1)(k.layers.Masking(value)(x)))
        model.compile("sgd", "mse")
        return model

    ours, theirs = twins(recipe)
    x, y = inputs_of([(4, 3), (4, 1)], batch=8)
    x[:4, 2:] = x[5, 0] = value
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert ours.evaluate(x, y, verbose=0, batch_size=8) == pytest.approx(theirs.evaluate(x, y, verbose=0, batch_size=8), rel=1e-5)
    same(ours.layers[1].compute_mask(torch.tensor(x)), theirs.layers[1].compute_mask(torch.tensor(x)))


# ---------------------------------------------------------------------- preprocessing


@pytest.mark.parametrize("arguments", [(1 / 255,), (2, 1), (2.0, -0.5), ([1.0, 2.0, 3.0],), ([1.0, 2.0, 3.0], [0.5, 0.0, 1.0])])
@pytest.mark.parametrize("kind", ["float32", "uint8", "int64", "float64"])
def test_rescaling(arguments, kind):
    x = np.random.default_rng(0).integers(0, 255, size=(3, 4, 4, 3)).astype(kind)
    ours, theirs = (library.layers.Rescaling(*arguments) for library in LIBRARIES)
    same(ours(x), theirs(x))
    ours, theirs = (model_of(lambda k: k.layers.Rescaling(*arguments), [(None, None, 3)])(library) for library in LIBRARIES)
    assert ours.output_shape == theirs.output_shape
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))


ADAPTED = [
    (-1, (20, 3)),
    (1, (20, 3)),
    (None, (20, 3)),
    (None, (20,)),
    ((), (20, 3)),
    (-1, (20, 4, 3)),
    (1, (20, 4, 3)),
    ((1, 2), (20, 4, 3)),
    ([2, 1], (20, 4, 3)),
    ((1, 3), (20, 4, 2, 3)),
]


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize(("axis", "shape"), ADAPTED)
def test_normalization_adapts(axis, shape, invert):
    data = (np.random.default_rng(0).normal(size=shape) * 3 + 7).astype("float32")
    ours, theirs = (library.layers.Normalization(axis=axis, invert=invert) for library in LIBRARIES)
    ours.adapt(data)
    theirs.adapt(data)
    same(ours.get_weights(), theirs.get_weights(), 1e-4)
    assert [weight.name for weight in ours.named_weights()] == [weight.name for weight in theirs.weights]
    assert [weight.dtype for weight in ours.get_weights()] == [weight.numpy().dtype for weight in theirs.weights]
    same(ours(data), theirs(data), 1e-4)


def test_normalization_adapts_to_batches():
    data = (np.random.default_rng(0).normal(size=(23, 4)) * 3 + 7).astype("float32")
    batches = [data[:10], data[10:20], data[20:]]
    ours, theirs = (library.layers.Normalization() for library in LIBRARIES)
    ours.adapt(iter(batches))
    theirs.adapt(data)  # of batches Keras takes tensorflow's word, which need not be installed
    same(ours.get_weights(), theirs.get_weights(), 1e-4)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize(
    ("axis", "mean", "variance", "shape"),
    [
        (-1, 3.0, 2.0, (3,)),
        (-1, [1.0, 2.0, 3.0], [4.0, 0.0, 1.0], (3,)),
        (-1, [1.0, 2.0, 3.0], [4.0, 5.0, 1.0], (None, 3)),
        (1, [1.0, 2.0], [4.0, 5.0], (2, 3)),
        ((1, 2), [1.0, 2.0, 3.0], [4.0, 5.0, 1.0], (2, 3)),
        ((1, 2), [[1.0, 2.0, 3.0]] * 2, [[4.0, 5.0, 1.0]] * 2, (2, 3)),
        (None, 3.0, 2.0, (2, 3)),
    ],
)
def test_normalization_with_given_figures(axis, mean, variance, shape, invert):
    make = lambda k: k.layers.Normalization(axis=axis, mean=np.array(mean), variance=np.array(variance), invert=invert)  # noqa: E731
    ours, theirs = compare(make, [shape]) if 0.0 not in np.array(variance) else (model_of(make, [shape])(k) for k in LIBRARIES)
    x = inputs_of([shape])[0]
    same(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert ours.get_weights() == theirs.get_weights() == []
