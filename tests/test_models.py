"""`Model`, drawn or subclassed or around a torch module, and `Sequential`: what they hold, how they are called and copied."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.layers import (
    LSTM,
    Activation,
    Add,
    BatchNormalization,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Lambda,
    TorchModuleWrapper,
    concatenate,
)
from torchkeras_fn.models import clone_model


def simple():
    x = Input(shape=(3,), name="x")
    return Model(inputs=x, outputs=Dense(2, name="last")(Dense(4, activation="relu", name="first")(x)))


def forked():
    a, b = Input(shape=(3,), name="a"), Input(shape=(3,), name="b")
    shared = Dense(4, name="shared")
    joined = concatenate([shared(a), shared(b)], name="joined")
    return Model([a, b], [Dense(1, name="left")(joined), Dense(2, name="right")(joined)])


class WithForward(Model):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.norm(torch.relu(self.hidden(x))))


class WithCall(Model):
    def __init__(self):
        super().__init__()
        self.hidden = Dense(4, activation="relu")
        self.drop = Dropout(0.5)
        self.last = Dense(2)

    def call(self, inputs, training=False):
        return self.last(self.drop(self.hidden(inputs), training=training))


# ---------------------------------------------------------------------- inputs and outputs


def test_one_input_and_output_are_not_listed():
    model = simple()
    assert (model.input is model.inputs[0], model.output is model.outputs[0]) == (True, True)
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 2))


def test_a_model_is_printed_as_the_torch_modules_that_it_is_made_of():
    assert str(forked()).splitlines()[:2] == ["Model(", "  (shared): Linear(in_features=3, out_features=4, bias=True)"]
    assert repr(forked()) == "<Model (unnamed)>"


def test_several_inputs_and_outputs_are_listed():
    model = forked()
    assert (len(model.input), len(model.output)) == (2, 2)
    assert (model.input_shape, model.output_shape) == ([(None, 3), (None, 3)], [(None, 1), (None, 2)])


def test_inputs_and_outputs_by_name():
    assert (forked().input_names, forked().output_names) == (["a", "b"], ["left", "right"])


def test_positional_arguments_are_inputs_and_outputs():
    x = Input(shape=(3,))
    y = Dense(2)(x)
    assert Model(x, y).output is y


@pytest.mark.parametrize("arguments", [{"inputs": Input(shape=(3,))}, {"outputs": Input(shape=(3,))}])
def test_inputs_without_outputs_are_refused(arguments):
    with pytest.raises(ValueError, match="A model needs inputs and outputs"):
        Model(**arguments)


def test_an_output_may_be_listed_several_times():
    x = Input(shape=(3,))
    first, third = Dense(2, name="b1")(x), Dense(1, name="b3")(x)
    model = Model(x, [first, third, third])
    assert model.output_names == ["b1", "b3", "b3_1"]
    one, two, three = model(torch.ones(4, 3))
    assert (one.shape, two.shape) == ((4, 2), (4, 1))
    assert torch.equal(two, three)


def test_an_input_may_pass_straight_through():
    x = Input(shape=(3,), name="x")
    model = Model(x, [x, Dense(2, name="y")(x)])
    data = torch.randn(4, 3)
    assert model.output_names == ["x", "y"]
    assert torch.equal(model(data)[0], data)


def test_an_input_may_be_the_whole_model():
    x = Input(shape=(3,))
    data = torch.randn(4, 3)
    assert torch.equal(Model(x, x)(data), data)


# ---------------------------------------------------------------------- calling


def test_several_inputs_come_as_a_list_a_dict_or_arguments():
    model = forked()
    a, b = torch.randn(2, 5, 3).unbind()
    expected = model(a, b)
    for outputs in (model([a, b]), model((a, b)), model({"b": b, "a": a})):
        assert all(torch.equal(one, other) for one, other in zip(outputs, expected, strict=True))


def test_a_numpy_array_is_welcome():
    model = simple()
    data = np.random.default_rng(0).normal(size=(5, 3))
    assert torch.equal(model(data), model(torch.tensor(data, dtype=torch.float32)))


@pytest.mark.parametrize(
    ("inputs", "got"),
    [
        (lambda: [torch.ones(2, 3)], "1"),
        (lambda: [torch.ones(2, 3)] * 3, "3"),
        (lambda: {"a": torch.ones(2, 3)}, r"\['a'\]"),
        (lambda: {"c": torch.ones(2, 3), "a": torch.ones(2, 3)}, r"\['a', 'c'\]"),
    ],
)
def test_a_wrong_number_of_inputs_is_told_with_the_names(inputs, got):
    with pytest.raises(ValueError, match=rf"expects 2 inputs \['a', 'b'\], got {got}\.$"):
        forked()(inputs())


def test_the_result_of_several_outputs_is_a_list():
    assert isinstance(forked()(torch.ones(2, 3), torch.ones(2, 3)), list)


def test_a_model_is_a_layer():
    inner = simple()
    x, y = Input(shape=(3,)), Input(shape=(3,))
    model = Model([x, y], Add()([inner(x), inner(y)]))
    a, b = torch.randn(2, 5, 3).unbind()
    torch.testing.assert_close(model(a, b), inner(a) + inner(b))
    assert {id(p) for p in model.parameters()} == {id(p) for p in inner.parameters()}
    assert model.count_params() == inner.count_params()


def test_a_model_of_several_inputs_is_called_by_list_or_dict():
    inner = forked()
    x, y = Input(shape=(3,)), Input(shape=(3,))
    a, b = torch.randn(2, 5, 3).unbind()
    expected = inner(a, b)[0]
    assert torch.equal(Model([x, y], inner([x, y])[0])(a, b), expected)
    assert torch.equal(Model([x, y], inner({"b": y, "a": x})[0])(a, b), expected)


def test_a_subclassed_model_is_a_layer():
    inner = WithForward().eval()
    x = Input(shape=(3,))
    model = Model(x, inner(x)).eval()
    data = torch.randn(5, 3)
    torch.testing.assert_close(model(data), inner(data))
    assert model.output_shape == (None, 2)


def test_models_in_models_share_their_mode():
    x = Input(shape=(3,))
    inner = Model(x, Dropout(0.5)(x))
    y = Input(shape=(3,))
    outer = Model(y, inner(y)).eval()
    assert torch.equal(outer(torch.ones(2, 3)), torch.ones(2, 3))


# ---------------------------------------------------------------------- layers


def test_layers_are_listed_bottom_up_and_breadth_first():
    a, b = Input(shape=(3,), name="a"), Input(shape=(3,), name="b")
    left, right = Dense(3, name="left_1")(a), Dense(3, name="right_1")(b)
    left, right = Dense(3, name="left_2")(left), Dense(3, name="right_2")(right)
    model = Model([a, b], Add(name="sum")([left, right]))
    assert [layer.name for layer in model.layers] == ["a", "b", "left_1", "right_1", "left_2", "right_2", "sum"]


def test_a_layer_is_found_by_its_name():
    assert simple().get_layer("first").units == 4


@pytest.mark.parametrize(("index", "name"), [(0, "x"), (1, "first"), (2, "last"), (-1, "last")])
def test_a_layer_is_found_by_its_index(index, name):
    assert simple().get_layer(index=index).name == name


def test_the_index_comes_before_the_name():
    assert simple().get_layer("first", 2).name == "last"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "frist"}, r"There is no layer 'frist'. The layers are \['x', 'first', 'last'\]"),
        ({"index": 3}, "There is no layer at index 3: the model has 3 layers"),
        ({"index": -4}, "There is no layer at index -4"),
        ({}, "get_layer needs the name or the index of a layer"),
    ],
)
def test_a_layer_that_is_not_there_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        simple().get_layer(**arguments)


def test_an_automatic_name_is_found_in_its_model():
    def build():
        x = Input(shape=(3,))
        return Model(x, Dense(2)(Dense(4)(x)))

    first, second = build(), build()
    assert first.get_layer("dense_2").units == second.get_layer("dense_2").units == 2


def test_names_and_keys_repeat_when_the_same_model_is_built_again():
    def keys():
        x = Input(shape=(4,))
        h = Dropout(0.1)(BatchNormalization()(Dense(4)(x)))
        return list(Model(x, Dense(2)(h)).state_dict())

    assert (
        keys()
        == keys()
        == [
            "dense_1.weight",
            "dense_1.bias",
            "batch_normalization_1.weight",
            "batch_normalization_1.bias",
            "batch_normalization_1.running_mean",
            "batch_normalization_1.running_var",
            "dense_2.weight",
            "dense_2.bias",
        ]
    )


def test_names_are_unique_within_a_model():
    x = Input(shape=(4,))
    model = Model(x, Dense(2)(Dense(4, name="dense_2")(Dense(4)(x))))
    names = [model.layer_name(layer) for layer in model.layers]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------------- weights


def test_weights_come_layer_by_layer_in_keras_layout():
    assert [weight.shape for weight in simple().get_weights()] == [(3, 4), (4,), (4, 2), (2,)]


def test_set_weights_takes_what_get_weights_gives():
    first, second = simple(), simple()
    second.set_weights(first.get_weights())
    data = torch.randn(5, 3)
    assert torch.equal(first(data), second(data))


def test_shared_weights_are_listed_once():
    model = forked()
    assert len(model.get_weights()) == 6
    assert model.count_params() == 16 + 9 + 18


@pytest.mark.parametrize("change", [lambda arrays: arrays[:-1], lambda arrays: [*arrays[:-1], np.ones(7)], lambda arrays: []])
def test_weights_that_do_not_fit_change_nothing(change):
    model = simple()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"(has 4 weights|'last/bias')"):
        model.set_weights(change([array + 1 for array in before]))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_freezing_a_layer_takes_its_weights_out_of_training():
    model = simple()
    model.get_layer("first").trainable = False
    assert (len(model.trainable_weights), len(model.non_trainable_weights)) == (2, 2)


def test_freezing_a_model_freezes_its_layers():
    model = simple()
    model.trainable = False
    assert model.trainable_weights == []
    assert not model.get_layer("first").trainable


def test_moving_statistics_are_not_trained():
    x = Input(shape=(3,))
    model = Model(x, BatchNormalization()(x))
    assert (len(model.trainable_weights), len(model.non_trainable_weights)) == (2, 2)


def test_a_state_dict_is_loaded_into_the_model_and_its_lowered_module():
    first, second = simple(), simple()
    data = torch.randn(5, 3)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(data), second(data))
    second.lowered.load_state_dict({key: value + 1 for key, value in first.state_dict().items()})
    assert torch.equal(second.get_layer("last").weights[1], first.get_layer("last").weights[1] + 1)


def test_of_the_constants_of_a_graph_those_that_are_trained_are_weights():
    x = Input(shape=(3,))
    model = Model(x, x * nn.Parameter(torch.ones(3)) + torch.ones(3))
    assert (len(model.trainable_weights), len(model.non_trainable_weights)) == (1, 0)


def test_a_model_moved_to_another_type_computes_in_it():
    model = forked().to(torch.float64)
    outputs = model(torch.ones(2, 3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.float64))
    assert {part.dtype for part in outputs} == {torch.float64}


def test_a_layer_that_is_called_in_two_models_is_shared():
    layer = Dense(2, name="shared")
    x, y = Input(shape=(3,)), Input(shape=(3,))
    first, second = Model(x, layer(x)), Model(y, layer(y))
    layer.set_weights([np.ones((3, 2)), np.zeros(2)])
    assert torch.equal(first(torch.ones(1, 3)), second(torch.ones(1, 3)))


def test_a_model_of_inner_tensors_looks_into_another_one():
    model = simple()
    features = Model(model.inputs, model.get_layer("first").output)
    assert features(torch.ones(2, 3)).shape == (2, 4)
    assert features.get_layer("first") is model.get_layer("first")


# ---------------------------------------------------------------------- subclasses


@pytest.mark.parametrize("make", [WithForward, WithCall])
def test_a_subclass_is_called_on_data(make):
    assert make()(torch.randn(5, 3)).shape == (5, 2)


def test_a_subclass_with_layers_is_built_by_its_first_call():
    model = WithCall()
    model(torch.randn(5, 3))
    assert [weight.shape for weight in model.get_weights()] == [(3, 4), (4,), (4, 2), (2,)]
    assert list(model.state_dict()) == ["hidden.weight", "hidden.bias", "last.weight", "last.bias"]


def test_training_reaches_the_call_of_a_subclass():
    model = WithCall()
    data = torch.randn(50, 3)
    model.eval()
    assert torch.equal(model(data), model(data))
    model.train()
    assert not torch.equal(model(data), model(data))


def test_predicting_leaves_the_mode_of_layers_inside_a_subclass_as_it_was():
    model = WithCall().train()
    model.predict(np.ones((4, 3)))
    assert model.drop.training
    assert model.drop.module.training


def test_the_layers_of_a_subclass_are_its_attributes():
    model = WithCall()
    assert model.layers == [model.hidden, model.drop, model.last]
    assert model.get_layer(index=0) is model.hidden


@pytest.mark.parametrize("what", ["inputs", "outputs", "input_names", "output_names"])
def test_a_subclass_has_no_graph_to_ask(what):
    with pytest.raises(AttributeError, match="WithForward was not drawn from inputs to outputs, so it has no graph to ask"):
        getattr(WithForward(), what)


def test_a_subclass_may_be_drawn_in_its_constructor():
    class Drawn(Model):
        def __init__(self, width):
            x = Input(shape=(3,), name="x")
            super().__init__(x, Dense(width, name="y")(x))

    model = Drawn(5)
    assert model.output_shape == (None, 5)
    assert model(torch.ones(2, 3)).shape == (2, 5)


def test_a_drawn_subclass_with_a_call_of_its_own_runs_it():
    class Doubled(Model):
        def __init__(self):
            x = Input(shape=(3,), name="x")
            super().__init__(x, Dense(2, name="y")(x))

        def call(self, inputs):
            return 2 * self.get_layer("y")(inputs)

    inner = Doubled()
    x = Input(shape=(3,))
    data = torch.randn(2, 3)
    expected = 2 * inner.get_layer("y")(data)
    torch.testing.assert_close(inner(data), expected)
    torch.testing.assert_close(Model(x, inner(x))(data), expected)


# ---------------------------------------------------------------------- from_module


def test_a_module_somebody_built_keeps_its_parameters_and_names():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    model = Model.from_module(module)
    data = torch.randn(5, 3)
    assert torch.equal(model(data), module(data))
    assert list(model.state_dict()) == list(module.state_dict())
    assert {id(p) for p in model.parameters()} == {id(p) for p in module.parameters()}


def test_a_module_that_takes_several_inputs():
    model = Model.from_module(nn.Bilinear(3, 4, 2))
    assert model(torch.ones(5, 3), torch.ones(5, 4)).shape == (5, 2)


class Pooled(nn.Module):
    """Takes arguments by name, as models of language do, and says which it was given."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, steps, mask=None, flag=None, training=None):
        self.given = (flag, training)
        return self.linear(steps if mask is None else steps * mask[..., None]).mean(1)


