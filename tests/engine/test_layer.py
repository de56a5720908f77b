"""`Layer`: names, building, users' own layers, weights as Keras knows them, and what a call leaves untouched."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, layers
from torchkeras_fn.engine.layer import Layer, snake_case
from torchkeras_fn.initializers import Initializer
from torchkeras_fn.layers import (
    LSTM,
    Activation,
    BatchNormalization,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Lambda,
    Masking,
    Reshape,
    TorchModuleWrapper,
)


class Scale(Layer):
    """Weights by `add_weight`, as in Keras 2 with the name first."""

    def build(self, input_shape):
        self.factor = self.add_weight("factor", (input_shape[-1],), initializer="ones")

    def call(self, inputs):
        return inputs * self.factor


class Shift(Layer):
    """Weights by `add_weight`, as in Keras 3 with the shape first."""

    def build(self, input_shape):
        self.offset = self.add_weight((input_shape[-1],), initializer="ones", name="offset")
        self.count = self.add_weight((), initializer="zeros", trainable=False, name="count")

    def call(self, inputs):
        return inputs + self.offset


class Plain(Layer):
    """Torch submodules, made in the constructor."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.hidden = nn.Linear(3, width)
        self.norm = nn.BatchNorm1d(width)

    def call(self, inputs):
        return torch.relu(self.norm(self.hidden(inputs)))


