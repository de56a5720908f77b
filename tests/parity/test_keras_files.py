"""Keras' files, from the real Keras to this library and back: predictions, and how training goes on."""

import json
import logging
import warnings

import keras
import numpy as np
import pytest
import torch
from keras import ops
from torch.utils._pytree import tree_map

import torchkeras_fn as tk
from parity.twins import array, same
from tests.layers.test_contract import ROWS, data, drawn

REFUSED = {"LocallyConnected1D", "LocallyConnected2D", "TorchModuleWrapper"}  # Keras 3 has none, or pickles them
ENDINGS = (".keras", ".h5")


def square(x):
    return x * x


@pytest.fixture(autouse=True)
def quiet_keras():
    """Keras calls its `.h5` files legacy at each of them."""
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are saving a model that has not yet been built")
        yield
    logging.disable(logging.NOTSET)


def randomize(model, seed=0):
    """Set the weights of one of our models so that no bias is 0, no variance is 1, and predictions are of the size of 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in own_weights(model):
            values = torch.rand(weight.view.shape, generator=generator) - 0.4
            if weight.name.endswith(("variance", "gamma", "alpha")):
                values = values + 0.9
            weight.write(values.to(weight.tensor.dtype))


def own_weights(model):
    """The weights, without the numbers that were mixed into the graph."""
    return [weight for weight in model.named_weights() if not weight.name.startswith("constants")]


def zeroed(model):
    if isinstance(model, keras.Model):
        model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    else:
        for weight in own_weights(model):
            weight.write(torch.zeros_like(weight.view))
    return model


def predicted(model, x):
    """Return the outputs in inference mode. Keras is called, which is what its `predict` does in five times the time."""
    if isinstance(model, keras.Model):
        with torch.no_grad():
            return tree_map(array, model(x, training=False))
    return model.predict(x, verbose=0)


# Keras cannot write to .h5 a layer with a list among its arguments, as JSON has it for the noise shape, or for ends of a range.
NOT_WRITTEN_BY_KERAS = {(name, ".h5") for name in ("AlphaDropout", "RandomBrightness", "RandomContrast", "RandomTranslation")}
LAYERS = [
    pytest.param(name, row, id=f"{name}-{index}") for name, rows in ROWS.items() if name not in REFUSED for index, row in enumerate(rows)
]


@pytest.mark.parametrize(("name", "row"), LAYERS)
def test_every_layer_goes_to_keras_and_back(name, row, tmp_path):
    given = {"square": square}
    ours = drawn(row)
    if isinstance(ours.layers[-1], tk.layers.Lambda):
        ours = drawn(row, layer=tk.layers.Lambda(square))
    randomize(ours)
    tensors = [tensor.numpy() for tensor in data(row)]
    x = tensors if len(tensors) > 1 else tensors[0]
    expected = predicted(ours, x)
    for ending in ENDINGS:
        ours.save(tmp_path / f"ours{ending}")
        theirs = keras.models.load_model(tmp_path / f"ours{ending}", custom_objects=given)
        same(predicted(theirs, x), expected)
        if (name, ending) in NOT_WRITTEN_BY_KERAS:
            continue
        theirs.save(tmp_path / f"theirs{ending}")
        again = tk.models.load_model(tmp_path / f"theirs{ending}", custom_objects=given)
        same(predicted(again, x), expected)
    ours.save_weights(tmp_path / "ours.weights.h5")
    zeroed(theirs).load_weights(tmp_path / "ours.weights.h5")
    same(predicted(theirs, x), expected)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    zeroed(ours).load_weights(tmp_path / "theirs.weights.h5")
    same(predicted(ours, x), expected)
    ours.save_weights(tmp_path / "ours.h5")
    zeroed(theirs).load_weights(tmp_path / "ours.h5")
    same(predicted(theirs, x), expected)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_keras_has_not_is_refused_by_its_name(name, tmp_path):
    for path in ("m.keras", "m.h5"):
        with pytest.raises(ValueError, match=f"no {name}|there is no {name}"):
            drawn(ROWS[name][0]).save(tmp_path / path)
        assert not (tmp_path / path).exists()


# ---------------------------------------------------------------------- whole models


def shared_layers(lib, L):
    x, y = lib.Input((4,), name="x"), lib.Input((4,), name="y")
    tower, late = L.Dense(4, activation="relu"), L.Dense(3, name="late")
    joined = L.add([tower(x), tower(y)])
    other = L.Dense(4)(L.Dense(4)(x))
    return lib.Model([x, y], [L.Concatenate()([late(joined), L.Dense(3)(joined)]), late(other)])


def nested_models(lib, L):
    entry = lib.Input((4,))
    inner = lib.Model(entry, L.Dense(4, name="same_name")(L.BatchNormalization()(entry)), name="inner")
    stack = lib.Sequential([lib.Input((4,)), L.Dense(5), L.BatchNormalization(), L.Dense(4)])
    x = lib.Input((4,))
    first = inner(x)
    second = inner(stack(first))
    return lib.Model(x, [L.add([first, second]), inner(second), stack(second)])


def one_layer_in_two_models(lib, L):
    tower, head = L.Dense(4, activation="tanh"), L.Dense(2)
    entry = lib.Input((4,))
    inner = lib.Model(entry, tower(entry))
    x = lib.Input((4,))
    return lib.Model(x, [head(inner(x)), head(tower(x))])


def arithmetic(lib, L):
    x = lib.Input((6, 4))
    total = (x + 1.0) * 2.0 - x / 3.0
    masked = total[:, 0] + np.arange(4, dtype="float32")
    rest = [x[:, 1:3, ::2], abs(x), x @ L.Permute((2, 1))(x), x[..., 0], x > 0.5, L.Dense(2)(-(1 - x**2))]
    return lib.Model(x, [masked, *rest])


def states(lib, L):
    x = lib.Input((5, 4))
    steps, *state = L.LSTM(3, return_state=True, return_sequences=True)(x)
    return lib.Model(x, [L.LSTM(3)(steps, initial_state=state), L.GRU(3)(x, initial_state=state[0])])


def masks(lib, L):
    x = lib.Input((5,), dtype="int32")
    words = L.Embedding(4, 3, mask_zero=True)(x)
    both = L.Dense(3)(L.concatenate([words, words]))
    return lib.Model(x, [L.LSTM(3)(words), L.Bidirectional(L.GRU(2))(both), L.GlobalAveragePooling1D()(words)])


def masking(lib, L):
    x = lib.Input((5, 3))
    seen = L.TimeDistributed(L.Dense(4))(L.Masking(0.5)(x))
    return lib.Model(x, L.GRU(3)(L.LSTM(4, return_sequences=True)(seen)))


def attention(lib, L):
    x, y = lib.Input((5, 4)), lib.Input((3, 4))
    named = L.MultiHeadAttention(2, 3)(query=x, value=y, key=y)
    return lib.Model([x, y], [named, L.Attention()([x, y]), L.MultiHeadAttention(2, 3)(x, y, use_causal_mask=True)])


def deep(lib, L):
    x = lib.Input((6, 4))
    each = L.TimeDistributed(lib.Sequential([L.Dense(3), L.LayerNormalization()]))
    cells = L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True)
    model = lib.Sequential([each, cells, L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode="sum")])
    return lib.Model(x, model(x))


def image(lib, L):
    x = lib.Input((8, 8, 3))
    y = L.Conv2D(4, 3, padding="same", kernel_regularizer="l2", kernel_initializer=lib.initializers.HeNormal(seed=1))(x)
    y = L.Activation("relu")(L.BatchNormalization()(y))
    y = L.add([y, L.SeparableConv2D(4, 3, padding="same", bias_constraint=lib.constraints.MaxNorm(2))(y)])
    y = L.Activation(lib.activations.gelu)(L.AveragePooling2D(2)(y))
    return lib.Model(x, L.Dense(3, activation="softmax", activity_regularizer="l1")(L.Flatten()(y)))


def channels_first(lib, L):
    x = lib.Input((3, 8, 8))
    y = L.Conv2D(4, 3, data_format="channels_first", activation="relu")(x)
    y = L.MaxPooling2D(2, data_format="channels_first")(L.BatchNormalization(axis=1)(y))
    return lib.Model(x, L.Dense(2)(L.Flatten(data_format="channels_first")(y)))


def unbuilt(lib, L):
    return lib.Sequential([L.Dense(3), L.Dropout(0.5), L.Dense(2)])


def built_late(lib, L):
    model = lib.Sequential([L.Dense(3), L.Dense(2)])
    model.build((None, 4))
    return model


def integers(lib, L):
    x = lib.Input((4,), dtype="int32")
    return lib.Model(x, L.Dense(2)(x))


def frozen(lib, L):
    x = lib.Input((4,))
    model = lib.Model(x, L.Dense(2)(L.Dense(3, trainable=False)(L.BatchNormalization()(x))))
    return model


MODELS = [
    *(shared_layers, nested_models, one_layer_in_two_models, arithmetic, states, masks, masking, attention, deep, image),
    *(channels_first, unbuilt, built_late, integers, frozen),
]


def inputs_for(model):
    random = np.random.default_rng(0)
    tensors = model.inputs if getattr(model, "inputs", None) else [keras.Input((4,))]
    found = []
    for tensor in tensors:
        shape = (3, *tensor.shape[1:])
        is_integer = "int" in str(tensor.dtype)
        found.append(random.integers(0, 4, shape).astype("int32") if is_integer else random.normal(size=shape).astype("float32"))
    return found if len(found) > 1 else found[0]


def keras_model(recipe):
    keras.backend.clear_session(free_memory=False)
    model = recipe(keras, keras.layers)
    x = np.ones((3, 4), "float32") if recipe is unbuilt else inputs_for(model)
    predicted(model, x)
    random = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(random.uniform(0.2, 0.8, size=weight.shape))
    return model, x


@pytest.mark.parametrize("recipe", MODELS)
def test_models_of_keras_are_read_and_written_back(recipe, tmp_path):
    theirs, x = keras_model(recipe)
    expected = predicted(theirs, x)
    for ending in ENDINGS:
        theirs.save(tmp_path / f"theirs{ending}")
        ours = tk.models.load_model(tmp_path / f"theirs{ending}")
        same(predicted(ours, x), expected)
        if recipe is one_layer_in_two_models and ending == ".keras":
            assert len(own_weights(ours)) == 4  # it is still one layer, where Keras cannot read what it wrote
        ours.save(tmp_path / f"ours{ending}")
        same(predicted(keras.models.load_model(tmp_path / f"ours{ending}"), x), expected)
    assert [layer.trainable for layer in ours.layers] == [layer.trainable for layer in theirs.layers]


@pytest.mark.parametrize("recipe", MODELS)
def test_models_drawn_here_are_read_by_keras_and_take_its_weights(recipe, tmp_path):
    theirs, x = keras_model(recipe)
    ours = recipe(tk, tk.layers)
    predicted(ours, x)
    randomize(ours)
    expected = predicted(ours, x)
    for ending in ENDINGS:
        ours.save(tmp_path / f"ours{ending}")
        same(predicted(keras.models.load_model(tmp_path / f"ours{ending}"), x), expected)
    weights = theirs.get_weights()
    for ending in (".weights.h5", ".h5"):
        ours.save_weights(tmp_path / f"ours{ending}")
        zeroed(theirs).load_weights(tmp_path / f"ours{ending}")
        same(predicted(theirs, x), expected)
    theirs.set_weights(weights)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")
    same(predicted(ours, x), predicted(theirs, x))
    theirs.save(tmp_path / "theirs.keras")
    zeroed(ours).load_weights(tmp_path / "theirs.keras")
    same(predicted(ours, x), predicted(theirs, x))


def operations_of_the_graph(x):
    """One tensor through every operation that is read, and its mean of each."""
    p = ops.sigmoid(x)  # between 0 and 1
    unary = [ops.exp, ops.log, ops.sqrt, ops.square, ops.sin, ops.cos, ops.tanh, ops.negative, ops.sign, ops.floor, ops.ceil, ops.round]
    unary += [ops.relu, ops.relu6, ops.softplus, ops.softsign, ops.silu, ops.log_sigmoid, ops.hard_sigmoid, ops.selu, ops.gelu, ops.elu]
    unary += [ops.leaky_relu, ops.softmax, ops.log_softmax, ops.rsqrt, ops.erf, ops.log1p, ops.expm1, ops.reciprocal, ops.abs]
    found = [function(p) for function in unary]
    found += [ops.maximum(x, 0.1), ops.minimum(0.1, x), ops.maximum(x, p), ops.power(p, 2), ops.floor_divide(p, 0.3), ops.mod(p, 0.3)]
    found += [ops.clip(x, -0.5, 0.5), ops.where(x > 0, x, 0.0), ops.gelu(x, approximate=False), ops.elu(x, alpha=0.5)]
    found += [ops.cast(ops.logical_not(ops.logical_and(x > 0, p < 0.7)), "float32"), ops.ones_like(x) * x, ops.zeros_like(x) + x]
    return [ops.reshape(part, (-1, 12)) for part in found]


def shapes_of_the_graph(x):
    found = [ops.transpose(x, (0, 2, 1)), ops.swapaxes(x, 1, 2), ops.expand_dims(x, -1), ops.tile(x, (1, 2, 1)), ops.flip(x, axis=1)]
    found += [ops.squeeze(ops.expand_dims(x, 1), 1), ops.concatenate([x, x], axis=-1), ops.stack([x, x], axis=1)]
    found += [ops.split(x, 2, axis=2)[1]]
    found += [ops.matmul(x, ops.transpose(x, (0, 2, 1))), x[:, 1], x[:, None, 0:2]]
    reductions = (ops.sum, ops.mean, ops.max, ops.min, ops.prod, ops.std, ops.var, ops.logsumexp)
    found += [reduce(x, axis=1) for reduce in reductions] + [ops.mean(x, axis=(1, 2), keepdims=True), ops.sum(x, axis=[1, 2])]
    return [*found, ops.any(x > 0, axis=1), ops.all(x > 0, axis=-1), ops.argmax(x, axis=1), ops.argmin(x, axis=-1)]


def operations_by_name(x):
    """Some of those that are found by their names alone, with arguments in the configuration, in the call, and constants."""
    weights, table = np.array([0.5, 1.0, 2.0, 0.25], "float32"), np.arange(12.0, dtype="float32").reshape(4, 3)
    found = [ops.cumsum(x, axis=1), ops.cumprod(x), ops.sort(x, axis=-1), ops.argsort(x, axis=1), ops.stop_gradient(x), ops.round(x, 1)]
    found += [ops.einsum("btf,bsf->bts", x, x), ops.einsum("btf,fd->btd", x, table), ops.tensordot(x, table, axes=1), ops.dot(x, table)]
    found += [ops.one_hot(ops.argmax(x, -1), 4), ops.take(x, [0, -1], axis=1), ops.take(x, 1, axis=-1), ops.roll(x, 1, axis=1)]
    found += [ops.repeat(x, 2, axis=1), ops.moveaxis(x, 1, 2), ops.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=3.0)]
    found += [ops.tril(x), ops.top_k(x, 2), ops.unstack(x, axis=1), ops.arctan2(x, 0.5), ops.fmax(x, weights), ops.isclose(x, 0.0)]
    found += [ops.hypot(x, weights)]
    found += [ops.norm(x, ord=2, axis=-1), ops.normalize(x, axis=1, order=1), ops.average(x, axis=2, weights=weights)]
    found += [ops.median(x, axis=1)]
    found += [ops.batch_normalization(x, weights, weights, -1, weights, weights), ops.layer_normalization(x, weights, weights)]
    found += [ops.celu(x, 0.3), ops.hard_shrink(x, 0.3), ops.squareplus(x, 2), ops.nan_to_num(x, nan=1.0)]
    return [*found, ops.digitize(x, np.array([0.2, 0.5], "float32")), ops.bitwise_and(ops.cast(x, "int32"), ops.cast(x * 2, "int32"))]


def more_operations_by_name(x):
    """Operations over numbers of which some are none, over pieces, and over places."""
    logs = ops.log(x)
    found = [getattr(ops, f"nan{name}")(logs, axis=1) for name in ("max", "min", "prod", "std", "var", "median", "cumsum", "cumprod")]
    found += [ops.nanargmax(logs, axis=1), ops.nanargmin(logs, axis=1)]
    found += [ops.nanpercentile(logs, 30.0, axis=1), ops.percentile(x, 30.0, axis=1)]
    found += [ops.dstack([x, x]), ops.hsplit(x, 3)[1], ops.dsplit(x, 2)[1], ops.fliplr(x), ops.select([x > 0, x < -1], [x, x * 2], 9.0)]
    found += [ops.isin(ops.cast(x, "int32"), np.array([0, 1], "int32")), ops.isin(x, np.zeros(1, "float32"), invert=True)]
    found += [ops.cdist(x, x * 2), ops.trapezoid(x, dx=0.5, axis=1), ops.extract_sequences(x, 2, 1), ops.view(x, "int32"), ops.pinv(x)]
    found += [ops.solve_triangular(x[:, :, :3] + 3 * np.eye(3, dtype="float32"), x, lower=True), ops.matrix_rank(x), ops.abs(x > 0)]
    images = ops.tile(x[..., None], (1, 2, 1, 4))
    found += [ops.depth_to_space(images, 2), ops.space_to_depth(images, 2), ops.saturate_cast(x * 100, "int8"), ops.moments(x, [1])[1]]
    found += [ops.image.rgb_to_hsv(ops.sigmoid(images[..., :3])), ops.image.hsv_to_rgb(images[..., :3])]
    return [*found, ops.image.pad_images(images, 1, 2, 3, 4), ops.image.crop_images(images, 1, 0, 2, 1)]


@pytest.mark.parametrize("recipe", [operations_of_the_graph, shapes_of_the_graph, operations_by_name, more_operations_by_name])
def test_operations_in_the_graph_are_read_and_written_back(recipe, tmp_path):
    x = keras.Input((3, 4))
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    theirs = keras.Model(x, recipe(x))
    theirs.save(tmp_path / "theirs.keras")
    ours, expected = tk.models.load_model(tmp_path / "theirs.keras"), predicted(theirs, values)
    same(predicted(ours, values), expected)
    ours.save(tmp_path / "ours.keras")
    same(predicted(keras.models.load_model(tmp_path / "ours.keras"), values), expected)
    assert len(ours.get_weights()) == 0


def windows_in_the_graph(x):
    """Convolutions over kernels that are no weights, and pooling, of sequences and of images."""
    kernel, images = np.arange(24.0, dtype="float32").reshape(2, 4, 3) / 24, ops.tile(x[..., None], (1, 2, 1, 4))
    square = np.arange(72.0, dtype="float32").reshape(3, 2, 4, 3) / 72
    found = [ops.conv(x, kernel), ops.conv(x, kernel, 2, "same"), ops.conv(images, square, (2, 1), "same", dilation_rate=1)]
    found += [ops.depthwise_conv(images, square, 1, "same"), ops.conv(images, square, 1, "valid", dilation_rate=(2, 1))]
    found += [ops.max_pool(x, 2, 1, "same"), ops.max_pool(images, (2, 1)), ops.average_pool(x, 2), ops.average_pool(images, 3, 1, "same")]
    return found


def test_windows_in_the_graph_are_read_and_written_back(tmp_path):
    test_operations_in_the_graph_are_read_and_written_back(windows_in_the_graph, tmp_path)


def test_functions_of_torch_are_written_as_operations_of_keras(tmp_path):
    x = tk.Input((3, 4))
    results = [
        torch.cat([x, x.relu()], -1).mean(1, keepdim=True),
        torch.nn.functional.gelu(x).sum(-1),
        x.clamp(-0.5, 0.5).transpose(1, 2),
        x.clamp(min=0.1).permute(0, 2, 1),
        torch.softmax(x, -1).reshape(-1, 12),
        x.flatten(1).view(x.size(0), 2, 6),
        torch.stack([x, x.tanh()], 1)[:, 0].unsqueeze(1).squeeze(1),
        torch.where(x > 0, x, 0.0).to(torch.float32),
        torch.maximum(x, x * 2).pow(2).amax(1),
        x.exp().log1p().sqrt().sigmoid() + torch.ones(4),
        torch.nn.functional.conv1d(x, torch.ones(2, 3, 2), padding="same"),
        torch.nn.functional.max_pool1d(x, 2, stride=1),
        torch.nn.functional.avg_pool1d(x, kernel_size=3),
    ]
    ours = tk.Model(x, results)
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    ours.save(tmp_path / "ours.keras")
    same(predicted(keras.models.load_model(tmp_path / "ours.keras"), values), predicted(ours, values))


# ---------------------------------------------------------------------- training goes on

OPTIMIZERS = {
    "sgd": (lambda o: o.SGD(0.05), 1e-5),
    "momentum": (lambda o: o.SGD(0.05, momentum=0.9, nesterov=True), 1e-5),
    "schedule": (lambda o: o.SGD(o.schedules.ExponentialDecay(0.1, 3, 0.5), momentum=0.9), 1e-5),
    "adam": (lambda o: o.Adam(0.01, clipnorm=1.0), 1e-5),
    "amsgrad": (lambda o: o.Adam(0.01, amsgrad=True), 1e-5),
    "adamw": (lambda o: o.AdamW(0.01), 1e-5),
    "averages": (lambda o: o.Adam(0.01, use_ema=True), 1e-5),
    "rmsprop": (lambda o: o.RMSprop(0.01, momentum=0.5, centered=True), 5e-4),  # Keras adds epsilon inside the root, torch outside
    "adagrad": (lambda o: o.Adagrad(0.05), 1e-5),
    "adadelta": (lambda o: o.Adadelta(1.0), 1e-5),
    "adamax": (lambda o: o.Adamax(0.01), 1e-5),
    "nadam": (lambda o: o.Nadam(0.01), 1e-5),
    "lion": (lambda o: o.Lion(0.001), 1e-5),
    "lamb": (lambda o: o.Lamb(0.01), 1e-5),
    "ftrl": (lambda o: o.Ftrl(0.05), 1e-5),
    "muon": (lambda o: o.Muon(0.01, exclude_layers=["dense_1"], use_ema=True), 1e-5),
    "scaled": (lambda o: o.LossScaleOptimizer(o.Adam(0.01, clipnorm=1.0), dynamic_growth_steps=5), 1e-5),
}
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(32, 4)).astype("float32"), RANDOM.normal(size=(32, 2)).astype("float32")


def network(lib):
    x = lib.Input((4,))
    hidden = lib.layers.BatchNormalization()(lib.layers.Dense(6, activation="tanh", kernel_regularizer="l2")(x))
    return lib.Model(x, lib.layers.Dense(2)(hidden))


def trained(model, callbacks=()):
    return model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks)).history


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_in_the_other_library(name, tmp_path):
    make, tolerance = OPTIMIZERS[name]
    theirs = network(keras)
    theirs.compile(make(keras.optimizers), keras.losses.MeanSquaredError(), metrics=[keras.metrics.MeanAbsoluteError(name="off")])
    trained(theirs)
    for ending in ENDINGS:
        theirs.save(tmp_path / f"theirs{ending}")
    expected = trained(theirs)
    for ending in ENDINGS:
        ours = tk.models.load_model(tmp_path / f"theirs{ending}")
        assert ours.optimizer.iterations == 8
        same(trained(ours), expected, tolerance)
        same(ours.get_weights(), theirs.get_weights(), tolerance)
    ours.save(tmp_path / "ours.keras")
    back = keras.models.load_model(tmp_path / "ours.keras")
    assert int(back.optimizer.iterations) == 16
    same(trained(back), trained(ours), tolerance)
    same(ours.get_weights(), back.get_weights(), tolerance)


GATHERING = {
    "sgd": lambda o: o.SGD(0.05, momentum=0.9, gradient_accumulation_steps=3),
    "schedule": lambda o: o.SGD(o.schedules.ExponentialDecay(0.1, 3, 0.5), gradient_accumulation_steps=3),
    "adam": lambda o: o.Adam(0.01, clipnorm=1.0, gradient_accumulation_steps=3),
    "averages": lambda o: o.Nadam(0.01, use_ema=True, ema_overwrite_frequency=2, gradient_accumulation_steps=3),
    "adagrad": lambda o: o.Adagrad(0.05, gradient_accumulation_steps=3),
}


@pytest.mark.parametrize("name", GATHERING)
def test_gradients_that_are_half_gathered_are_gathered_on_in_the_other_library(name, tmp_path):
    theirs = network(keras)
    theirs.compile(GATHERING[name](keras.optimizers), keras.losses.MeanSquaredError())
    trained(theirs)  # 8 batches: two steps, and two batches of the third
    for ending in ENDINGS:
        theirs.save(tmp_path / f"theirs{ending}")
    expected = trained(theirs)
    for ending in ENDINGS:
        ours = tk.models.load_model(tmp_path / f"theirs{ending}")
        assert ours.optimizer.iterations == 2
        same(trained(ours), expected, 1e-5)
        same(ours.get_weights(), theirs.get_weights(), 1e-5)
    ours.save(tmp_path / "ours.keras")
    back = keras.models.load_model(tmp_path / "ours.keras")
    assert int(back.optimizer.iterations) == 5
    same(trained(back), trained(ours), 1e-5)
    same(back.get_weights(), ours.get_weights(), 1e-5)


def test_an_optimizer_with_the_decay_of_keras_2_goes_on_in_keras(tmp_path):
    ours = network(tk)
    ours.compile(tk.optimizers.SGD(0.05, momentum=0.9, decay=0.1), "mse")
    trained(ours)
    ours.save(tmp_path / "ours.keras")
    back = keras.models.load_model(tmp_path / "ours.keras")
    same(trained(back)["loss"], trained(ours)["loss"], 1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "decaying"])
def test_gradients_that_compile_was_asked_to_gather_are_gathered_on_by_keras(optimizer, tmp_path):
    ours = network(tk)
    chosen = tk.optimizers.SGD(0.05, decay=0.1) if optimizer == "decaying" else optimizer
    ours.compile(chosen, "mse", gradient_accumulation_steps=3, steps_per_execution=2, precision="float32", auto_scale_loss=False)
    trained(ours)
    ours.save(tmp_path / "ours.keras")
    back = keras.models.load_model(tmp_path / "ours.keras")
    assert back.optimizer.gradient_accumulation_steps == 3
    same(trained(back)["loss"], trained(ours)["loss"], 1e-5)
    same(back.get_weights(), ours.get_weights(), 1e-5)


@pytest.mark.parametrize("asked", [{"run_eagerly": True, "jit_compile": False}, {"jit_compile": True}, {"jit_compile": "auto"}], ids=str)
def test_whether_keras_was_asked_to_compile_the_steps_is_read_and_written_back(asked, tmp_path):
    theirs = network(keras)
    theirs.compile("sgd", "mse", **asked)
    theirs.save(tmp_path / "theirs.keras")
    tk.models.load_model(tmp_path / "theirs.keras").save(tmp_path / "ours.keras")
    assert keras.models.load_model(tmp_path / "ours.keras").jit_compile == theirs.jit_compile


def test_how_many_steps_keras_was_asked_to_run_at_once_is_read(tmp_path):
    theirs = network(keras)
    theirs.compile("sgd", "mse", steps_per_execution=3)
    theirs.save(tmp_path / "theirs.keras")
    ours = tk.models.load_model(tmp_path / "theirs.keras")
    told = []
    trained(ours, [tk.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: told.append(batch))])
    assert told == [2, 3, 2, 3]


def test_settings_that_keras_cannot_do_on_torch_do_not_keep_it_from_running_the_model(tmp_path):
    ours = network(tk)
    ours.compile("sgd", "mse", steps_per_execution=3, precision="mixed_bfloat16", auto_scale_loss=False)
    ours.save(tmp_path / "ours.keras")
    assert trained(keras.models.load_model(tmp_path / "ours.keras"))["loss"][-1] > 0


def test_what_keras_keeps_otherwise_begins_anew_with_a_warning(tmp_path):
    theirs = network(keras)
    theirs.compile(keras.optimizers.Adafactor(0.01), "mse")
    trained(theirs)
    theirs.save(tmp_path / "theirs.keras")
    with pytest.warns(UserWarning, match="begins anew"):
        ours = tk.models.load_model(tmp_path / "theirs.keras")
    assert ours.optimizer.iterations == 0


def several(lib):
    x = lib.Input((4,))
    return lib.Model(x, [lib.layers.Dense(2, name="a")(x), lib.layers.Dense(1, activation="sigmoid", name="b")(x)])


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": ["mse", "binary_crossentropy"], "loss_weights": [1.0, 0.5], "metrics": [["mae"], ["accuracy"]]},
        {"loss": {"a": "mae", "b": "mse"}, "metrics": {"a": "mse", "b": ["mae"]}, "loss_weights": {"a": 0.3, "b": 1.0}},
    ],
)
def test_losses_and_metrics_of_several_outputs_are_kept(settings, tmp_path):
    theirs, ours = several(keras), several(tk)
    ours.set_weights(theirs.get_weights())
    targets = [Y, (Y[:, :1] > 0).astype("float32")]
    for model in (theirs, ours):
        model.compile("sgd", **settings)
        model.save(tmp_path / f"{model is ours}.keras")
    expected = ours.evaluate(X, targets, verbose=0, return_dict=True)
    same(tk.models.load_model(tmp_path / "False.keras").evaluate(X, targets, verbose=0, return_dict=True)["loss"], expected["loss"])
    same(tk.models.load_model(tmp_path / "True.keras").evaluate(X, targets, verbose=0, return_dict=True), expected)
    back = keras.models.load_model(tmp_path / "True.keras")
    same(back.evaluate(X, targets, verbose=0, return_dict=True)["loss"], expected["loss"])


def test_names_of_losses_and_metrics_can_be_read_by_keras_from_h5(tmp_path):
    ours = network(tk)
    ours.compile("adam", "mse", metrics=["mae", "cosine_similarity"])
    trained(ours)
    ours.save(tmp_path / "m.h5")
    back = keras.models.load_model(tmp_path / "m.h5")
    same(back.evaluate(X, Y, verbose=0)[0], ours.evaluate(X, Y, verbose=0)[0])


BOTH = [
    *("BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalHinge", "CosineSimilarity", "Hinge", "KLDivergence"),
    *("MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson", "SquaredHinge"),
]


@pytest.mark.parametrize("ending", ENDINGS)
def test_metrics_that_are_called_like_losses_stay_metrics(ending, tmp_path):
    weights = np.linspace(0, 2, len(X)).astype("float32")
    theirs, ours = network(keras), network(tk)
    ours.set_weights(theirs.get_weights())
    figures = []
    for model, lib in ((theirs, keras), (ours, tk)):
        model.compile("sgd", "mse", weighted_metrics=[getattr(lib.metrics, name)(name=f"q{name}") for name in BOTH])
        model.save(tmp_path / f"{lib is tk}{ending}")
        figures.append(model.evaluate(X, abs(Y).clip(0, 1), sample_weight=weights, verbose=0, return_dict=True))
    for model in (tk.models.load_model(tmp_path / f"False{ending}"), keras.models.load_model(tmp_path / f"True{ending}")):
        figures.append(model.evaluate(X, abs(Y).clip(0, 1), sample_weight=weights, verbose=0, return_dict=True))
    for found in figures[1:]:
        assert set(found) == set(figures[0])
        same([found[name] for name in figures[0]], list(figures[0].values()), 1e-4)


def test_a_loss_among_the_metrics_is_one_in_keras_too(tmp_path):
    theirs, ours = network(keras), network(tk)
    ours.set_weights(theirs.get_weights())
    for model, lib in ((theirs, keras), (ours, tk)):
        model.compile("sgd", "mae", metrics=[lib.losses.MeanSquaredError(name="off")])
        model.save(tmp_path / f"{lib is tk}.keras")
    expected = theirs.evaluate(X, Y, batch_size=32, verbose=0, return_dict=True)
    for model in (tk.models.load_model(tmp_path / "False.keras"), keras.models.load_model(tmp_path / "True.keras")):
        found = model.evaluate(X, Y, batch_size=32, verbose=0, return_dict=True)
        assert found.keys() == expected.keys()
        same([found[name] for name in expected], list(expected.values()))


def test_names_of_metrics_in_h5_are_those_of_the_logs_in_keras(tmp_path):
    ours = network(tk)
    ours.compile("sgd", "mse", metrics=["mae"])
    ours.save(tmp_path / "m.h5")
    assert set(keras.models.load_model(tmp_path / "m.h5").evaluate(X, Y, verbose=0, return_dict=True)) == {"loss", "mae"}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "settings",
    [
        *({"metrics": [name]} for name in ("huber", "log_cosh", "logcosh", "kld", "cosine_proximity", "Huber")),
        *({"loss": name} for name in ("logcosh", "huber_loss", "kullback_leibler_divergence")),
        {"metrics": [tk.metrics.MeanMetricWrapper(tk.losses.huber, name="near", delta=0.5)]},
        {"metrics": "mae"},
        {"metrics": [tk.losses.Huber(delta=0.5), tk.losses.MeanSquaredError(reduction="sum", name="off"), tk.losses.LogCosh()]},
    ],
    ids=str,
)
def test_names_that_keras_does_not_know_are_written_as_what_they_stand_for(settings, ending, tmp_path):
    ours = network(tk)
    ours.compile("sgd", **{"loss": "mse", **settings})
    ours.save(tmp_path / f"m{ending}")
    expected = ours.evaluate(X, abs(Y), batch_size=5, verbose=0, return_dict=True)
    for lib in (tk, keras):
        found = lib.models.load_model(tmp_path / f"m{ending}").evaluate(X, abs(Y), batch_size=5, verbose=0, return_dict=True)
        assert set(found) == set(expected)
        same([found[name] for name in expected], list(expected.values()), 1e-4)


def classifier():
    x = tk.Input((4,))
    heads = [tk.layers.Dense(1, activation="sigmoid", name="a")(x), tk.layers.Dense(3, activation="softmax", name="b")(x)]
    return tk.Model(x, heads)


BINARY, CLASSES = (Y[:, :1] > 0).astype("float32"), np.arange(len(Y)).reshape(-1, 1) % 3
CROSSENTROPIES = ["binary_crossentropy", "sparse_categorical_crossentropy"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("is_trained", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {"loss": CROSSENTROPIES, "metrics": ["acc"]},
        {"loss": CROSSENTROPIES, "metrics": ["crossentropy"], "weighted_metrics": ["accuracy"]},
        {"loss": CROSSENTROPIES, "metrics": {"b": ["ce"]}, "loss_weights": {"a": 0.5}},
        {"loss": CROSSENTROPIES, "metrics": {"b": tk.losses.SparseCategoricalCrossentropy(name="own")}},
        {"loss": {"b": "sparse_categorical_crossentropy"}, "metrics": ["ce"]},
    ],
    ids=str,
)
def test_what_keras_does_not_take_for_several_outputs_is_written_for_each(settings, is_trained, ending, tmp_path):
    ours = classifier()
    ours.compile("sgd", **settings)
    if is_trained:
        ours.fit(X, [BINARY, CLASSES], verbose=0)
    ours.save(tmp_path / f"m{ending}")
    expected = ours.evaluate(X, [BINARY, CLASSES], verbose=0, return_dict=True)
    back = tk.models.load_model(tmp_path / f"m{ending}")
    assert back.evaluate(X, [BINARY, CLASSES], verbose=0, return_dict=True) == expected
    assert (back.loss, back.loss_weights) == (ours.loss, ours.loss_weights)
    found = keras.models.load_model(tmp_path / f"m{ending}").evaluate(X, [BINARY, CLASSES], verbose=0, return_dict=True)
    assert expected.keys() - found.keys() <= {"b_loss"}  # which Keras leaves out where it is the only one
    same([found[name] for name in found], [expected[name] for name in found], 1e-4)


@pytest.mark.parametrize("ending", ENDINGS)
def test_weighted_metrics_with_names_of_losses_alone_come_back_averaged_as_losses(ending, tmp_path):
    weights = np.linspace(0, 2, len(X)).astype("float32")
    ours = network(tk)
    ours.compile("sgd", "huber", weighted_metrics=["huber"])
    ours.save(tmp_path / f"m{ending}")
    models = ours, tk.models.load_model(tmp_path / f"m{ending}")
    expected, found = (model.evaluate(X, Y, sample_weight=weights, verbose=0, return_dict=True)["huber"] for model in models)
    assert found == pytest.approx(expected, rel=1e-5)


def squared(y_true, y_pred):
    return ((y_true - y_pred) ** 2).mean(-1)


def furthest(y_true, y_pred):
    return abs(y_true - y_pred).max(-1)[0]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "settings",
    [
        {"loss": squared},
        {"loss": "mse", "metrics": [furthest]},
        {"loss": "mse", "weighted_metrics": [furthest]},
        {"loss": "mse", "metrics": [tk.metrics.MeanMetricWrapper(furthest)]},
        {"loss": "mse", "metrics": [tk.metrics.MeanMetricWrapper(furthest, name="far")]},
    ],
    ids=["loss", "metric", "weighted", "wrapped", "renamed"],
)
def test_functions_of_ones_own_are_losses_and_metrics_in_keras_too(settings, ending, tmp_path):
    given = {"squared": squared, "furthest": furthest}
    ours = network(tk)
    ours.compile("sgd", **settings)
    ours.save(tmp_path / f"m{ending}")
    expected = ours.evaluate(X, Y, batch_size=5, verbose=0, return_dict=True)
    for lib in (tk, keras):
        back = lib.models.load_model(tmp_path / f"m{ending}", custom_objects=given)
        found = back.evaluate(X, Y, batch_size=5, verbose=0, return_dict=True)
        assert set(found) == set(expected)
        same([found[name] for name in expected], list(expected.values()), 1e-4)


# ---------------------------------------------------------------------- the user's own


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", ["LeakyReLU", "ReLU", "Softmax", "ELU"])
def test_a_layer_may_be_the_activation_of_another(name, ending, tmp_path):
    x = tk.Input((4,))
    ours = tk.Model(x, tk.layers.Dense(3, activation=getattr(tk.layers, name)())(x))
    ours.save(tmp_path / f"m{ending}")
    data = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    for lib in (tk, keras):
        same(lib.models.load_model(tmp_path / f"m{ending}").predict(data, verbose=0), ours.predict(data, verbose=0))


def own_layer(lib):
    """A layer of the user's own, for one library."""

    class Scaled(lib.layers.Layer):
        def __init__(self, factor=2.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor
            self.inner = lib.layers.Dense(3)

        def build(self, input_shape):
            self.shift = self.add_weight(shape=(3,), initializer="ones", name="shift")
            self.inner.build(input_shape) if lib is keras else None

        def call(self, inputs):
            return self.inner(inputs) * self.factor + self.shift

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    return Scaled


def test_layers_of_ones_own_are_read_with_custom_objects(tmp_path):
    x = keras.Input((4,))
    theirs = keras.Model(x, own_layer(keras)(3.0)(x))
    for weight in theirs.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    for ending in ENDINGS:
        theirs.save(tmp_path / f"theirs{ending}")
        ours = tk.models.load_model(tmp_path / f"theirs{ending}", custom_objects={"Scaled": own_layer(tk)})
        same(predicted(ours, X), predicted(theirs, X))
        ours.save(tmp_path / f"ours{ending}")
        back = keras.models.load_model(tmp_path / f"ours{ending}", custom_objects={"Scaled": own_layer(keras)})
        same(predicted(back, X), predicted(theirs, X))
        with pytest.raises(ValueError, match="Scaled"):
            tk.models.load_model(tmp_path / f"theirs{ending}")


def test_what_optimizers_inside_keep_is_passed_over(tmp_path):
    """Those of a model inside that was compiled for itself, as the discriminator of a GAN is, and those in attributes."""
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    inner.compile("adam", "mse")
    inner.optimizer.build(inner.trainable_variables)
    x = keras.Input((4,))
    theirs = keras.Model(x, inner(x))
    theirs.second_optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 3), momentum=0.9)
    theirs.second_optimizer.build(theirs.trainable_variables)
    theirs.save(tmp_path / "theirs.keras")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    ours = tk.models.load_model(tmp_path / "theirs.keras")
    same(predicted(ours, X), predicted(theirs, X))
    zeroed(ours).load_weights(tmp_path / "theirs.weights.h5")
    same(predicted(ours, X), predicted(theirs, X))


