"""`.h5` files in the layout of Keras 2.2, written here by hand: TensorFlow, which it ran on, is no part of these tests."""

import json
import zipfile

import h5py
import numpy as np
import pytest
import torch

from torchkeras_fn import activations, layers, models
from torchkeras_fn.saving.keras_files.container import write_container

RANDOM = np.random.default_rng(0)
GLOROT = {"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}}
ZEROS = {"class_name": "Zeros", "config": {}}


def array(*shape):
    return RANDOM.normal(size=shape).astype("float32")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def keras_2_file(path, config, weights, training=None, state=None):
    """Write a file; `weights` holds for each layer pairs of a name and an array."""
    with h5py.File(path, "w") as root:
        root.attrs["keras_version"], root.attrs["backend"] = b"2.2.4", b"tensorflow"
        root.attrs["model_config"] = json.dumps(config).encode()
        group = root.create_group("model_weights")
        group.attrs["keras_version"], group.attrs["backend"] = b"2.2.4", b"tensorflow"
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, pairs in weights.items():
            inside = group.create_group(layer)
            inside.attrs["weight_names"] = [f"{name}:0".encode() for name, _ in pairs]
            for name, value in pairs:
                inside.create_dataset(f"{name}:0", data=value)
        if training is not None:
            root.attrs["training_config"] = json.dumps(training).encode()
            inside = root.create_group("optimizer_weights")
            inside.attrs["weight_names"] = [name.encode() for name, _ in state]
            for name, value in state:
                inside.create_dataset(name, data=value)
    return path


def dense(name, units, activation="linear", **more):
    config = {"name": name, "trainable": True, "units": units, "activation": activation, "use_bias": True}
    config |= {"kernel_initializer": GLOROT, "bias_initializer": ZEROS, "kernel_regularizer": None, "bias_regularizer": None}
    config |= {"activity_regularizer": None, "kernel_constraint": None, "bias_constraint": None, **more}
    return {"class_name": "Dense", "config": config}


def entry(name, *shape):
    config = {"batch_input_shape": [None, *shape], "dtype": "float32", "sparse": False, "name": name}
    return {"class_name": "InputLayer", "config": config, "name": name, "inbound_nodes": []}


def called(layer, *calls):
    return {**layer, "name": layer["config"]["name"], "inbound_nodes": [[[*place, {}] for place in call] for call in calls]}


def functional(listed, inputs, outputs, name="model_1"):
    return {"class_name": "Model", "config": {"name": name, "layers": listed, "input_layers": inputs, "output_layers": outputs}}


def test_a_model_with_a_shared_layer_and_a_merge(tmp_path):
    joined = {"class_name": "Concatenate", "config": {"name": "joined", "trainable": True, "axis": -1}}
    listed = [
        entry("x", 4),
        entry("y", 4),
        called(dense("tower", 3, "relu"), [["x", 0, 0]], [["y", 0, 0]]),
        called(joined, [["tower", 0, 0], ["tower", 1, 0]]),
        called(dense("head", 2), [["joined", 0, 0]]),
    ]
    config = functional(listed, [["x", 0, 0], ["y", 0, 0]], [["head", 0, 0]])
    a, b, c, d = array(4, 3), array(3), array(6, 2), array(2)
    weights = {"x": [], "y": [], "tower": [("tower/kernel", a), ("tower/bias", b)], "joined": []}
    weights["head"] = [("head/kernel", c), ("head/bias", d)]
    model = models.load_model(keras_2_file(tmp_path / "m.h5", config, weights))
    x, y = array(5, 4), array(5, 4)
    expected = np.concatenate([np.maximum(x @ a + b, 0), np.maximum(y @ a + b, 0)], 1) @ c + d
    np.testing.assert_allclose(model.predict([x, y], verbose=0), expected, atol=1e-5)
    assert [layer.name for layer in model.layers] == ["x", "y", "tower", "joined", "head"]


@pytest.mark.parametrize("as_list", [True, False])
def test_a_stack_with_its_optimizer(as_list, tmp_path):
    stack = [dense("a", 3, "tanh", batch_input_shape=[None, 4], dtype="float32"), dense("b", 2)]
    config = {"class_name": "Sequential", "config": stack if as_list else {"name": "stack", "layers": stack}}
    values = [array(4, 3), array(3), array(3, 2), array(2)]
    means, squares = [array(*value.shape) for value in values], [array(*value.shape) ** 2 for value in values]
    named = [("a/kernel", values[0]), ("a/bias", values[1]), ("b/kernel", values[2]), ("b/bias", values[3])]
    state = [("Adam/iterations:0", np.int64(5)), *((f"training/Adam/m_{i}:0", mean) for i, mean in enumerate(means))]
    state += [(f"training/Adam/v_{i}:0", square) for i, square in enumerate(squares)]
    adam = {"lr": 0.01, "beta_1": 0.9, "beta_2": 0.999, "decay": 0.0, "epsilon": 1e-7, "amsgrad": False}
    training = {"optimizer_config": {"class_name": "Adam", "config": adam}, "loss": "mean_squared_error", "metrics": ["mae"]}
    training |= {"sample_weight_mode": None, "loss_weights": None}
    path = keras_2_file(tmp_path / "m.h5", config, {"a": named[:2], "b": named[2:]}, training, state)
    model = models.load_model(path)
    x = array(5, 4)
    np.testing.assert_allclose(model.predict(x, verbose=0), np.tanh(x @ values[0] + values[1]) @ values[2] + values[3], atol=1e-5)
    assert (model.optimizer.iterations, model.optimizer.lr) == (5, 0.01)
    kept = model.optimizer.torch_optimizer.state[model.layers[0].weights[0]]
    np.testing.assert_array_equal(kept["exp_avg"].T, means[0])
    np.testing.assert_array_equal(kept["exp_avg_sq"].T, squares[0])
    assert model.evaluate(x, array(5, 2), verbose=0)[1] > 0


def test_nested_models_whose_calls_count_from_one(tmp_path):
    inner = functional([entry("in", 4), called(dense("d", 4), [["in", 0, 0]])], [["in", 0, 0]], [["d", 0, 0]], "inner")
    inner["config"]["trainable"] = True
    listed = [entry("x", 4), called(inner, [["x", 0, 0]], [["inner", 1, 0]])]
    config = functional(listed, [["x", 0, 0]], [["inner", 2, 0]])
    a, b = array(4, 4), array(4)
    path = keras_2_file(tmp_path / "m.h5", config, {"x": [], "inner": [("d/kernel", a), ("d/bias", b)]})
    x = array(5, 4)
    np.testing.assert_allclose(models.load_model(path).predict(x, verbose=0), (x @ a + b) @ a + b, atol=1e-4)


def hard_sigmoid(x):
    return np.clip(0.2 * x + 0.5, 0, 1)


def lstm(x, kernel, recurrent, bias, inner=sigmoid):
    units = recurrent.shape[0]
    h, c = np.zeros((len(x), units)), np.zeros((len(x), units))
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ kernel + h @ recurrent + bias, 4, 1)
        c = inner(f) * c + inner(i) * np.tanh(g)
        h = inner(o) * np.tanh(c)
    return h


