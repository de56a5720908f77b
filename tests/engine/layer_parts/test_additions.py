"""What layers and models add to the loss and to the metrics: symbolic terms, functions, and tensors inside `call`."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, regularizers
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.additions import Additions, collecting
from torchkeras_fn.layers import Activation, Dense, Dropout

X, Y = np.arange(8, dtype="float32").reshape(8, 1), np.zeros(8)
MSE = float(np.square(X).mean())
METHODS = ["evaluate", "test_on_batch", "train_on_batch", "fit"]


def loss_of(model, method, x=X, y=Y):
    """Return the loss of a whole batch by any of the methods; `fit` and `train_on_batch` count it before their step."""
    if method == "fit":
        return model.fit(x, y, batch_size=8, verbose=0).history["loss"][0]
    found = getattr(model, method)(x, y, **({"verbose": 0} if method == "evaluate" else {}))
    return found[0] if isinstance(found, list) else found


def identity(loss="mse", *, terms=lambda x, y: (), layers=(), **options):
    """A model that returns its input, with some additions, compiled."""
    x = Input(shape=(1,), name="x")
    hidden = x
    for layer in layers:
        hidden = layer(hidden)
    y = Dense(1, kernel_initializer="ones", **options)(hidden)
    model = Model(x, y)
    for term in terms(x, y):
        model.add_loss(term)
    model.compile("sgd", loss)
    return model


# ---------------------------------------------------------------------- model.add_loss


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("terms", "value"),
    [
        (lambda x, y: [torch.mean(x)], 3.5),
        (lambda x, y: [torch.sum(x)], 28.0),
        (lambda x, y: [x], 3.5),
        (lambda x, y: [(y - x).abs(), 2 * x], 7.0),
        (lambda x, y: [[x, x]], 7.0),
        (lambda x, y: [lambda: torch.tensor(0.25)], 0.25),
        (lambda x, y: [lambda: 0.25], 0.25),
        (lambda x, y: [lambda: torch.tensor([1.0, 2.0])], 1.5),
        (lambda x, y: [x.mean(), lambda: 0.5], 4.0),
    ],
    ids=["mean", "sum", "per sample", "two", "a list", "function", "function of a number", "function of several", "both kinds"],
)
def test_terms_enter_the_loss_of_every_method(terms, value, method):
    assert loss_of(identity(terms=terms), method) == pytest.approx(MSE + value)


@pytest.mark.parametrize("method", METHODS)
def test_terms_alone_are_trained_on_and_need_no_targets(method):
    model = identity(None, terms=lambda x, y: [torch.mean(y**2)])
    assert loss_of(model, method, y=None) == pytest.approx(MSE)
    assert model.metrics_names == ["loss"]


def test_terms_are_trained_on():
    model = identity(None, terms=lambda x, y: [torch.mean((y - 2) ** 2)])
    before = model.evaluate(X, verbose=0)
    model.fit(X, epochs=20, verbose=0)
    assert model.evaluate(X, verbose=0) < 0.7 * before


def test_terms_may_be_added_after_compile():
    model = identity()
    model.add_loss(torch.mean(model.input))
    assert loss_of(model, "evaluate") == pytest.approx(MSE + 3.5)
    model.add_loss(lambda: 0.5)
    assert loss_of(model, "evaluate") == pytest.approx(MSE + 4.0)


def test_terms_reach_tensors_in_the_middle_of_the_graph():
    x = Input(shape=(1,))
    middle = Dense(1, kernel_initializer="ones")(x)
    model = Model(x, Dense(1, kernel_initializer="ones")(middle))
    model.add_loss(middle.mean() * 2)
    model.compile("sgd", "mse")
    assert loss_of(model, "evaluate") == pytest.approx(MSE + 7.0)


def test_nothing_to_train_on_is_an_error_at_compile():
    x = Input(shape=(1,))
    with pytest.raises(ValueError, match="nothing to train on"):
        Model(x, Dense(1)(x)).compile("sgd")


def test_losses_given_by_a_function_train_what_they_read():
    x = Input(shape=(1,))
    layer = Dense(1, kernel_initializer="ones")
    model = Model(x, layer(x))
    model.add_loss(lambda: 3 * layer.weights[0].square().sum())
    model.compile("sgd")
    model.train_on_batch(X, None)
    assert model.get_weights()[0][0, 0] == pytest.approx(1 - 0.01 * 6)


# ---------------------------------------------------------------------- layer.add_loss, tensors inside call


class Activity(Layer):
    def __init__(self, factor=0.1, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        self.add_loss(self.factor * inputs.sum())
        return inputs


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_adds_terms_inside_its_call(method):
    assert loss_of(identity(layers=[Activity()]), method) == pytest.approx(MSE + 2.8)


def test_a_layer_that_is_called_twice_adds_its_term_twice():
    layer = Activity()
    assert loss_of(identity(layers=[layer, layer]), "evaluate") == pytest.approx(MSE + 5.6)


def test_a_layer_adds_a_term_in_a_nested_model():
    inner = Sequential([Activity(), Dense(1, kernel_initializer="ones", input_shape=(1,))])
    assert loss_of(identity(layers=[inner]), "evaluate") == pytest.approx(MSE + 2.8)


def test_a_layer_adds_a_function_of_its_weights():
    layer = Dense(1, kernel_initializer="ones")
    layer.add_loss(lambda: 3.0 * layer.weights[0].sum())
    assert loss_of(identity(layers=[layer]), "evaluate") == pytest.approx(MSE + 3.0)


def test_a_layer_adds_a_symbolic_term():
    x = Input(shape=(1,))
    layer = Dense(1, kernel_initializer="ones")
    y = layer(x)
    layer.add_loss(y.mean())
    model = Model(x, y)
    model.compile("sgd", "mse")
    assert loss_of(model, "evaluate") == pytest.approx(MSE + 3.5)


def test_a_layer_adds_terms_in_a_subclassed_model():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.activity = Activity()
            self.dense = Dense(1, kernel_initializer="ones")

        def call(self, inputs):
            self.add_loss(inputs.mean())
            return self.dense(self.activity(inputs))

    net = Net()
    net.compile("sgd", "mse")
    for method in METHODS[:3]:
        assert loss_of(net, method) == pytest.approx(MSE + 2.8 + 3.5)


def test_terms_do_not_pile_up_over_batches():
    model = identity(layers=[Activity()])
    for _ in range(3):
        assert model.test_on_batch(X, Y) == pytest.approx(MSE + 2.8)


def test_a_layer_that_is_called_alone_keeps_the_terms_of_its_last_call():
    layer = Activity()
    for _ in range(2):
        layer(torch.ones(2, 1))
        assert [loss.item() for loss in layer.losses] == [pytest.approx(0.2)]


def test_terms_are_gathered_in_the_block_they_are_added_in():
    with collecting() as outer:
        Additions().add_loss(torch.tensor(1.0))
        with collecting() as inner:
            Additions().add_loss([torch.tensor(2.0), 3.0])
        Additions().add_metric(torch.tensor(4.0), name="figure")
    assert [loss.item() for loss in outer.losses] == [1.0] and [loss.item() for loss in inner.losses] == [2.0, 3.0]
    assert [(name, value.item()) for name, value in outer.metrics] == [("figure", 4.0)]


@pytest.mark.parametrize("whose", ["layer", "model"])
def test_a_term_that_was_computed_once_is_refused(whose):
    """It would be forgotten with the next call: what it was computed from has changed by then."""
    x, dense = Input(shape=(1,)), Dense(1)
    model = Model(x, dense(x))
    term = dense.kernel.square().sum()
    with pytest.raises(ValueError, match=r"lambda: \.\.\."):
        {"layer": dense, "model": model}[whose].add_loss(term)
    assert model.losses == []


def test_terms_added_in_a_train_step_count_in_that_step_alone():
    class Bounded(Model):
        def train_step(self, batch):
            x, y = batch[:2]
            prediction = self(x, training=True)
            self.add_loss(10 * prediction.square().mean())
            loss = self.compute_loss(x=x, y=y, y_pred=prediction)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return {"loss": loss}

    x = Input(shape=(1,))
    model = Bounded(x, Dense(1, kernel_initializer="ones")(x))
    model.compile(torch.optim.SGD(model.parameters(), lr=0.0), "mse")
    assert model.fit(np.ones((3, 1)), np.ones((3, 1)), batch_size=1, verbose=0).history["loss"] == [10.0]


def test_terms_are_not_gathered_after_an_error():
    with pytest.raises(KeyError), collecting():
        raise KeyError
    layer = Additions()
    layer.add_loss(torch.tensor(1.0))
    assert len(layer.losses) == 1
    layer.forget_losses()
    assert layer.losses == []


# ---------------------------------------------------------------------- activity regularizers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("regularizer", [regularizers.L1(0.1), lambda outputs: 0.1 * outputs.abs().sum()], ids=["object", "function"])
def test_activity_regularizers_are_summed_over_the_batch(method, regularizer):
    assert loss_of(identity(activity_regularizer=regularizer), method) == pytest.approx(MSE + 2.8)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_activity_regularizers_count_inside_nested_models(depth):
    layer = Dense(1, kernel_initializer="ones", activity_regularizer=regularizers.L1(0.1), input_shape=(1,))
    for _ in range(depth):
        layer = Sequential([layer])
    assert loss_of(identity(layers=[layer]), "evaluate") == pytest.approx(MSE + 2.8)


def test_activity_regularizers_count_for_every_call_of_a_shared_layer_or_model():
    layer = Dense(1, kernel_initializer="ones", activity_regularizer=regularizers.L1(0.1), input_shape=(1,))
    assert loss_of(identity(layers=[layer, layer]), "evaluate") == pytest.approx(MSE + 5.6)
    inner = Sequential([layer])
    assert loss_of(identity(layers=[inner, inner]), "evaluate") == pytest.approx(MSE + 5.6)


def test_activity_regularizers_see_what_comes_out_of_the_activation():
    layer = Dense(1, kernel_initializer="ones", activation=lambda x: 0 * x + 1, activity_regularizer=regularizers.L1(0.1))
    x = Input(shape=(1,))
    model = Model(x, layer(x))
    model.compile("sgd", "mse")
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(1 + 0.8)


@pytest.mark.parametrize("loss", ["scce", nn.CrossEntropyLoss()], ids=["logits", "probabilities"])
def test_activity_regularizers_on_a_softmax_see_probabilities(loss):
    x = Input(shape=(1,))
    model = Model(x, Dense(2, activation="softmax", kernel_initializer="ones", activity_regularizer=regularizers.L1(0.5))(x))
    model.compile("sgd", loss)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(np.log(2) + 0.5 * 8)


def test_activity_regularizers_work_where_layers_are_called_by_hand():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(1, kernel_initializer="ones", activity_regularizer=regularizers.L1(0.1))

        def call(self, inputs):
            return self.dense(inputs)

    net = Net()
    net.compile("sgd", "mse")
    assert loss_of(net, "evaluate") == pytest.approx(MSE + 2.8)


# ---------------------------------------------------------------------- regularizers and constraints of weights


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "regularizer", ["l2", regularizers.L2(0.01), lambda kernel: 0.01 * kernel.square().sum()], ids=["name", "object", "function"]
)
def test_kernel_regularizers_enter_the_loss(regularizer, method):
    assert loss_of(identity(kernel_regularizer=regularizer), method) == pytest.approx(MSE + 0.01)


def test_a_regularizer_may_return_a_number():
    assert loss_of(identity(kernel_regularizer=lambda kernel: 0.5), "evaluate") == pytest.approx(MSE + 0.5)


def test_regularizers_of_a_shared_layer_count_once():
    layer = Dense(1, kernel_initializer="ones", kernel_regularizer="l2")
    assert loss_of(identity(layers=[layer, layer]), "evaluate") == pytest.approx(MSE + 0.01)


def test_regularizers_count_inside_nested_models():
    inner = Sequential([Dense(1, kernel_initializer="ones", kernel_regularizer="l2", input_shape=(1,))])
    assert loss_of(identity(layers=[Sequential([inner])]), "evaluate") == pytest.approx(MSE + 0.01)


def test_regularizers_see_the_kernel_as_keras_lays_it_out():
    seen = []
    x = Input(shape=(2,))
    model = Model(x, Dense(3, kernel_regularizer=lambda kernel: seen.append(kernel.shape) or kernel.sum() * 0)(x))
    model.compile("sgd", "mse")
    model.evaluate(np.ones((2, 2)), np.ones((2, 3)), verbose=0)
    assert set(seen) == {(2, 3)}


def test_regularizers_are_trained_on():
    model = identity(None, kernel_regularizer=regularizers.L2(1.0))
    model.train_on_batch(X, None)
    assert model.get_weights()[0][0, 0] == pytest.approx(1 - 0.01 * 2)


def test_regularizers_alone_are_something_to_train_on_for_add_weight_too():
    class Scale(Layer):
        def build(self, input_shape):
            self.factor = self.add_weight("factor", (1,), initializer="ones", regularizer="l2", constraint="non_neg")

        def call(self, inputs):
            return inputs * self.factor

    assert loss_of(identity(layers=[Scale()]), "evaluate") == pytest.approx(MSE + 0.01)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
def test_constraints_hold_after_every_step(method, optimizer):
    model = identity(kernel_constraint="non_neg", bias_constraint="non_neg")
    model.compile(optimizer, "mse")
    model.optimizer.lr = 10.0
    loss_of(model, method)
    assert all((weight >= 0).all() for weight in model.get_weights())


def test_constraints_hold_with_a_torch_optimizer():
    model = identity(kernel_constraint="non_neg")
    model.compile(torch.optim.SGD(model.parameters(), lr=10.0), "mse")
    model.train_on_batch(X, Y)
    assert (model.get_weights()[0] >= 0).all()


def test_constraints_see_the_kernel_as_keras_lays_it_out():
    x = Input(shape=(3,))
    model = Model(x, Dense(2, kernel_constraint="unit_norm")(x))
    model.compile("sgd", "mse")
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    np.testing.assert_allclose(np.linalg.norm(model.get_weights()[0], axis=0), [1, 1], rtol=1e-5)


# ---------------------------------------------------------------------- add_metric


@pytest.mark.parametrize("method", ["evaluate", "test_on_batch", "train_on_batch"])
def test_a_symbolic_figure_is_in_the_logs(method):
    x = Input(shape=(1,))
    model = Model(x, Dense(1, kernel_initializer="ones")(x))
    model.add_metric(x.mean(), name="level")
    model.add_metric((x > 2).sum(), name="high")
    model.compile("sgd", "mse")
    assert model.metrics_names == ["loss", "level", "high"]
    found = getattr(model, method)(X, Y, return_dict=True, **({"verbose": 0} if method == "evaluate" else {}))
    assert found == {"loss": pytest.approx(MSE), "level": pytest.approx(3.5), "high": pytest.approx(5.0)}


def test_figures_are_means_over_the_samples_and_validated():
    x = Input(shape=(1,))
    model = Model(x, Dense(1)(x))
    model.add_metric(x.mean(), name="level")
    model.compile("sgd", "mse")
    history = model.fit(X, Y, batch_size=3, verbose=0, validation_data=(X[:2], Y[:2])).history
    assert history["level"] == [pytest.approx(3.5)] and history["val_level"] == [pytest.approx(0.5)]


def test_a_figure_may_be_added_after_compile():
    model = identity()
    model.add_metric(model.input.mean(), name="level")
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["level"] == pytest.approx(3.5)
    assert model.metrics_names == ["loss", "level"]


def test_a_layer_adds_a_figure_inside_its_call():
    class Watch(Layer):
        def call(self, inputs):
            self.add_metric(inputs.amax(), name="largest")
            return inputs

    model = identity(layers=[Watch()])
    assert model.evaluate(X, Y, verbose=0, return_dict=True) == {"loss": pytest.approx(MSE), "largest": 7.0}
    assert model.fit(X, Y, verbose=0, batch_size=8).history["largest"] == [7.0]


def test_a_figure_has_a_name():
    model = identity()
    model.add_metric(Activation("relu", name="rectified")(model.input))
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["rectified"] == pytest.approx(3.5)


def test_figures_add_nothing_to_the_loss_and_have_no_gradient():
    model = identity()
    model.add_metric(model.output.mean() * 1e6, name="huge")
    first, second = model, identity()
    for other in (first, second):
        other.train_on_batch(X, Y)
    np.testing.assert_array_equal(first.get_weights()[0], second.get_weights()[0])


def test_a_figure_cannot_hide_the_loss():
    with pytest.raises(ValueError, match="'loss'"):
        identity().add_metric(torch.tensor(1.0), name="loss")


@pytest.mark.parametrize("aggregation", ["sum", "last"])
def test_only_means_are_known(aggregation):
    with pytest.raises(ValueError, match="'aggregation' must be 'mean'"):
        Additions().add_metric(torch.tensor(1.0), aggregation=aggregation)


def test_adding_does_not_disturb_dropout_or_training_modes():
    model = identity(layers=[Dropout(0.5)], terms=lambda x, y: [y.mean()])
    model.fit(X, Y, verbose=0)
    assert model.training
    assert np.array_equal(model.predict(X), model.predict(X))


def test_what_a_models_own_call_adds_is_a_mean_over_the_epoch():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(1)

        def call(self, inputs):
            self.add_metric(inputs.mean(), name="level")
            return self.dense(inputs)

    model, x = Net(), np.arange(4.0).reshape(4, 1)
    model.compile("sgd", "mse", device="cpu")
    assert model.fit(x, x, batch_size=1, epochs=2, verbose=0).history["level"] == [1.5, 1.5]
    assert model.evaluate(x, x, batch_size=1, verbose=0, return_dict=True)["level"] == 1.5


def test_a_model_of_several_outputs_without_losses_trains_on_what_was_added():
    """As Mask R-CNN is compiled: with a `None` for each output."""
    x = Input(shape=(3,))
    outputs = [Dense(2, kernel_initializer="ones")(x), Dense(1)(x)]
    model = Model(x, outputs)
    model.add_loss((outputs[0] ** 2).mean())
    model.compile("sgd", loss=[None] * len(model.outputs), device="cpu")
    losses = model.fit(np.ones((4, 3)), epochs=2, verbose=0).history["loss"]
    assert losses[0] == 9.0 and losses[1] < losses[0]
    assert model.metrics_names == ["loss"]
