"""Checkpoints in folders: what goes round, what a failed save leaves, and that nothing bad is taken from a folder."""

import importlib
import io
import json
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch

from torchkeras_fn import Input, Model, Trainer, optimizers
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import Dense
from torchkeras_fn.saving import checkpoint
from torchkeras_fn.saving.checkpoint import CONFIG


def assert_same(model, weights):
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def linear(**options):
    set_random_seed(0)
    x = Input((3,))
    model = Model(x, Dense(2, name="a")(x))
    model.compile(optimizers.SGD(0.1, momentum=0.9), "mse", **options)
    model.train_on_batch(np.ones((2, 3), "float32"), np.ones((2, 2), "float32"))
    return model


class Net(Trainer, torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 1)

    def forward(self, x):
        return self.linear(x)


def test_a_plain_module_and_a_torch_optimizer_have_checkpoints_too(tmp_path):
    first, second = Net(), Net()
    for net in (first, second):
        net.compile(torch.optim.Adam(net.parameters()), "mse")
    first.train_on_batch(np.ones((2, 3), "float32"), np.ones((2, 1), "float32"))
    first.save_checkpoint(tmp_path)
    second.load_checkpoint(tmp_path)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(first.optimizer.state[one]["exp_avg"], second.optimizer.state[other]["exp_avg"])


def test_a_learning_rate_that_was_set_is_what_the_decay_starts_from(tmp_path):
    def decaying():
        x = Input((3,))
        model = Model(x, Dense(2, kernel_initializer="ones")(x))
        model.compile(optimizers.SGD(0.1, decay=0.5), "mse")
        return model

    data = np.ones((2, 3), "float32"), np.ones((2, 2), "float32")
    first, second = decaying(), decaying()
    first.optimizer.learning_rate = 0.05
    first.train_on_batch(*data)
    first.save_checkpoint(tmp_path)
    second.load_checkpoint(tmp_path)
    for model in (first, second):
        model.train_on_batch(*data)
    assert_same(second, first.get_weights())


def test_weights_alone_are_read_where_the_model_is_not_compiled(tmp_path):
    model = linear()
    model.save_checkpoint(tmp_path)
    x = Input((3,))
    other = Model(x, Dense(2, name="a")(x))
    other.load_checkpoint(tmp_path)
    assert_same(other, model.get_weights())


def test_a_save_that_fails_leaves_the_last_one(tmp_path, monkeypatch):
    model = linear()
    model.save_checkpoint(tmp_path)
    kept, weights = sorted(os.listdir(tmp_path)), model.get_weights()
    model.train_on_batch(np.ones((2, 3), "float32"), np.ones((2, 2), "float32"))

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "fsync", fail)
        model.save_checkpoint(tmp_path)
    assert sorted(os.listdir(tmp_path)) == kept
    model.load_checkpoint(tmp_path)
    assert_same(model, weights)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_disk_without_room_for_the_tensors_is_an_error_that_names_the_folder(tmp_path):
    model = linear()
    model.save_checkpoint(tmp_path)
    kept = sorted(os.listdir(tmp_path))
    resource = importlib.import_module("resource")  # there is none on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            model.save_checkpoint(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(tmp_path)
    assert sorted(os.listdir(tmp_path)) == kept


def test_what_cannot_be_written_is_no_error_of_a_disk_that_somebody_handles_already(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no such thing")

    monkeypatch.setattr(torch, "save", fail)
    try:
        os.stat(tmp_path / "missing")
    except OSError:
        with pytest.raises(ValueError, match="a tensor cannot be written"):
            linear().save_checkpoint(tmp_path)


def test_one_that_is_replaced_while_it_is_read_is_read_anew(tmp_path, monkeypatch):
    model, newer, read = linear(), linear(), checkpoint.read_pieces
    newer.set_weights([np.full_like(weight, 7) for weight in newer.get_weights()])
    newer.save_checkpoint(tmp_path)

    def replaced_before(*args):
        monkeypatch.setattr(checkpoint, "read_pieces", read)
        newer.save_checkpoint(tmp_path)
        read(*args)

    monkeypatch.setattr(checkpoint, "read_pieces", replaced_before)
    model.load_checkpoint(tmp_path)
    assert_same(model, newer.get_weights())


def test_one_that_is_saved_while_another_is_written_takes_nothing_from_it(tmp_path, monkeypatch):
    slow, quick, write = linear(), linear(), checkpoint.write_pieces
    quick.set_weights([np.full_like(weight, 7) for weight in quick.get_weights()])

    def saved_by_another_after(*args):
        monkeypatch.setattr(checkpoint, "write_pieces", write)
        written = write(*args)
        quick.save_checkpoint(tmp_path)
        return written

    monkeypatch.setattr(checkpoint, "write_pieces", saved_by_another_after)
    slow.save_checkpoint(tmp_path)
    quick.load_checkpoint(tmp_path)
    assert_same(quick, slow.get_weights())
    assert len(os.listdir(tmp_path)) == 2


def test_parts_that_a_kill_left_behind_are_cleared_away(tmp_path):
    (tmp_path / "parts-00000000").mkdir()
    linear().save_checkpoint(tmp_path)
    assert not (tmp_path / "parts-00000000").exists()


def test_an_interrupt_after_the_new_one_is_in_place_leaves_it_whole(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    model = linear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "_remove_others", interrupt)
        model.save_checkpoint(tmp_path)
    other = linear()
    other.set_weights([np.full_like(weight, 7) for weight in other.get_weights()])
    other.load_checkpoint(tmp_path)
    assert_same(other, model.get_weights())


def test_a_model_without_weights_and_a_folder_without_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="no weights yet"):
        Model().save_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError):
        linear().load_checkpoint(tmp_path)