def test_an_lstm_with_the_gates_of_keras_2(tmp_path):
    config = {"name": "lstm", "trainable": True, "batch_input_shape": [None, None, 3], "dtype": "float32", "return_sequences": False}
    config |= {"return_state": False, "go_backwards": False, "stateful": False, "unroll": False, "units": 2, "activation": "tanh"}
    config |= {"recurrent_activation": "hard_sigmoid", "use_bias": True, "unit_forget_bias": True, "kernel_initializer": GLOROT}
    config |= {"recurrent_initializer": {"class_name": "Orthogonal", "config": {"gain": 1.0, "seed": None}}, "bias_initializer": ZEROS}
    config |= {"dropout": 0.0, "recurrent_dropout": 0.0, "implementation": 1}
    values = [array(3, 8), array(2, 8), array(8)]
    pairs = list(zip(("lstm/kernel", "lstm/recurrent_kernel", "lstm/bias"), values, strict=True))
    stack = {"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": "LSTM", "config": config}]}}
    model = models.load_model(keras_2_file(tmp_path / "m.h5", stack, {"lstm": pairs}))
    x = array(4, 5, 3)
    expected = lstm(x, *values, inner=hard_sigmoid)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    model.save(tmp_path / "m.model")
    again = models.load_model(tmp_path / "m.model")
    np.testing.assert_allclose(again.predict(x, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("activation", ["hard_sigmoid", {"class_name": "function", "config": "hard_sigmoid"}], ids=["name", "function"])
def test_the_hard_sigmoid_of_keras_2_is_steeper_than_that_of_keras_3(activation, tmp_path):
    config = {"name": "a", "trainable": True, "batch_input_shape": [None, 4], "dtype": "float32", "activation": activation}
    x = np.array([[-3.0, 0.0, 1.0, 4.0]], "float32")
    model = loaded(tmp_path, stack_of("s", {"class_name": "Activation", "config": config}), [])
    np.testing.assert_allclose(model.predict(x, verbose=0), hard_sigmoid(x), rtol=1e-6)


def test_a_keras_file_says_of_which_version_it_is(tmp_path):
    x, path = np.array([[1.0]], "float32"), tmp_path / "m.keras"
    model = models.Sequential([layers.Activation("hard_sigmoid", input_shape=(1,))])
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    write_container(path, {**members, "metadata.json": b'{"keras_version": "2.15.0"}'})
    np.testing.assert_allclose(model.predict(x, verbose=0), [[4 / 6]], rtol=1e-6)
    np.testing.assert_allclose(models.load_model(path).predict(x, verbose=0), [[0.7]], rtol=1e-6)


def test_the_hard_sigmoid_of_keras_2_goes_to_keras_files_and_back(tmp_path):
    model = models.Sequential([layers.Dense(1, "keras_2_hard_sigmoid", input_shape=(1,))])
    model.save(tmp_path / "m.keras")
    assert models.load_model(tmp_path / "m.keras").layers[0].activation is activations.keras_2_hard_sigmoid


def test_an_lstm_on_cudnn(tmp_path):
    config = {"name": "lstm", "trainable": True, "batch_input_shape": [None, None, 3], "dtype": "float32", "units": 2}
    config |= {"return_sequences": False, "return_state": False, "go_backwards": False, "stateful": False, "unit_forget_bias": True}
    kernel, recurrent, bias = array(3, 8), array(2, 8), array(16)
    pairs = [("lstm/kernel", kernel), ("lstm/recurrent_kernel", recurrent), ("lstm/bias", bias)]
    stack = {"class_name": "Sequential", "config": {"name": "s", "layers": [{"class_name": "CuDNNLSTM", "config": config}]}}
    model = models.load_model(keras_2_file(tmp_path / "m.h5", stack, {"lstm": pairs}))
    inputs = np.hstack([gate.reshape(2, 3).T for gate in np.hsplit(kernel, 4)])
    states = np.hstack([gate.T for gate in np.hsplit(recurrent, 4)])
    x = array(4, 5, 3)
    np.testing.assert_allclose(model.predict(x, verbose=0), lstm(x, inputs, states, bias[:8] + bias[8:]), atol=1e-5)


def test_an_image_model_with_names_of_keras_2(tmp_path):
    conv = {"name": "conv", "trainable": True, "batch_input_shape": [None, 4, 4, 1], "dtype": "float32", "filters": 2}
    conv |= {"kernel_size": [1, 1], "strides": [1, 1], "padding": "valid", "data_format": "channels_last"}
    conv |= {"dilation_rate": [1, 1], "activation": "linear"}
    conv |= {"use_bias": True, "kernel_initializer": GLOROT, "bias_initializer": ZEROS, "kernel_regularizer": None}
    norm = {"name": "norm", "trainable": True, "axis": -1, "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}
    norm |= {"beta_initializer": ZEROS, "gamma_initializer": {"class_name": "Ones", "config": {}}, "moving_mean_initializer": ZEROS}
    listed = [
        {"class_name": "Conv2D", "config": conv},
        {"class_name": "BatchNormalization", "config": norm},
        {"class_name": "LeakyReLU", "config": {"name": "leaky", "trainable": True, "alpha": 0.2}},
        {"class_name": "ThresholdedReLU", "config": {"name": "thresholded", "trainable": True, "theta": 0.1}},
        {"class_name": "Flatten", "config": {"name": "flat", "trainable": True, "data_format": "channels_last"}},
    ]
    kernel, bias = array(1, 1, 1, 2), array(2)
    gamma, beta, mean, variance = array(2), array(2), array(2), array(2) ** 2 + 0.5
    pairs = [("norm/gamma", gamma), ("norm/beta", beta), ("norm/moving_mean", mean), ("norm/moving_variance", variance)]
    weights = {"conv": [("conv/kernel", kernel), ("conv/bias", bias)], "norm": pairs, "leaky": [], "thresholded": [], "flat": []}
    stack = {"class_name": "Sequential", "config": {"name": "s", "layers": listed}}
    model = models.load_model(keras_2_file(tmp_path / "m.h5", stack, weights))
    x = array(3, 4, 4, 1)
    y = (x * kernel[0, 0, 0] + bias - mean) / np.sqrt(variance + 0.001) * gamma + beta
    y = np.where(y > 0, y, 0.2 * y)
    np.testing.assert_allclose(model.predict(x, verbose=0), np.where(y > 0.1, y, 0).reshape(3, -1), atol=1e-5)


def test_a_layer_that_was_frozen_stays_so(tmp_path):
    stack = [dense("a", 3, batch_input_shape=[None, 4], trainable=False), dense("b", 2)]
    a, b, c, d = array(4, 3), array(3), array(3, 2), array(2)
    weights = {"a": [("a/kernel", a), ("a/bias", b)], "b": [("b/kernel", c), ("b/bias", d)]}
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": stack}}
    model = models.load_model(keras_2_file(tmp_path / "m.h5", config, weights))
    assert [layer.trainable for layer in model.layers] == [False, True]
    assert len(model.trainable_weights) == 2


def test_the_weights_alone_go_into_a_model_by_their_layers_names(tmp_path):
    a, b = array(4, 3), array(3)
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [dense("a", 3, batch_input_shape=[None, 4])]}}
    path = keras_2_file(tmp_path / "m.h5", config, {"a": [("a_1/kernel", a), ("a_1/bias", b)]})
    model = models.Sequential([layers.Dense(3, name="a", input_shape=(4,)), layers.Dense(2, name="new")])
    with pytest.raises(ValueError, match="by_name=True"):
        model.load_weights(path)
    model.load_weights(path, by_name=True)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], a)


