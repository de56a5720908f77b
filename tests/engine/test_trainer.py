"""`Trainer`: what fit, evaluate, predict and the `*_on_batch` methods return, the one loop, overridden steps, and the traps."""

import inspect
import sys
import warnings
import weakref
from collections import namedtuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer, metrics
from torchkeras_fn.callbacks import Callback, LambdaCallback
from torchkeras_fn.engine import trainer as trainer_module
from torchkeras_fn.layers import Dense, Dropout, Embedding, Flatten

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(10, 3)).astype("float32"), RANDOM.normal(size=(10, 1)).astype("float32")


def linear(**options):
    x = Input(shape=(3,))
    return Model(x, Dense(1, **options)(x))


class Net(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        return self.linear(x)


class Called(Model):
    def __init__(self):
        super().__init__()
        self.dense = Dense(1)

    def call(self, inputs):
        return self.dense(inputs)


class Forwarded(Model):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        return self.linear(x)


MODELS = {
    "functional": linear,
    "sequential": lambda: Sequential([Dense(1, input_shape=(3,))]),
    "late": lambda: Sequential([Dense(1)]),
    "mixin": Net,
    "call": Called,
    "forward": Forwarded,
    "from_module": lambda: Model.from_module(nn.Linear(3, 1)),
    "nested": lambda: Sequential([linear(), Dense(1)]),
    "wrapped": lambda: Sequential([nn.Linear(3, 1)]),
}


@pytest.fixture(params=MODELS)
def model(request):
    model = MODELS[request.param]()
    model.compile("sgd", "mse")
    return model


def two(**options):
    """A model of two inputs and two outputs that are zero at first."""
    a, b = Input(shape=(3,), name="a"), Input(shape=(2,), name="b")
    left = Dense(1, kernel_initializer="zeros", name="left")(a)
    right = Dense(2, kernel_initializer="zeros", name="right")(b)
    model = Model([a, b], [left, right])
    model.compile("sgd", "mse", **options)
    return model


XS, YS = [X, X[:, :2]], [Y, np.ones((10, 2), dtype="float32")]
LEFT, RIGHT = float(np.square(Y).mean()), 1.0


# ---------------------------------------------------------------------- every kind of model


def test_every_kind_of_model_trains_evaluates_and_predicts(model):
    first = model.evaluate(X[:8], Y[:8], verbose=0)
    history = model.fit(X, Y, epochs=20, verbose=0, validation_split=0.2)
    assert len(history.history["loss"]) == len(history.history["val_loss"]) == 20
    assert model.evaluate(X[:8], Y[:8], verbose=0) < first
    assert model.predict(X).shape == model.predict_on_batch(X).shape == (10, 1)
    assert type(model.train_on_batch(X, Y)) is type(model.test_on_batch(X, Y)) is float


def test_a_step_is_the_one_a_torch_programmer_would_write(model):
    model.predict(X)
    weights = [p.detach().clone().requires_grad_() for p in model.parameters()]
    model.fit(X, Y, epochs=2, batch_size=4, shuffle=False, verbose=0)
    by_hand = torch.optim.SGD(weights, lr=0.01)
    for _ in range(2):
        for rows in torch.arange(10).split(4):
            x = torch.tensor(X)[rows]
            for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
                x = F.linear(x, kernel, bias)
            by_hand.zero_grad()
            F.mse_loss(x, torch.tensor(Y)[rows]).backward()
            by_hand.step()
    for ours, theirs in zip(model.parameters(), weights, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_weights_of_a_module_that_somebody_else_built_are_trained_in_place():
    module = nn.Linear(3, 1)
    before = module.weight.clone()
    model = Model.from_module(module)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert not torch.equal(module.weight, before)


Named = namedtuple("Named", ["a", "b"])


def test_a_plain_module_takes_inputs_by_position_by_name_or_as_one_list():
    class ByPosition(Trainer, nn.Module):
        def forward(self, a, b):
            return a.sum(1) + b.sum(1)

    class Masked(Trainer, nn.Module):
        def forward(self, b, mask):
            return b.sum(1) + mask.sum(1)

    class AsList(Trainer, nn.Module):
        def forward(self, parts):
            return parts[0].sum(1) + parts[1].sum(1)

    class AsDict(Trainer, nn.Module):
        def forward(self, parts):
            return parts["a"].sum(1) + parts["b"].sum(1)

    class AsNamed(Trainer, nn.Module):
        def forward(self, parts):
            return parts.a.sum(1) + parts.b.sum(1)

    expected = X.sum(1) + X[:, :2].sum(1)
    by_name = {"b": X[:, :2], "a": X}
    named = Named(**by_name)
    pairs = [(ByPosition(), XS), (Masked(), XS), (ByPosition(), by_name), (AsList(), XS), (AsDict(), by_name), (AsNamed(), named)]
    for net, x in pairs:
        np.testing.assert_allclose(net.predict(x, batch_size=4), expected, rtol=1e-5)


@pytest.mark.parametrize("as_dict", [False, True])
def test_a_plain_module_may_return_several_outputs(as_dict):
    class Heads(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(3, 1), nn.Linear(3, 2)

        def forward(self, x):
            left, right = self.left(x), self.right(x)
            return {"left": left, "right": right} if as_dict else (left, right)

    net = Heads()
    names = ["left", "right"] if as_dict else ["output_1", "output_2"]
    net.compile("sgd", dict.fromkeys(names, "mse"), metrics={names[1]: ["mae"]})
    y = {"right": YS[1], "left": YS[0]} if as_dict else YS
    net.fit(X, y, verbose=0)
    assert net.metrics_names == ["loss", f"{names[0]}_loss", f"{names[1]}_loss", f"{names[1]}_mae"]
    found = net.evaluate(X, y, verbose=0, return_dict=True)
    predicted = net.predict(X, batch_size=4)
    left, right = (predicted[name] for name in names) if as_dict else predicted
    assert left.shape == (10, 1) and right.shape == (10, 2)
    assert found[f"{names[1]}_mae"] == pytest.approx(np.abs(right - YS[1]).mean(), rel=1e-5)


def test_a_lazy_torch_module_is_built_by_the_first_data():
    class Lazy(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.LazyLinear(1)

        def forward(self, x):
            return self.linear(x)

    net = Lazy()
    net.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Lazy modules")
        net.fit(X, Y, verbose=0)
    assert net.linear.weight.shape == (1, 3)


@pytest.mark.parametrize("first", ["fit", "predict", "evaluate", "train_on_batch"])
def test_layers_in_a_plain_module_are_built_by_the_first_data_and_trained(first):
    class Unbuilt(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.dense, self.unused, self.linear = Dense(4), Dense(2), nn.Linear(4, 1)

        def forward(self, x):
            return self.linear(self.dense(x))

    net = Unbuilt()
    net.compile("sgd", "mse", device="cpu")
    if first == "predict":
        net.predict(X, verbose=0)
    elif first != "fit":
        getattr(net, first)(X, Y)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    net.fit(X, Y, verbose=0)
    after = list(net.parameters())
    assert len(after) == 4
    assert first == "fit" or not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    weights = [parameter.detach().clone() for parameter in after]
    net.train_on_batch(X, Y)
    assert not any(torch.equal(old, new) for old, new in zip(weights, after, strict=True))


# ---------------------------------------------------------------------- what is returned


def test_one_loss_and_no_metrics_give_a_scalar():
    model = linear(kernel_initializer="zeros")
    model.compile("sgd", "mse")
    assert model.metrics_names == ["loss"]
    for found in (model.evaluate(X, Y, verbose=0), model.test_on_batch(X, Y), model.train_on_batch(X, Y)):
        assert found == pytest.approx(LEFT, rel=1e-5) and type(found) is float


def test_several_outputs_give_the_total_the_losses_and_the_metrics_in_output_order():
    model = two(metrics={"right": ["mae", "mse"], "left": "mae"}, loss_weights={"left": 2.0})
    assert model.metrics_names == ["loss", "left_loss", "right_loss", "left_mae", "right_mae", "right_mse"]
    expected = [2 * LEFT + RIGHT, LEFT, RIGHT, np.abs(Y).mean(), 1.0, 1.0]
    for found in (model.evaluate(XS, YS, verbose=0, batch_size=4), model.test_on_batch(XS, YS), model.train_on_batch(XS, YS)):
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("call", ["evaluate", "test_on_batch", "train_on_batch"])
def test_a_dict_is_returned_on_demand(call):
    found = getattr(two(metrics={"right": "mae"}), call)(XS, YS, return_dict=True, **({"verbose": 0} if call == "evaluate" else {}))
    assert found == {name: pytest.approx(value, rel=1e-5) for name, value in zip(found, [LEFT + RIGHT, LEFT, RIGHT, 1.0], strict=True)}
    assert type(found) is dict and list(found) == ["loss", "left_loss", "right_loss", "right_mae"]


@pytest.mark.parametrize(
    "y", [YS, {"left": YS[0], "right": YS[1]}, {"right": YS[1], "left": YS[0]}, tuple(YS)], ids=["list", "dict", "any order", "tuple"]
)
@pytest.mark.parametrize("x", [XS, {"b": XS[1], "a": XS[0]}, tuple(XS)], ids=["list", "dict", "tuple"])
def test_forms_of_several_inputs_and_outputs(x, y):
    model = two()
    model.fit(x, y, verbose=0, shuffle=False)
    other = two()
    other.fit(XS, YS, verbose=0, shuffle=False)
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])
    assert [part.shape for part in model.predict(x)] == [(10, 1), (10, 2)]


def test_an_output_without_a_loss_needs_no_target():
    a, b = Input(shape=(3,), name="a"), Input(shape=(2,), name="b")
    model = Model([a, b], [Dense(1, name="left")(a), Dense(2, name="right", kernel_initializer="zeros")(b)])
    model.compile("sgd", {"right": "mse"}, metrics={"left": "mae", "right": "mae"})
    assert model.metrics_names == ["loss", "right_loss", "right_mae"]
    for y in (YS[1], [YS[1]], [None, YS[1]], {"right": YS[1]}, YS):
        assert model.test_on_batch(XS, y) == pytest.approx([1.0, 1.0, 1.0])
    before = model.get_layer("left").get_weights()[0]
    model.fit(XS, YS[1], verbose=0)
    np.testing.assert_array_equal(before, model.get_layer("left").get_weights()[0])


def test_train_on_batch_reports_the_loss_before_its_step():
    model = linear(kernel_initializer="zeros")
    model.compile("sgd", "mse")
    first = model.train_on_batch(X, Y)
    assert first == pytest.approx(LEFT, rel=1e-5)
    assert model.test_on_batch(X, Y) < first


def test_a_single_batch_stands_alone():
    model = linear()
    model.compile("sgd", "mse", metrics=["mae"])
    model.optimizer.lr = 0.0
    model.fit(X, Y, verbose=0)
    assert model.train_on_batch(X[:2], Y[:2]) == pytest.approx(model.evaluate(X[:2], Y[:2], verbose=0))


def test_the_methods_have_the_arguments_of_keras_2_in_their_order():
    wanted = {
        "compile": "optimizer='rmsprop' loss=None metrics=None loss_weights=None sample_weight_mode=None weighted_metrics=None "
        "target_tensors=None",
        "fit": "x=None y=None batch_size=None epochs=1 verbose=1 callbacks=None validation_split=0.0 validation_data=None shuffle=True "
        "class_weight=None sample_weight=None initial_epoch=0 steps_per_epoch=None validation_steps=None",
        "evaluate": "x=None y=None batch_size=None verbose=1 sample_weight=None steps=None",
        "predict": "x batch_size=None verbose=0 steps=None",
        "train_on_batch": "x y sample_weight=None class_weight=None",
        "test_on_batch": "x y sample_weight=None",
        "predict_on_batch": "x",
        "fit_generator": "generator steps_per_epoch=None epochs=1 verbose=1 callbacks=None validation_data=None validation_steps=None "
        "class_weight=None max_queue_size=10 workers=1 use_multiprocessing=False shuffle=True initial_epoch=0",
        "evaluate_generator": "generator steps=None max_queue_size=10 workers=1 use_multiprocessing=False verbose=0",
        "predict_generator": "generator steps=None max_queue_size=10 workers=1 use_multiprocessing=False verbose=0",
        "get_layer": "name=None index=None",
    }
    for method, text in wanted.items():
        parameters = list(inspect.signature(getattr(Model, method)).parameters.values())[1:]
        found = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
        expected = text.split()
        assert [part.partition("=")[0] if part == "y" else part for part in expected] == [
            "y" if part == "y=None" and "on_batch" in method else part for part in found[: len(expected)]
        ], method


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict", "train_on_batch", "compile"])
def test_unknown_keywords_are_a_type_error(call):
    model = linear()
    model.compile("sgd", "mse")
    arguments = {"predict": (X,), "compile": ("sgd", "mse")}.get(call, (X, Y))
    with pytest.raises(TypeError, match="nb_epoch"):
        getattr(model, call)(*arguments, nb_epoch=3)


# ---------------------------------------------------------------------- epochs


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"epochs": -1}, ValueError),
        ({"epochs": 2.0}, ValueError),
        ({"epochs": "2"}, ValueError),
        ({"initial_epoch": None}, ValueError),
        ({"validation_freq": 0}, ValueError),
        ({"validation_freq": 0.5}, TypeError),
        ({"validation_freq": "12"}, TypeError),
    ],
    ids=str,
)
def test_what_is_no_number_of_epochs_is_refused_before_anything_is_told(options, error):
    model, told = linear(), []
    model.compile("sgd", "mse")
    with pytest.raises(error, match=f"{next(iter(options))}.*got"):
        model.fit(X, Y, validation_data=(X, Y), verbose=0, callbacks=[LambdaCallback(on_train_begin=told.append)], **options)
    assert not told


