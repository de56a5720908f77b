"""Losses by name, class, config, function and object; written down and read again; and as what `compile` takes."""

import functools
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import losses
from torchkeras_fn.layers import Dense, Input
from torchkeras_fn.losses.functions import ALIASES, CLASSES
from torchkeras_fn.models import Model

ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
P = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3]])
NAMES = {**{name: name for name in CLASSES}, **ALIASES}


@pytest.mark.parametrize(("identifier", "name"), NAMES.items())
def test_the_name_of_a_function_in_any_spelling_is_the_function(identifier, name):
    function = getattr(losses, name)
    for spelling in (identifier, identifier.upper(), identifier.replace("_", "-")):
        assert losses.get(spelling) is function or spelling == CLASSES[name].__name__
        assert type(losses.as_loss(spelling)) is CLASSES[name]


@pytest.mark.parametrize("cls", CLASSES.values(), ids=lambda cls: cls.__name__)
def test_classes_their_names_and_objects_are_objects(cls):
    assert type(losses.get(cls.__name__)) is cls
    assert type(losses.get(cls)) is cls
    loss = cls()
    assert losses.get(loss) is losses.as_loss(loss) is loss


@pytest.mark.parametrize("name", CLASSES)
def test_functions_are_given_back_and_stand_for_their_class(name):
    function = getattr(losses, name)
    assert losses.get(function) is function
    assert type(losses.as_loss(function)) is CLASSES[name]


def test_a_function_with_options_stands_for_the_class_with_options():
    loss = losses.as_loss(functools.partial(losses.categorical_crossentropy, label_smoothing=0.3))
    assert type(loss) is losses.CategoricalCrossentropy and loss.label_smoothing == 0.3


def test_functions_and_objects_of_ones_own():
    class Scaled:
        def __call__(self, y_true, y_pred):
            return 3 * (y_true - y_pred).abs().mean(-1)

    scaled = Scaled()
    assert losses.get(scaled) is scaled
    assert losses.as_loss(scaled).function is scaled
    assert isinstance(losses.get(nn.MSELoss()), losses.TorchLoss)


def test_a_loss_that_is_called_in_a_way_of_its_own_is_called_so():
    class Doubled(losses.MeanSquaredError):
        def __call__(self, y_true, y_pred, sample_weight=None):
            return 2 * super().__call__(y_true, y_pred, sample_weight)

    loss = losses.as_loss(Doubled())
    assert loss(torch.zeros(2, 1), torch.ones(2, 1)).item() == 2.0
    assert losses.serialize(loss)["class_name"] == "Doubled"


def test_none_stays_none():
    assert losses.get(None) is None and losses.as_loss(None) is None


@pytest.mark.parametrize(
    ("loss", "binary"),
    [
        ("binary_crossentropy", True),
        ("binary_focal_crossentropy", True),
        (nn.BCELoss(), True),
        (F.binary_cross_entropy_with_logits, True),
        ("mse", False),
        (nn.MSELoss(), False),
    ],
)
def test_which_losses_are_binary(loss, binary):
    assert losses.is_binary(losses.as_loss(loss)) == binary


# ---------------------------------------------------------------------- written down

OPTIONS = [
    losses.Huber(0.5),
    losses.CosineSimilarity(1),
    losses.BinaryCrossentropy(label_smoothing=0.2, axis=1),
    losses.BinaryFocalCrossentropy(True, 0.3, 1.0, True),
    losses.CategoricalCrossentropy(label_smoothing=0.1, from_logits=True, name="mine"),
    losses.CategoricalFocalCrossentropy([0.1, 0.2, 0.7]),
    losses.SparseCategoricalCrossentropy(ignore_class=-1, axis=1),
    losses.CategoricalGeneralizedCrossEntropy(0.7),
    losses.Dice(axis=(1, 2)),
    losses.Tversky(0.1, 0.2, axis=1),
    losses.Circle(1.0, 0.1, False),
    losses.MeanSquaredError("mean_with_sample_weight", dtype="float64"),
]


@pytest.mark.parametrize("loss", [*(cls() for cls in CLASSES.values()), *OPTIONS], ids=lambda loss: type(loss).__name__)
def test_the_config_is_json_and_makes_an_equal_loss(loss):
    again = losses.deserialize(json.loads(json.dumps(losses.serialize(loss))))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert {name: value for name, value in vars(again).items() if name != "_arguments"} == {
        name: value for name, value in vars(loss).items() if name != "_arguments"
    }


@pytest.mark.parametrize("name", CLASSES)
def test_functions_are_written_by_name(name):
    function = getattr(losses, name)
    assert losses.serialize(function) == name
    assert losses.deserialize(name) is function


def test_a_function_of_ones_own_is_written_by_name_and_found_again():
    def distance(y_true, y_pred):
        return (y_true - y_pred).abs().mean(-1)

    written = losses.serialize(losses.as_loss(distance))
    assert written == "distance"
    assert losses.deserialize(written, custom_objects={"distance": distance}) is distance


