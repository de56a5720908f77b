"""What modules return: dataclasses, and more outputs in training than in evaluation."""

from collections import namedtuple
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from torchkeras_fn import Trainer
from torchkeras_fn.callbacks import LambdaCallback
from torchkeras_fn.engine.outputs.returned import has_more, keys_of, parts_of, places_of

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(20, 4)).astype("float32"), RANDOM.integers(0, 3, 20)
BOTH = {"logits": Y, "aux": Y}
Pair = namedtuple("Pair", ["logits", "aux"])


@dataclass(frozen=True)
class Found:
    """Outputs of a module, not all of which there always are."""

    logits: torch.Tensor
    hidden: tuple = ()
    mask: torch.Tensor | None = None
    steps: int = 3
    made: bool = field(default=False, init=False)


class Classifier(Trainer, nn.Module):
    """Has an auxiliary classifier in training, as Inception has. `pack` makes what `forward` returns out of both, or of one."""

    def __init__(self, pack):
        super().__init__()
        torch.manual_seed(0)
        self.main, self.beside, self.pack = nn.Linear(4, 3), nn.Linear(4, 3), pack

    def forward(self, x):
        return self.pack(self.main(x), self.beside(x) if self.training else None)


PACKS = {
    "tensor": lambda main, beside: main if beside is None else Pair(main, beside),
    "dict": lambda main, beside: {"logits": main} if beside is None else {"aux": beside, "logits": main},
    "tuple": lambda main, beside: main if beside is None else (main, beside),
}


def classifier(pack="tensor", **options):
    model = Classifier(PACKS[pack])
    model.compile("sgd", **{"loss": nn.CrossEntropyLoss(), **options})
    return model


def loss_of(layer):
    return float(F.cross_entropy(layer(torch.from_numpy(X)), torch.from_numpy(Y)).detach())


@pytest.mark.parametrize("pack", PACKS)
def test_an_output_may_be_there_in_training_alone(pack):
    model = classifier(pack, loss_weights=[1.0, 0.5] if pack == "tuple" else {"logits": 1.0, "aux": 0.5})
    expected = loss_of(model.main) + 0.5 * loss_of(model.beside)
    history = model.fit(X, BOTH if pack == "dict" else [Y, Y], batch_size=20, validation_data=(X, Y), verbose=0).history
    assert history["loss"] == [pytest.approx(expected)]
    assert history["val_loss"] == [pytest.approx(loss_of(model.main))]
    assert len([name for name in history if name.startswith("val_")]) == 2  # the loss, and that of the one output


@pytest.mark.parametrize("given", [Y, [Y, Y], BOTH], ids=["alone", "list", "dict"])
def test_an_evaluation_takes_the_targets_of_all_outputs_or_of_those_there_are(given):
    model = classifier("dict")
    model.fit(X, BOTH, verbose=0)
    assert model.evaluate(X, given, verbose=0, return_dict=True) == {
        "loss": pytest.approx(loss_of(model.main)),
        "logits_loss": pytest.approx(loss_of(model.main)),
    }


@pytest.mark.parametrize("before", ["evaluate", "predict"])
def test_what_was_seen_before_training_does_not_settle_the_outputs(before):
    model = classifier(metrics=["accuracy"])
    model.evaluate(X, Y, verbose=0) if before == "evaluate" else model.predict(X)
    history = model.fit(X, [Y, Y], verbose=0).history
    assert list(history) == ["loss", "logits_loss", "aux_loss", "logits_accuracy", "aux_accuracy"]


@pytest.mark.parametrize("loss", [{"logits": "ce", "aux": "ce"}, {"logits": "ce"}])
def test_a_loss_by_name_is_known_of_outputs_that_are_not_seen_yet(loss):
    model = classifier(loss=dict.fromkeys(loss, nn.CrossEntropyLoss()))
    expected = loss_of(model.main)
    assert model.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == pytest.approx(expected)
    history = model.fit(X, dict.fromkeys(loss, Y), batch_size=20, verbose=0).history
    assert history["logits_loss" if len(loss) > 1 else "loss"] == [pytest.approx(expected)]


def test_a_loss_of_an_output_that_there_never_is_is_refused_in_training():
    model = classifier(loss={"logits": nn.CrossEntropyLoss(), "other": nn.CrossEntropyLoss()})
    with pytest.raises(ValueError, match=r"'other', which is no output. The outputs are \['logits', 'aux'\]"):
        model.fit(X, {"logits": Y, "other": Y}, verbose=0)


def test_an_output_that_is_missing_in_training_later_on_is_an_error():
    model = classifier("dict")
    model.fit(X, BOTH, verbose=0)
    model.pack = lambda main, beside: {"logits": main}
    with pytest.raises(ValueError, match=r"'aux' has a loss, but in training the model returned \['logits'\] alone"):
        model.fit(X, BOTH, verbose=0)


