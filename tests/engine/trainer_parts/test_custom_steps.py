"""Steps of which a user wrote a part, or all."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Model, Trainer
from torchkeras_fn.layers import Dense, Input, Layer
from torchkeras_fn.metrics import Mean
from torchkeras_fn.optimizers import SGD

X, Y = np.random.default_rng(0).random((8, 3)).astype("float32"), np.random.default_rng(1).random((8, 1)).astype("float32")
WEIGHT = np.arange(8, dtype="float32")


class Twice(Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return 2 * super().compute_loss(x, y, y_pred, sample_weight)


class Modes(Model):
    modes: list[bool] = []

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        self.modes.append(training)
        return super().compute_loss(x, y, y_pred, sample_weight, training)


class Logged(Model):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "largest": y_pred.max()}


def drawn(cls=Model, **compiled):
    x = Input(shape=(3,))
    model = cls(x, Dense(1)(x))
    model.set_weights([np.full((3, 1), 0.5), np.zeros(1)])
    model.compile(**{"optimizer": "sgd", "loss": "mse", "metrics": ["mae"], "device": "cpu", **compiled})
    return model


def test_a_loss_of_the_users_trains_and_is_logged():
    own, plain = drawn(Twice), drawn(loss_weights=[2.0])
    for model in (own, plain):
        model.history = model.fit(X, Y, sample_weight=WEIGHT, batch_size=3, epochs=2, shuffle=False, verbose=0)
    for ours, theirs in zip(own.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(own.history.history["loss"], plain.history.history["loss"], rtol=1e-5)
    assert own.history.history["mae"] == pytest.approx(plain.history.history["mae"])
    assert own.evaluate(X, Y, verbose=0) == pytest.approx(plain.evaluate(X, Y, verbose=0), rel=1e-5)
    assert own.train_on_batch(X, Y) == pytest.approx(plain.train_on_batch(X, Y), rel=1e-5)


def test_a_loss_of_the_users_needs_no_other():
    class Own(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 1)

        def forward(self, x):
            return self.linear(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return ((y - y_pred) ** 2).mean()

    model = Own()
    model.compile("adam", device="cpu")
    losses = model.fit(X, Y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_a_loss_is_told_the_mode_where_it_asks():
    model = drawn(Modes)
    model.modes.clear()
    model.fit(X, Y, batch_size=8, validation_data=(X, Y), verbose=0)
    assert model.modes == [True, False]


def test_figures_of_the_users_are_logged_beside_the_loss_of_the_step():
    class Both(Twice, Logged):
        pass

    model, plain = drawn(Both), drawn(loss_weights=[2.0])
    logs, known = (each.evaluate(X, Y, return_dict=True, verbose=0) for each in (model, plain))
    assert logs == pytest.approx({**known, "largest": model.predict(X).max()})


class Keras(Model):
    given: list[int] = []

    def train_step(self, data):
        self.given.append(len(data))
        logs = super().train_step(data)
        logs["mine"] = 3.0
        return logs

    def test_step(self, data):
        x, y = data
        self.given.append(2)
        return {"error": (self(x) - y).abs().mean()}

    def predict_step(self, data):
        return self(data)


def test_steps_with_an_argument_called_data_are_given_what_keras_gives_them():
    model = drawn(Keras)
    model.given.clear()
    history = model.fit(X, Y, batch_size=8, validation_data=(X, Y), verbose=0).history
    assert model.given == [2, 2] and history["mine"] == [3.0] and set(history) == {"loss", "mae", "mine", "val_error"}
    model.train_on_batch(X, Y, sample_weight=WEIGHT)
    assert model.given == [2, 2, 3]
    assert model.test_on_batch(X, Y) == pytest.approx(np.abs(model.predict(X) - Y).mean())
    np.testing.assert_array_equal(model.predict_on_batch(X), model.predict(X))


def test_a_step_finds_the_metrics_of_compile_from_its_first_batch_on():
    class Step(Model):
        def train_step(self, data):
            x, y = data
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
            for metric in self.metrics:
                metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    inputs = Input(shape=(3,))
    model = Step(inputs, Dense(1, "sigmoid")(inputs))
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    figures = model.fit(X, Y.round(), epochs=2, verbose=0).history
    assert figures["accuracy"] == pytest.approx([model.evaluate(X, Y.round(), verbose=0)[1]] * 2)


class Pair(Model):
    def train_step(self, batch):
        x, y = batch


class ByName(Model):
    def train_step(self, batch):
        return {"loss": self(batch["x"]).mean()}


@pytest.mark.parametrize(("Own", "kind"), [(Pair, ValueError), (ByName, TypeError)])
def test_a_step_that_takes_a_batch_for_a_pair_or_a_dict_is_told_of_its_three_parts(Own, kind):
    x = Input(shape=(3,))
    own = Own(x, Dense(1)(x))
    own.compile("sgd", "mse")
    with pytest.raises(kind, match=r"train_step\(batch\) is given three parts.*argument is called data"):
        own.fit(X, Y, verbose=0)


def test_the_object_itself_may_have_any_name_in_a_step():
    class Own(Model):
        def train_step(model, data):
            x, y = data
            return super().train_step((x, y))

    x = Input(shape=(3,))
    own = Own(x, Dense(1)(x))
    own.compile("sgd", "mse")
    assert own.train_on_batch(X, Y) > 0


def test_a_step_that_keras_data_is_given_to_ends_an_epoch_when_it_says_so():
    class Stops(Model):
        def train_step(self, data):
            self.stop_training = True
            return super().train_step(data)

    model = drawn(Stops)
    model.fit(X, Y, batch_size=1, epochs=5, verbose=0)
    assert model.optimizer.iterations == 1


class TwoOptimizers(Model):
    """As a GAN of keras.io: its `compile` takes what its step needs, and leaves the rest to Keras."""

    def __init__(self):
        super().__init__()
        self.dense = Dense(1)

    def call(self, x):
        return self.dense(x)

    def compile(self, first, second):
        super().compile()
        self.optimizers = first, second

    def train_step(self, data):
        for optimizer in self.optimizers:
            self.zero_grad()
            loss = (self(data[0]) - data[1]).pow(2).mean()
            loss.backward()
            optimizer.apply(gradients_of(self.trainable_weights), self.trainable_weights)
        return {"loss": loss}


def gradients_of(weights):
    return [weight.grad for weight in weights]


def test_a_step_with_optimizers_of_its_own_is_compiled_without_one():
    model = TwoOptimizers()
    model.compile(SGD(0.1), SGD(0.0))
    model.fit(X, Y, epochs=3, verbose=0)
    assert model.optimizers[0].iterations == model.optimizers[1].iterations > 0
    assert model.optimizer.iterations == 0


def test_a_loss_without_a_gradient_is_refused():
    model = drawn(loss=lambda y_true, y_pred: torch.as_tensor(np.mean(np.square(y_true.numpy() - y_pred.detach().numpy()))))
    before = model.get_weights()
    with pytest.raises(ValueError, match="The loss has no gradient"):
        model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    model.layers[1].trainable = False
    model.compile("sgd", "mse", device="cpu")
    model.fit(X, Y, verbose=0)  # which has nothing to learn


def test_metrics_in_attributes_are_metrics_of_the_model():
    model = drawn()
    model.seen = Mean("seen")
    model.seen.update_state(2.0)
    assert [metric.name for metric in model.metrics][-1] == "seen"
    model.evaluate(X, Y, verbose=0)
    model.seen.update_state(2.0)
    assert {name: float(value) for name, value in model.get_metrics_result().items()}["seen"] == 2.0
    model.reset_metrics()
    assert {float(value) for value in model.get_metrics_result().values()} == {0.0}


# ---------------------------------------------------------------------- what is written to the data


class Shifting(Trainer, nn.Module):
    """Writes to its inputs."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        x -= 0.5
        return self.linear(x)