def test_the_epoch_loss_is_the_mean_over_samples_of_unequal_batches():
    model = linear()
    model.compile("sgd", "mse", metrics=["mae"])
    model.optimizer.lr = 0.0
    history = model.fit(X, Y, batch_size=4, verbose=0).history
    error = model.predict(X) - Y
    assert history["loss"][0] == pytest.approx(np.square(error).mean(), rel=1e-5)
    assert history["mae"][0] == pytest.approx(np.abs(error).mean(), rel=1e-5)
    assert model.evaluate(X, Y, batch_size=3, verbose=0) == pytest.approx([history["loss"][0], history["mae"][0]], rel=1e-5)


def test_evaluation_after_an_epoch_equals_its_validation_exactly():
    x = Input(shape=(3,))
    model = Model(x, Dense(3, activation="softmax")(Dropout(0.5)(Dense(8)(x))))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    y = np.arange(10) % 3
    history = model.fit(X, y, batch_size=4, epochs=3, verbose=0, validation_data=(X[:7], y[:7])).history
    assert model.evaluate(X[:7], y[:7], batch_size=4, verbose=0) == [history["val_loss"][-1], history["val_accuracy"][-1]]


def test_validation_does_not_change_training():
    def train(**options):
        torch.manual_seed(0)
        model = Sequential([Dense(4, input_shape=(3,)), Dropout(0.5), Dense(1)])
        model.compile("adam", "mse")
        return model.fit(X, Y, batch_size=4, epochs=3, verbose=0, **options).history["loss"]

    assert train() == train(validation_data=(X, Y))


