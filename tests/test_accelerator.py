"""Whole trainings on a GPU that is not there (`pretend.py`): the numbers of the CPU, on one device, and no step that waits for it."""

import inspect
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from tests import pretend
from tests.layers import test_contract as of_layers
from tests.metrics import test_contract as of_metrics
from torchkeras_fn import Input, Model, Sequential, Trainer, backend, layers, losses, metrics, ops, optimizers
from torchkeras_fn.callbacks import Callback, EarlyStopping, ReduceLROnPlateau
from torchkeras_fn.engine import device
from torchkeras_fn.engine.lowered import by_hand
from torchkeras_fn.optimizers import base, moving
from torchkeras_fn.utils import Sequence

ROWS, SIZE, CLASSES, BATCH = 20, 6, 3, 5
random = np.random.default_rng(0)
X, Y = random.normal(size=(ROWS, SIZE)).astype("float32"), random.integers(0, CLASSES, ROWS)
WEIGHTS, SHARES = random.random(ROWS).astype("float32"), random.random((ROWS, CLASSES)).astype("float32")
ONE_HOT = np.eye(CLASSES, dtype="float32")[Y]


class Generator(torch.Generator):
    """Draws on the CPU for the device too, and says that it is where it was made for."""

    def __new__(cls, where="cpu"):
        return super().__new__(cls, "cpu" if torch.device(where).type == pretend.NAME else where)

    def __init__(self, where="cpu"):
        self.where = torch.device(where)

    @property
    def device(self):
        return self.where


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """Let the library treat the device as it treats CUDA, and torch what needs a real one."""
    monkeypatch.setattr(device, "_COPIES_ALONE", ("cuda", pretend.NAME))
    for module in (base, moving):
        monkeypatch.setattr(module, "FUSED_ON", ("cpu", pretend.NAME))
    make = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda *args, device=None, **options: pretend.moved(make(*args, **options), device))
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pretend.pin_memory)
    monkeypatch.setattr(torch, "Event", pretend.Event)
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda where: where)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    pretend.waits.clear()
    yield
    torch.__future__.set_overwrite_module_params_on_conversion(False)