class Nested(Layer):
    """Layers inside, built by their first call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = Dense(4, activation="relu")
        self.drop = Dropout(0.5)
        self.norm = BatchNormalization(momentum=0.5)

    def call(self, inputs):
        return self.norm(self.drop(self.first(inputs.view(inputs.shape[0], -1))))


class Noisy(Layer):
    def call(self, inputs, training=False):
        return inputs + 1 if training else inputs


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("given", "expected"), [("Dense", "dense"), ("BatchNormalization", "batch_normalization"), ("LSTM", "lstm"), ("Conv2D", "conv2d")]
)
def test_class_names_in_snake_case(given, expected):
    assert snake_case(given) == expected


def test_a_name_that_is_no_string_is_a_type_error():
    with pytest.raises(TypeError, match="name of a layer is a string, got 3 of type int"):
        Dense(2, name=3)


def test_a_name_once_read_stays():
    layer = Dense(2)
    name = layer.name
    x = Input(shape=(3,))
    assert Model(x, layer(x)).layers[1].name == name


def test_an_unknown_argument_is_a_type_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'unit'"):
        Dense(2, unit=3)


# ---------------------------------------------------------------------- calling


@pytest.mark.parametrize(
    "layer", [Scale(), Shift(), Plain(4), Nested(), Noisy(), Dense(4), TorchModuleWrapper(nn.Linear(3, 4)), Activation("relu")]
)
def test_a_layer_drawn_and_lowered_computes_what_it_computes_when_called(layer):
    x = Input(shape=(3,))
    model = Model(x, layer(x)).eval()
    layer.eval()
    data = torch.randn(5, 3)
    torch.testing.assert_close(model(data), layer(data))


def test_a_layer_is_built_by_its_first_call_on_data():
    layer = Dense(4)
    assert layer(torch.ones(2, 3)).shape == (2, 4)
    assert layer.built


def test_a_numpy_array_is_welcome():
    assert Dense(4)(np.ones((2, 3))).dtype is torch.float32


@pytest.mark.parametrize("argument", ["pixels", 3, None, [Input(shape=(3,)), 3]])
def test_an_argument_that_is_no_tensor_is_refused_with_its_value(argument):
    with pytest.raises((ValueError, TypeError), match=r"Dense was called on .*(pixels|3|None)"):
        Dense(2)(argument)


def test_a_layer_without_a_call_says_what_it_needs():
    with pytest.raises(NotImplementedError, match=r"Empty needs a call\(inputs\), or a build"):
        type("Empty", (Layer,), {})()(torch.ones(2, 3))


def test_a_layer_that_cannot_be_built_is_named_with_the_shape():
    with pytest.raises(
        ValueError, match=r"digit \(Dense\) cannot be built for input of shape \(None, None\): the last dimension must be known"
    ):
        Dense(2, name="digit")(Input(shape=(None,)))


def test_a_call_that_fails_is_named_with_the_shape():
    layer = Lambda(lambda x: x @ torch.ones(7, 2), name="product")
    with pytest.raises(ValueError, match=r"product \(Lambda\) cannot take input of shape \(None, 3\): mat1 and mat2"):
        layer(Input(shape=(3,)))


@pytest.mark.parametrize(("mode", "expected"), [(True, 2), (False, 1)])
def test_training_is_passed_to_a_call_that_names_it(mode, expected):
    assert Noisy().train(mode)(torch.ones(1)).item() == expected


@pytest.mark.parametrize(("mode", "expected"), [(True, 2), (False, 1)])
def test_training_follows_the_mode_of_the_model(mode, expected):
    x = Input(shape=(1,))
    assert Model(x, Noisy()(x)).train(mode)(torch.ones(1, 1)).item() == expected


@pytest.mark.parametrize("mode", [True, False])
def test_training_given_in_the_call_holds_whatever_the_mode(mode):
    x = Input(shape=(1,))
    assert Model(x, Noisy()(x, training=True)).train(mode)(torch.ones(1, 1)).item() == 2


@pytest.mark.parametrize("training", [True, False])
def test_training_given_to_a_layer_of_torch_decides(training):
    x = Input(shape=(100,))
    layer = Dropout(0.5)
    outputs = Model(x, layer(x, training=training)).train(not training)(torch.ones(1, 100))
    assert (outputs == 0).any().item() is training


def test_the_first_argument_may_be_called_inputs():
    x = Input(shape=(3,))
    layer = Dense(2)
    model = Model(x, layer(inputs=x))
    data = torch.randn(4, 3)
    torch.testing.assert_close(model(data), layer(inputs=data))


def test_a_dict_of_inputs_is_drawn():
    class Difference(Layer):
        def call(self, inputs):
            return inputs["a"] - inputs["b"]

    a, b = Input(shape=(3,)), Input(shape=(3,))
    model = Model([a, b], Difference()({"a": a, "b": b}))
    assert model(torch.full((1, 3), 3.0), torch.ones(1, 3)).tolist() == [[2, 2, 2]]


@pytest.mark.parametrize("result", [3, None, "x"])
def test_a_layer_that_returns_no_tensor_is_named(result):
    with pytest.raises(ValueError, match=rf"wrong \(Lambda\) returned {result!r} of type .*A layer returns tensors"):
        Lambda(lambda x: result, name="wrong")(Input(shape=(3,)))


def test_none_among_several_results_stays_none():
    x = Input(shape=(None, 8))
    output, weights = TorchModuleWrapper(nn.MultiheadAttention(8, 2, batch_first=True))(x, x, x, need_weights=False)
    assert weights is None
    assert Model(x, output)(torch.ones(2, 5, 8)).shape == (2, 5, 8)


def test_layers_inside_a_layer_follow_an_unknown_length():
    class Folded(Layer):
        def __init__(self):
            super().__init__()
            self.fold, self.flatten = Reshape((-1, 2)), Flatten()

        def call(self, inputs):
            return self.flatten(self.fold(inputs))

    x = Input(shape=(None, 8))
    model = Model(x, Folded()(x))
    assert model.output_shape == (None, None)
    assert model(torch.ones(2, 5, 8)).shape == (2, 40)
    assert model(torch.ones(2, 7, 8)).shape == (2, 56)


def test_tensors_among_keyword_arguments_are_drawn():
    class Gate(Layer):
        def call(self, inputs, gate=None):
            return inputs * gate

    x, g = Input(shape=(3,)), Input(shape=(3,))
    model = Model([x, g], Gate()(x, gate=g))
    assert model(torch.full((1, 3), 2.0), torch.full((1, 3), 3.0)).tolist() == [[6, 6, 6]]


def test_a_real_tensor_among_the_inputs_of_a_layer_is_a_constant():
    class Both(Layer):
        def call(self, inputs):
            return inputs[0] + inputs[1]

    x = Input(shape=(3,))
    model = Model(x, Both()([x, torch.ones(3)]))
    assert model(torch.ones(1, 3)).tolist() == [[2, 2, 2]]


@pytest.mark.parametrize(
    "make",
    [
        lambda outputs: [outputs, outputs + 1],
        lambda outputs: (outputs, outputs + 1),
        lambda outputs: {"first": outputs, "second": outputs + 1},
    ],
)
def test_a_layer_may_return_several_tensors(make):
    class Several(Layer):
        def call(self, inputs):
            return make(inputs)

    x = Input(shape=(3,))
    outputs = Several()(x)
    first, second = outputs.values() if isinstance(outputs, dict) else outputs
    results = Model(x, [first, second])(torch.ones(2, 3))
    assert [result[0, 0].item() for result in results] == [1, 2]


def test_the_output_shape_a_layer_declares_is_taken_where_running_cannot_tell():
    class Shares(Layer):
        def call(self, inputs):
            largest = max(inputs.flatten().tolist())
            return torch.stack([inputs[:, 0] / largest] * 7, dim=1)

        def compute_output_shape(self, input_shape):
            return (input_shape[0], 7)

    x = Input(shape=(3,))
    model = Model(x, Shares()(x))
    assert model.output_shape == (None, 7)
    assert model(torch.tensor([[2.0, 1.0, 4.0]])).tolist() == [[0.5] * 7]


# ---------------------------------------------------------------------- drawing leaves no trace


@pytest.mark.parametrize("make", [Nested, lambda: Plain(4), lambda: Dropout(0.5), BatchNormalization, lambda: Dense(3), Scale])
@pytest.mark.parametrize("mode", [True, False])
def test_drawing_leaves_the_mode_of_every_module_as_it_was(make, mode):
    layer = make().train(mode)
    layer(Input(shape=(3,)))
    inside = [part for one in layer.modules() for part in (one, getattr(one, "module", None)) if part is not None]
    assert {part.training for part in inside} == {mode}


@pytest.mark.parametrize("make", [Nested, lambda: Plain(4), lambda: Dense(3), Scale, BatchNormalization])
def test_drawing_a_built_layer_again_leaves_weights_statistics_and_random_state_alone(make):
    layer = make()
    layer(Input(shape=(3,)))
    before, state = copy.deepcopy(layer.state_dict()), torch.get_rng_state()
    layer(Input(shape=(3,)))
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_running_statistics_start_untouched():
    layer = Nested()
    layer(Input(shape=(3,)))
    assert (layer.norm.get_weights()[2] == 0).all()
    assert (layer.norm.get_weights()[3] == 1).all()


def test_layers_without_weights_draw_no_random_number():
    before = torch.get_rng_state()
    x = Input(shape=(3, 4))
    Dropout(0.5)(Activation("relu")(Lambda(lambda x: x + torch.rand_like(x))(x)))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_the_same_weights_whatever_is_drawn_between():
    def weights(between):
        torch.manual_seed(0)
        x = Input(shape=(3,))
        h = Dense(4)(x)
        for _ in range(between):
            h = Dropout(0.5)(h)
        return Dense(2)(h).node.operation.get_weights()[0]

    assert np.array_equal(weights(0), weights(3))


def test_two_layers_differ_in_their_random_weights():
    x = Input(shape=(3,))
    first, second = Dense(4)(x).node.operation, Dense(4)(x).node.operation
    assert not np.array_equal(first.get_weights()[0], second.get_weights()[0])


def test_layers_inside_a_layer_differ_in_their_random_weights():
    class Two(Layer):
        def __init__(self):
            super().__init__()
            self.a, self.b = Dense(3), Dense(3)

        def call(self, inputs):
            return self.a(inputs) + self.b(inputs)

    layer = Two()
    layer(Input(shape=(3,)))
    assert not np.array_equal(layer.a.get_weights()[0], layer.b.get_weights()[0])


def test_layers_inside_a_layer_that_an_empty_batch_cannot_run_have_real_weights():
    layer = Nested()
    layer(Input(shape=(3,)))
    assert {parameter.device.type for parameter in layer.parameters()} == {"cpu"}


def test_a_nested_layer_follows_the_inference_mode_of_its_model():
    x = Input(shape=(3,))
    model = Model(x, Nested()(x)).eval()
    data = torch.randn(4, 3)
    torch.testing.assert_close(model(data), model(data))


# ---------------------------------------------------------------------- modes


@pytest.mark.parametrize("make", [lambda: Dropout(0.5), Nested])
def test_inference_mode_set_before_building_holds_after_it(make):
    layer = make().eval()
    data = torch.ones(2, 3)
    torch.testing.assert_close(layer(data), layer(data))
    assert not any(part.training for part in layer.modules())


def test_a_wrapped_module_keeps_its_mode():
    module = nn.Dropout().eval()
    layer = TorchModuleWrapper(module)
    assert (module.training, layer.training) == (False, False)


# ---------------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("make", "keys"),
    [
        (Scale, ["factor"]),
        (Shift, ["offset", "count"]),
        (
            lambda: Plain(4),
            [
                "hidden.weight",
                "hidden.bias",
                "norm.weight",
                "norm.bias",
                "norm.running_mean",
                "norm.running_var",
                "norm.num_batches_tracked",
            ],
        ),
        (
            Nested,
            ["first.weight", "first.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"],
        ),
        (lambda: Dense(4), ["weight", "bias"]),
        (lambda: Dense(4, activation=nn.PReLU()), ["weight", "bias", "activation.weight"]),
        (lambda: TorchModuleWrapper(nn.Sequential(nn.Linear(3, 4))), ["0.weight", "0.bias"]),
        (BatchNormalization, ["weight", "bias", "running_mean", "running_var"]),
        (lambda: Dropout(0.5), []),
        (lambda: Activation(nn.PReLU()), ["activation.weight"]),
    ],
)
def test_state_dict_keys_alone_and_in_a_model(make, keys):
    layer = make()
    x = Input(shape=(3,))
    model = Model(x, layer(x))
    assert list(layer.state_dict()) == keys
    assert list(model.state_dict()) == [f"{model.layer_name(layer)}.{key}" for key in keys]
    assert list(model.lowered.state_dict()) == list(model.state_dict())


def test_add_weight_takes_an_integer_shape_a_dtype_and_options():
    layer = Layer()
    weight = layer.add_weight("w", 3, dtype="float64", initializer="ones", regularizer="l2", constraint="non_neg")
    named = layer.named_weights()[0]
    assert (weight.dtype, tuple(weight.shape), named.name) == (torch.float64, (3,), "w")
    assert named.options.regularizer is not None
    assert named.options.constraint is not None


def test_add_weight_takes_numpy_sizes():
    assert Layer().add_weight("w", (np.int64(3), np.int32(2))).shape == (3, 2)
    assert Layer().add_weight("w", np.int64(3)).shape == (3,)


def test_add_weight_needs_sizes():
    with pytest.raises(ValueError, match=r"'w' needs a shape without None, got \(None, 2\)"):
        Layer().add_weight("w", (None, 2))


def test_a_weight_that_is_not_trainable_is_a_buffer():
    layer = Layer()
    layer.add_weight("w", (2,), trainable=False)
    assert (list(dict(layer.named_parameters())), list(dict(layer.named_buffers()))) == ([], ["w"])


def test_a_weight_is_known_by_the_attribute_it_is_assigned_to():
    layer = Layer()
    layer.kernel = layer.add_weight("w", (2,), regularizer="l2")
    assert list(layer.state_dict()) == ["kernel"]
    assert layer.named_weights()[0].options.regularizer is not None


@pytest.mark.parametrize("name", ["gamma", "another", None])
@pytest.mark.parametrize("trainable", [True, False])
def test_a_weight_takes_the_place_of_what_the_attribute_held(name, trainable):
    layer = Layer()
    layer.gamma, layer.another = None, True
    layer.gamma = layer.add_weight(name=name, shape=(2,), initializer="ones", trainable=trainable)
    assert layer.gamma.tolist() == [1, 1] and list(layer.state_dict()) == ["gamma"]
    layer.gamma = layer.add_weight(name=name, shape=(3,), initializer="ones", trainable=trainable)
    assert layer.gamma.tolist() == [1, 1, 1] and [weight.name for weight in layer.named_weights()] == ["gamma"]
    assert layer.another is True


def test_a_layer_may_be_kept_before_the_base_class_is_set_up():
    class Around(Layer):
        def __init__(self, inner, **options):
            self.inner = inner
            super().__init__(**options)

        def call(self, inputs):
            return self.inner(inputs)

    model = Sequential([Input(shape=(3,)), Around(Dense(2), name="around")])
    assert list(model.state_dict()) == ["around.inner.weight", "around.inner.bias"]


@pytest.mark.parametrize("activation", [torch.relu, nn.ReLU()])
def test_an_activation_chosen_before_the_base_class_is_set_up_stays(activation):
    class Activated(Layer):
        def __init__(self):
            self.activation = activation
            super().__init__()

        def call(self, inputs):
            return self.activation(inputs)

    assert Activated()(torch.tensor([[-1.0, 2.0]])).tolist() == [[0, 2]]


def test_what_a_module_inside_does_not_keep_is_no_weight():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))
            self.register_buffer("places", torch.arange(3), persistent=False)

    layer = TorchModuleWrapper(nn.Sequential(nn.Linear(1, 1), Counting()))
    assert [weight.shape for weight in layer.get_weights()] == [(1, 1), (1,), ()]


def test_weights_without_a_name_are_numbered():
    layer = Layer()
    layer.add_weight(shape=(2,))
    layer.add_weight(shape=(2,))
    assert list(layer.state_dict()) == ["weight_1", "weight_2"]


def test_trainable_weights_come_first():
    layer = Shift()
    layer(torch.ones(2, 3))
    assert [weight.name for weight in layer.named_weights()] == ["offset", "count"]
    assert [len(part) for part in (layer.trainable_weights, layer.non_trainable_weights)] == [1, 1]


def test_get_weights_is_in_keras_layout_and_set_weights_takes_it():
    layer = Dense(4)
    layer(torch.ones(2, 3))
    kernel = np.arange(12.0).reshape(3, 4)
    layer.set_weights([kernel, np.ones(4)])
    assert np.array_equal(layer.get_weights()[0], kernel)
    assert torch.equal(layer(torch.eye(3)), torch.tensor(kernel, dtype=torch.float32) + 1)


def test_get_weights_returns_copies():
    layer = Dense(4)
    layer(torch.ones(2, 3))
    layer.get_weights()[0][:] = 100
    assert layer.get_weights()[0].max() < 100


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([np.ones((3, 4))], r"digit \(Dense\) has 2 weights \['kernel', 'bias'\], but 1 arrays were given"),
        ([np.ones((3, 4)), np.ones(5)], r"'bias' of digit \(Dense\) has shape \(4,\), but the array given for it has shape \(5,\)"),
        ([np.ones((4, 3)), np.ones(4)], r"'kernel' of digit \(Dense\) has shape \(3, 4\), but the array given for it has shape \(4, 3\)"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(arrays, message):
    layer = Dense(4, name="digit")
    layer(torch.ones(2, 3))
    before = layer.get_weights()
    with pytest.raises(ValueError, match=message):
        layer.set_weights(arrays)
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True))


def test_weights_may_be_given_to_the_constructor():
    layer = Dense(1, weights=[np.full((3, 1), 2.0), np.ones(1)])
    assert layer(torch.ones(1, 3)).item() == 7


def test_counting_the_parameters():
    layer = Dense(4)
    with pytest.raises(ValueError, match="Dense is not built yet, so its weights cannot be counted"):
        layer.count_params()
    layer(torch.ones(2, 3))
    assert layer.count_params() == 16


def test_freezing_reaches_the_layers_inside():
    layer = Nested()
    layer(torch.ones(2, 3))
    layer.trainable = False
    assert not layer.first.trainable
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == 6


def test_initializers_see_keras_layout():
    seen = []

    def initializer(shape, dtype=None):
        seen.append(tuple(shape))
        return torch.zeros(shape, dtype=dtype)

    Dense(4, kernel_initializer=initializer)(torch.ones(2, 3))
    assert seen == [(3, 4)]


def test_a_weight_is_of_the_type_that_its_layer_wants_whatever_an_initializer_makes():
    class Counted(Initializer):
        def __call__(self, shape, dtype=None):
            return np.arange(4).reshape(shape)

    weight = Layer().add_weight(name="count", shape=(2, 2), initializer=Counted())
    assert isinstance(weight, torch.nn.Parameter)
    assert weight.dtype is torch.float32 and weight.tolist() == [[0, 1], [2, 3]]


def test_dtype_is_that_of_the_weights():
    layer = Dense(4, dtype="float64")
    layer(torch.ones(2, 3, dtype=torch.float64))
    assert layer.weights[0].dtype is torch.float64


def test_moving_a_layer_moves_its_torch_module():
    layer = Dense(4)
    layer(torch.ones(2, 3))
    layer.to(torch.float64)
    assert layer.module.weight.dtype is torch.float64
    assert layer.weights[0] is layer.module.weight


def test_the_weights_are_loaded_from_a_state_dict():
    first, second = Dense(4), Dense(4)
    data = torch.randn(2, 3)
    first(data), second(data)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(data), second(data))


# ---------------------------------------------------------------------- place in the graph


def test_a_layer_called_once_has_an_input_and_an_output():
    x = Input(shape=(3,))
    layer = Dense(2)
    y = layer(x)
    assert (layer.input is x, layer.output is y) == (True, True)
    assert (layer.input_shape, layer.output_shape) == ((None, 3), (None, 2))


def test_a_layer_called_twice_is_asked_by_index():
    x, y = Input(shape=(3,)), Input(shape=(3,))
    layer = Dense(2)
    with pytest.raises(AttributeError, match="was called 0 times, .* Call it on a symbolic tensor first"):
        _ = layer.output
    layer(x), layer(y)
    with pytest.raises(AttributeError, match=r"was called 2 times, so it has no single input or output. Use get_input_at\(index\)"):
        _ = layer.output
    assert layer.get_input_at(1) is y
    assert layer.get_output_at(0).shape == (None, 2)


# ---------------------------------------------------------------------- copies


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("make", [lambda: Dense(4, "relu"), BatchNormalization, Nested, Scale, lambda: TorchModuleWrapper(nn.Linear(3, 4))])
def test_a_copy_computes_the_same_with_weights_of_its_own(copied, make):
    layer = make().eval()
    layer(Input(shape=(3,)))
    again = copied(layer)
    data = torch.randn(2, 3)
    assert torch.equal(layer(data), again(data))
    assert not {id(weight) for weight in layer.weights} & {id(weight) for weight in again.weights}
    assert [id(weight) for weight in again.weights] == [id(again.state_dict(keep_vars=True)[key]) for key in _keys(again)]


def _keys(layer):
    named = {id(tensor): key for key, tensor in layer.state_dict(keep_vars=True).items()}
    return [named[id(weight)] for weight in layer.weights]


# ---------------------------------------------------------------------- numpy integers


@pytest.mark.parametrize("units", [np.int64(3), np.int32(3), np.uint8(3)])
def test_numpy_integers_are_integers(units):
    layer = Dense(units)
    assert (layer(Input(shape=(np.int64(2),))).shape, type(layer.units)) == ((None, 3), int)


@pytest.mark.parametrize("units", [0, -1, 2.0, "3", True, None])
def test_what_is_no_number_of_units_is_named(units):
    with pytest.raises(ValueError, match="'units' must be an integer of at least 1, got"):
        Dense(units)


# ---------------------------------------------------------------------- the first layer of a Sequential


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"input_shape": (3,)}, (None, 3)),
        ({"input_shape": 3}, (None, 3)),
        ({"batch_input_shape": (8, 3)}, (8, 3)),
        ({"input_dim": 3}, (None, 3)),
        ({"input_dim": 3, "input_length": 5}, (None, 5, 3)),
        ({"input_shape": (3,), "batch_size": 4}, (4, 3)),
        ({}, None),
    ],
)
def test_the_ways_to_tell_the_input_shape(arguments, expected):
    assert Dense(2, **arguments).batch_input_shape == expected
    if expected:
        assert Sequential([Dense(2, **arguments)]).input_shape == expected


# ---------------------------------------------------------------------- layers in lists


class Stacked(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = []
        for units in (4, 3):
            self.blocks.append(Dense(units))
        self.heads = {"last": (Dense(2), torch.nn.Tanh())}

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        last, squash = self.heads["last"]
        return squash(last(inputs))


class StackedModel(Model):
    def __init__(self):
        super().__init__()
        self.stages = [[Dense(3)], [Dense(2)]]

    def call(self, inputs):
        return self.stages[1][0](self.stages[0][0](inputs))


def test_layers_in_lists_and_dicts_are_part_of_the_layer_that_keeps_them():
    x = Input(shape=(5,))
    model = Model(x, Stacked(name="stacked")(x))
    assert [weight.shape for weight in model.get_weights()] == [(5, 4), (4,), (4, 3), (3,), (3, 2), (2,)]
    assert list(model.state_dict())[:2] == ["stacked.blocks_0.weight", "stacked.blocks_0.bias"]


@pytest.mark.parametrize("make", [lambda: Sequential([Stacked()]), StackedModel])
def test_layers_in_lists_are_trained_counted_and_copied(make):
    model = make()
    model.compile("sgd", "mse")
    x, y = np.random.rand(8, 5), np.random.rand(8, 2)
    model.train_on_batch(x, y)
    before = model.get_weights()
    model.train_on_batch(x, y)
    assert all((one != other).any() for one, other in zip(before, model.get_weights(), strict=True))
    assert len(model.trainable_weights) == len(model.weights) == len(before) > 3
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert len(twin.weights) == len(before)
        np.testing.assert_allclose(twin.predict(x), model.predict(x), rtol=1e-6)


def test_a_list_with_the_same_layer_as_an_attribute_owns_it_once():
    model = StackedModel()
    model.first = model.stages[0][0]
    model(torch.ones(1, 5))
    assert len(model.get_weights()) == 4 and len(model.layers) == 2


# ---------------------------------------------------------------------- building by hand, weights by name, losses


class Block(Layer):
    """Builds the layers inside by hand, as Keras 3 advises."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense = Dense(units, kernel_regularizer="l2")
        self.norm = BatchNormalization()

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.norm.build((*input_shape[:-1], self.dense.units))
        self.built = True

    def call(self, inputs, training=None):
        return self.norm(self.dense(inputs), training=training)