def test_the_same_seed_gives_the_same_history():
    def train():
        torch.manual_seed(0)
        model = Sequential([Dense(4, input_shape=(3,)), Dropout(0.5), Dense(1)])
        model.compile("adam", "mse")
        return model.fit(X, Y, batch_size=4, epochs=3, verbose=0).history["loss"]

    assert train() == train()


def test_epochs_of_several_fits_are_those_of_one():
    together, apart = linear(kernel_initializer="ones"), linear(kernel_initializer="ones")
    for model in (together, apart):
        model.compile("adam", "mse")
    whole = together.fit(X, Y, epochs=3, shuffle=False, verbose=0).history["loss"]
    parts = [apart.fit(X, Y, initial_epoch=e, epochs=e + 1, shuffle=False, verbose=0).history["loss"][0] for e in range(3)]
    assert whole == pytest.approx(parts)


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_every_sample_is_seen_once_an_epoch(shuffle):
    seen = []

    class Watch(Net):
        def train_step(self, batch):
            seen.extend(batch[0][:, 0].tolist())
            return super().train_step(batch)

    net = Watch()
    net.compile("sgd", "mse")
    net.fit(X, Y, batch_size=4, epochs=2, shuffle=shuffle, verbose=0)
    first, second = seen[:10], seen[10:]
    assert sorted(first) == sorted(second) == sorted(X[:, 0].tolist())
    assert (first == X[:, 0].tolist()) == (shuffle is False)


