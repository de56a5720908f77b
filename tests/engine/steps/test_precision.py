"""`Precision`: forward passes run in torch's autocast; weights, losses, metrics and predictions stay float32."""

import copy
import pickle
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.layers.test_contract import CASES, data, drawn
from torchkeras_fn import Input, Model, Sequential, Trainer, layers
from torchkeras_fn.callbacks import Callback
from torchkeras_fn.engine.drawing.incoming import carried_mask
from torchkeras_fn.engine.steps.precision import Precision, in_float32
from torchkeras_fn.engine.steps.session import Session

POLICIES = ["mixed_bfloat16", "mixed_float16"]
# Numbers of bfloat16 have 8 bits, of float16 11; a layer adds up a few of them. Share of the largest output.
TOLERANCES = {"mixed_bfloat16": 2e-2, "mixed_float16": 4e-3}
_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(24, 8)).astype("float32")
Y = (X.sum(1, keepdims=True) > 0).astype("float32")


class Watch(nn.Module):
    """Notes the types that come by."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.dtype)
        return x


class Net(Trainer, nn.Module):
    """A plain module, which gives more than a tensor."""

    def __init__(self):
        super().__init__()
        self.linear, self.watch = nn.Linear(8, 1), Watch()

    def forward(self, x):
        return self.watch(self.linear(x))


class Subclassed(Model):
    def __init__(self):
        super().__init__()
        self.linear, self.watch = layers.Dense(1), Watch()

    def call(self, inputs):
        return self.watch(self.linear(inputs))


def graph():
    x = Input(shape=(8,))
    model = Model(x, layers.TorchModuleWrapper(Watch(), name="watch")(layers.Dense(1, name="linear")(x)))
    model.watch = model.get_submodule("watch")
    return model


MAKERS = {"graph": graph, "plain": Net, "subclassed": Subclassed}


def compiled(make, precision, **options):
    torch.manual_seed(0)
    model = make()
    model.compile(options.pop("optimizer", "sgd"), "mse", metrics=["mae"], precision=precision, **options)
    return model


# ---------------------------------------------------------------------- what runs in which type


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_forward_passes_run_in_the_lower_precision_and_give_float32(make, policy):
    model, dtype = compiled(make, policy), getattr(torch, policy.removeprefix("mixed_"))
    model.predict(X)  # which makes the weights of the subclassed one
    for call in (
        lambda: model.fit(X, Y, verbose=0),
        lambda: model.evaluate(X, Y, verbose=0),
        lambda: model.predict(X),
        lambda: model.train_on_batch(X, Y),
        lambda: model.test_on_batch(X, Y),
        lambda: model.predict_on_batch(X),
    ):
        model.watch.seen.clear()
        call()
        assert dtype in model.watch.seen
        assert set(model.watch.seen) <= {dtype, torch.float32}  # float32 where shapes alone are inferred
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.predict(X).dtype == model.predict_on_batch(X).dtype == np.float32


@pytest.mark.parametrize("precision", [None, "float32"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_nothing_is_done_without_a_precision(make, precision):
    model = compiled(make, precision)
    model.fit(X, Y, verbose=0)
    assert set(model.watch.seen) == {torch.float32}
    assert model._precision is None
    assert not any(part._forward_hooks for part in model.modules())


@pytest.mark.parametrize("policy", POLICIES)
def test_losses_and_metrics_see_float32(policy):
    seen = []

    def loss(y_true, y_pred):
        seen.append((y_true.dtype, y_pred.dtype))
        return (y_true - y_pred).square().mean(-1)

    model = graph()
    model.compile("sgd", loss, metrics=[lambda y_true, y_pred: loss(y_true, y_pred).mean()], precision=policy)
    model.fit(X, Y, verbose=0, validation_data=(X, Y))
    assert set(seen) == {(torch.float32, torch.float32)}


def test_another_precision_takes_the_place_of_the_last():
    model = compiled(graph, "mixed_bfloat16")
    model.predict(X)
    for precision, dtype in (("mixed_float16", torch.float16), (None, torch.float32)):
        model.compile("sgd", "mse", precision=precision)
        model.watch.seen.clear()
        model.predict(X)
        model.predict_on_batch(X)
        assert set(model.watch.seen) == {dtype}


def test_predictions_before_compile_do_not_decide():
    model = graph()
    model.predict(X)
    model.compile("sgd", "mse", precision="mixed_bfloat16")
    model.watch.seen.clear()
    model.predict(X)
    assert set(model.watch.seen) == {torch.bfloat16}


def test_the_callers_autocast_goes_first():
    model = compiled(graph, "mixed_bfloat16")
    with torch.autocast("cpu", torch.float16):
        model.predict(X)
    assert model.watch.seen[-1] == torch.float16


def test_weights_are_cast_anew_after_each_step():
    """Autocast keeps casts of weights as long as it is on: predictions must follow the weights."""
    model = compiled(graph, "mixed_bfloat16", optimizer="adam")

    class Look(Callback):
        def __init__(self):
            self.predictions = []

        def on_train_batch_end(self, batch, logs=None):
            self.predictions.append(self.model.predict_on_batch(X))

    look = Look()
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=[look])
    assert all((one != other).any() for one, other in zip(look.predictions, look.predictions[1:], strict=False))
    np.testing.assert_array_equal(look.predictions[-1], model.predict_on_batch(X))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"])
@pytest.mark.parametrize("optimizer", ["adam", torch.optim.Adam])
def test_a_copy_trains_as_the_original(copied, optimizer):
    model = Sequential([layers.Dense(4, "tanh", input_shape=(8,)), layers.Dense(1)])
    model.compile(optimizer, "mse", precision="mixed_float16", gradient_accumulation_steps=2)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, shuffle=False)
    twin = copied(model)
    histories = [one.fit(X, Y, batch_size=8, epochs=2, verbose=0, shuffle=False).history for one in (model, twin)]
    assert histories[0] == histories[1]


@pytest.mark.parametrize("policy", POLICIES)
def test_terms_and_figures_of_layers_are_float32(policy):
    class Adds(layers.Layer):
        def call(self, inputs):
            self.add_loss(inputs.square().mean())
            self.add_metric(inputs.abs().mean(), "size")
            return inputs

    model = Sequential([layers.Dense(4, input_shape=(8,), activity_regularizer="l2"), Adds(), layers.Dense(1)])
    model.compile("sgd", "mse", precision=policy)
    model.fit(X, Y, verbose=0)
    outputs = model._training_outputs(torch.from_numpy(X))
    assert [term.dtype for term in outputs.losses] == [torch.float32] * 2
    assert [figure.dtype for _, figure in outputs.metrics] == [torch.float32]


class Counts(TorchDispatchMode):
    """Counts the operations of the second of two epochs, but for views."""

    free = frozenset(("detach", "t", "view", "alias", "_unsafe_view", "transpose", "expand", "unsqueeze", "slice", "select", "empty"))

    def __init__(self):
        super().__init__()
        self.operations = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations[function._schema.name.partition("::")[2]] += 1
        return function(*args, **(kwargs or {}))

    def kernels(self):
        return Counter({name: count for name, count in self.operations.items() if name not in self.free})


def test_a_step_casts_hardly_more_than_one_by_hand():
    """Each weight is cast once for a step, and the outputs once."""
    model = Sequential([layers.Dense(16, "relu", input_shape=(8,)), layers.Dense(16, "relu"), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", precision="mixed_bfloat16")
    y = np.arange(24) % 3
    model.train_on_batch(X, y)
    inputs, targets, batch = torch.from_numpy(X), torch.from_numpy(y), (torch.from_numpy(X), torch.from_numpy(y), None)
    with Session(model, training=True), Counts() as ours:
        model.train_step(batch)
    linears = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(linears.parameters(), fused=True)
    with Counts() as by_hand:
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(linears(inputs).float(), targets)
        loss.backward()
        optimizer.step()
    assert ours.kernels()["_to_copy"] <= by_hand.kernels()["_to_copy"]
    assert ours.kernels().total() <= by_hand.kernels().total() + 2


# ---------------------------------------------------------------------- steps of the user's


class OwnSteps(Net):
    """Steps that call the model, and parts of it, by themselves."""

    def train_step(self, batch):
        x, y, _ = batch
        self.types = [self(x).dtype, self.linear(x).dtype]
        loss = self.compute_loss(x, y, self(x))
        self.optimizer.zero_grad()
        self.scale_loss(loss).backward()
        self.optimizer.step()
        return self.compute_metrics(x, y, self(x))

    def predict_step(self, batch):
        return {"twice": 2 * self(batch[0])}


def test_a_step_that_is_set_on_the_model():
    model = compiled(Net, "mixed_bfloat16")
    model.predict_step = lambda batch: model.linear(batch[0])
    model.watch.seen.clear()
    assert model.predict(X).dtype == np.float32
    with torch.no_grad():
        exact = model.linear(torch.from_numpy(X)).numpy()
    assert not np.array_equal(model.predict(X), exact)


class OwnGraphStep(Model):
    def train_step(self, batch):
        x, y, _ = batch
        self.types = [self(x, training=True).dtype]
        return super().train_step(batch)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("optimizer", ["sgd", torch.optim.SGD])
def test_steps_of_the_users_run_in_the_precision_too(policy, optimizer):
    torch.manual_seed(0)
    model = OwnSteps()
    model.compile(optimizer, "mse", precision=policy)
    expected = copy.deepcopy(model.linear)
    model.fit(X, Y, batch_size=24, verbose=0, shuffle=False)
    assert set(model.watch.seen) == {getattr(torch, policy.removeprefix("mixed_"))}
    assert model.types == [torch.float32, torch.float32]
    nn.functional.mse_loss(expected(torch.tensor(X)), torch.tensor(Y)).backward()
    rate = 0.01 if optimizer == "sgd" else 0.001
    torch.testing.assert_close(model.linear.weight, expected.weight - rate * expected.weight.grad, rtol=0, atol=rate * 2e-2)
    assert model.predict(X)["twice"].dtype == np.float32
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_a_step_of_the_users_around_a_graph():
    x = Input(shape=(8,))
    model = OwnGraphStep(x, layers.Dense(1)(layers.Dense(4, "relu")(x)))
    model.compile("sgd", "mse", precision="mixed_bfloat16")
    usual = Model(model.inputs, model.outputs)
    usual.compile("sgd", "mse", precision="mixed_bfloat16")
    weights = model.get_weights()
    history = model.fit(X, Y, verbose=0, shuffle=False, epochs=2).history
    usual.set_weights(weights)
    assert usual.fit(X, Y, verbose=0, shuffle=False, epochs=2).history == history
    assert model.types == [torch.float32]


def test_an_error_in_a_call_leaves_autocast_off():
    class Failing(OwnSteps):
        def forward(self, x):
            raise KeyError("why")

    model = Failing()
    model.compile("sgd", "mse", precision="mixed_bfloat16")
    with pytest.raises(KeyError, match="why"):
        model.train_on_batch(X, Y)
    assert not torch.is_autocast_enabled("cpu")
    assert not any(part._forward_hooks for part in model.modules())


def test_scale_loss_is_the_loss_itself_without_a_scale():
    model, loss = compiled(graph, "mixed_bfloat16"), torch.ones(())
    assert model.scale_loss(loss) is loss
    assert compiled(graph, "mixed_float16").scale_loss(loss) == 2.0**15
    assert compiled(graph, "mixed_float16", auto_scale_loss=False).scale_loss(loss) is loss
    assert compiled(graph, "mixed_float16", optimizer=torch.optim.SGD).scale_loss(loss) == 2.0**15


def test_a_step_that_does_not_scale_its_loss_is_right_all_the_same():
    class Unscaled(OwnSteps):
        def train_step(self, batch):
            x, y, _ = batch
            loss = (self(x) - y).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return {"loss": loss.detach()}

    for optimizer in ("sgd", torch.optim.SGD):
        torch.manual_seed(0)
        scaled, unscaled = OwnSteps(), Unscaled()
        unscaled.load_state_dict(scaled.state_dict())
        for model in (scaled, unscaled):
            model.compile(optimizer, "mse", precision="mixed_float16")
            model.fit(X, Y, verbose=0, shuffle=False)
        torch.testing.assert_close(unscaled.linear.weight, scaled.linear.weight, rtol=0, atol=1e-6)


# ---------------------------------------------------------------------- all layers


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("row", CASES)
def test_every_layer_runs_in_mixed_precision(row, policy):
    model, tensors = drawn(row), data(row)
    precision = Precision(policy, "cpu")
    with torch.no_grad():
        expected, found = model.lowered(*tensors), precision.run(model.lowered, *tensors)
    assert found.dtype == expected.dtype
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCES[policy] * scale)
    model.train()
    outputs = precision.run(model.lowered, *tensors)
    if outputs.requires_grad:
        outputs.square().mean().backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert gradients
        assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("policy", POLICIES)
def test_masks_weights_and_several_outputs(policy):
    words = Input(shape=(6,), dtype="int64")
    hidden = layers.LSTM(8, return_sequences=True)(layers.Embedding(10, 8, mask_zero=True)(words))
    hidden = layers.BatchNormalization()(layers.MultiHeadAttention(2, 4)(hidden, hidden))
    outputs = [layers.Dense(3, "softmax", name="word")(hidden), layers.Dense(1, name="size")(layers.GRU(4)(hidden))]
    x, histories = np.random.default_rng(0).integers(0, 10, (24, 6)), []
    y = {"word": x % 3, "size": x.mean(1)}
    start = None
    for precision in (None, policy):
        model = Model(words, outputs)
        start = model.get_weights() if start is None else start
        model.set_weights(start)
        losses = {"word": "sparse_categorical_crossentropy", "size": "mse"}
        model.compile("adam", losses, metrics={"word": "accuracy"}, precision=precision)
        weights = {"size": np.linspace(0, 1, 24)}
        histories.append(model.fit(x, y, batch_size=8, epochs=3, verbose=0, shuffle=False, sample_weight=weights).history)
    assert histories[0].keys() == histories[1].keys()
    for name, expected in histories[0].items():
        if name != "word_accuracy":
            np.testing.assert_allclose(histories[1][name], expected, rtol=5e-2, err_msg=name)


# ---------------------------------------------------------------------- pieces


def test_outputs_become_float32_wherever_they_are():
    half = torch.ones(2, dtype=torch.float16)
    tree = in_float32(({"a": half, "b": [half, torch.ones(1, dtype=torch.int64)]}, None, 3, half.double()))
    assert tree[0]["a"].dtype == tree[0]["b"][0].dtype == torch.float32
    assert tree[0]["b"][1].dtype == torch.int64 and tree[1:3] == (None, 3) and tree[3].dtype == torch.float64
    kept = torch.ones(1)
    assert in_float32(kept) is kept


def test_named_tuples_stay_what_they_are():
    class Result(NamedTuple):
        value: torch.Tensor
        count: int

    result = in_float32(Result(torch.ones(1, dtype=torch.bfloat16), 3))
    assert type(result) is Result and result.value.dtype == torch.float32 and result.count == 3


def test_a_mask_stays_with_its_output():
    class Words(Model):
        def __init__(self):
            super().__init__()
            self.embedding, self.dense = layers.Embedding(5, 4, mask_zero=True), layers.Dense(2)

        def call(self, inputs):
            return self.dense(self.embedding(inputs))

    model = Words()
    model.compile("sgd", "mse", precision="mixed_bfloat16")
    model.predict(np.array([[1, 0, 2]]))
    outputs = model._call(torch.tensor([[1, 0, 2]]))
    assert outputs.dtype == torch.float32
    assert carried_mask(outputs).tolist() == [[True, False, True]]


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_weights_of_another_type_are_refused(make, dtype):
    model = make()
    model.compile("sgd", "mse")
    model.predict(X)
    model.to(dtype)
    optimizer = model.optimizer
    with pytest.raises(ValueError, match=r"weights of float32, but '.*' is of torch\..*float"):
        model.compile("adam", "mse", precision="mixed_bfloat16")
    assert model.optimizer is optimizer and model._execution.precision is None


def test_weights_of_another_type_are_refused_when_they_are_made():
    model = Sequential([layers.Dense(1, dtype="float64")])
    model.compile("sgd", "mse", precision="mixed_bfloat16")
    with pytest.raises(ValueError, match="weights of float32"):
        model.fit(X, Y, verbose=0)


def test_a_device_without_autocast_is_refused():
    with pytest.raises(ValueError, match="no autocast to torch.bfloat16 for 'meta'"):
        Precision("mixed_bfloat16", "meta")
    model = graph()
    with pytest.raises(ValueError, match="no autocast"):
        model.compile("sgd", "mse", precision="mixed_float16", device="meta")
    assert model.optimizer is None


@pytest.mark.cuda
@pytest.mark.parametrize("policy", POLICIES)
def test_a_model_that_is_moved_computes_in_the_precision_there(policy):
    model = compiled(graph, policy, device="cpu")
    model.train_on_batch(X, Y)
    model.to("cuda")
    model.watch.seen.clear()
    model.train_on_batch(X, Y)
    assert set(model.watch.seen) == {getattr(torch, policy.removeprefix("mixed_"))}
