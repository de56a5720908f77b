"""`Dense`, `Activation`, `Embedding`, `Lambda`, `TorchModuleWrapper`: what they compute, their torch modules and their errors."""

import json
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import Input, Model, Sequential
from torchkeras_fn.engine.drawing.incoming import carried_mask
from torchkeras_fn.layers import Activation, Dense, Embedding, Lambda, Masking, TorchModuleWrapper

X = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))


def drawn(layer, *shape):
    x = Input(shape=shape)
    return Model(x, layer(x))


# ---------------------------------------------------------------------- Dense


def test_dense_is_the_activation_of_a_linear_map():
    layer = Dense(4, activation="tanh", bias_initializer="normal")
    outputs = layer(X)
    kernel, bias = map(torch.tensor, layer.get_weights())
    torch.testing.assert_close(outputs, torch.tanh(X @ kernel + bias))


def test_dense_is_a_linear_module():
    assert type(drawn(Dense(4, name="hidden"), 3).lowered.hidden) is nn.Linear


@pytest.mark.parametrize("shape", [(3,), (7, 3), (2, 7, 3), (None, 3)])
def test_dense_acts_on_the_last_axis(shape):
    assert Dense(4)(Input(shape=shape)).shape == (None, *shape[:-1], 4)


def test_dense_without_a_bias_has_one_weight():
    layer = Dense(4, use_bias=False)
    layer(X)
    assert [weight.name for weight in layer.named_weights()] == ["kernel"]


def test_dense_begins_with_glorot_uniform_and_zeros():
    layer = Dense(100)
    layer(torch.ones(1, 200))
    kernel, bias = layer.get_weights()
    limit = np.sqrt(6 / 300)
    assert limit * 0.99 < np.abs(kernel).max() <= limit
    assert (bias == 0).all()


@pytest.mark.parametrize("activation", ["relu", F.relu, torch.relu, nn.ReLU(), lambda x: x.clamp(min=0)])
def test_an_activation_is_a_name_a_function_or_a_module(activation):
    layer = Dense(4, activation=activation)
    kernel, bias = (layer(X), map(torch.tensor, layer.get_weights()))[1]
    expected = torch.relu(X @ kernel + bias)
    torch.testing.assert_close(layer(X), expected)
    torch.testing.assert_close(drawn(layer, 3)(X), expected)


def test_dense_takes_the_bytes_of_an_image():
    layer = Dense(4)
    assert layer(torch.zeros(2, 3, dtype=torch.uint8)).dtype is torch.float32
    x = Input(shape=(3,), dtype="uint8")
    assert Model(x, Dense(4)(x))(torch.zeros(2, 3, dtype=torch.uint8)).dtype is torch.float32


@pytest.mark.parametrize(
    ("shape", "message"),
    [((), r"expected at least 2 dimensions, the batch included, got 1"), ((None,), "the last dimension must be known, got None")],
)
def test_dense_says_what_is_wrong_with_its_input(shape, message):
    with pytest.raises(ValueError, match=rf"Dense cannot be built for input of shape .*{message}"):
        Dense(4)(Input(shape=shape))


def test_dense_on_a_list_says_to_join_it():
    with pytest.raises(ValueError, match=r"expected one input, got a list of them; join them first, for example with Concatenate\(\)"):
        Dense(4)([Input(shape=(3,)), Input(shape=(3,))])


def test_dense_on_another_width_is_named():
    layer = Dense(4, name="hidden")
    layer(Input(shape=(3,)))
    with pytest.raises(ValueError, match=r"hidden \(Dense\) cannot take input of shape \(None, 5\)"):
        layer(Input(shape=(5,)))


def test_an_unknown_activation_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="Unknown activation 'rleu'. Did you mean 'relu'"):
        Dense(4, activation="rleu")


def test_the_softmax_of_a_single_unit_is_warned_of():
    with pytest.warns(UserWarning, match="single unit is 1 whatever comes in, .* use activation='sigmoid'"):
        Dense(1, activation="softmax")


def test_the_config_of_dense_is_json():
    config = Dense(4, "relu", kernel_regularizer="l2", bias_constraint="non_neg", name="hidden").get_config()
    assert json.loads(json.dumps(config)) == config


# ---------------------------------------------------------------------- Activation


@pytest.mark.parametrize("name", ["relu", "softmax", "linear", "gelu", "elu", "swish"])
def test_an_activation_layer_is_torch_functions_in_the_lowered_model(name):
    model = drawn(Activation(name), 3)
    assert list(model.lowered.children()) == []
    torch.testing.assert_close(model(X), Activation(name)(X))