def test_build_called_by_hand_makes_the_weights():
    layer = Dense(2)
    layer.build((None, 3))
    assert layer.built and [weight.shape for weight in layer.get_weights()] == [(3, 2), (2,)]
    assert layer.build((None, 3)) is not None and len(layer.weights) == 2


def test_layers_inside_can_be_built_by_hand():
    block = Block(4)
    block.build((None, 3))
    assert [weight.shape for weight in block.get_weights()] == [(3, 4), *[(4,)] * 5]
    assert len(block.variables) == 6 and len(block.trainable_variables) == 4 and len(block.non_trainable_variables) == 2


def test_layers_without_weights_can_be_built_by_hand():
    for layer in (Activation("relu"), Flatten(), Dropout(0.5)):
        layer.build((None, 3, 4))
        assert layer.built


def test_build_is_given_the_shapes_that_it_names():
    class Pair(Layer):
        def build(self, query_shape, value_shape):
            self.seen = (query_shape, value_shape)

        def call(self, query, value, training=None):
            return query + value.sum(1, keepdim=True)

    drawn, called, by_hand = Pair(), Pair(), Pair()
    drawn(Input(shape=(4, 3)), value=Input(shape=(5, 3)))
    called(torch.ones(2, 4, 3), torch.ones(2, 5, 3))
    by_hand.build(value_shape=(None, 5, 3), query_shape=(None, 4, 3))
    assert drawn.seen == called.seen == ((None, 4, 3), (None, 5, 3))