class ShiftingInItsSteps(Shifting):
    def forward(self, x):
        return self.linear(x)

    def train_step(self, data):
        x, y = data
        x -= 0.5
        return super().train_step((x, y, None))

    def test_step(self, batch):
        batch[0].sub_(0.5)
        return super().test_step(batch)

    def predict_step(self, batch):
        return super().predict_step([batch[0].sub_(0.5)])


class ShiftingForItsLoss(Shifting):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return super().compute_loss(x, y, y_pred, sample_weight)


@pytest.mark.parametrize("kind", [Shifting, ShiftingInItsSteps, ShiftingForItsLoss])
@pytest.mark.parametrize(
    "run",
    [
        lambda net, x: net.fit(x, Y, batch_size=4, epochs=2, shuffle=False, verbose=0),
        lambda net, x: net.evaluate(x, Y, verbose=0),
        lambda net, x: net.predict(x),
        lambda net, x: net.train_on_batch(x, Y),
        lambda net, x: net.test_on_batch(x, Y),
        lambda net, x: net.predict_on_batch(x),
    ],
    ids=["fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch"],
)
def test_the_data_is_not_changed_by_what_writes_to_a_batch(kind, run):
    net, data = kind(), X.copy()
    net.compile("sgd", "mse", device="cpu")
    for _ in range(2):
        run(net, data)
    assert np.array_equal(data, X)