class Code:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def spoil_metadata(folder, parts, config, path):
    (folder / parts / ".metadata").write_bytes(pickle.dumps(Code(path)))


def spoil_data(folder, parts, config, path):
    (name,) = (name for name in os.listdir(folder / parts) if name.endswith(".distcp"))
    torch.save(Code(path), folder / parts / name)
    size = os.path.getsize(folder / parts / name)
    for kept in config["tensors"].values():
        for piece in kept["pieces"]:
            piece[1:3] = [0, size]


def spoil_with_a_count(folder, parts, config, path):
    """What torch takes for data, and would be at for minutes: the set of ten thousand million zeros."""
    torch.save(torch.ones(2), file := io.BytesIO())
    (name,) = (name for name in os.listdir(folder / parts) if name.endswith(".distcp"))
    code = b"\x80\x02cbuiltins\nset\ncbuiltins\nbytearray\n\x8a\x05\x00\xe4\x0b\x54\x02\x85R\x85R."
    with zipfile.ZipFile(file) as good, zipfile.ZipFile(folder / parts / name, "w") as bad:
        for member in good.namelist():
            bad.writestr(member, code if member.endswith("/data.pkl") else good.read(member))
    size = os.path.getsize(folder / parts / name)
    for kept in config["tensors"].values():
        for piece in kept["pieces"]:
            piece[1:3] = [0, size]


def changed(change):
    def spoil(folder, parts, config, path):
        change(config)

    return spoil


def _piece(config):
    return config["tensors"]["weights/a.weight"]["pieces"][0]


def _larger(config):
    config["tensors"]["weights/a.weight"]["shape"] = [2, 3 * 10**12]


def _misspelt(config):
    values = config["training"]["optimizer"]["state"]["$dict"][0][1]
    values["momentum"] = values.pop("momentum_buffer")


HOSTILE = {
    "code in the tensors' file": (spoil_data, "the bytes of a tensor are damaged, .*it names"),
    "a count without end": (spoil_with_a_count, "the bytes of a tensor are damaged, .*it names 'builtins set'"),
    "a path": (changed(lambda config: _piece(config).__setitem__(0, "../secret.distcp")), "is said to be in"),
    "parts elsewhere": (changed(lambda config: config.update(parts="../elsewhere")), "are said to be in"),
    "rows that overlap": (changed(lambda config: config["tensors"]["weights/a.weight"]["pieces"].append(_piece(config))), "follow each"),
    "rows that are missing": (changed(lambda config: _piece(config).__setitem__(4, 1)), "there are 1 rows"),
    "a huge tensor": (changed(_larger), "larger than its file"),
    "bytes past the end": (changed(lambda config: _piece(config).__setitem__(1, 10**9)), "larger than its file"),
    "another format": (changed(lambda config: config.update(format="x")), "it says that this is 'x'"),
    "a later version": (changed(lambda config: config.update(version=99)), "Install a later one"),
    "no tensors": (changed(lambda config: config.pop("tensors")), "KeyError"),
    "another dtype": (changed(lambda config: config["tensors"]["weights/a.bias"].update(dtype="float16")), "Cast the model"),
    "another weight": (changed(lambda config: config["tensors"].pop("weights/a.bias")), "not in the file"),
    "a misspelt state": (changed(_misspelt), "SGD needs 'momentum_buffer' too"),
    "a bad state": (changed(lambda config: config["training"].update(optimizer={"param_groups": []})), "no state of SGD"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_bad_is_taken_from_a_folder(tmp_path, kind):
    spoil, message = HOSTILE[kind]
    linear().save_checkpoint(tmp_path / "checkpoint")
    folder, path = tmp_path / "checkpoint", str(tmp_path / "made")
    config = json.loads((folder / CONFIG).read_text())
    spoil(folder, config["parts"], config, path)
    (folder / CONFIG).write_text(json.dumps(config))
    model = linear()
    before, state = model.get_weights(), str(model.optimizer.state_dict())
    with pytest.raises(ValueError, match=message):
        model.load_checkpoint(folder)
    assert not os.path.exists(path)
    assert_same(model, before)
    assert str(model.optimizer.state_dict()) == state


def test_the_pickle_beside_the_tensors_is_never_read(tmp_path):
    model = linear()
    model.save_checkpoint(tmp_path / "checkpoint")
    config = json.loads((tmp_path / "checkpoint" / CONFIG).read_text())
    spoil_metadata(tmp_path / "checkpoint", config["parts"], config, str(tmp_path / "made"))
    model.load_checkpoint(tmp_path / "checkpoint")
    assert not os.path.exists(tmp_path / "made")