def test_a_layer_of_tensorflow_is_refused_by_its_name(tmp_path):
    listed = [entry("x", 4), called({"class_name": "TFOpLambda", "config": {"name": "op", "function": "math.add"}}, [["x", 0, 0]])]
    path = keras_2_file(tmp_path / "m.h5", functional(listed, [["x", 0, 0]], [["op", 0, 0]]), {"x": [], "op": []})
    with pytest.raises(ValueError, match="model_config cannot be used: Unknown layer 'TFOpLambda'"):
        models.load_model(path)


def stack_of(name, *layers):
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def named(class_name, name, *shape, **config):
    given = {"batch_input_shape": [None, *shape]} if shape else {}
    return {"class_name": class_name, "config": {"name": name, "trainable": True, "dtype": "float32", **given, **config}}


def loaded(path, config, weights):
    """Load a stack whose only layer with weights is the last, with these weights."""
    pairs = [(f"weight_{index}", value) for index, value in enumerate(weights)]
    inner = config["config"]["layers"]
    groups = {layer["config"]["name"]: [] for layer in inner[:-1]} | {inner[-1]["config"]["name"]: pairs}
    return models.load_model(keras_2_file(path / "m.h5", config, groups))


CUDNN = {"units": 2, "return_sequences": False, "return_state": False, "go_backwards": False, "stateful": False}


