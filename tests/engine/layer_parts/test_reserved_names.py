"""Names of torch's methods that Keras programs use for things of their own."""

import copy
import types

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, Sequential, Trainer
from torchkeras_fn.layers import Dense, Dropout, Layer, TimeDistributed

IMAGES = np.ones((8, 3), "float32")


class Program(Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.dropout = Dense(4), Dropout(0.5)
        self.epochs_run = 0

    def call(self, inputs):
        return self.dropout(self.hidden(inputs))

    def train(self, epochs, batch_size=4):
        for _ in range(epochs):
            self.train_on_batch(IMAGES[:batch_size], np.ones((batch_size, 4)))
            self.epochs_run += 1
        return "trained"


def compiled_program():
    program = Program()
    program.compile("sgd", "mse")
    return program


def test_a_loop_called_train_runs():
    program = compiled_program()
    assert (program.train(3, batch_size=2), program.epochs_run) == ("trained", 3)


def test_a_model_with_a_loop_called_train_predicts_in_inference_mode():
    program = compiled_program()
    assert np.array_equal(program.predict(IMAGES, verbose=0), program.predict(IMAGES, verbose=0))


def test_fit_does_not_start_a_loop_called_train():
    program = compiled_program()
    program.fit(IMAGES, np.ones((8, 4)), verbose=0)
    assert program.epochs_run == 0


def test_a_loop_inside_a_torch_module_is_left_alone_when_the_mode_is_switched():
    program = compiled_program()
    program.predict(IMAGES, verbose=0)
    torch.nn.Sequential(program).train(True)
    assert (program.epochs_run, program.dropout.training) == (0, True)


def test_a_train_without_arguments_is_the_programs_own():
    class Quiet(Program):
        def train(self):
            return "its own"

    assert Quiet().train() == "its own"


def test_a_loop_as_a_static_method_runs():
    class Static(Program):
        @staticmethod
        def train(images, labels):
            return images, labels

    assert Static().train(1, 2) == (1, 2)


def test_a_train_that_takes_a_mode_is_what_switches_it():
    class Frozen(Program):
        def train(self, mode=True):
            return super(Program, self).train(False)

    assert not Frozen().train().training


def test_a_loop_bound_to_a_drawn_model_as_train_runs_and_its_mode_is_switched():
    x = Input((3,))
    model = Model(x, Dropout(0.5)(Dense(2)(x)))
    model.train = types.MethodType(lambda self, images, epochs=1: (self, images, epochs), model)
    assert np.array_equal(model.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    assert model.train("images", epochs=2) == (model, "images", 2)


def loop_of(model, images):
    return model, images


def test_a_copy_has_a_loop_bound_to_itself():
    model = Sequential([Input((3,)), Dense(2)])
    model.train = types.MethodType(loop_of, model)
    copied = copy.deepcopy(model)
    assert copied.train("images")[0] is copied


@pytest.mark.parametrize("name", ["parameters", "modules", "children", "train", "forward"])
def test_a_value_in_the_place_of_a_method_that_torch_needs_is_refused(name):
    class Own(Layer):
        def __init__(self):
            super().__init__()
            setattr(self, name, ["alpha"])

    with pytest.raises(ValueError, match=f"'{name}' is a method that every torch module needs, so Own cannot keep"):
        Own()


class Coder(Model):
    def __init__(self, code):
        super().__init__()
        self.code = code

    def call(self, inputs):
        return self.code(inputs)


@pytest.mark.parametrize("make", [lambda: Dense(2), lambda: torch.nn.Linear(3, 2), lambda: torch.sum])
def test_an_attribute_called_code_is_the_users(make):
    code = make()
    model = Coder(code)
    assert model.code is code
    np.testing.assert_allclose(model(torch.tensor(IMAGES)).detach(), code(torch.tensor(IMAGES)).detach())


def test_the_code_of_a_drawn_model_can_be_read():
    x = Input(shape=(3,))
    assert "def forward" in Model(x, Dense(2)(x)).code


@pytest.mark.parametrize("name", ["graph", "_graph", "objective", "lowered", "module", "_nodes"])
def test_a_model_says_at_once_what_it_keeps_itself(name):
    with pytest.raises(ValueError, match=f"Model keeps .* as '{name}'.*another name"):
        setattr(Model(), name, {"a": 1})


@pytest.mark.parametrize("name", ["module", "_nodes"])
def test_a_layer_says_at_once_what_it_keeps_itself(name):
    with pytest.raises(ValueError, match=f"Layer keeps .* as '{name}'.*another name"):
        setattr(Layer(), name, 3)


@pytest.mark.parametrize("name", ["objective", "graph", "lowered", "code"])
def test_what_models_alone_keep_is_free_in_layers(name):
    layer = Layer()
    for value in (3, {"a": 1}):
        setattr(layer, name, value)
    assert getattr(layer, name) == {"a": 1}


@pytest.mark.parametrize(("base", "name"), [(Layer, "module"), (Model, "module"), (Model, "graph"), (Model, "objective")])
def test_a_module_in_the_place_of_what_is_kept_here_is_refused(base, name):
    class Own(base):
        def __init__(self):
            super().__init__()
            setattr(self, name, torch.nn.Linear(3, 1))

    with pytest.raises(ValueError, match=f"as '{name}', so it cannot keep Linear.*give the attribute another name"):
        Own()


@pytest.mark.parametrize("value", ["lower bound", torch.nn.MSELoss()])
def test_a_trainer_says_when_it_is_compiled_what_it_keeps_itself(value):
    class Net(Trainer, torch.nn.Linear):
        pass

    net = Net(3, 1)
    net.objective = value
    with pytest.raises(ValueError, match="as 'objective', so Net cannot keep .*give the attribute another name"):
        net.compile("sgd", "mse")


@pytest.mark.parametrize("base", [(Trainer, torch.nn.Module), (Model,)])
@pytest.mark.parametrize("name", ["predict", "history"])
def test_a_part_under_a_name_of_the_trainers_is_refused_where_forward_would_not_find_it(base, name):
    class Net(*base):
        def __init__(self):
            super().__init__()
            setattr(self, name, torch.nn.Linear(3, 1))

        def forward(self, x):
            return getattr(self, name)(x)

    with pytest.raises(ValueError, match=f"as '{name}', so Net cannot keep Linear.*give the attribute another name"):
        Net().compile("sgd", "mse")


def test_a_layer_of_a_graph_and_a_part_of_a_module_may_have_a_name_of_the_trainers():
    x = Input((3,))
    for model in (Model(x, Dense(1, name="predict")(x)), Model.from_module(torch.nn.ModuleDict({"predict": torch.nn.Linear(3, 1)}))):
        model.compile("sgd", "mse")


class OnGraph(Layer):
    """Keeps the edges that it works on under names that models and inputs here have for other things."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.graph = torch.eye(3)
        self.open = [1, 2]

    def call(self, inputs):
        return inputs @ self.graph


def test_a_layer_may_keep_a_graph_of_its_own():
    x = Input(shape=(3,))
    model = Model(x, OnGraph()(x))
    model.summary(print_fn=lambda line: None, expand_nested=True)
    copied = copy.deepcopy(model)
    assert np.array_equal(copied.predict(IMAGES, verbose=0), IMAGES)
    steps = Input(shape=(2, 3))
    assert Model(steps, TimeDistributed(OnGraph())(steps)).predict(np.ones((1, 2, 3)), verbose=0).shape == (1, 2, 3)


def test_a_trainer_may_keep_a_graph_of_its_own():
    class Net(Trainer, torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.graph, self.calls = torch.eye(3), 0
            self.linear = torch.nn.Linear(3, 1)

        def forward(self, inputs):
            self.calls += 1
            return self.linear(inputs @ self.graph)

    net = Net()
    net.compile("sgd", "mse", device="cpu")
    net.fit(IMAGES, np.ones((8, 1)), batch_size=8, verbose=0)
    assert net.calls == 1
    net.linear.requires_grad_(False)
    net.compile("sgd", "mse", device="cpu")
    with pytest.warns(UserWarning, match="no weights to train"):
        net.fit(IMAGES, np.ones((8, 1)), verbose=0)