def test_steps_per_epoch_go_on_where_the_last_epoch_ended():
    seen = []

    class Watch(Net):
        def train_step(self, batch):
            seen.extend(batch[0][:, 0].tolist())
            return super().train_step(batch)

    net = Watch()
    net.compile("sgd", "mse")
    net.fit(X, Y, batch_size=5, epochs=2, steps_per_epoch=1, shuffle=False, verbose=0)
    assert seen == X[:, 0].tolist()


def test_a_numpy_integer_is_an_integer_everywhere():
    model = linear()
    model.compile("sgd", "mse")
    history = model.fit(X, Y, batch_size=np.int64(5), epochs=np.int64(2), verbose=0, initial_epoch=np.int64(0), steps_per_epoch=np.int32(1))
    assert history.epoch == [0, 1]


# ---------------------------------------------------------------------- the traps


@pytest.mark.parametrize(("y", "expected"), [(Y[:, 0], True), (Y, True), (Y[:, 0].tolist(), True), (Y[:, 0].astype("float64"), True)])
@pytest.mark.parametrize(
    "loss", ["mse", nn.MSELoss(), F.mse_loss, lambda t, p: (t - p).square().mean(-1)], ids=["name", "module", "functional", "function"]
)
def test_a_row_of_targets_is_never_broadcast_against_a_column_of_predictions(y, expected, loss):
    model = linear(kernel_initializer="zeros")
    model.compile("sgd", loss)
    assert model.test_on_batch(X, y) == pytest.approx(LEFT, rel=1e-5)


def test_a_column_of_targets_is_never_broadcast_against_a_row_of_predictions():
    class Row(Net):
        def forward(self, x):
            return self.linear(x)[:, 0] * 0

    net = Row()
    net.compile("sgd", "mse")
    assert net.test_on_batch(X, Y) == pytest.approx(LEFT, rel=1e-5)