def on_cudnn():
    kernel, recurrent, bias = array(3, 8), array(2, 8), array(16)
    inputs = np.hstack([gate.reshape(2, 3).T for gate in np.hsplit(kernel, 4)])
    states = np.hstack([gate.T for gate in np.hsplit(recurrent, 4)])
    return (kernel, recurrent, bias), (inputs, states, bias[:8] + bias[8:])


def test_both_directions_on_cudnn(tmp_path):
    inner = named("CuDNNLSTM", "lstm", **CUDNN)
    config = stack_of("s", named("Bidirectional", "both", 5, 3, merge_mode="concat", layer=inner))
    (forward, plain), (backward, turned) = on_cudnn(), on_cudnn()
    x = array(4, 5, 3)
    expected = np.hstack([lstm(x, *plain), lstm(x[:, ::-1], *turned)])
    np.testing.assert_allclose(loaded(tmp_path, config, [*forward, *backward]).predict(x, verbose=0), expected, atol=1e-5)


def test_a_layer_on_cudnn_in_a_nested_model(tmp_path):
    inner = stack_of("inner", named("CuDNNLSTM", "lstm", 5, 3, **CUDNN), dense("head", 2))
    values, plain = on_cudnn()
    kernel, bias, x = array(2, 2), array(2), array(4, 5, 3)
    model = loaded(tmp_path, stack_of("s", inner), [*values, kernel, bias])
    np.testing.assert_allclose(model.predict(x, verbose=0), lstm(x, *plain) @ kernel + bias, atol=1e-5)