def test_a_module_takes_the_parts_of_a_dict_by_name():
    module, data = Pooled(), {"mask": torch.tensor([[1.0, 0.0]] * 5), "steps": torch.randn(5, 2, 3)}
    model = Model.from_module(module)
    model.compile("sgd", "mse", device="cpu")
    model.fit(data, torch.ones(5, 2), verbose=0)
    assert module.given == (None, True)
    np.testing.assert_allclose(model.predict(data, verbose=0), module(**data).detach(), rtol=1e-6)


@pytest.mark.parametrize("wrap", [Model.from_module, TorchModuleWrapper])
@pytest.mark.parametrize("flag", [True, False, None])
def test_an_argument_behind_the_inputs_is_the_modules_not_the_mode(wrap, flag):
    module = Pooled()
    wrap(module)(torch.ones(1, 2, 3), None, flag)
    assert module.given[0] is flag
    assert module.training


def test_a_traced_module_is_trained():
    model = Model.from_module(torch.jit.trace(nn.Bilinear(3, 3, 1), (torch.ones(2, 3), torch.ones(2, 3))))
    model.compile("sgd", "mse", device="cpu")
    before = model.get_weights()[0].copy()
    model.fit([torch.ones(4, 3)] * 2, torch.ones(4, 1), verbose=0)
    assert (model.get_weights()[0] != before).any()