class Waits(Callback):
    """Notes what each step waits for, but for the first of an epoch, at which the figures of the epoch before are read."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_train_batch_begin(self, batch, logs=None):
        pretend.waits.clear()

    def on_train_batch_end(self, batch, logs=None):
        self.found += pretend.waits if batch else []


def trained(make, where, x, y=None, compiled=None, **options):
    """Return the figures, the weights and the predictions after two epochs, and what the steps waited for."""
    torch.manual_seed(0)
    model, waits = make(), Waits()
    settings = {name: value() if callable(value) else value for name, value in (compiled or {}).items()}
    model.compile(**{"optimizer": "sgd", "loss": "mse", **settings}, device=where)
    torch.manual_seed(1)
    options = {"batch_size": BATCH, "shuffle": False, "epochs": 2, "verbose": 0, **options}
    if not isinstance(x, (np.ndarray, list, torch.Tensor)):
        del options["batch_size"], options["shuffle"]
    history = model.fit(x, y, **{**options, "callbacks": [*options.get("callbacks", ()), waits]}).history
    parameters = [parameter.detach().cpu() for parameter in model.parameters()]
    return {name: np.array(values) for name, values in history.items()}, parameters, waits.found


def check(make, x, y=None, compiled=None, **options):
    figures, parameters, _ = trained(make, "cpu", x, y, compiled, **options)
    found, moved, waits = trained(make, pretend.DEVICE, x, y, compiled, **options)
    assert waits == []
    assert figures.keys() == found.keys()
    for name, values in figures.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    for one, other in zip(moved, parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def classifier(activation="softmax"):
    return Sequential([Input((SIZE,)), layers.Dense(8, "tanh"), layers.BatchNormalization(), layers.Dense(CLASSES, activation)])


CLASSIFYING = {"loss": "sparse_categorical_crossentropy", "metrics": lambda: ["accuracy"], "weighted_metrics": lambda: ["accuracy"]}

# ---------------------------------------------------------------------- the device itself, which has to notice what a GPU would


def test_the_device_says_where_the_host_waits_and_refuses_to_mix():
    here, there = torch.ones(3), torch.ones(3).to(pretend.DEVICE)
    pretend.waits.clear()
    assert (there * 2 + 1).device == pretend.DEVICE and pretend.waits == []
    here.pin_memory().to(pretend.DEVICE, non_blocking=True)
    assert pretend.waits == []
    for wait in (
        lambda: there.sum().item(),
        lambda: there.cpu(),
        lambda: here.to(pretend.DEVICE),
        lambda: here.to(pretend.DEVICE, non_blocking=True),
        lambda: there[there > 0],
        lambda: there[[0, 1]],
        lambda: torch.tensor(1.0, device=pretend.DEVICE),
        lambda: there.new_tensor([1.0, 2.0]),
    ):
        pretend.waits.clear()
        wait()
        assert pretend.waits
    with pytest.raises(RuntimeError, match="on pretend and on the CPU"):
        there + here


# ---------------------------------------------------------------------- gradients that are written out


@pytest.fixture
def by_hand_there(monkeypatch):
    """Let models learn by hand on the device, as they do on CUDA, though its weights are of a class of their own; return which did."""
    monkeypatch.setattr(by_hand, "_is_plain", lambda weight: isinstance(weight, torch.Tensor) and weight.requires_grad)
    made, make = [], by_hand.ByHand.__init__

    def noted(self, *args):
        made.append(self)
        make(self, *args)

    monkeypatch.setattr(by_hand.ByHand, "__init__", noted)
    return made


def dense(*inner):
    hidden = [layers.Dense(8, "relu"), *inner, layers.Dense(8, "tanh")]
    return Sequential([Input((SIZE,)), *hidden, layers.Dense(CLASSES, "softmax")])


def two_outputs():
    x = Input((SIZE,))
    hidden = layers.Concatenate()([layers.Dense(4, "relu")(x), layers.Dense(3, "sigmoid")(x)])
    total = layers.Add()([layers.Dense(7)(hidden), hidden])
    return Model(x, [layers.Dense(CLASSES, "softmax", name="kind")(total), layers.Dense(1, name="value")(total)])


OPTIMIZERS_BY_HAND = {
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "adam": optimizers.Adam,
    "gathering": lambda: optimizers.SGD(gradient_accumulation_steps=2),
    "scaling": lambda: optimizers.LossScaleOptimizer(optimizers.Adam()),
    "clipping": lambda: optimizers.Adam(global_clipnorm=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS_BY_HAND)
@pytest.mark.parametrize("options", [{}, {"sample_weight": WEIGHTS}, {"validation_split": 0.25}], ids=lambda options: "-".join(options))
def test_gradients_by_hand_are_those_of_the_cpu(optimizer, options, by_hand_there):
    check(dense, X, Y, {**CLASSIFYING, "optimizer": OPTIMIZERS_BY_HAND[optimizer]}, **options)
    assert by_hand_there


def test_gradients_by_hand_of_two_outputs_are_those_of_the_cpu(by_hand_there):
    losses = {"kind": "sparse_categorical_crossentropy", "value": "mse"}
    check(two_outputs, X, {"kind": Y, "value": X[:, :1]}, {"loss": losses})
    assert by_hand_there


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_dropout_by_hand_takes_every_type_and_waits_for_nothing(dtype, share, by_hand_there):
    _, parameters, waits = trained(lambda: dense(layers.Dropout(share)).to(dtype), pretend.DEVICE, X, Y, CLASSIFYING)
    assert by_hand_there and waits == [] and all(parameter.isfinite().all() for parameter in parameters)


# ---------------------------------------------------------------------- every layer, loss, metric and optimizer


CHANCES = ("dropout", "rate", "stddev", "recurrent_dropout")


def without_chance(row):
    """Whether a layer draws no random numbers in training, which a GPU would draw otherwise."""
    return not any(value for layer in row.make().sublayers() for name, value in vars(layer).items() if name in CHANCES)


@pytest.mark.parametrize("row", of_layers.CASES)
def test_every_layer(row):
    def make():
        model = of_layers.drawn(row)
        return Model(model.inputs, layers.Dense(2)(layers.Flatten()(model.outputs[0])))

    x = [tensor.numpy() for tensor in of_layers.data(row, batch=2 * BATCH)]
    x, y = x if len(x) > 1 else x[0], np.ones((2 * BATCH, 2), "float32")
    if without_chance(row):
        check(make, x, y)
    else:
        assert trained(make, pretend.DEVICE, x, y)[2] == []


OF_BITS = ("truepositives", "falsepositives", "truenegatives", "falsenegatives", "precision", "recall", "auc")


def targets_of(name):
    """Return targets that a loss or metric of this name takes, and the activation of the predictions for them."""
    name = name.lower().replace("_", "")
    if name.startswith(("sparse", "categoricalgeneralized")):
        return Y, "softmax"
    if name.startswith(("categorical", "topk", "kl")):
        return ONE_HOT, "softmax"
    return SHARES.round() if name.startswith(("binary", "dice", "tversky")) or name in OF_BITS else SHARES, "sigmoid"


def kinds_in(module, base_class, *others):
    """Return the classes of a vocabulary, without those that need arguments or other data."""
    found = dict.fromkeys(kind for kind in vars(module).values() if inspect.isclass(kind) and issubclass(kind, base_class))  # no aliases
    return [kind for kind in found if kind.__name__ not in (base_class.__name__, *others)]


@pytest.mark.parametrize("kind", kinds_in(losses, losses.Loss, "FunctionLoss", "TorchLoss", "CTC", "Circle"))
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_every_loss(kind, weights):
    y, activation = targets_of(kind.__name__)
    check(lambda: classifier(activation), X, y, {"loss": kind}, sample_weight=weights)


@pytest.mark.parametrize("name", [name for name in of_metrics.CLASSES if name not in ("mean", "sum")])
def test_every_metric(name):
    y, activation = targets_of(name)
    units = CLASSES
    if name.endswith("io_u"):
        y, units = (np.eye(2, dtype="float32")[Y % 2], 2) if name.startswith("one_hot") else (SHARES.round(), CLASSES)

    def make():
        return Sequential([Input((SIZE,)), layers.Dense(units, activation)])

    def made():
        return [of_metrics.CLASSES[name](*of_metrics.ARGUMENTS.get(name, ()))]

    loss = "sparse_categorical_crossentropy" if y is Y else "mse"
    check(make, X, y, {"loss": loss, "metrics": made, "weighted_metrics": made}, sample_weight=WEIGHTS)


OPTIONS = {
    "plain": {},
    "clipnorm": {"clipnorm": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.01},
    "weight_decay": {"weight_decay": 0.01},
    "ema": {"use_ema": True, "ema_overwrite_frequency": 2},
    "gathered": {"gradient_accumulation_steps": 2},
    "schedule": {"learning_rate": optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)},
}


OPTIMIZERS = kinds_in(optimizers, optimizers.Optimizer, "LossScaleOptimizer")
OF_EACH = ["plain", "weight_decay", "schedule"]  # the others are done around the optimizers, in the same way for all
AROUND = [(kind, option) for kind in (optimizers.SGD, optimizers.Adam, optimizers.Muon) for option in OPTIONS if option not in OF_EACH]


@pytest.mark.parametrize(("kind", "option"), [*product(OPTIMIZERS, OF_EACH), *AROUND])
def test_every_optimizer(kind, option):
    def small():
        return Sequential([Input((SIZE,)), layers.Dense(4, "tanh"), layers.Dense(CLASSES)])

    check(small, X, ONE_HOT, {"optimizer": lambda: kind(**OPTIONS[option])})


# ---------------------------------------------------------------------- data, from wherever it comes


class Batches(Sequence):
    def __len__(self):
        return ROWS // BATCH

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return X[rows].astype("float64"), Y[rows]


def endless():
    batches = Batches()
    while True:
        yield from (batches[index] for index in range(len(batches)))


def loader(**options):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), **options)


ARRAYS = {
    "arrays": {},
    "shuffled in batches": {"shuffle": "batch"},
    "sample weights": {"sample_weight": WEIGHTS},
    "class weights": {"class_weight": {0: 1.0, 1: 2.0}},
    "validation": {"validation_data": (X, Y, WEIGHTS)},
    "a part for validation": {"validation_split": 0.25},
    "callbacks": {"callbacks": [ReduceLROnPlateau("loss", 0.5, 0, min_delta=10), EarlyStopping("loss", restore_best_weights=True)]},
}


@pytest.mark.parametrize("options", ARRAYS.values(), ids=ARRAYS)
def test_arrays(options):
    check(classifier, X, Y, CLASSIFYING, **options)


STREAMS = {
    "sequence": lambda: {"x": Batches()},
    "sequence without workers": lambda: {"x": Batches(), "workers": 0},
    "sequence with class weights": lambda: {"x": Batches(), "class_weight": {0: 3.0}},
    "generator": lambda: {"x": endless(), "steps_per_epoch": ROWS // BATCH},
    "loader": lambda: {"x": loader(batch_size=BATCH)},
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_streams_of_batches(stream):
    expected, _, _ = trained(classifier, "cpu", compiled=CLASSIFYING, **stream())
    found, _, waits = trained(classifier, pretend.DEVICE, compiled=CLASSIFYING, **stream())
    assert waits == []
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"sample_weight": WEIGHTS}, {"class_weight": {0: 3.0}}, {"shuffle": True}], ids=str)
def test_data_that_lies_there_already(options):
    x, y = (torch.from_numpy(part).to(pretend.DEVICE) for part in (X, Y))
    _, _, waits = trained(classifier, pretend.DEVICE, x, y, CLASSIFYING, **options)
    assert waits == []


def test_predictions_are_those_of_the_cpu():
    model = classifier()
    model.compile("sgd", "mse", device="cpu")
    expected = model.predict(X, batch_size=BATCH, verbose=0)
    model.compile("sgd", "mse", device=pretend.DEVICE)
    pretend.waits.clear()
    found = model.predict(X, batch_size=BATCH, verbose=0)
    assert pretend.waits == []  # but for events, which are those of the batch before
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------- ways to train


COMPILED = {
    "gradients gathered": {"gradient_accumulation_steps": 2},
    "bfloat16": {"precision": "mixed_bfloat16"},
    "float16": {"precision": "mixed_float16", "optimizer": lambda: "adam"},
}


@pytest.mark.parametrize("options", COMPILED.values(), ids=COMPILED)
def test_options_of_compile(options):
    _, _, waits = trained(classifier, pretend.DEVICE, X, Y, {**CLASSIFYING, **options})
    assert waits == []


def words(*others):
    """Return a model of words, which hides those that are 0."""

    def make():
        hidden = given = Input((7,), dtype="int64")
        for layer in (layers.Embedding(5, 4, mask_zero=True), *(other() for other in others), layers.Dense(CLASSES, "softmax")):
            hidden = layer(hidden)
        return Model(given, hidden)

    return make


MASKED = {
    "lstm and gru": (lambda: layers.LSTM(4, return_sequences=True), lambda: layers.GRU(3)),
    "both ways": (lambda: layers.Bidirectional(layers.LSTM(4)),),
    "pooled": (lambda: layers.GlobalAveragePooling1D(),),
}


@pytest.mark.parametrize("inner", MASKED.values(), ids=MASKED)
def test_masks(inner):
    check(words(*inner), np.random.default_rng(1).integers(0, 5, (ROWS, 7)), Y, CLASSIFYING)


def test_masks_of_the_outputs():
    numbers = np.random.default_rng(1).integers(0, 5, (ROWS, 7))
    check(words(lambda: layers.LSTM(4, return_sequences=True)), numbers, numbers % CLASSES, CLASSIFYING)


def test_states_that_are_kept_between_batches():
    def make():
        kept = {"stateful": True, "return_sequences": True}
        return Sequential([Input(batch_shape=(BATCH, 4, 3)), layers.LSTM(3, **kept), layers.GRU(2, **kept), layers.Dense(1)])

    check(make, np.random.default_rng(1).normal(size=(ROWS, 4, 3)).astype("float32"), np.ones((ROWS, 4, 1), "float32"))


def test_several_outputs_with_penalties_and_constraints():
    def make():
        x = Input((SIZE,))
        hidden = layers.Dense(4, kernel_regularizer="l2", activity_regularizer="l1", kernel_constraint="max_norm")(x)
        figure = layers.Dense(1, kernel_constraint="unit_norm", name="b")(hidden)
        model = Model(x, [layers.Dense(CLASSES, "softmax", name="a")(hidden), figure])
        model.add_loss(hidden.pow(2).mean() * 0.1)
        return model

    loss = {"loss": {"a": "sparse_categorical_crossentropy", "b": "mse"}, "loss_weights": {"a": 0.3}, "metrics": {"b": ["mae"]}}
    check(make, X, {"a": Y, "b": X[:, :1]}, loss, class_weight={"a": {0: 2.0}})


def test_a_module_in_the_graph_and_constants_beside_it():
    def make():
        x = Input((SIZE,))
        hidden = layers.TorchModuleWrapper(nn.Sequential(nn.Linear(SIZE, 4), nn.BatchNorm1d(4)))(x)
        return Model(x, layers.Dense(CLASSES, "softmax")(torch.relu(hidden) + torch.ones(4)))

    check(make, X, Y, CLASSIFYING)


@pytest.fixture
def is_there(monkeypatch):
    """Let torch say that the device is there: tensors that are made of nothing lie on it."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: pretend.DEVICE)