def test_training_computes_what_torch_computes_on_copies_of_the_data():
    net, by_hand = Shifting(), Shifting()
    by_hand.load_state_dict(net.state_dict())
    net.compile(torch.optim.SGD(net.parameters(), 0.1), "mse", device="cpu")
    net.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    optimizer = torch.optim.SGD(by_hand.parameters(), 0.1)
    for _ in range(3):
        for rows in (slice(0, 4), slice(4, 8)):
            optimizer.zero_grad()
            nn.functional.mse_loss(by_hand(torch.tensor(X[rows])), torch.tensor(Y[rows])).backward()
            optimizer.step()
    torch.testing.assert_close(net.linear.weight, by_hand.linear.weight)


def test_a_forward_pass_that_only_reads_its_inputs_is_not_given_copies():
    class Reading(Shifting):
        def forward(self, x):
            self.place = x.data_ptr()
            return self.linear(x)

    net, data = Reading(), torch.tensor(X)
    net.compile("sgd", "mse", device="cpu")
    for _ in range(2):
        net.evaluate(data, Y, verbose=0)
    assert net.place == data.data_ptr()


# ---------------------------------------------------------------------- what the parts of a step return


@pytest.mark.parametrize("step", ["train_step", "test_step"])
@pytest.mark.parametrize("result", [0.5, "loss", torch.ones(()), (1.0, 2.0)], ids=["number", "name", "tensor", "tuple"])
def test_a_step_that_returns_no_dict_is_told_what_it_returns(step, result):
    kind = type("Net", (Shifting,), {step: lambda self, batch: result})
    net = kind()
    net.compile("sgd", "mse", device="cpu")
    run = net.fit if step == "train_step" else net.evaluate
    with pytest.raises(TypeError, match=r"returns a dict of names and figures, such as \{'loss': loss\}, or None; it returned"):
        run(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (None, TypeError, "compute_loss returns a tensor, the loss of the batch; it returned None of type NoneType"),
        ("mse", TypeError, "it returned 'mse' of type str"),
        (torch.ones(8), ValueError, r"compute_loss returns one number for a batch; it returned a tensor of shape \(8,\): take its mean"),
        (1.0, ValueError, "The loss has no gradient"),
    ],
)
def test_a_compute_loss_that_returns_no_loss_is_told_so(loss, error, message):
    class Net(Shifting):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return loss

    net = Net()
    net.compile("sgd", "mse", device="cpu")
    with pytest.raises(error, match=message):
        net.fit(X, Y, verbose=0)