def test_the_mode_of_the_module_is_that_of_the_model():
    module = nn.Sequential(nn.Dropout()).eval()
    model = Model.from_module(module)
    assert not model.training
    model.train()
    assert all(part.training for part in module.modules())


def test_a_module_that_keeps_parts_in_their_mode_does_so_in_training():
    class Frozen(nn.Sequential):
        def train(self, mode=True):
            super().train(mode)
            self[0].eval()
            return self

    for model in (original := Model.from_module(Frozen(nn.BatchNorm1d(3), nn.Linear(3, 1))), copy.deepcopy(original)):
        model.compile("sgd", "mse", device="cpu")
        model.fit(torch.randn(8, 3) + 5, torch.ones(8, 1), verbose=0)
        assert torch.equal(model.module[0].running_mean, torch.zeros(3))
        assert model.train() is model and model.module[1].training and not model.module[0].training


def test_a_model_around_a_module_has_weights():
    model = Model.from_module(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    assert model.count_params() == 16 + 8 + 9
    model.set_weights(model.get_weights())


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="from_module needs a torch.nn.Module, got function"):
        Model.from_module(lambda x: x)


# ---------------------------------------------------------------------- Sequential


@pytest.mark.parametrize(
    "begin",
    [
        [Input(shape=(3,)), Dense(4, name="hidden")],
        [Dense(4, input_shape=(3,), name="hidden")],
        [Dense(4, input_dim=3, name="hidden")],
        [Dense(4, batch_input_shape=(None, 3), name="hidden")],
    ],
)
def test_the_ways_to_begin_a_stack(begin):
    model = Sequential([*begin, Activation("relu"), Dense(2)])
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 2))
    assert model(torch.ones(5, 3)).shape == (5, 2)