def spread_out(k):
    """A model with a `call` of its own, and layers in attributes before and after `layers` in the alphabet, in lists, and in both."""

    class SpreadOut(k.Model):
        def __init__(self, **options):
            super().__init__(**options)
            self.out = k.layers.Dense(3)
            self.wide = [k.layers.Dense(3), [k.layers.Dense(3, use_bias=False)]]
            self.by_name = {"a": k.layers.Dense(3)}
            self.first = k.layers.Dense(3)
            self.net = k.Sequential([k.layers.Input((3,)), k.layers.Dense(3)])
            self.same = self.out

        def call(self, x):
            for layer in (self.first, self.by_name["a"], self.wide[0], self.wide[1][0], self.net, self.out):
                x = layer(x)
            return x

        def get_config(self):
            return {}

    return SpreadOut


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
@pytest.mark.parametrize(("writes", "reads"), [(tk, keras), (keras, tk), (tk, tk)])
def test_attributes_anywhere_in_the_alphabet_and_lists_in_lists(writes, reads, ending, tmp_path):
    model, path = spread_out(writes)(), tmp_path / f"m{ending}"
    model.compile(writes.optimizers.SGD(0.1, momentum=0.9), "mse")
    for _ in range(2):
        model.train_on_batch(X[:, :3], X[:, :3])
    if ending == ".keras":
        model.save(path)
        again = reads.models.load_model(path, custom_objects={"SpreadOut": spread_out(reads)})
        again.train_on_batch(X[:, :3], X[:, :3])
        model.train_on_batch(X[:, :3], X[:, :3])
    else:
        model.save_weights(path)
        again = spread_out(reads)()
        again.predict(X[:, :3], verbose=0)
        again.load_weights(path)
    same(predicted(again, X[:, :3]), predicted(model, X[:, :3]))