def test_an_activation_layer_keeps_its_torch_module():
    model = drawn(Activation(nn.PReLU(), name="slope"), 3)
    assert list(model.state_dict()) == ["slope.activation.weight"]
    assert torch.equal(model(-torch.ones(1, 3)), torch.full((1, 3), -0.25))


def test_a_users_function_as_activation_is_not_looked_into():
    def branching(x):
        return x + 1 if x.shape[0] > 2 else x

    model = drawn(Activation(branching), 3)
    assert torch.equal(model(torch.ones(2, 3)), torch.ones(2, 3))
    assert torch.equal(model(torch.ones(3, 3)), torch.full((3, 3), 2.0))


# ---------------------------------------------------------------------- Embedding


def test_an_embedding_looks_up_rows():
    layer = Embedding(10, 4)
    outputs = layer(torch.tensor([[1, 9]]))
    assert np.array_equal(outputs.detach().numpy()[0], layer.get_weights()[0][[1, 9]])


@pytest.mark.parametrize("given", [lambda table: table, lambda table: [table], torch.tensor])
def test_an_embedding_begins_with_the_table_that_it_is_given(given):
    table = np.arange(6, dtype="float32").reshape(3, 2)
    layer = Embedding(3, 2, weights=given(table))
    np.testing.assert_array_equal(layer(torch.tensor([2, 0])).detach(), table[[2, 0]])


def test_an_embedding_is_a_torch_embedding():
    assert type(drawn(Embedding(10, 4, name="table"), 3).lowered.table) is nn.Embedding


@pytest.mark.parametrize("shape", [(), (5,), (None,), (2, 5)])
def test_an_embedding_adds_an_axis(shape):
    assert Embedding(10, 4)(Input(shape=shape)).shape == (None, *shape, 4)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.float32, torch.int64])
def test_any_type_of_index_will_do(dtype):
    assert Embedding(10, 4)(torch.ones(2, 3, dtype=dtype)).shape == (2, 3, 4)
    assert drawn(Embedding(10, 4), 3)(torch.ones(2, 3, dtype=dtype)).shape == (2, 3, 4)


def test_an_embedding_begins_uniform():
    layer = Embedding(100, 40)
    layer(torch.ones(1, 1))
    assert 0.049 < np.abs(layer.get_weights()[0]).max() <= 0.05


def test_an_embedding_masks_zeros_where_asked():
    indices = torch.tensor([[1, 0]])
    assert Embedding(10, 4).compute_mask(indices) is None
    assert Embedding(10, 4, mask_zero=True).compute_mask(indices).tolist() == [[True, False]]


@pytest.mark.parametrize("layer", [Embedding(10, 4, mask_zero=True), Masking()])
def test_the_mask_of_an_array_is_that_of_the_tensor(layer):
    inputs = np.array([[[3.0, 0.0], [0.0, 0.0]]])
    assert torch.equal(layer.compute_mask(inputs), layer.compute_mask(torch.tensor(inputs)))


@pytest.mark.parametrize(("length", "shape"), [(5, (None, 5)), ((2, 5), (None, 2, 5)), (None, None)])
def test_input_length_is_the_shape_of_a_first_layer(length, shape):
    assert Embedding(10, 4, input_length=length).batch_input_shape == shape
    if shape:
        assert Sequential([Embedding(10, 4, input_length=length)]).output_shape == (*shape, 4)


@pytest.mark.parametrize(("input_dim", "output_dim", "named"), [(0, 4, "input_dim"), (10, 2.5, "output_dim")])
def test_sizes_of_a_table_are_positive_integers(input_dim, output_dim, named):
    with pytest.raises(ValueError, match=f"'{named}' must be an integer of at least 1"):
        Embedding(input_dim, output_dim)


# ---------------------------------------------------------------------- Lambda


def test_a_lambda_calls_its_function():
    assert torch.equal(drawn(Lambda(lambda x: x**2), 3)(X), X**2)


def test_a_lambda_passes_its_arguments():
    layer = Lambda(lambda x, power: x**power, arguments={"power": 3})
    assert torch.equal(drawn(layer, 3)(X), X**3)


def test_a_lambda_takes_several_inputs():
    x, y = Input(shape=(3,)), Input(shape=(3,))
    model = Model([x, y], Lambda(lambda pair: pair[0] - pair[1])([x, y]))
    assert torch.equal(model(X, X), torch.zeros_like(X))


def test_a_lambda_closes_over_a_symbolic_tensor():
    x, shares = Input((3,)), Input((3,))
    model = Model([x, shares], Lambda(lambda inputs, power: (inputs * shares) ** power, arguments={"power": 2})(x))
    assert np.array_equal(model.predict([np.full((2, 3), 3.0), np.full((2, 3), 2.0)], verbose=0), np.full((2, 3), 36.0))