@pytest.mark.parametrize("shape", [(10, 2), (10, 10), (10, 2, 1)])
@pytest.mark.parametrize("loss", ["mse", nn.MSELoss(), nn.BCEWithLogitsLoss()], ids=str)
@pytest.mark.parametrize("make", [linear, Net], ids=["model", "mixin"])
def test_any_other_mismatch_is_a_value_error_before_a_step(make, loss, shape):
    model = make()
    model.compile("sgd", loss)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(ValueError, match=r"Targets of shape \(None.*do not fit predictions of shape \(None"):
        model.fit(X, np.zeros(shape), verbose=0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("given", "seen"), [("float64", torch.float32), ("float16", torch.float32), ("uint8", torch.float32), ("int64", torch.float32)]
)
def test_numbers_become_those_of_the_weights(given, seen):
    types = set()

    class Watch(Model):
        def train_step(self, batch):
            types.update(part.dtype for part in batch[:1])
            return super().train_step(batch)

    x = Input(shape=(3,))
    model = Watch(x, Dense(1)(x))
    model.compile("sgd", "mse")
    model.fit(X.astype(given), Y, verbose=0)
    assert types == {seen}


def test_a_model_of_doubles_is_fed_doubles():
    net = Net().double()
    net.compile("sgd", "mse")
    net.fit(X, Y, verbose=0)
    assert net.predict(X).dtype == np.float64


@pytest.mark.parametrize("given", ["int32", "int64", "uint8", "float32"])
def test_indices_stay_integers(given):
    words = Input(shape=(4,))
    model = Model(words, Dense(1)(Flatten()(Embedding(5, 2)(words))))
    model.compile("sgd", "mse")
    model.fit((np.arange(40).reshape(10, 4) % 5).astype(given), Y, verbose=0)


def test_predict_frees_the_outputs_of_each_batch():
    made = []

    class Watch(Net):
        def predict_step(self, batch):
            assert torch.is_inference_mode_enabled()
            assert not any(memory() is not None for memory in made[:-1])  # that of the last outputs, the loop has in hand
            memory = super().predict_step(batch).numpy().copy()
            made.append(weakref.ref(memory))
            return torch.from_numpy(memory)

    assert Watch().predict(X, batch_size=2).shape == (10, 1)
    assert len(made) == 5


@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
def test_training_puts_the_modes_back(call):
    net = Net()
    net.compile("sgd", "mse")
    net.eval()
    getattr(net, call)(X, Y)
    assert not net.training and not net.linear.training


def test_training_runs_in_training_mode_and_validation_in_inference_mode():
    modes = []

    class Watch(Net):
        def forward(self, x):
            if len(x) and not x.is_meta:
                modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    net = Watch()
    net.compile("sgd", "mse")
    net.eval()
    modes.clear()
    net.fit(X, Y, verbose=0, validation_data=(X, Y))
    assert modes == [(True, True), (False, False)]


# ---------------------------------------------------------------------- overridden steps


class Custom:
    """Steps that count themselves and do their own arithmetic."""

    def train_step(self, batch):
        x, y, sample_weight = batch
        predicted = self(x)
        loss = self.compute_loss(x, y, predicted, sample_weight)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return self.compute_metrics(x, y, predicted, sample_weight)

    def test_step(self, batch):
        x, y, sample_weight = batch
        return self.compute_metrics(x, y, self(x), sample_weight)


class CustomNet(Custom, Net):
    pass


class CustomModel(Custom, Model):
    pass


def custom_model():
    x = Input(shape=(3,))
    return CustomModel(x, Dense(1)(x))


@pytest.mark.parametrize(("make", "plain"), [(CustomNet, Net), (custom_model, linear)], ids=["mixin", "model"])
@pytest.mark.parametrize("weights", [{}, {"sample_weight": np.arange(10.0)}], ids=["plain", "weighted"])
def test_steps_of_ones_own_train_like_the_usual_ones(make, plain, weights):
    mine, usual = make(), plain()
    usual.load_state_dict(mine.state_dict())
    histories = []
    for model in (mine, usual):
        model.compile("adam", "mse", metrics=["mae"], weighted_metrics=["mse"])
        histories.append(model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0, validation_data=(X, Y), **weights).history)
    assert list(histories[0]) == list(histories[1])
    for name in histories[0]:
        assert histories[0][name] == pytest.approx(histories[1][name], rel=1e-5)
    assert mine.evaluate(X, Y, verbose=0) == pytest.approx(usual.evaluate(X, Y, verbose=0), rel=1e-5)