def test_a_model_on_the_cpu_meets_no_tensor_of_the_accelerator(is_there):
    x = Input((SIZE,))
    noisy = layers.Lambda(lambda x: x + backend.random_normal((backend.shape(x)[0], SIZE)))(x)
    model = Model(x, layers.Dense(CLASSES)(noisy))
    model.compile("sgd", lambda y, predictions: ops.mean((y - predictions) ** 2 * ops.ones((CLASSES,))), device="cpu")
    model.fit(X, ONE_HOT, verbose=0)
    assert model.predict(X).shape == (ROWS, CLASSES)


def test_constants_lie_where_the_weights_are_before_and_after_training(is_there):
    x = Input((SIZE,))
    hidden = layers.Dense(4)(x * ops.ones((SIZE,))) + torch.ones(4)
    model = Model(x, layers.Dense(CLASSES)(hidden))
    assert model(torch.ones(1, SIZE)).device.type == "cpu"
    model.compile("sgd", "mse", device=pretend.DEVICE)
    model.fit(X, ONE_HOT, verbose=0)
    assert Model(x, hidden).predict(X).shape == (ROWS, 4)


def test_a_module_that_trains_itself():
    class Net(Trainer, nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(SIZE, CLASSES)

        def forward(self, x):
            return self.linear(x)

    check(Net, X, Y, {"loss": nn.CrossEntropyLoss, "metrics": lambda: ["accuracy"]})


def test_a_training_step_of_ones_own():
    class Own(Model):
        def train_step(self, batch):
            x, y, weight = batch
            loss = self.compute_loss(x, y, self(x, training=True), weight)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.mean.update_state(loss.detach())
            return {"loss": self.mean.result()}

    def make():
        x = Input((SIZE,))
        model = Own(x, layers.Dense(CLASSES, "softmax")(x))
        model.mean = metrics.Mean(name="mean")
        return model

    check(make, X, Y, {"loss": "sparse_categorical_crossentropy"})