def test_a_gru_from_before_there_was_a_choice_resets_before(tmp_path):
    config = {**CUDNN, "activation": "tanh", "recurrent_activation": "hard_sigmoid", "use_bias": True, "implementation": 0}
    model = loaded(tmp_path, stack_of("s", named("GRU", "gru", 5, 3, **config)), [array(3, 6), array(2, 6), array(6)])
    assert model.layers[0].get_config()["reset_after"] is False


@pytest.mark.parametrize(
    ("kind", "options", "weights"),
    [
        ("DepthwiseConv2D", {"kernel_size": [3, 3], "depth_multiplier": 2}, [(3, 3, 3, 2), (6,)]),
        ("SeparableConv2D", {"kernel_size": [3, 3], "filters": 4, "kernel_initializer": GLOROT}, [(3, 3, 3, 1), (1, 1, 3, 4), (4,)]),
        ("Conv2DTranspose", {"kernel_size": [3, 3], "filters": 4, "output_padding": None}, [(3, 3, 4, 3), (4,)]),
    ],
)
def test_convolutions_of_tensorflow_name_groups(kind, options, weights, tmp_path):
    config = {"strides": [1, 1], "padding": "valid", "data_format": "channels_last", "dilation_rate": [1, 1], "groups": 1, **options}
    values = [array(*shape) for shape in weights]
    model = loaded(tmp_path, stack_of("s", named(kind, "conv", 6, 6, 3, **config)), values)
    for found, value in zip(model.get_weights(), values, strict=True):
        np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize("name", ["RandomNormal", "VarianceScaling", "GlorotUniform", "Zeros"])
def test_initializers_of_tensorflow_1_name_a_dtype(name, tmp_path):
    layer = dense("a", 3, batch_input_shape=[None, 4], kernel_initializer={"class_name": name, "config": {"dtype": "float32"}})
    assert loaded(tmp_path, stack_of("s", layer), [array(4, 3), array(3)]).layers[0].kernel_initializer.__class__.__name__ == name


@pytest.mark.parametrize(
    ("kind", "argument"), [("LeakyReLU", "alpha"), ("ELU", "alpha"), ("ReLU", "max_value"), ("ThresholdedReLU", "theta")]
)
def test_numbers_of_numpy_were_written_as_arrays(kind, argument, tmp_path):
    layer = named(kind, "active", 4, **{argument: {"type": "ndarray", "value": 0.5}})
    x = np.array([[-1.0, 0.25, 1.0, 2.0]], "float32")
    expected = getattr(layers, kind)(**{argument: 0.5})(torch.as_tensor(x))
    np.testing.assert_allclose(loaded(tmp_path, stack_of("s", layer), []).predict(x, verbose=0), expected.numpy())


ADAM = {"lr": 0.01, "beta_1": 0.9, "beta_2": 0.999, "decay": 0.0, "epsilon": 1e-7, "amsgrad": False}


def stepped(path, optimizer, state):
    """Load a model of one dense layer with the state of its optimizer, and return the optimizer and what it keeps of the kernel."""
    values = [("a/kernel", array(4, 3)), ("a/bias", array(3))]
    training = {"optimizer_config": optimizer, "loss": "mse", "metrics": [], "sample_weight_mode": None, "loss_weights": None}
    named_state = [(f"state_{index}:0", value) for index, value in enumerate(state)]
    config = stack_of("s", dense("a", 3, batch_input_shape=[None, 4]))
    model = models.load_model(keras_2_file(path / "m.h5", config, {"a": values}, training, named_state))
    kept = model.optimizer.torch_optimizer.state.get(model.layers[0].weights[0], {})
    return model.optimizer, {name: np.asarray(value).T for name, value in kept.items()}