@pytest.mark.parametrize("call", ["train_on_batch", "test_on_batch", "evaluate"])
def test_the_loss_for_a_step_of_ones_own_includes_the_regularizers_and_added_functions(call):
    class Own(Model):
        def train_step(self, batch):
            x, y, _ = batch
            return {"loss": self.compute_loss(x, y, self(x)).detach()}

        def test_step(self, batch):
            return self.train_step(batch)

    x = Input(shape=(3,))
    model = Own(x, Dense(1, kernel_initializer="zeros", bias_initializer="ones", bias_regularizer=lambda bias: 0.5 * bias.sum())(x))
    model.add_loss(lambda: torch.tensor(0.25))
    model.compile("sgd", "mse")
    found = getattr(model, call)(X, Y, **({"verbose": 0} if call == "evaluate" else {}))
    assert found == pytest.approx(float(np.square(Y - 1).mean()) + 0.5 + 0.25)


@pytest.mark.parametrize("base", [Net, Model], ids=["mixin", "model"])
def test_a_step_may_wrap_the_usual_one_and_add_figures(base):
    class Wrapped(base):
        steps = 0

        def train_step(self, batch):
            self.steps += 1
            return {**super().train_step(batch), "steps": self.steps}

    x = Input(shape=(3,))
    model = Wrapped() if base is Net else Wrapped(x, Dense(1)(x))
    model.compile("sgd", "mse")
    history = model.fit(X, Y, batch_size=5, epochs=2, verbose=0).history
    assert history["steps"] == [2, 4] and len(history["loss"]) == 2
    assert model.train_on_batch(X, Y, return_dict=True)["steps"] == 5