def test_batches_of_a_loader_may_have_fewer_targets_for_validation():
    model = classifier()
    train, validation = (DataLoader([(x, pack(y)) for x, y in zip(X, Y, strict=True)], 8) for pack in (lambda y: [y, y], int))
    history = model.fit(train, validation_data=validation, verbose=0).history
    assert history["val_loss"] == [pytest.approx(loss_of(model.main))]


def test_an_evaluation_in_the_middle_of_an_epoch_leaves_the_figures_of_all_outputs():
    model, seen = classifier(), []

    def look(batch, logs):
        model.evaluate(X, Y, verbose=0)
        seen.append(dict(logs))

    model.fit(X, [Y, Y], batch_size=8, callbacks=[LambdaCallback(on_train_batch_end=look)], verbose=0)
    assert all("aux_loss" in logs for logs in seen)


def test_classes_and_samples_have_weights_in_training_and_samples_in_evaluation():
    model = classifier("dict", loss=dict.fromkeys(BOTH, nn.CrossEntropyLoss()))
    model.fit(X, BOTH, class_weight={"logits": {0: 2.0}}, sample_weight={"aux": np.ones(20)}, verbose=0)
    assert model.evaluate(X, Y, sample_weight=2 * np.ones(20), verbose=0)[0] == pytest.approx(2 * loss_of(model.main), rel=1e-5)


def test_what_was_seen_before_another_compile_does_not_count():
    model = classifier()
    model.fit(X, [Y, Y], verbose=0)
    model.compile("sgd", nn.CrossEntropyLoss())
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(loss_of(model.main))


def test_a_list_of_losses_is_for_the_outputs_of_training_which_an_evaluation_may_come_before():
    model = classifier(loss=[nn.CrossEntropyLoss(), nn.CrossEntropyLoss()])
    model.evaluate(X, Y, verbose=0)
    expected = loss_of(model.main)
    history = model.fit(X, {"aux": Y, "logits": Y}, batch_size=20, verbose=0).history
    assert history["logits_loss"] == [pytest.approx(expected)]
    assert model.evaluate(X, Y, verbose=0)[0] == pytest.approx(loss_of(model.main))


def test_a_list_of_losses_is_in_the_order_of_the_dict_of_training():
    model = classifier("dict", loss=[nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.5)])
    expected = loss_of(model.beside)
    history = model.fit(X, BOTH, batch_size=20, validation_data=(X, Y), verbose=0).history
    assert history["aux_loss"] == [pytest.approx(expected)]
    assert history["val_loss"] == history["val_logits_loss"]


def test_a_list_of_lists_of_metrics_is_for_the_outputs_of_training():
    model = classifier(metrics=[["accuracy"], []])
    history = model.fit(X, [Y, Y], validation_data=(X, Y), verbose=0).history
    assert [name for name in history if name.endswith("accuracy")] == ["logits_accuracy", "val_logits_accuracy"]


LISTED = [[{0: 2.0}, {1: 3.0}], [Y, Y]]
NAMED = [{"logits": {0: 2.0}, "aux": {1: 3.0}}, {"aux": Y, "logits": Y}]


@pytest.mark.parametrize("is_loaded", [False, True])
@pytest.mark.parametrize(("class_weight", "y"), [LISTED, NAMED], ids=["list", "dict"])
def test_classes_have_weights_in_the_first_fit(class_weight, y, is_loaded):
    model = classifier()
    samples = [(x, [label, label] if isinstance(y, list) else dict.fromkeys(y, label)) for x, label in zip(X, Y, strict=True)]
    data = (DataLoader(samples, 20),) if is_loaded else (X, y)
    values = [F.cross_entropy(layer(torch.from_numpy(X)), torch.from_numpy(Y), reduction="none") for layer in (model.main, model.beside)]
    weights = [np.where(Y == 0, 2.0, 1.0), np.where(Y == 1, 3.0, 1.0)]
    expected = [float((value.detach() * torch.from_numpy(weight)).mean()) for value, weight in zip(values, weights, strict=True)]
    history = model.fit(*data, batch_size=20, class_weight=class_weight, verbose=0).history
    assert [history["logits_loss"][0], history["aux_loss"][0]] == pytest.approx(expected)


@pytest.mark.parametrize(("class_weight", "y"), [(LISTED[0], NAMED[1]), (NAMED[0], LISTED[1])])
def test_weights_of_classes_and_targets_that_cannot_be_matched_yet_are_refused(class_weight, y):
    with pytest.raises(ValueError, match="give class_weight and y both as dicts"):
        classifier().fit(X, y, class_weight=class_weight, verbose=0)