def test_an_object_of_ones_own_is_written_by_its_config_and_found_again():
    class Mixed:
        def __init__(self, share):
            self.share = share

        def __call__(self, y_true, y_pred):
            return self.share * losses.mse(y_true, y_pred) + (1 - self.share) * losses.mae(y_true, y_pred)

        def get_config(self):
            return {"share": self.share}

    written = losses.serialize(losses.as_loss(Mixed(0.25)))
    again = losses.deserialize(written, custom_objects={"Mixed": Mixed})
    assert isinstance(again, Mixed) and again.share == 0.25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.get("mes"), "Unknown loss 'mes'. Did you mean 'mse'"),
        (lambda: losses.get("categorical_crossentropi"), "Did you mean 'categorical_crossentropy'"),
        (lambda: losses.as_loss("focal_crossentropy"), "Did you mean '.*focal_crossentropy'"),
        (lambda: losses.get("xyzzy"), "Unknown loss 'xyzzy'. Known are: "),
        (lambda: losses.get(3), "loss.*got 3 of type int"),
        (lambda: losses.get({"config": {}}), "needs a 'class_name'"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---------------------------------------------------------------------- compile


def classifier():
    x = Input((4,))
    return Model(x, Dense(3, activation="softmax")(x))


FITTING = [name for name in CLASSES if name not in ("ctc",)]


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize("weights", ["plain", "sample_weight", "class_weight"])
def test_a_model_trains_with_every_loss(name, weights):
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, 16)
    y = classes if CLASSES[name].indices or name == "circle" else np.eye(3)[classes]
    x = np.eye(4)[classes] + random.normal(size=(16, 4)) / 10
    model = classifier()
    model.compile("sgd", name)
    more = {"plain": {}, "sample_weight": {"sample_weight": random.random(16)}, "class_weight": {"class_weight": {0: 2.0, 2: 0.5}}}
    history = model.fit(x, y, epochs=8, batch_size=8, verbose=0, shuffle=False, **more[weights]).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]


@pytest.mark.parametrize("loss", [*(cls() for cls in CLASSES.values() if cls is not losses.CTC), *OPTIONS], ids=lambda loss: loss.name)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_reads_nothing_from_the_device(loss, weighted):
    # Tensors that hold no data cannot be read. (CTC is left out: torch's kernel takes its lengths on the CPU.)
    y_pred = torch.empty(6, 3, device="meta", requires_grad=True)
    y_true = torch.empty((6,) if loss.indices or loss.name == "circle" else (6, 3), device="meta")
    if isinstance(loss, (losses.Dice, losses.CategoricalFocalCrossentropy)) or loss.axis == 1:
        y_pred = torch.empty(6, 3, 3, 3, device="meta", requires_grad=True)
        y_true = torch.empty((6, 3, 3) if loss.indices else (6, 3, 3, 3), device="meta")
    weight = torch.empty(6, device="meta") if weighted else None
    loss.compute(*loss.prepare(y_true, y_pred), weight).backward()
    assert y_pred.grad.shape == y_pred.shape


@pytest.mark.parametrize(
    "form",
    [
        "categorical_crossentropy",
        "CategoricalCrossentropy",
        losses.categorical_crossentropy,
        losses.CategoricalCrossentropy,
        losses.CategoricalCrossentropy(),
        {"class_name": "CategoricalCrossentropy", "config": {"reduction": "mean"}},
        losses.serialize(losses.CategoricalCrossentropy()),
        lambda y_true, y_pred: losses.categorical_crossentropy(y_true, y_pred),
    ],
    ids=str,
)
def test_every_form_of_a_loss_may_be_compiled(form):
    model = classifier()
    model.set_weights([np.ones((4, 3)), np.arange(3.0)])
    model.compile("sgd", form)
    x, y = np.ones((2, 4)), np.eye(3)[[0, 1]]
    expected = F.cross_entropy(torch.tensor([[0.0, 1.0, 2.0]] * 2), torch.tensor([0, 1])).item()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_the_reductions_in_training():
    x, y, weight = np.ones((4, 4)), np.eye(3)[[0, 1, 2, 0]], np.array([1.0, 0.0, 3.0, 0.0])
    figures = {}
    for reduction in ("sum_over_batch_size", "mean", "mean_with_sample_weight", "sum", "none"):
        model = classifier()
        model.set_weights([np.ones((4, 3)), np.arange(3.0)])
        model.compile("sgd", losses.MeanSquaredError(reduction))
        figures[reduction] = model.evaluate(x, y, sample_weight=weight, verbose=0)
    assert figures["mean"] == figures["none"] == figures["sum_over_batch_size"]
    assert figures["sum"] == pytest.approx(4 * figures["mean"], rel=1e-5)
    assert figures["mean_with_sample_weight"] == pytest.approx(figures["mean"], rel=1e-5)  # the weights sum to 4, as 4 samples do


@pytest.mark.parametrize("name", ["ctc", "dice", "circle"])
def test_targets_that_do_not_fit_are_told_before_a_step(name):
    model = classifier()
    model.compile("sgd", name)
    with pytest.raises(ValueError, match="got shapes|do not fit"):
        model.fit(np.ones((4, 4)), np.ones((4, 7)), verbose=0)