def test_a_stack_of_indices_begins_with_a_length():
    model = Sequential([Embedding(10, 4, input_length=5), Flatten(), Dense(1)])
    assert model.output_shape == (None, 1)
    assert model(torch.ones(2, 5, dtype=torch.int64)).shape == (2, 1)


def test_a_stack_grows_by_add():
    model = Sequential()
    model.add(Dense(4, input_shape=(3,)))
    assert model.output_shape == (None, 4)
    model.add(Dense(2))
    assert model.output_shape == (None, 2)
    assert [layer.units for layer in model.layers] == [4, 2]


def test_a_stack_shrinks_by_pop():
    model = Sequential([Dense(4, input_shape=(3,)), Dense(2)])
    model.pop()
    assert model.output_shape == (None, 4)
    assert len(model.state_dict()) == 2
    model.add(Dense(7))
    assert model(torch.ones(1, 3)).shape == (1, 7)


def test_a_stack_popped_empty_can_be_filled_again():
    model = Sequential([Dense(4, input_shape=(3,))])
    model.pop()
    model.add(Dense(2))
    assert model.output_shape == (None, 2)


def test_there_is_nothing_to_pop_from_an_empty_stack():
    with pytest.raises(TypeError, match="There is no layer to pop"):
        Sequential().pop()