def test_weights_of_classes_for_more_outputs_than_targets_are_refused():
    with pytest.raises(ValueError, match="class_weight has 2 entries for 1 outputs"):
        classifier().fit(X, Y, class_weight=LISTED[0], verbose=0)


# ---------------------------------------------------------------------- dataclasses


def record(main, beside):
    return Found(main, (main * 2, main * 3))


def test_the_fields_of_a_dataclass_are_outputs():
    model = Classifier(record)
    model.compile("sgd", {"logits": nn.CrossEntropyLoss()}, metrics={"logits": "accuracy"})
    expected = loss_of(model.main)
    history = model.fit(X, {"logits": Y}, batch_size=20, validation_data=(X, {"logits": Y}), verbose=0).history
    names = ["loss", "logits_loss", "logits_accuracy"]
    assert list(history) == [*names, *(f"val_{name}" for name in names)] and history["loss"] == [pytest.approx(expected)]


def test_predictions_in_a_dataclass_are_one_of_the_same_class():
    found = Classifier(record).predict(X, batch_size=8)
    assert type(found) is Found and found.logits.shape == found.hidden[1].shape == (20, 3)
    np.testing.assert_array_equal(found.hidden[0], found.logits * 2)
    assert (found.mask, found.steps, found.made) == (None, 3, False)


def test_a_dataclass_of_a_single_output_takes_what_is_for_one():
    model = Classifier(lambda main, beside: Found(main))
    model.compile("sgd", nn.CrossEntropyLoss())
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(loss_of(model.main))


def test_a_loss_that_the_module_computed_may_stand_before_the_outputs():
    model = Classifier(lambda main, beside: {"loss": main.mean(), "logits": main})
    model.compile("sgd", {"logits": nn.CrossEntropyLoss()})
    expected = loss_of(model.main)
    assert model.fit(X, {"logits": Y}, batch_size=20, verbose=0).history["loss"] == [pytest.approx(expected)]


def test_a_loss_that_the_module_computed_may_be_all_there_is():
    class Own(Classifier):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return y_pred["loss"]

    model = Own(lambda main, beside: {"loss": main.square().mean(), "logits": main})
    model.compile("sgd")
    expected = float(model.main(torch.from_numpy(X)).square().mean().detach())
    assert model.fit(X, verbose=0).history["loss"] == [pytest.approx(expected)]


def test_a_loss_that_the_module_computed_may_stand_behind_the_outputs():
    model = Classifier(lambda main, beside: (main, main.square().mean()))
    model.compile("sgd", [None, lambda y_true, y_pred: y_pred])
    expected = float(model.main(torch.from_numpy(X)).square().mean().detach())
    assert model.fit(X, [None, Y], verbose=0).history["loss"] == [pytest.approx(expected)]


# ---------------------------------------------------------------------- by themselves


def test_names_and_parts_of_a_record_leave_out_what_there_is_not():
    one = torch.ones(1)
    assert keys_of(Found(one)) == ["logits"] and parts_of(Found(one, (one, one))) == [one, (one, one)]
    assert keys_of(Found) is None and keys_of(Pair(1, 2)) == ["logits", "aux"]


@pytest.mark.parametrize(
    ("names", "returned", "places"),
    [
        (["a", "b"], {"b": 1, "a": 2}, [1, 0]),
        (["a", "b"], {"a": 2, "c": 1, "b": 3}, [0, None, 1]),
        (["a", "b"], {"c": 1, "d": 2}, None),  # of other names altogether
        (["a"], [1, 2], None),
        (["output_1"], Pair(1, 2), None),
        (["a", "b"], 1, [0]),
    ],
)
def test_parts_have_their_places_by_name_or_in_order(names, returned, places):
    assert places_of(names, returned) == places


@pytest.mark.parametrize(
    ("names", "returned", "expected"),
    [(["a"], {"a": 1, "b": 2}, True), (["output_1"], {"a": 1}, True), (["a", "b"], [1, 2, 3], False), (["a", "b"], {"a": 1}, False)],
)
def test_more_is_what_adds_to_the_names_or_gives_names_to_numbers(names, returned, expected):
    assert has_more(returned, names) is expected


class InAnotherOrder(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, x):
        outputs = {"first": self.first(x), "second": self.second(x)}
        return outputs if self.training else dict(reversed(outputs.items()))


def test_several_processes_leave_out_the_output_without_a_loss_wherever_it_is_returned():
    net = InAnotherOrder()
    net.compile("sgd", {"first": "mse", "second": None}, device="cpu")
    net.evaluate(np.ones((2, 1), "float32"), {"first": np.ones((2, 1))}, verbose=0)
    outputs = net.train()._all_of_the_loss(torch.ones(2, 1))
    assert [part.requires_grad for part in outputs.predictions] == [True, False]