def test_a_compute_metrics_that_returns_no_dict_is_told_so():
    class Net(Shifting):
        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            return 0.5

    net = Net()
    net.compile("sgd", "mse", device="cpu")
    with pytest.raises(TypeError, match="compute_metrics returns a dict of names and figures"):
        net.evaluate(X, Y, verbose=0)


@pytest.mark.parametrize("draw", [True, False])
def test_what_layers_add_in_a_step_of_ones_own_counts_in_compute_loss(draw):
    class Adding(Layer):
        def call(self, inputs):
            self.add_loss(inputs.mean() * 0 + 2.0)
            return inputs

    class Net(Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            if not draw:
                self.adding, self.dense = Adding(), Dense(1, kernel_initializer="zeros")

        def call_own(self, inputs):
            return self.dense(self.adding(inputs))

        def train_step(self, data):
            x, y = data
            loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
            loss.backward()
            return {"loss": loss.detach(), "terms": float(len(self.losses))}

    if draw:
        x = Input(shape=(3,))
        model = Net(x, Dense(1, kernel_initializer="zeros")(Adding()(x)))
    else:
        Net.call = Net.call_own
        model = Net()
    model.compile("sgd", "mse", device="cpu")
    data = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    assert model.fit(*data, batch_size=2, epochs=2, verbose=0).history == {"loss": [3.0, 3.0], "terms": [1.0, 1.0]}
    assert model.evaluate(*data, verbose=0) == 3.0


def test_what_was_added_in_a_call_by_hand_is_no_term_of_the_steps_that_follow():
    x = Input(shape=(3,))
    model = Twice(x, Dense(1, activity_regularizer="l2")(x))
    model.compile("sgd", "mse", device="cpu")
    model(torch.ones(2, 3)).sum().backward()
    assert np.isfinite(model.fit(X, Y, batch_size=2, epochs=2, verbose=0).history["loss"]).all()


def test_an_activity_regularizer_counts_in_a_compute_loss_of_ones_own():
    x = Input(shape=(3,))
    model = Twice(x, Dense(1, activity_regularizer="l2", kernel_initializer="ones")(x))
    model.compile("sgd", "mse", device="cpu")
    prediction = X.sum(1, keepdims=True)
    expected = 2 * (((prediction - Y) ** 2).mean() + 0.01 * (prediction**2).sum())
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.fit(X, Y, verbose=0).history["loss"] == pytest.approx([expected], rel=1e-5)


class Adding(Layer):
    def call(self, inputs):
        self.add_loss((inputs**2).mean())
        self.add_metric(inputs.mean(), name="level")
        return inputs + 1


class ByHand(Model):
    def train_step(self, batch):
        x, y, sample_weight = batch
        predictions = self(x)
        self.optimizer.zero_grad()
        self.compute_loss(x=x, y=y, y_pred=predictions, sample_weight=sample_weight).backward()
        self.optimizer.step()
        return self.compute_metrics(x, y, predictions, sample_weight)


class WithItsLoss(Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)


@pytest.mark.parametrize("kind", [ByHand, WithItsLoss])
def test_the_usual_step_written_out_logs_what_the_usual_step_does(kind):
    """With the terms of each call of a shared layer, figures of layers and of the graph, and weights as they were before the step."""

    def figures(make):
        x, adding = Input(shape=(3,)), Adding()
        model = make(x, Dense(1, kernel_initializer="ones", kernel_regularizer="l2")(adding(adding(x))))
        model.add_metric(model.output.mean(), name="output")
        model.compile("sgd", "mse", device="cpu")
        return {**model.fit(X, Y, batch_size=2, shuffle=False, verbose=0).history, **model.evaluate(X, Y, verbose=0, return_dict=True)}

    expected = figures(Model)
    assert figures(kind) == {name: pytest.approx(value, rel=1e-6) for name, value in expected.items()}
    assert list(expected) == ["loss", "output", "level"]