def test_a_stack_without_a_shape_is_built_by_its_first_call():
    model = Sequential([Dense(4), Dense(2)])
    assert model.weights == []
    assert model(torch.ones(5, 3)).shape == (5, 2)
    assert model.output_shape == (None, 2)


def test_a_stack_that_begins_with_an_embedding_is_drawn_when_somebody_asks():
    for ask in (lambda model: model.build(), lambda model: model.summary(print_fn=lambda line: None), lambda model: model.output):
        model = Sequential([Embedding(10, 4), LSTM(3), Dense(1)])
        ask(model)
        assert (model.input_shape, model.output_shape) == ((None, None), (None, 1))
        assert model(torch.ones(2, 7, dtype=torch.int64)).shape == (2, 1)


def test_a_stack_that_needs_a_length_waits_for_data():
    model = Sequential([Embedding(10, 4), Flatten(), Dense(1)])
    with pytest.raises(ValueError, match="is not built yet: its shapes are unknown"):
        model.summary()
    model(torch.ones(2, 7, dtype=torch.int64))
    assert model.layers[1].output_shape == (None, 28)


def test_a_stack_that_knows_its_shape_may_be_built_without_one():
    model = Sequential([Dense(2, input_shape=(3,))])
    model.build()
    assert [weight.shape for weight in model.get_weights()] == [(3, 2), (2,)]
    with pytest.raises(ValueError, match="The shape of the input is not known yet"):
        Sequential([Dense(2)]).build()