def test_weights_have_their_keras_names_and_layout():
    layer = Dense(2)
    layer.build((None, 3))
    assert layer.kernel.shape == (3, 2) and layer.bias is layer.weights[1]
    layer.kernel.sum().backward()
    assert torch.equal(layer.weights[0].grad, torch.ones(2, 3))
    norm = BatchNormalization(scale=False)
    norm.build((None, 3))
    assert norm.gamma is None and norm.moving_mean.shape == (3,)


def test_weights_of_one_name_are_all_kept():
    class Several(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Dense(1)
            self.parts = [self.add_weight(name="part", shape=(size,)) for size in (1, 2, 3)]
            self.count = self.add_weight(name="inner", shape=(), dtype="int64")

        def call(self, inputs):
            return inputs

    assert [weight.shape for weight in Several().get_weights()] == [(1,), (2,), (3,), ()]
    assert Several().count.dtype is torch.int64 and Several().count.item() == 0


def test_losses_hold_what_was_added_and_what_regularizers_ask():
    block = Block(2)
    block(torch.ones(4, 3))
    assert [loss.item() for loss in block.losses] == [pytest.approx(0.01 * block.dense.kernel.square().sum().item())]
    layer = Dense(2, activity_regularizer="l2", kernel_regularizer="l2")
    layer(torch.ones(1, 3))
    assert len(layer.losses) == 2
    layer.trainable = False
    assert len(layer.losses) == 1
    x = Input(shape=(3,))
    assert len(Model(x, Block(2)(x)).losses) == 1


class Dropping(Layer):
    """Names `training`, and leaves it to the layers inside to hear of it."""

    def __init__(self):
        super().__init__()
        self.drop = Dropout(0.5)

    def call(self, inputs, training=None):
        return self.drop(inputs)


@pytest.mark.parametrize("training", [True, False])
def test_training_given_in_a_call_reaches_the_layers_inside(training):
    layer = Dropping()
    for outputs in (layer(torch.ones(100), training=training), layer(torch.ones(100), training)):
        assert (outputs == 0).any().item() is training
    assert layer.training and layer.drop.training


def test_drawing_leaves_what_a_call_keeps_as_it_was():
    class Centred(Layer):
        def build(self, input_shape):
            self.mean = self.add_weight(name="mean", shape=(input_shape[-1],), initializer="zeros", trainable=False)

        def call(self, inputs):
            with torch.no_grad():
                self.mean.lerp_(inputs.mean(0), 0.5)
            return inputs - self.mean

    class Outer(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Centred()

        def call(self, inputs):
            return self.inner(inputs)

    layer = Outer()
    x = Input(shape=(3,))
    model = Model(x, layer(x))
    assert layer.get_weights()[0].tolist() == [0, 0, 0]
    model(torch.ones(2, 3))
    assert layer.get_weights()[0].tolist() == [0.5, 0.5, 0.5]


# ---------------------------------------------------------------------- layers that write to their inputs


class Centered(Layer):
    """As in Keras' example of a layer of one's own; the mean is subtracted in place."""

    def call(self, inputs):
        inputs -= inputs.mean(1, keepdim=True)
        return inputs


class NoisyInPlace(Layer):
    """Writes to its inputs in training alone."""

    def call(self, inputs, training=False):
        if training:
            inputs *= 2
        return inputs + 0


@pytest.mark.parametrize("mode", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("made", [Centered, NoisyInPlace])
def test_what_a_layer_writes_to_its_inputs_is_not_seen_by_others(made, mode):
    x = Input(shape=(4,))
    hidden = Dense(4)(x)
    model = Model(x, [hidden, made()(hidden)]).train(mode)
    data = torch.rand(2, 4)
    for _ in range(2):
        assert torch.equal(model(data)[0], model.layers[1](data))


def test_the_data_is_not_changed_by_a_layer_that_writes_to_its_inputs():
    model, data = Sequential([Centered(), Dense(1)]), np.random.default_rng(0).random((4, 3), "float32")
    before = data.copy()
    model.compile("sgd", "mse")
    model.fit(data, np.zeros(4), batch_size=4, epochs=2, verbose=0)
    model.predict(data, batch_size=4, verbose=0)
    assert np.array_equal(data, before)


def test_an_array_given_to_a_layer_is_not_changed():
    layer, data = Centered(), np.random.default_rng(0).random((4, 3), "float32")
    before = data.copy()
    for _ in range(2):
        layer(data)
    with torch.inference_mode():
        Centered()(data)
    assert np.array_equal(data, before)


def test_inputs_are_not_copied_for_a_layer_that_only_reads_them():
    seen = []

    class Watching(Layer):
        def call(self, inputs):
            seen.append(inputs)
            return inputs * 2

    layer, data = Watching(), torch.ones(2, 3)
    layer(data)
    layer(data)
    assert seen[0] is not data and seen[1] is data


def test_a_call_on_several_inputs_that_needs_their_masks_is_drawn():
    class Attend(Layer):
        def call(self, inputs, mask=None):
            return inputs[0] * mask[1][..., None]

    steps = Embedding(5, 2, mask_zero=True)(x := Input(shape=(3,)))
    model = Model(x, Attend()([steps, steps]))
    assert (model.predict([[1, 2, 0]], verbose=0)[0, :, 0] != 0).tolist() == [True, True, False]


def test_a_copy_of_the_inputs_brings_their_mask_along():
    class Counting(Layer):
        def call(self, inputs, mask=None):
            return inputs * mask.sum()

    steps = Embedding(5, 2, mask_zero=True)(torch.tensor([[1, 2, 0]]))
    assert torch.equal(Counting()(steps), steps * 2)


def test_a_cache_that_is_passed_besides_the_inputs_is_filled():
    class Remembering(Layer):
        def call(self, inputs, cache):
            cache += inputs
            return inputs

    layer, cache = Remembering(), torch.zeros(2)
    for _ in range(2):
        layer(torch.ones(2), cache)
    assert cache.tolist() == [2.0, 2.0]


def test_a_declared_shape_may_leave_the_batch_open():
    class Refusing(Layer):
        def call(self, inputs):
            if not len(inputs):
                raise ValueError("nothing to do")
            return inputs[:, :2]

        def compute_output_shape(self, input_shape):
            return (None, 2)

    x = Input(shape=(4,))
    output = Refusing()(x)
    assert output.shape == (None, 2)
    assert Model(x, output)(torch.ones(3, 4)).shape == (3, 2)


def test_a_wrong_declaration_is_not_believed_where_more_than_no_rows_goes_through():
    class Pool(Layer):
        def call(self, inputs):
            return torch.tile(inputs[:, None], (1, inputs.shape[1], 1, 1)).amax(2)

        def compute_output_shape(self, input_shape):
            return (None, 7)

    assert Pool()(Input(shape=(5, 3))).shape == (None, 5, 3)


def test_a_call_that_fails_is_told_of_where_the_declared_shape_is_of_no_help():
    class Failing(Layer):
        def call(self, inputs):
            raise ValueError("no such thing")

        def compute_output_shape(self, input_shape):
            return (None, None, 2)

    with pytest.raises(ValueError, match="no such thing"):
        Failing()(Input(shape=(None, 4)))


# ---------------------------------------------------------------------- casts before the weights are made


@pytest.mark.parametrize("made", [lambda: Dense(2), lambda: LSTM(2), lambda: Scale()], ids=["Dense", "LSTM", "own"])
def test_a_cast_before_the_weights_are_made_holds_for_them(made):
    layer = made().double()
    layer(torch.ones(2, 4, 3, dtype=torch.float64))
    assert {weight.dtype for weight in layer.parameters()} == {torch.float64}


# ---------------------------------------------------------------------- weights that are not trained


class RunningTotal(Layer):
    def build(self, input_shape):
        self.total = self.add_weight(name="total", shape=(input_shape[-1],), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.total.assign_add(inputs.sum(0))
        return inputs + self.total


def test_a_weight_that_is_not_trained_is_assigned_to_as_in_keras():
    layer = RunningTotal()
    layer(torch.ones(2, 3))
    layer.total.assign_sub([1.0, 0.0, 0.0])
    assert layer.get_weights()[0].tolist() == [1.0, 2.0, 2.0]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), lambda model: model.double()])
def test_what_is_assigned_in_a_model_is_kept_by_what_becomes_of_it(copied):
    model = Sequential([Input((3,)), RunningTotal(), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones(4), batch_size=2, verbose=0)
    copied(model).layers[0].total.assign_add(1.0)
    other = copied(model).layers[0].total
    assert other.tolist() == model.layers[0].total.tolist()


@pytest.mark.parametrize("change", [lambda layer: setattr(layer, "total", layer.total + 1), lambda layer: layer.total.assign(1)])
def test_what_torch_sees_of_a_weight_that_is_assigned_to_is_a_plain_tensor(change):
    layer = RunningTotal()
    layer.build((None, 3))
    change(layer)
    assert [type(buffer) for buffer in layer.buffers()] == [torch.Tensor]
    assert layer.state_dict()["total"].tolist() == [1.0] * 3


def test_adding_in_place_keeps_the_buffer():
    layer = RunningTotal()
    layer.build((None, 3))
    buffer = layer._buffers["total"]
    layer.total += 1
    assert layer._buffers["total"] is buffer


def test_a_weight_that_is_given_the_one_of_another_layer_has_its_values():
    one, other = RunningTotal(), RunningTotal()
    for layer in (one, other):
        layer.build((None, 3))
    other.total.assign(2)
    one.total = other.total
    assert one.get_weights()[0].tolist() == [2.0] * 3


def test_an_attribute_that_is_set_leaves_the_mode_of_the_module_alone():
    layer = Dropout(0.5)
    layer(Input((3,)))
    layer.note = False
    assert layer.module.training is layer.training is True


class Counting(Layer):
    def __init__(self):
        super().__init__()
        self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        return inputs + self.calls


def test_a_layer_with_a_weight_that_is_not_trained_is_exported():
    model = Sequential([Input((3,)), Counting()])
    exported = torch.export.export(model, (torch.ones(2, 3),)).module()
    assert torch.equal(exported(torch.ones(2, 3)), torch.ones(2, 3))


def test_weights_stand_layer_by_layer_within_a_layer_of_layers():
    class Block(Layer):
        def __init__(self):
            super().__init__()
            self.first, self.normalization, self.last = Dense(3), BatchNormalization(), Dense(2)

        def build(self, input_shape):
            self.count = self.add_weight(shape=(1,), initializer="zeros", trainable=False, name="count")
            super().build(input_shape)

        def call(self, x):
            return self.last(self.normalization(self.first(x)))

    block = Block()
    block(torch.ones(2, 4))
    # as Keras 3 lists them: its own, then all of each layer, what is not trained too
    assert [weight.shape for weight in block.get_weights()] == [(1,), (4, 3), *[(3,)] * 5, (3, 2), (2,)]


def test_what_a_layer_of_floats_casts_brings_its_mask_along():
    steps = Masking(0)(torch.tensor([[[1], [2], [0], [0]]]))
    assert GlobalAveragePooling1D()(steps).tolist() == [[1.5]]


@pytest.mark.parametrize("activation", [layers.LeakyReLU(0.1), layers.ReLU(max_value=0.2), layers.ELU(0.5), layers.PReLU()], ids=repr)
def test_a_layer_that_is_an_activation_is_written_to_the_config(activation):
    layer = Dense(2, activation=activation)
    again = Dense.from_config(layer.get_config())
    x = torch.tensor([[-1.0, 1.0]])
    assert type(again.activation) is type(activation) and torch.equal(again.activation(x), activation(x))
