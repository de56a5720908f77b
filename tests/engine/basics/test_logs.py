"""`Logs`: figures are read when somebody looks, and older and newer words find the same figure."""

import copy
import json
import pickle

import pytest
import torch

from torchkeras_fn.engine.basics.logs import Logs, known_name, to_number


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


READ = {"loss": 0.5, "accuracy": 1.0}
WAYS = [
    dict,
    lambda logs: {**logs},
    lambda logs: logs.copy(),
    lambda logs: logs | {},
    lambda logs: {} | logs,
    lambda logs: json.loads(json.dumps(logs)),
    lambda logs: dict(zip(logs.keys(), logs.values(), strict=True)),
    lambda logs: dict(logs.items()),
    lambda logs: {name: logs.setdefault(name, None) for name in logs},
    lambda logs: {name: logs.pop(name) for name in list(logs)},
    lambda logs: dict(logs.popitem() for _ in range(2)),
    lambda logs: dict(copy.copy(logs)),
    lambda logs: dict(copy.deepcopy(logs)),
    lambda logs: dict(pickle.loads(pickle.dumps(logs))),
    lambda logs: dict(**logs),
]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_read_a_dict_reads_floats(way):
    logs = Logs({"loss": torch.tensor(0.5), "accuracy": torch.tensor(1.0)})
    assert isinstance(logs, dict)
    found = way(logs)
    assert found == READ and all(type(figure) is float for figure in found.values())


def test_logs_equal_the_dict_that_they_read_as():
    logs = Logs({"loss": torch.tensor(0.5)})
    assert logs == {"loss": 0.5} and logs != {"loss": 0.6} and logs != 3 and logs == Logs({"loss": 0.5})
    assert "{loss:.2f} {acc}".format_map(Logs({"loss": torch.tensor(0.5), "accuracy": 1})) == "0.50 1"


def test_the_other_word_can_be_deleted_too():
    logs = Logs({"accuracy": 1.0})
    assert logs.pop("acc") == 1.0 and not logs
    with pytest.raises(KeyError):
        del logs["acc"]


def test_figures_as_they_came():
    loss = torch.tensor(0.5)
    assert Logs({"loss": loss}).figures["loss"] is loss


def test_a_figure_that_is_still_part_of_a_computation_is_read_without_a_warning():
    assert to_number(torch.ones(1, requires_grad=True).sum() * 3) == 3.0