def test_a_stack_without_a_shape_is_built_by_build():
    model = Sequential([Dense(4), Dense(2)])
    model.build((None, 3))
    assert model.output_shape == (None, 2)


def test_a_stack_without_a_shape_is_built_inside_another_model():
    x = Input(shape=(3,))
    inner = Sequential([Dense(4), Dense(2)])
    assert Model(x, inner(x)).output_shape == (None, 2)


def test_the_layers_of_a_stack_leave_the_input_out():
    model = Sequential([Input(shape=(3,)), Dense(4, name="a"), Dense(2, name="b")])
    assert [layer.name for layer in model.layers] == ["a", "b"]


def test_keys_of_a_stack_are_under_the_layers_names():
    model = Sequential([Dense(4, input_shape=(3,)), Dense(2, name="last")])
    assert list(model.state_dict()) == ["dense_1.weight", "dense_1.bias", "last.weight", "last.bias"]


def test_models_and_torch_modules_may_be_stacked():
    model = Sequential([simple(), nn.ReLU(), Sequential([Dense(5)]), nn.Linear(5, 1)])
    assert model.output_shape == (None, 1)
    assert isinstance(model.layers[1], TorchModuleWrapper)


def test_a_class_among_the_layers_is_told_to_be_an_object():
    with pytest.raises(TypeError, match=r"got <class '.*Dense'> of type .*. Make an object of it: Dense\(...\)"):
        Sequential([Dense])


@pytest.mark.parametrize("layers", [(Dense(2),), (Dense(2), Dense(1))], ids=len)
def test_layers_outside_a_list_are_told_to_be_in_one(layers):
    with pytest.raises(TypeError, match="come in a list"):
        Sequential(*layers)


def test_a_torch_module_instead_of_inputs_is_told_where_it_goes():
    with pytest.raises(ValueError, match=r"A torch module is trained by Model.from_module\(module\)"):
        Model(nn.Linear(3, 1))


@pytest.mark.parametrize("value", ["relu", torch.relu, 3, None, Dense])
def test_what_is_no_layer_cannot_be_stacked(value):
    with pytest.raises(TypeError, match="A Sequential model is made of layers, got"):
        Sequential().add(value)


def test_an_input_comes_first():
    with pytest.raises(ValueError, match="An Input can only come first"):
        Sequential([Dense(2), Input(shape=(3,))])


def test_a_layer_that_does_not_fit_is_not_added():
    model = Sequential([Dense(4, input_shape=(3,), name="a")])
    with pytest.raises(ValueError, match=r"b \(Lambda\) cannot take input of shape \(None, 4\)"):
        model.add(Lambda(lambda x: x @ torch.ones(7, 2), name="b"))
    assert [layer.name for layer in model.layers] == ["a"]
    assert model.output_shape == (None, 4)


def test_a_layer_of_several_outputs_does_not_fit_a_stack():
    with pytest.raises(ValueError, match="returns one tensor, but halves returned several"):
        Sequential([Lambda(lambda x: x.chunk(2, -1), name="halves", input_shape=(4,))])


def test_two_layers_of_one_name_are_refused_in_a_stack():
    model = Sequential([Dense(4, input_shape=(3,), name="twin")])
    with pytest.raises(ValueError, match="Two layers are named 'twin'"):
        model.add(Dense(2, name="twin"))
    assert model.output_shape == (None, 4)


def test_two_layers_of_one_name_are_refused_when_the_stack_is_built():
    model = Sequential([Dense(4, name="twin"), Dense(2, name="twin")])
    with pytest.raises(ValueError, match="Two layers are named 'twin'"):
        model(torch.ones(1, 3))


def test_an_empty_stack_says_so():
    with pytest.raises(ValueError, match="has no layers yet"):
        Sequential()(torch.ones(1, 3))


