"""`Logs`: figures are read when somebody looks, and older and newer words find the same figure."""

import pytest
import torch

from torchkeras_fn.engine.logs import Logs, known_name, to_number


def test_figures_become_floats_when_they_are_read():
    logs = Logs({"loss": torch.tensor(0.5), "phase": "warm", "epoch": 3})
    assert type(logs["loss"]) is float
    assert dict(logs) == {"loss": 0.5, "phase": "warm", "epoch": 3}
    assert repr(logs) == "{'loss': 0.5, 'phase': 'warm', 'epoch': 3}"


def test_figures_without_data_are_not_a_number():
    assert str(to_number(torch.tensor(1.0, device="meta"))) == "nan"


def test_logs_can_be_changed_like_a_dict():
    logs = Logs({"loss": 0.5})
    logs["lr"] = 0.1
    logs.update(extra=1)
    del logs["loss"]
    assert dict(logs) == {"lr": 0.1, "extra": 1} and len(logs) == 2


def test_changing_logs_leaves_what_they_were_made_of():
    figures = {"loss": 0.5}
    Logs(figures)["more"] = 1
    assert figures == {"loss": 0.5}


@pytest.mark.parametrize(
    ("known", "asked", "found"),
    [
        ("accuracy", "acc", "accuracy"),
        ("acc", "accuracy", "acc"),
        ("val_accuracy", "val_acc", "val_accuracy"),
        ("head_acc", "head_accuracy", "head_acc"),
        ("lr", "learning_rate", "lr"),
        ("learning_rate", "lr", "learning_rate"),
        ("loss", "acc", "acc"),
        ("balacc", "balaccuracy", "balaccuracy"),
    ],
)
def test_the_older_and_the_newer_word(known, asked, found):
    assert known_name(asked, {known: 1}) == found
    assert (asked in Logs({known: 1})) == (found == known)


def test_a_name_that_is_there_is_never_replaced():
    assert Logs({"acc": 1, "accuracy": 2})["accuracy"] == 2


def test_an_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        Logs({"loss": 1})["acc"]
    assert Logs({"loss": 1}).get("acc") is None and 3 not in Logs({"loss": 1})