def test_adam_of_keras_2_has_places_for_the_largest_squares_that_it_does_not_use(tmp_path):
    means, squares = [array(4, 3), array(3)], [array(4, 3) ** 2, array(3) ** 2]
    unused = [np.zeros(1, "float32"), np.zeros(1, "float32")]
    optimizer, kept = stepped(tmp_path, {"class_name": "Adam", "config": ADAM}, [np.int64(5), *means, *squares, *unused])
    assert optimizer.iterations == 5
    np.testing.assert_array_equal(kept["exp_avg"], means[0])
    np.testing.assert_array_equal(kept["exp_avg_sq"], squares[0])


def test_rmsprop_of_keras_2_does_not_say_how_many_steps_it_took(tmp_path):
    squares = [array(4, 3) ** 2, array(3) ** 2]
    config = {"lr": 0.001, "rho": 0.9, "decay": 0.0, "epsilon": 1e-7}
    _, kept = stepped(tmp_path, {"class_name": "RMSprop", "config": config}, squares)
    np.testing.assert_array_equal(kept["square_avg"], squares[0])


def test_sgd_of_keras_2_has_places_for_a_momentum_that_it_does_not_use(tmp_path):
    config = {"lr": 0.1, "momentum": 0.0, "decay": 0.5, "nesterov": False}
    optimizer, _ = stepped(tmp_path, {"class_name": "SGD", "config": config}, [np.int64(6), np.zeros((4, 3)), np.zeros(3)])
    assert optimizer.iterations == 6


def test_optimizers_of_keras_2_11_are_called_custom(tmp_path):
    config = {"name": "Adam", "is_legacy_optimizer": False, "jit_compile": False, "learning_rate": 0.01, "beta_1": 0.8}
    optimizer, _ = stepped(tmp_path, {"class_name": "Custom>Adam", "config": config}, [])
    assert (type(optimizer).__name__, optimizer.beta_1) == ("Adam", 0.8)


def test_tensors_among_the_keywords_of_a_call_are_bare_places(tmp_path):
    shapes = {"query_shape": [None, 5, 3], "key_shape": [None, 4, 3], "value_shape": [None, 4, 3]}
    attention = named("MultiHeadAttention", "attention", num_heads=2, key_dim=2, value_dim=2, **shapes)
    call = {**attention, "name": "attention", "inbound_nodes": [[["x", 0, 0, {"value": ["y", 0, 0]}]]]}
    config = functional([entry("x", 5, 3), entry("y", 4, 3), call], [["x", 0, 0], ["y", 0, 0]], [["attention", 0, 0]])
    x, y = array(2, 5, 3), array(2, 4, 3)
    ours = layers.MultiHeadAttention(2, 2)
    expected = ours(torch.as_tensor(x), torch.as_tensor(y))
    weights = {"x": [], "y": [], "attention": list(zip((f"w{number}" for number in range(8)), ours.get_weights(), strict=True))}
    model = models.load_model(keras_2_file(tmp_path / "m.h5", {**config, "class_name": "Functional"}, weights))
    np.testing.assert_allclose(model.predict([x, y], verbose=0), expected.detach().numpy(), atol=1e-5)


def test_a_nested_model_among_the_keywords_of_a_call_counts_from_one(tmp_path):
    inner = functional([entry("in", 4, 3), called(dense("d", 3), [["in", 0, 0]])], [["in", 0, 0]], [["d", 0, 0]], "inner")
    attention = named("MultiHeadAttention", "attention", num_heads=1, key_dim=2)
    call = {**attention, "name": "attention", "inbound_nodes": [[["x", 0, 0, {"value": ["inner", 1, 0]}]]]}
    listed = [entry("x", 4, 3), called(inner, [["x", 0, 0]]), call]
    config = functional(listed, [["x", 0, 0]], [["attention", 0, 0]])
    kernel, bias, x = array(3, 3), array(3), array(2, 4, 3)
    ours = layers.MultiHeadAttention(1, 2)
    expected = ours(torch.as_tensor(x), torch.as_tensor(x @ kernel + bias))
    weights = {"x": [], "inner": [("d/k", kernel), ("d/b", bias)]}
    weights["attention"] = list(zip((f"w{number}" for number in range(8)), ours.get_weights(), strict=True))
    model = models.load_model(keras_2_file(tmp_path / "m.h5", config, weights))
    np.testing.assert_allclose(model.predict(x, verbose=0), expected.detach().numpy(), atol=1e-5)