class Tracked(Model):
    """A step as Keras' guides write it."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.tracker, self.others = metrics.Mean(name="loss"), [metrics.Sum(name="rows")]

    def train_step(self, batch):
        loss = self.compute_loss(*batch[:2], self(batch[0]))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return self.gather(batch, loss)

    def test_step(self, batch):
        return self.gather(batch, self.compute_loss(*batch[:2], self(batch[0])))

    def gather(self, batch, loss):
        self.tracker.update_state(loss)
        self.others[0].update_state(float(len(batch[0])))
        return {metric.name: metric.result() for metric in self.metrics}

    @property
    def metrics(self):
        return [self.tracker, *self.others]


def test_metrics_in_attributes_begin_anew_with_each_epoch_and_evaluation():
    x = Input(shape=(3,))
    model = Tracked(x, Dense(1)(x))
    model.compile("sgd", "mse")
    history = model.fit(X, Y, batch_size=5, epochs=3, verbose=0, validation_data=(X[:4], Y[:4])).history
    assert history["rows"] == [10.0] * 3 and history["val_rows"] == [4.0] * 3
    assert model.evaluate(X, Y, verbose=0) == pytest.approx([float(np.mean((model.predict(X) - Y) ** 2)), 10.0], rel=1e-5)


def test_an_evaluation_in_the_middle_of_an_epoch_leaves_metrics_in_attributes_alone():
    class Look(Callback):
        def on_train_batch_end(self, batch, logs=None):
            assert self.model.evaluate(X[:3], Y[:3], verbose=0)[1] == 3.0

    x = Input(shape=(3,))
    model = Tracked(x, Dense(1)(x))
    model.compile("sgd", "mse")
    assert model.fit(X, Y, batch_size=5, epochs=2, verbose=0, callbacks=[Look()]).history["rows"] == [10.0] * 2


@pytest.mark.parametrize("make", [Net, linear], ids=["mixin", "model"])
def test_a_step_of_ones_own_needs_no_compiled_loss(make):
    base = Net if make is Net else Model

    class Own(base):
        def train_step(self, batch):
            x, y, _ = batch
            loss = (self(x) - y).abs().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return {"distance": loss.detach()}

        def test_step(self, batch):
            return {"distance": (self(batch[0]) - batch[1]).abs().mean()}

    x = Input(shape=(3,))
    model = Own() if base is Net else Own(x, Dense(1)(x))
    model.compile("sgd")
    history = model.fit(X, Y, epochs=5, verbose=0, validation_data=(X, Y)).history
    assert list(history) == ["distance", "val_distance"] and history["distance"][-1] < history["distance"][0]
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(history["val_distance"][-1])
    assert type(model.train_on_batch(X, Y)) is float


@pytest.mark.parametrize("make", [Net, linear], ids=["mixin", "model"])
def test_compiled_metrics_serve_a_step_with_a_loss_of_its_own(make):
    base = Net if make is Net else Model

    class Own(base):
        def train_step(self, batch):
            x, y, _ = batch
            predicted = self(x)
            loss = (predicted - y).abs().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return {"distance": loss.detach(), "mse": self.compute_metrics(x, y, predicted.detach())["mse"]}

    x = Input(shape=(3,))
    model = Own() if base is Net else Own(x, Dense(1)(x))
    model.compile("sgd", metrics=["mse"])
    assert list(model.fit(X, Y, verbose=0).history) == ["distance", "mse"]


def test_a_step_of_ones_own_on_a_model_sees_every_target():
    seen = []

    class Own(Model):
        def train_step(self, batch):
            seen.append(batch)
            return {}

    a, b = Input(shape=(3,)), Input(shape=(2,))
    model = Own([a, b], [Dense(1)(a), Dense(2)(b)])
    model.compile("sgd")
    model.train_on_batch(XS, YS, sample_weight=[np.ones(10), None])
    ((x, y, weight),) = seen
    assert [tuple(part.shape) for part in x] == [(10, 3), (10, 2)] and [tuple(part.shape) for part in y] == [(10, 1), (10, 2)]
    assert weight[0].shape == (10,) and weight[1] is None


@pytest.mark.parametrize("base", [Net, Model], ids=["mixin", "model"])
def test_an_overridden_predict_step(base):
    class Doubled(base):
        def predict_step(self, batch):
            return 2 * super().predict_step(batch)

    x = Input(shape=(3,))
    model = Doubled() if base is Net else Doubled(x, Dense(1)(x))
    with torch.no_grad():
        expected = 2 * model(torch.tensor(X)).numpy()
    np.testing.assert_allclose(model.predict(X, batch_size=4), expected, rtol=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(X), expected, rtol=1e-5)


def test_gradients_can_be_looked_at_and_changed_in_a_step():
    class Signed(Net):
        def train_step(self, batch):
            x, y, weight = batch
            loss = self.compute_loss(x, y, self(x), weight)
            self.optimizer.zero_grad()
            loss.backward()
            for parameter in self.parameters():
                parameter.grad.sign_()
            self.optimizer.step()
            return {"loss": loss.detach()}

    net = Signed()
    net.compile("sgd", "mse")
    before = net.linear.weight.detach().clone()
    net.train_on_batch(X, Y)
    torch.testing.assert_close((net.linear.weight - before).abs(), torch.full((1, 3), 0.01))


def test_a_step_may_return_nothing():
    class Silent(Net):
        def train_step(self, batch):
            return None

    net = Silent()
    net.compile("sgd", "mse")
    assert net.fit(X, Y, verbose=0).history == {}
    assert net.train_on_batch(X, Y) is None


def test_metrics_of_ones_own_can_be_kept_in_a_step():
    class Tracked(Net):
        def __init__(self):
            super().__init__()
            self.mean = metrics.Mean("mean")

        def train_step(self, batch):
            self.mean.update_state(batch[0].sum(1))
            return {"sum": self.mean.result()}

    net = Tracked()
    net.compile("sgd")
    assert net.fit(X, Y, batch_size=3, verbose=0).history["sum"] == [pytest.approx(X.sum(1).mean(), rel=1e-4)]


# ---------------------------------------------------------------------- the one loop


def depth_of_step(model):
    """Return the names of our functions between `fit` and the optimizer's step, outermost first."""
    frames = []

    def watch(*_):
        frame, names = sys._getframe(), []
        while frame is not None and frame.f_code.co_name != "depth_of_step":
            if "torchkeras_fn" in frame.f_code.co_filename:
                names.append(frame.f_code.co_name)
            frame = frame.f_back
        frames.append(names[::-1])

    model.optimizer.register_step_pre_hook(watch)
    model.fit(X, Y, verbose=0)
    return frames[0]


def test_few_frames_lie_between_fit_and_the_step():
    model = linear()
    model.compile(torch.optim.SGD(model.parameters(), lr=0.1), "mse")
    assert depth_of_step(model) == ["fit", "_fit_epoch", "_run_epoch", "train_step"]


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("data", ["arrays", "generator"])
def test_all_batches_pass_through_the_one_loop(call, data, monkeypatch):
    calls = []
    usual = trainer_module.Trainer._run_epoch

    def watched(self, batches, step, *rest):
        calls.append(step.__name__)
        return usual(self, batches, step, *rest)

    monkeypatch.setattr(trainer_module.Trainer, "_run_epoch", watched)
    model = linear()
    model.compile("sgd", "mse")
    if data == "arrays":
        getattr(model, call)(*((X,) if call == "predict" else (X, Y)), verbose=0)
    else:
        steps = "steps_per_epoch" if call == "fit" else "steps"
        getattr(model, call)(iter([(X, Y)] * 2), verbose=0, **{steps: 2})
    assert calls == [{"fit": "train_step", "evaluate": "test_step", "predict": "predict_step"}[call]]