class Gained:
    """What a layer of a class of one's own over a built-in one has beside it."""

    def __init__(self, units, gain=2.0, **options):
        super().__init__(units, **options)
        self.gain = gain

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}


class Added:
    def call(self, x):
        return self.layer(x) + 1.0


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("writes", "reads"), [(tk, keras), (keras, tk)])
def test_classes_of_ones_own_over_built_in_ones(writes, reads, ending, tmp_path):
    own = {writes: {}, reads: {}}
    for k, classes in own.items():
        classes |= {"Own": type("Own", (Gained, k.layers.Dense), {}), "Wrap": type("Wrap", (Added, k.layers.Wrapper), {})}
    x = writes.layers.Input((4,))
    model = writes.Model(x, own[writes]["Wrap"](writes.layers.Dense(2))(own[writes]["Own"](3, gain=3.0)(x)))
    model.save(tmp_path / f"m{ending}")
    again = reads.models.load_model(tmp_path / f"m{ending}", custom_objects=own[reads])
    assert again.layers[1].gain == 3.0
    same(predicted(again, X), predicted(model, X))


@pytest.mark.parametrize(("writes", "reads"), [(tk, keras), (keras, tk)])
@pytest.mark.parametrize("base", ["Model", "Sequential"])
def test_a_drawn_model_of_a_class_of_ones_own_keeps_its_class(base, writes, reads, tmp_path):
    x = writes.layers.Input((4,))
    dense = writes.layers.Dense(2)
    own = {k: type("Own", (getattr(k, base),), {}) for k in (writes, reads)}
    model = own[writes](x, dense(x)) if base == "Model" else own[writes]([x, dense])
    model.save(tmp_path / "m.keras")
    again = reads.models.load_model(tmp_path / "m.keras", custom_objects={"Own": own[reads]})
    assert type(again) is own[reads]
    same(predicted(again, X), predicted(model, X))