def test_a_stack_without_a_shape_is_called_on_a_list_of_one():
    assert Sequential([Dense(2)])([torch.ones(4, 3)]).shape == (4, 2)


@pytest.mark.parametrize("given", [[torch.ones(1, 3)] * 2, {"x": torch.ones(1, 3)}, [[1.0, 2.0]]])
def test_a_stack_without_a_shape_says_on_what_it_is_called(given):
    with pytest.raises(TypeError, match="is called on one tensor or array, got"):
        Sequential([Dense(2)])(given)


def test_one_layer_may_be_stacked_twice():
    layer = Dense(3, input_shape=(3,))
    model = Sequential([layer, layer])
    data = torch.randn(2, 3)
    torch.testing.assert_close(model(data), layer(layer(data)))
    assert model.count_params() == 12


# ---------------------------------------------------------------------- copies

MAKERS = {
    "drawn": simple,
    "forked": forked,
    "sequential": lambda: Sequential([Dense(4, activation="relu", input_shape=(3,)), Dropout(0.5), Dense(2)]),
    "forward": WithForward,
    "call": WithCall,
    "module": lambda: Model.from_module(nn.Sequential(nn.Linear(3, 2))),
    "nested": lambda: Model(x := Input(shape=(3,)), simple()(x) * nn.Parameter(torch.ones(2))),
}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("kind", MAKERS)
def test_a_copy_computes_the_same_with_weights_of_its_own(kind, copied):
    model = MAKERS[kind]().eval()
    data = [torch.randn(5, 3)] * (2 if kind == "forked" else 1)
    expected = _first(model(*data))
    again = copied(model)
    assert torch.equal(_first(again(*data)), expected)
    assert list(again.state_dict()) == list(model.state_dict())
    assert not {id(p) for p in again.parameters()} & {id(p) for p in model.parameters()}
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.add_(1)
    assert torch.equal(_first(model(*data)), expected)
    assert not torch.equal(_first(again(*data)), expected)


@pytest.mark.parametrize("kind", ["drawn", "sequential", "nested"])
def test_the_layers_of_a_copy_hold_the_copys_weights(kind):
    again = copy.deepcopy(MAKERS[kind]())
    held = {id(weight) for layer in again.layers for weight in layer.weights}
    assert held <= {id(parameter) for parameter in again.parameters()}
    again.set_weights([np.zeros_like(array) for array in again.get_weights()])
    assert not _first(again(torch.ones(1, 3))).any()


def _first(outputs):
    return outputs[0] if isinstance(outputs, list) else outputs


# ---------------------------------------------------------------------- summary, code


def test_a_summary_is_printed_through_the_given_function():
    lines = []
    simple().summary(print_fn=lines.append)
    assert any("first (Dense)" in line for line in lines)


def test_the_code_of_a_model_is_readable():
    assert "first = self.first(x)" in simple().code


def test_to_torch_runs_without_the_layers():
    model = simple()
    module = model.to_torch()
    assert not any(isinstance(part, Layer) for part in module.modules())
    data = torch.randn(2, 3)
    assert torch.equal(module(data), model(data))


def test_a_layer_called_again_after_the_model_was_made_leaves_the_model_alone():
    model = simple()
    layer = model.get_layer("first")
    layer(Input(shape=(3,)))
    assert model.output_shape == (None, 2)
    assert [node.name for node in model.lowered.graph.nodes][:2] == ["x", "first"]


def round_trip(model):
    copied = type(model).from_config(json.loads(json.dumps(model.get_config())))
    copied.set_weights(model.get_weights())
    return copied


def test_the_input_of_a_stack_is_part_of_its_configuration():
    model = Sequential([Input((3,), dtype="float64", name="rows"), Dense(2)])
    copied = Sequential.from_config(json.loads(json.dumps(model.get_config())))
    assert (copied.input_shape, copied.input_names, copied.inputs[0].dtype) == ((None, 3), ["rows"], torch.float64)


def test_a_stack_without_an_input_has_none_after_a_round_trip_of_the_configuration():
    copied = Sequential.from_config(Sequential([Dense(2)]).get_config())
    assert copied(torch.ones(1, 5)).shape == (1, 2)