def test_predict_on_several_outputs_returns_a_list_and_one_output_an_array():
    assert type(linear().predict(X)) is np.ndarray
    found = two().predict(XS, batch_size=4)
    assert type(found) is list and [part.shape for part in found] == [(10, 1), (10, 2)]
    assert [part.shape for part in two().predict_on_batch(XS)] == [(10, 1), (10, 2)]


@pytest.mark.parametrize("call", ["evaluate", "test_on_batch"])
def test_looking_in_the_middle_of_an_epoch_leaves_its_figures_alone(call):
    class Look(Callback):
        def on_batch_end(self, batch, logs=None):
            self.model.evaluate(X[:2], Y[:2], verbose=0) if call == "evaluate" else self.model.test_on_batch(X[:2], Y[:2])

    model = linear()
    model.compile("sgd", "mse", metrics=["mae"])
    model.optimizer.lr = 0.0
    history = model.fit(X, Y, batch_size=2, verbose=0, callbacks=[Look()]).history
    assert [history["loss"][0], history["mae"][0]] == pytest.approx(model.evaluate(X, Y, verbose=0))


def test_an_interrupt_leaves_a_model_that_can_be_used():
    class Interrupt(Callback):
        def on_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    net = Net()
    net.compile("adam", "mse")
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, verbose=0, callbacks=[Interrupt()])
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert np.isfinite(net.fit(X, Y, verbose=0).history["loss"]).all()


class Listed(Trainer, nn.Module):
    """Keeps its layer where torch does not look for it."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(3, 1)]

    def forward(self, x):
        return self.layers[0](x)


@pytest.mark.parametrize("method", ["fit", "train_on_batch"])
@pytest.mark.parametrize(
    ("made", "reason"),
    [(lambda: Net().requires_grad_(False), "all of them are frozen"), (Listed, "it has no parameters.*nn.ModuleList")],
    ids=["frozen", "listed"],
)
def test_a_model_without_a_weight_to_train_is_warned_of(made, reason, method):
    net = made()
    net.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=f"no weights to train: {reason}"):
        getattr(net, method)(X, Y, **({"verbose": 0} if method == "fit" else {}))


def test_the_warning_of_a_model_without_a_weight_to_train_points_at_the_users_line():
    net = Net().requires_grad_(False)
    net.compile("sgd", "mse")
    with pytest.warns(UserWarning) as seen:
        net.fit(X, Y, verbose=0)
    assert seen[0].filename == __file__


def test_a_step_of_ones_own_may_train_what_the_model_does_not():
    class Own(Net):
        def train_step(self, batch):
            return {}

    net = Own().requires_grad_(False)
    net.compile("sgd")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fit(X, Y, verbose=0)


class Counting(Net):
    """Keeps a buffer and attributes of its calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.mean, self.seen = None, []

    def forward(self, x):
        self.calls += 1
        self.mean = x.mean(0) if self.mean is None else 0.9 * self.mean + 0.1 * x.mean(0)
        self.seen.append(len(x))
        return super().forward(x - self.mean)


def test_the_forward_pass_is_run_once_a_batch():
    net = Counting()
    net.compile("sgd", "mse", device="cpu")
    net.fit(X[:4], Y[:4], batch_size=2, epochs=2, shuffle=False, verbose=0)
    assert (int(net.calls), net.seen) == (4, [2, 2, 2, 2])
    assert net.mean.isfinite().all()


@pytest.mark.parametrize("base", [(Trainer, nn.Module), (Model,)])
@pytest.mark.parametrize(
    ("forward", "inputs"),
    [
        (lambda self, x, training=False: self.noted(x, training), X),
        (lambda self, x, also, training=None: self.noted(x, training), [X, X]),
        (lambda self, x, also, training=None: self.noted(x, training), {"x": X, "also": X}),
    ],
)
def test_a_forward_that_asks_for_the_mode_is_told_it(base, forward, inputs):
    class Asking(*base):
        def __init__(self):
            super().__init__()
            self.linear, self.modes = nn.Linear(3, 1), []

        def noted(self, x, training):
            self.modes.append(training)
            return self.linear(x)

    net = type("Net", (Asking,), {"forward": forward})()
    net.compile("sgd", "mse", device="cpu")
    net.fit(inputs, Y, batch_size=10, verbose=0)
    modes = [net.modes[-1]]
    net.evaluate(inputs, Y, verbose=0)
    net.predict(inputs)
    assert modes + net.modes[-2:] == [True, False, False]


def test_a_module_that_makes_its_layers_in_its_first_pass_makes_them_once():
    class Late(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.made, self.linear = 0, None

        def forward(self, x):
            if self.linear is None:
                self.linear = nn.Linear(x.shape[1], 1)
                self.made += 1
            return self.linear(x)

    net = Late()
    net.predict(X)
    net.compile("sgd", "mse")
    net.fit(X, Y, verbose=0)
    assert net.made == 1