def test_functions_of_ones_own_are_read_with_custom_objects(tmp_path):
    x = keras.Input((4,))
    theirs = keras.Model(x, keras.layers.Lambda(square)(keras.layers.Dense(2, activation=square)(x)))
    theirs.compile("sgd", loss=absolute_error)
    theirs.save(tmp_path / "theirs.keras")
    given = {"square": square, "absolute_error": absolute_error}
    ours = tk.models.load_model(tmp_path / "theirs.keras", custom_objects=given)
    same(predicted(ours, X), predicted(theirs, X))
    same(ours.evaluate(X, Y, verbose=0), theirs.evaluate(X, Y, verbose=0))
    with pytest.raises(ValueError, match="'square' must come from you|square"):
        tk.models.load_model(tmp_path / "theirs.keras")


def absolute_error(targets, outputs):
    return (targets - outputs).abs().mean(-1)


def test_a_lambda_is_never_run_but_the_function_given_for_it_is(tmp_path):
    x = keras.Input((4,))
    theirs = keras.Model(x, keras.layers.Lambda(lambda x: x * x, name="squared")(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras says what it thinks of lambdas
        theirs.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="'squared' must come from you"):
        tk.models.load_model(tmp_path / "m.keras")
    ours = tk.models.load_model(tmp_path / "m.keras", custom_objects={"squared": square})
    same(predicted(ours, X), predicted(theirs, X))


def test_registered_layers_are_known_by_their_registered_name(tmp_path):
    theirs_class = type("Doubled", (keras.layers.Layer,), {"call": lambda self, x: 2 * x})
    keras.saving.register_keras_serializable("doubling")(theirs_class)
    x = keras.Input((4,))
    theirs = keras.Model(x, theirs_class()(x))
    theirs.save(tmp_path / "m.keras")
    ours_class = type("Doubled", (tk.layers.Layer,), {"call": lambda self, inputs: 2 * inputs})
    ours = tk.models.load_model(tmp_path / "m.keras", custom_objects={"doubling>Doubled": ours_class})
    same(predicted(ours, X), predicted(theirs, X))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_dtype_policies_are_read(policy, tmp_path):
    x = keras.Input((4,), dtype="float32")
    theirs = keras.Model(x, keras.layers.Dense(2, dtype=policy)(x))
    theirs.save(tmp_path / "m.keras")
    ours = tk.models.load_model(tmp_path / "m.keras")
    same([weight.shape for weight in ours.get_weights()], [weight.shape for weight in theirs.get_weights()])
    assert ours.get_weights()[0].dtype == ("float64" if policy == "float64" else "float32")


def test_the_configuration_is_what_keras_writes_itself(tmp_path):
    ours, theirs = network(tk), network(keras)
    ours.save(tmp_path / "ours.keras")
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    written = [json.dumps(layer.get_config()["units"]) for layer in loaded.layers if hasattr(layer, "units")]
    assert written == [json.dumps(layer.get_config()["units"]) for layer in theirs.layers if hasattr(layer, "units")]


@pytest.mark.parametrize("ending", ENDINGS)
def test_weights_of_an_activation_that_is_a_layer_go_to_keras_and_back(ending, tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    x = tk.Input((3,))
    ours = tk.Model(x, tk.layers.Dense(2, activation=tk.layers.PReLU(alpha_initializer="ones"))(x))
    ours.layers[-1].set_weights([np.full(weight.shape, 0.5) for weight in ours.layers[-1].get_weights()])
    ours.save(tmp_path / f"ours{ending}")
    theirs = keras.models.load_model(tmp_path / f"ours{ending}")
    same(theirs.get_weights(), ours.get_weights())
    theirs.save(tmp_path / f"theirs{ending}")
    same(predicted(tk.models.load_model(tmp_path / f"theirs{ending}"), -values), predicted(ours, -values))


def own_model(k):
    class Own(k.Model):
        def __init__(self, units=4, **options):
            super().__init__(**options)
            self.units = units
            self.hidden, self.last = k.layers.Dense(units, activation="relu"), k.layers.Dense(2)

        def call(self, x):
            return self.last(self.hidden(x))

        def get_config(self):
            return {"units": self.units}

    return Own


@pytest.mark.parametrize(("writes", "reads"), [(tk, keras), (keras, tk), (tk, tk)])
def test_a_model_with_a_call_of_its_own_is_built_as_it_was_saved(writes, reads, tmp_path):
    x, model = np.ones((2, 3), "float32"), own_model(writes)(5)
    model(x)
    model.save(tmp_path / "own.keras")
    loaded = reads.models.load_model(tmp_path / "own.keras", custom_objects={"Own": own_model(reads)})
    same(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def classes_of_ones_own(k):
    class Drawn(k.Model):
        def __init__(self, **options):
            a = k.layers.Input((3,))
            last = k.layers.Dense(3, name="last")
            super().__init__(a, last(k.layers.Dense(4, name="hidden")(a)))
            self.final = last

        def get_config(self):
            return {}

        @classmethod
        def from_config(cls, config, custom_objects=None):
            return cls()

    class Stacked(Drawn, k.Sequential):
        def __init__(self, **options):
            k.Sequential.__init__(self, [k.layers.Input((3,)), k.layers.Dense(4), k.layers.Dense(3)])

    class Called(own_model(k)):
        def call(self, x):
            return self.hidden(x)

    return {"Drawn": Drawn, "Stacked": Stacked, "Called": Called}


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize(("writes", "reads"), [(tk, keras), (keras, tk), (tk, tk)])
@pytest.mark.parametrize("name", ["Drawn", "Stacked", "Called"])
def test_a_model_of_a_class_of_ones_own_may_be_the_last_of_another(name, writes, reads, ending, tmp_path):
    inner = classes_of_ones_own(writes)[name](**({"units": 3} if name == "Called" else {}))
    x = writes.layers.Input((3,))
    once = inner(x)
    model = writes.Model(x, [inner(once), once])
    model.save(tmp_path / f"m{ending}")
    loaded = reads.models.load_model(tmp_path / f"m{ending}", custom_objects=classes_of_ones_own(reads))
    values = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)
    for ours, theirs in zip(loaded.predict(values, verbose=0), model.predict(values, verbose=0), strict=True):
        same(ours, theirs)


def test_json_of_keras_is_read():
    x = keras.Input((4, 3))
    theirs = keras.Model(x, keras.layers.Dense(2, activation="hard_sigmoid")(keras.layers.LSTM(3)(x)))
    ours = tk.models.model_from_json(theirs.to_json())
    ours.set_weights(theirs.get_weights())
    values = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    np.testing.assert_allclose(ours.predict(values, verbose=0), theirs.predict(values, verbose=0), rtol=1e-5)