def test_a_stack_is_called_in_the_mode_that_is_asked_for():
    model, x = Sequential([Input((100,)), Dropout(0.5)]), torch.ones(1, 100)
    assert torch.equal(model(x, training=False), x) and not torch.equal(model(x, training=True), x)


def test_a_layer_shared_across_a_nested_model_is_one_layer_after_a_round_trip_of_the_configuration():
    shared, entry, x = Dense(4), Input((4,)), Input((4,))
    model = Model(x, shared(Model(entry, shared(entry))(shared(x))))
    copied = round_trip(model)
    assert len(copied.get_weights()) == 2
    np.testing.assert_allclose(copied.predict(np.eye(4)), model.predict(np.eye(4)), rtol=1e-6)


def test_layers_reused_at_several_depths_survive_a_round_trip_of_the_configuration():
    x, first, second, last = Input((4,)), Dense(4), Dense(4), Dense(3)
    once = second(first(x))
    twice = second(first(once))
    model = Model(x, [last(once), last(twice), twice])
    for ours, theirs in zip(model.predict(np.eye(4)), round_trip(model).predict(np.eye(4)), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-6)


def test_two_clones_of_a_model_without_a_name_go_into_one_model():
    model = Sequential([Dense(4, input_shape=(4,))])
    x = Input((4,))
    assert len(Model(x, clone_model(model)(clone_model(model)(x))).state_dict()) == 4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_model_that_was_cast_takes_data_of_its_new_type(dtype):
    x = Input(shape=(3,))
    model = Model(x, Dense(2)(x)).to(dtype)
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    assert torch.as_tensor(model.predict(np.ones((4, 3)))).dtype == dtype


class Subclassed(Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = Dense(4), Dense(2)

    def call(self, inputs):
        return self.out(self.hidden(inputs))


def test_build_makes_the_weights_of_a_subclassed_model():
    model = Subclassed()
    model.build((None, 3))
    assert [weight.shape for weight in model.get_weights()] == [(3, 4), (4,), (4, 2), (2,)]


def test_an_input_of_another_float_type_is_cast_for_layers_with_weights():
    x = Input(shape=(3,), dtype="float64")
    model = Model(x, Dense(2)(x))
    model.compile("sgd", "mse")
    assert len(model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0).history["loss"]) == 1


def test_a_model_without_weights_computes_in_the_type_of_its_input():
    x = Input(shape=(1,), dtype="float64")
    model, rows = Model(x, x - 1), np.array([[1 + 1e-12]])
    assert model.predict(rows, verbose=0) == rows - 1
    assert model(torch.tensor(rows)) == torch.tensor(rows) - 1


def test_the_metric_objects_can_be_asked_for():
    x = Input(shape=(3,))
    model = Model(x, Dense(1)(x))
    assert model.metrics == []
    model.compile("sgd", "mse", metrics=["mae"])
    assert [metric.name for metric in model.metrics] == ["loss", "mae"]
    figures = model.evaluate(np.ones((4, 3)), np.ones(4), verbose=0)
    np.testing.assert_allclose([float(metric.result()) for metric in model.metrics], figures, rtol=1e-6)


def test_a_subclassed_model_is_called_on_a_packed_sequence():
    class Reader(Model):
        def __init__(self):
            super().__init__()
            self.read, self.out = nn.GRU(3, 4, batch_first=True), Dense(2)

        def call(self, inputs):
            return self.out(self.read(inputs)[1][0])

    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 3), torch.ones(2, 3)])
    assert Reader()(packed).shape == (2, 2)


def test_a_regularizer_of_a_weight_that_is_not_trained_costs_nothing():
    class Scaled(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight(name="scale", shape=(1,), initializer="ones", regularizer="l2", trainable=False)

        def call(self, inputs):
            return inputs * self.scale

    x = Input(shape=(1,))
    model = Model(x, Scaled()(x))
    model.compile("sgd", "mse")
    assert model.test_on_batch(np.ones((1, 1)), np.ones((1, 1))) == 0.0


def test_a_model_says_whether_it_was_compiled():
    model = Sequential([Input(shape=(2,)), Dense(1)])
    before = model.compiled
    model.compile("sgd", "mse")
    assert (before, model.compiled) == (False, True)