def test_the_layers_before_a_lambda_that_closes_over_a_symbolic_tensor_train():
    x = Input((3,))
    shown = (x != 0).float()
    model = Model(x, Lambda(lambda scores: scores - 1e4 * (1 - shown))(Dense(3, kernel_initializer="ones")(x)))
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((2, 3)), np.zeros((2, 3)))
    assert not np.any(model.get_weights()[0] == 1)


@pytest.mark.parametrize("output_shape", [(7,), lambda shape: (shape[0], 7)])
def test_a_lambda_that_cannot_run_without_data_declares_its_shape(output_shape):
    def of_values(x):
        return x[:, :1].tile(7) if x[0, 0].item() > 0 else x[:, :1].tile(7) - 1

    assert Lambda(of_values, output_shape=output_shape)(Input(shape=(3,))).shape == (None, 7)


def test_the_declared_shape_of_a_lambda_of_several_inputs_has_the_batch_of_the_first():
    layer = Lambda(sum, output_shape=(4,))
    assert layer.compute_output_shape([(None, 4), (None, 1)]) == (None, 4)


def test_a_lambda_that_declares_its_shape_is_pickled():
    copied = pickle.loads(pickle.dumps(Lambda(torch.relu, output_shape=(3,))))
    assert copied.compute_output_shape((None, 5)) == (None, 3)


def test_a_lambda_needs_a_function():
    with pytest.raises(TypeError, match="Lambda needs a function, got 3 of type int"):
        Lambda(3)


def test_a_lambda_over_a_parameter_of_another_module_still_runs():
    weight = nn.Parameter(torch.full((3,), 2.0))
    assert torch.equal(drawn(Lambda(lambda x: x * weight), 3)(X), X * 2)


# ---------------------------------------------------------------------- TorchModuleWrapper


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Linear(3, 5), (3,), (None, 5)),
        (nn.Conv2d(1, 4, 3), (1, 8, 8), (None, 4, 6, 6)),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 4), (None, 2)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (None, 8), (None, None, 8)),
        (nn.BatchNorm1d(3), (3,), (None, 3)),
        (nn.Identity(), (3,), (None, 3)),
        (nn.Conv1d(4, 6, 3, padding="same"), (4, None), (None, 6, None)),
    ],
)
def test_a_wrapped_module_tells_its_shape(module, shape, expected):
    assert TorchModuleWrapper(module)(Input(shape=shape)).shape == expected


def test_a_wrapped_module_is_itself_in_the_lowered_model():
    module = nn.Linear(3, 5)
    model = drawn(TorchModuleWrapper(module, name="linear"), 3)
    assert model.lowered.linear is module
    assert torch.equal(model(X), module(X))


def test_a_wrapped_module_with_several_outputs():
    sequence, (hidden, cell) = TorchModuleWrapper(nn.LSTM(3, 5, batch_first=True))(Input(shape=(None, 3)))
    assert (sequence.shape, hidden.shape, cell.shape) == ((None, None, 5), (1, None, 5), (1, None, 5))


def test_a_wrapped_module_with_several_inputs():
    x, y = Input(shape=(3,)), Input(shape=(4,))
    module = nn.Bilinear(3, 4, 2)
    model = Model([x, y], TorchModuleWrapper(module)(x, y))
    torch.testing.assert_close(model(torch.ones(2, 3), torch.ones(2, 4)), module(torch.ones(2, 3), torch.ones(2, 4)))


def test_a_wrapped_module_takes_its_arguments_by_name():
    x, y = Input(shape=(3,)), Input(shape=(4,))
    module = nn.Bilinear(3, 4, 2)
    model = Model([x, y], TorchModuleWrapper(module)(input2=y, input1=x))
    torch.testing.assert_close(model(torch.ones(2, 3), torch.ones(2, 4)), module(torch.ones(2, 3), torch.ones(2, 4)))


def test_wrapped_weights_keep_torchs_layout():
    layer = TorchModuleWrapper(nn.Linear(3, 5))
    assert [weight.shape for weight in layer.get_weights()] == [(5, 3), (5,)]


def test_a_wrapper_needs_a_module():
    with pytest.raises(TypeError, match="TorchModuleWrapper needs a torch.nn.Module, got .*relu.* of type"):
        TorchModuleWrapper(torch.relu)


def test_a_lambda_called_by_hand_makes_its_mask():
    layer = Lambda(lambda x: x + 1, mask=lambda x, mask: x.sum(-1) > 0)
    assert carried_mask(layer(torch.tensor([[[1.0], [0.0]]]))).tolist() == [[True, False]]
