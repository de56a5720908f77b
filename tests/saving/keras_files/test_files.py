"""Keras' files without Keras: round trips here, files of strangers, damaged files, and files of Keras 2, made by hand."""

import builtins
import io
import json
import random
import stat
import struct
import zipfile

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torchkeras_fn import Input, Model, Sequential, initializers, layers, models, optimizers
from torchkeras_fn.saving import bounds
from torchkeras_fn.saving.keras_files import hdf5
from torchkeras_fn.saving.keras_files.operations import drawer_of
from torchkeras_fn.saving.keras_files.reading import Reader

ENDINGS = [".keras", ".h5", ".hdf5"]
X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def network():
    x = Input((4,), name="x")
    y = layers.BatchNormalization(name="norm")(layers.Dense(3, activation="tanh", name="a")(x))
    model = Model(x, layers.Dense(2, name="b")(y), name="net")
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, X[:, :2], verbose=0)
    return model


def equal(one, other):
    return all(np.array_equal(mine, its) for mine, its in zip(one.get_weights(), other.get_weights(), strict=True))


# ---------------------------------------------------------------------- round trips


@pytest.mark.parametrize("ending", ENDINGS)
def test_loaded_models_stand_side_by_side_in_one_though_nobody_named_their_inputs(ending, tmp_path):
    loaded = []
    for index in range(2):
        Sequential([layers.Dense(2, name=f"dense_of_{index}", input_shape=(3,))]).save(tmp_path / f"{index}{ending}")
        loaded.append(models.load_model(tmp_path / f"{index}{ending}"))
    joined = Model([model.input for model in loaded], layers.Add()([model.output for model in loaded]))
    x = np.ones((1, 3), "float32")
    np.testing.assert_allclose(joined.predict([x, x]), sum(model.predict(x) for model in loaded), rtol=1e-6)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_model_goes_round_with_its_training(ending, tmp_path):
    model = network()
    model.save(tmp_path / f"m{ending}")
    again = models.load_model(tmp_path / f"m{ending}")
    assert equal(model, again)
    assert again.layers[1].name == "a"
    assert again.optimizer.iterations == 1
    for each in (model, again):
        each.fit(X, X[:, :2], epochs=3, shuffle=False, verbose=0)
    assert equal(model, again)


@pytest.mark.parametrize("ending", ENDINGS)
def test_training_is_left_out_where_it_is_not_wanted(ending, tmp_path):
    model = network()
    model.save(tmp_path / f"m{ending}", include_optimizer=False)
    assert models.load_model(tmp_path / f"m{ending}").optimizer is None
    model.save(tmp_path / f"m{ending}")
    assert models.load_model(tmp_path / f"m{ending}", compile=False).optimizer is None


ASKED = [
    {"steps_per_execution": 3},
    {"jit_compile": True},
    {"precision": "mixed_bfloat16"},
    {"precision": "mixed_float16", "auto_scale_loss": False},
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 2, "precision": "mixed_float16"},
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
@pytest.mark.parametrize("ending", ENDINGS)
def test_how_the_steps_run_goes_round(asked, ending, tmp_path):
    model = network()
    model.compile("adam", "mse", **asked)
    model.save(tmp_path / f"m{ending}")
    again = models.load_model(tmp_path / f"m{ending}")
    assert again._execution.settings == model._execution.settings
    assert again.optimizer.get_config() == model.optimizer.get_config()


@pytest.mark.parametrize("asked", [{}, {"precision": "mixed_bfloat16"}], ids=str)
@pytest.mark.parametrize("optimizer", [{"gradient_accumulation_steps": 4}, {"gradient_accumulation_steps": 4, "use_ema": True}], ids=str)
@pytest.mark.parametrize("ending", ENDINGS)
def test_gradients_that_are_half_gathered_go_round(optimizer, asked, ending, tmp_path):
    model = network()
    model.compile(optimizers.Adam(0.01, **optimizer), "mse", **asked)
    model.fit(X, X[:, :2], batch_size=1, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / f"m{ending}")
    again = models.load_model(tmp_path / f"m{ending}")
    assert again.optimizer.iterations == 2
    for each in (model, again):
        each.fit(X, X[:, :2], batch_size=1, epochs=2, shuffle=False, verbose=0)
    assert again.optimizer.iterations == 5
    assert equal(model, again)


def test_gathered_gradients_come_back_without_the_scale_that_the_loss_had(tmp_path):
    model = network()
    model.compile("sgd", "mse", precision="mixed_float16", gradient_accumulation_steps=4)
    model.optimizer._scaling.load_state_dict({"scale": 1024.0, "steps": 7})
    model.train_on_batch(X, X[:, :2])
    model.save(tmp_path / "m.keras")
    again = models.load_model(tmp_path / "m.keras")
    states = [each.optimizer.state_dict() for each in (model, again)]
    gradients = [[total / state["scaling"]["scale"] for total in state["gathered"]["sums"]] for state in states]
    assert all(torch.equal(mine, its) for mine, its in zip(*gradients, strict=True))


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_scale_of_the_loss_goes_round(ending, tmp_path):
    model = network()
    model.compile("adam", "mse", precision="mixed_float16", gradient_accumulation_steps=2)
    model.train_on_batch(X, X[:, :2])
    model.optimizer._scaling.load_state_dict({"scale": 1024.0, "steps": 7})
    model.save(tmp_path / f"m{ending}")
    again = models.load_model(tmp_path / f"m{ending}")
    assert again.optimizer.state_dict()["scaling"] == {"scale": 1024.0, "steps": 7}
    for each in (model, again):
        each.train_on_batch(X, X[:, :2])
    assert equal(model, again)


def test_weighted_metrics_are_averaged_as_they_were_named(tmp_path):
    model, weights = network(), np.arange(5.0)
    model.compile("adam", "mse", weighted_metrics=["mae", "mse"])
    model.save(tmp_path / "m.h5")
    figures = [
        each.evaluate(X, X[:, :2], sample_weight=weights, verbose=0, return_dict=True)
        for each in (model, models.load_model(tmp_path / "m.h5"))
    ]
    assert figures[0] == figures[1]


STRANGE = [
    *({"weighted_metrics": ["mzz"]}, {"weighted_metrics": 7}),
    *({"device": "cuda"}, {"precision": "int8"}, {"steps_per_execution": -1}, {"precision": [1]}, 7, [[]]),
]


@pytest.mark.parametrize("own", STRANGE, ids=str)
def test_strange_settings_of_the_steps_are_refused(own, tmp_path):
    model = network()
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(held["config.json"]) | {"torchkeras_fn": own}
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        for name, data in held.items():
            archive.writestr(name, json.dumps(config) if name == "config.json" else data)
    with pytest.raises(ValueError, match="compile_config in config.json cannot be used"):
        models.load_model(tmp_path / "m.keras")


# ---------------------------------------------------------------------- file objects and groups


@pytest.mark.parametrize("ending", [*ENDINGS, ".model"])
def test_open_files_are_read_by_what_is_in_them(ending, tmp_path):
    model, other = network(), network()
    other.set_weights([weight + 1 for weight in other.get_weights()])
    with open(tmp_path / f"m{ending}", "wb") as file:
        model.save(file)
    assert equal(model, models.load_model(tmp_path / f"m{ending}"))
    with open(tmp_path / f"m{ending}", "rb") as file:
        assert equal(model, models.load_model(file))
        other.load_weights(file)
        assert equal(model, other)
    (tmp_path / "nameless").write_bytes((tmp_path / f"m{ending}").read_bytes())
    assert equal(model, models.load_model(tmp_path / "nameless"))
    assert equal(model, models.load_model(io.BytesIO((tmp_path / "nameless").read_bytes())))


def in_memory():
    return h5py.File("nowhere.h5", "w", driver="core", backing_store=False)


def test_a_model_goes_into_a_group_and_out_again():
    model = network()
    with in_memory() as file:
        file["mine"] = np.ones(3)
        for group in (file, file.create_group("inside")):
            model.save(group)
            again = models.load_model(group)
            assert equal(model, again)
            assert again.optimizer.iterations == 1
        assert file["mine"][0] == 1


def test_a_model_in_a_group_is_replaced_whole():
    with in_memory() as file:
        network().save(file)
        with pytest.raises(FileExistsError, match="holds something already"):
            network().save(file, overwrite=False)
        network().save(file, include_optimizer=False)
        assert models.load_model(file).optimizer is None


def test_weights_go_into_a_group_and_out_again():
    model, other = network(), network()
    other.set_weights([weight + 1 for weight in other.get_weights()])
    with in_memory() as file:
        model.save_weights(file)
        other.load_weights(file)
    assert equal(model, other)


def test_a_group_that_is_open_to_be_read_is_not_written(tmp_path):
    network().save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file, pytest.raises(ValueError, match="Open it with mode 'a'"):
        network().save(file)


def test_what_a_group_says_is_checked_as_in_a_file():
    with in_memory() as file:
        network().save_weights(file)
        file["a"].attrs["weight_names"] = [b"elsewhere"]
        with pytest.raises(ValueError, match="The group '/' of 'nowhere.h5': the weights cannot be used"):
            network().load_weights(file)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_weights_go_round(ending, tmp_path):
    model, other = network(), network()
    other.set_weights([weight + 1 for weight in other.get_weights()])
    model.save_weights(tmp_path / f"w{ending}")
    other.load_weights(tmp_path / f"w{ending}")
    assert equal(model, other)


def test_weights_are_read_by_name_where_layers_have_names(tmp_path):
    model = network()
    model.save_weights(tmp_path / "w.h5")
    model.save_weights(tmp_path / "w.weights.h5")
    other = Sequential([layers.Dense(3, name="a", input_shape=(4,)), layers.Dense(7, name="c")])
    kept = other.layers[1].get_weights()[0]
    other.load_weights(tmp_path / "w.h5", by_name=True)
    np.testing.assert_array_equal(other.layers[0].get_weights()[0], model.layers[1].get_weights()[0])
    np.testing.assert_array_equal(other.layers[1].get_weights()[0], kept)
    with pytest.raises(ValueError, match="by_name needs a file that names the layers"):
        other.load_weights(tmp_path / "w.weights.h5", by_name=True)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_weights_that_do_not_fit_change_nothing_and_are_skipped_on_request(ending, tmp_path):
    first, second = (Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(units)]) for units in (2, 5))
    first.save_weights(tmp_path / f"w{ending}")
    before = second.get_weights()
    with pytest.raises(ValueError, match=r"shape \(3, 5\), but in the file \(3, 2\)"):
        second.load_weights(tmp_path / f"w{ending}")
    assert all(np.array_equal(one, other) for one, other in zip(second.get_weights(), before, strict=True))
    with pytest.warns(UserWarning, match="skipped"):
        second.load_weights(tmp_path / f"w{ending}", skip_mismatch=True)
    np.testing.assert_array_equal(second.get_weights()[0], first.get_weights()[0])


@pytest.mark.parametrize(("ending", "by_name"), [(".weights.h5", False), (".h5", False), (".h5", True)])
def test_weights_of_other_shapes_with_as_many_values_are_reshaped_on_request(ending, by_name, tmp_path):
    """Kernels go in Keras' order of axes, as in Keras 2.2."""
    first = Sequential([layers.Conv2D(3, (2, 3), name="a", input_shape=(8, 8, 4))])
    second = Sequential([layers.Conv2D(3, (3, 2), name="a", input_shape=(8, 8, 4))])
    first.save_weights(tmp_path / f"w{ending}")
    second.load_weights(tmp_path / f"w{ending}", by_name=by_name, reshape=True)
    np.testing.assert_array_equal(second.get_weights()[0], first.get_weights()[0].reshape(3, 2, 4, 3))
    third = Sequential([layers.Conv2D(3, (3, 3), name="a", input_shape=(8, 8, 4))])
    with pytest.raises(ValueError, match="has shape"):
        third.load_weights(tmp_path / f"w{ending}", by_name=by_name, reshape=True)


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_a_file_of_another_model_is_refused(ending, tmp_path):
    Sequential([layers.Dense(3, input_shape=(4,)), layers.Dense(2)]).save_weights(tmp_path / f"w{ending}")
    with pytest.raises(ValueError, match="has weights at|2 \\['dense"):
        Sequential([layers.Dense(3, input_shape=(4,))]).load_weights(tmp_path / f"w{ending}")


def test_one_layer_in_two_models_stays_one(tmp_path):
    tower, entry, x = layers.Dense(4), Input((4,)), Input((4,))
    Model(x, [Model(entry, tower(entry))(x), tower(x)]).save(tmp_path / "m.keras")
    assert len(models.load_model(tmp_path / "m.keras").weights) == 2


def test_what_the_first_versions_of_keras_3_do_not_know_is_written_only_where_it_says_something(tmp_path):
    x, plain, gated = Input((4, 3)), layers.MultiHeadAttention(2, 3), layers.MultiHeadAttention(2, 3, sliding_window=2, use_gate=True)
    Model(x, gated(plain(x, x), x)).save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        _, *written = [entry["config"] for entry in json.loads(archive.read("config.json"))["config"]["layers"]]
    later = ("flash_attention", "sliding_window", "use_gate")
    assert [{name: entry[name] for name in later if name in entry} for entry in written] == [{}, {"sliding_window": 2, "use_gate": True}]


def test_an_argument_is_read_though_its_value_changes_nothing_in_other_layers(tmp_path):
    x = Input((64,))
    model = Model(x, layers.GroupNormalization(groups=1)(x))  # a convolution of one group is a plain one
    model.save(tmp_path / "m.keras")
    assert models.load_model(tmp_path / "m.keras").layers[1].groups == 1


def test_files_are_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "m.keras"
    network().save(path)
    before = path.read_bytes()
    bad = Sequential([layers.LocallyConnected1D(2, 1, input_shape=(3, 2))])
    with pytest.raises(ValueError, match="no LocallyConnected1D"):
        bad.save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.keras"]


# ---------------------------------------------------------------------- what cannot be written


def drawn_by(function):
    x = Input((4,), name="x")
    return Model(x, function(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: drawn_by(lambda x: torch.cummax(x, 1)[0]), "'cummax' of torch has no twin"),
        (lambda: drawn_by(lambda x: F.max_pool1d(x[:, None], 2, padding=1)), "pooling with a padding"),
        (lambda: drawn_by(lambda x: F.avg_pool1d(x, 2)), "or without a batch"),
        (lambda: drawn_by(lambda x: F.conv1d(x[:, None], torch.ones(1, 1, 2), padding=1)), "conv with groups=1 and padding=1"),
        (lambda: drawn_by(lambda x: F.conv1d(x[:, None], torch.ones(1, 1, 2), torch.ones(1))), "conv with a bias"),
        (lambda: drawn_by(layers.Lambda(lambda x: x + 1, name="plus")), "plus: .* has no name"),
        (lambda: drawn_by(layers.Activation(torch.nn.ReLU(), name="act")), "act: .* is a torch module"),
        (lambda: drawn_by(layers.TorchModuleWrapper(torch.nn.Linear(4, 2), name="wrapped")), "wrapped: there is no TorchModuleWrapper"),
        (lambda: drawn_by(lambda x: x * torch.nn.Parameter(torch.ones(4))), "holds a parameter of torch"),
    ],
)
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_what_keras_has_no_word_for_is_refused_by_its_name(model, message, ending, tmp_path):
    with pytest.raises(ValueError, match=message):
        model().save(tmp_path / f"m{ending}")


def test_losses_and_optimizers_of_torch_are_refused(tmp_path):
    model = network()
    model.compile("sgd", torch.nn.HuberLoss())
    with pytest.raises(ValueError, match="include_optimizer=False"):
        model.save(tmp_path / "m.keras")
    model.compile(torch.optim.SGD(model.parameters(), lr=0.1), "mse")
    with pytest.raises(ValueError, match="include_optimizer=False"):
        model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.keras", include_optimizer=False)


def test_formats_that_hold_less_say_so(tmp_path):
    with pytest.raises(ValueError, match="no save_weights"):
        network().save_weights(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="no save_model"):
        network().save(tmp_path / "m.weights.h5")
    network().save_weights(tmp_path / "w.h5")
    with pytest.raises(ValueError, match="weights alone"):
        models.load_model(tmp_path / "w.h5")


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    model = network()
    monkeypatch.setattr(builtins, "__import__", without)
    for ending in (".keras", ".h5"):
        with pytest.raises(ImportError, match=r"pip install 'torchkeras_fn\[keras\]'"):
            model.save(tmp_path / f"m{ending}")


# ---------------------------------------------------------------------- files of strangers


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "m.keras"
    network().save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def forged(path, members, config=None, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, json.dumps(config).encode() if name == "config.json" and config is not None else data)
    return path


def with_layer(members, entry):
    config = json.loads(members["config.json"])
    config["config"]["layers"][1] = {**config["config"]["layers"][1], **entry}
    return config


LATER = {"class_name": "__keras_tensor__", "config": {"keras_history": ["b", 0, 0]}}
CODE = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
STRANGE_LAYERS = [
    ({"module": "os", "class_name": "system", "config": {"command": "touch /tmp/owned"}}, "Unknown layer 'system'"),
    ({"module": "keras.layers", "class_name": "Lambda", "config": {"name": "a", "function": CODE}}, "'a' must come from you"),
    ({"module": "builtins", "class_name": "eval", "config": "1"}, "Unknown layer 'eval'"),
    ({"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"name": "a", "module": "gASVAAA="}}, "torch.nn.Module"),
    ({"module": "keras.src.ops.core", "class_name": "WhileLoop", "config": {"name": "a"}}, "operation 'WhileLoop' of keras.ops"),
    ({"module": "keras.layers", "class_name": "Dense", "config": {"name": "a", "units": 10**9}}, "bytes in one piece"),
    ({"module": "keras.layers", "class_name": "Dense", "config": {"name": "a", "units": 3, "activation": "os.system"}}, "os.system"),
    ({"module": "keras.layers", "class_name": "Dense", "config": {"name": "a", "units": 3, "renorm": True}}, "renorm"),
    ({"inbound_nodes": [{"args": [LATER], "kwargs": {}}]}, "needs itself"),
    ({"inbound_nodes": [{"args": ["text"], "kwargs": {}}]}, "cannot be called as it was"),
]


@pytest.mark.parametrize(("entry", "message"), STRANGE_LAYERS)
def test_strange_layers_are_refused(entry, message, members, tmp_path):
    with pytest.raises(ValueError, match=f"config.json cannot be used: .*{message}"):
        models.load_model(forged(tmp_path / "m.keras", members, with_layer(members, entry)))


def test_no_module_that_the_file_names_is_imported(members, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    config = with_layer(members, {"module": "trap", "registered_name": "trap>Dense"})
    model = models.load_model(forged(tmp_path / "m.keras", members, config))  # the name says a layer that is known here
    assert type(model.layers[1]) is layers.Dense


def test_safety_cannot_be_switched_off_by_the_file(members, tmp_path):
    entry = {"module": "keras.config", "class_name": "function", "config": "enable_unsafe_deserialization"}
    with pytest.raises(ValueError, match=r"config\.json"):
        models.load_model(forged(tmp_path / "m.keras", members, with_layer(members, entry)), safe_mode=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {**m, "../../escape.py": b"x"}, "none of those that are read"),
        (lambda m: {**m, "assets/words.txt": b"x"}, "none of those that are read"),
        (lambda m: {name: data for name, data in m.items() if name != "model.weights.h5"}, "model.weights.h5"),
        (lambda m: {**m, "config.json": b"{"}, "config.json"),
        (lambda m: {**m, "model.weights.h5": b"no hdf5"}, "model.weights.h5 cannot be used: it is no HDF5 file"),
        (lambda m: {**m, "model.weights.h5": m["model.weights.h5"][:2000]}, "model.weights.h5"),
    ],
)
def test_strange_containers_are_refused(change, message, members, tmp_path):
    with pytest.raises(ValueError, match=message):
        models.load_model(forged(tmp_path / "m.keras", change(members)))


def test_links_and_bombs_in_the_container_are_refused(members, tmp_path):
    with zipfile.ZipFile(tmp_path / "link.keras", "w") as archive:
        info = zipfile.ZipInfo("config.json")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="link or a folder"):
        models.load_model(tmp_path / "link.keras")
    bomb = forged(tmp_path / "bomb.keras", {**members, "model.weights.h5": bytes(2**26)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="out of proportion"):
        models.load_model(bomb)


def test_a_compressed_container_is_read(members, tmp_path):
    path = forged(tmp_path / "m.keras", members, compression=zipfile.ZIP_DEFLATED)
    assert models.load_model(path).predict(X, verbose=0).shape == (5, 2)


def hdf5_of(change, members):
    file = io.BytesIO(members["model.weights.h5"])
    with h5py.File(file, "r+") as root:
        change(root)
    return {**members, "model.weights.h5": file.getvalue()}


def _replace(root, **options):
    del root["layers/dense/vars/0"]
    root["layers/dense/vars"].create_dataset("0", **options)


def _link(root, target):
    del root["layers/dense/vars/0"]
    root["layers/dense/vars/0"] = target


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: _replace(root, shape=(10**6, 10**6), dtype="float32"), "0 bytes are stored"),
        (lambda root: _replace(root, shape=(10**6, 10**5), dtype="float32", chunks=(10, 10)), "0 bytes are stored"),
        (lambda root: _replace(root, data=np.full((4, 3), b"one")), "holds no numbers"),
        (lambda root: _replace(root, shape=(4, 3), dtype="float32", external=[("/etc/passwd", 0, 48)]), "no numbers of its own"),
        (lambda root: _link(root, h5py.ExternalLink("/etc/passwd", "/")), "link to another place"),
        (lambda root: _link(root, h5py.SoftLink("/layers/dense/vars/1")), "link to another place"),
        (lambda root: root["layers/dense/vars"].create_dataset("first", data=[1.0]), "no number of a weight"),
        (lambda root: root.create_dataset("layers/extra/vars/0", data=[1.0]), "has weights at"),
        (lambda root: _replace(root, data=np.zeros((2, 2), "float32")), r"shape \(4, 3\), but in the file \(2, 2\)"),
        (lambda root: root.__delitem__("layers/dense"), "2 weights"),
    ],
)
def test_strange_weights_are_refused(change, message, members, tmp_path):
    with pytest.raises(ValueError, match=f"model.weights.h5 cannot be used: .*{message}"):
        models.load_model(forged(tmp_path / "m.keras", hdf5_of(change, members)))


def _many_names_for_one_array(root, place="layers/dense/vars"):
    group = root[place]
    first = len(group)
    group.create_dataset(str(first), data=np.zeros(2**16, "u1"))
    for number in range(first + 1, 4000):
        group[str(number)] = group[str(first)]


def _names_that_double(root):
    group = root.create_group("extra")
    for number in range(60):
        inner = root.create_group(f"extra_{number}")
        group["a"], group["b"] = inner, inner
        group = inner


def _a_group_in_itself(root):
    group = root.create_group("extra")
    group["extra"] = group


def _a_huge_piece(root):
    _replace(root, shape=(4, 3), dtype="float32", chunks=(2500, 2500), maxshape=(None, None), compression="gzip")
    root["layers/dense/vars/0"][:] = 1


def _heaps_inside_of_heaps(root):
    """Of which each reaches to the end, so that all together are as long as the square of the file."""
    count, text = 2000, struct.pack("<HHIQ", 1, 0, 0, 16)
    units = [text + b"GCOL\1\0\0\0" + struct.pack("<Q", 16 + 32 * (count - 1 - number)) for number in range(count)]
    root.create_dataset("extra", data=np.frombuffer(b"".join(units), "u1"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_many_names_for_one_array, "has 2 weights .*, but in the file 4000"),
        (_names_that_double, "under another name too"),
        (_a_group_in_itself, "under another name too"),
        (_a_huge_piece, "in pieces of 25000000 bytes"),
        (_heaps_inside_of_heaps, "heaps of texts lie inside of others"),
    ],
)
def test_a_small_file_asks_for_little_memory_and_time(change, message, members, tmp_path, monkeypatch):
    model, read, real = network(), [], hdf5.Stored.tensor
    monkeypatch.setattr(hdf5.Stored, "tensor", lambda stored: read.append(stored.shape) or real(stored))
    path = tmp_path / "m.weights.h5"
    path.write_bytes(hdf5_of(change, members)["model.weights.h5"])
    with pytest.raises(ValueError, match=message):
        model.load_weights(path)
    assert set(read) <= {weight.shape for weight in model.get_weights()}


def test_an_optimizers_state_with_many_names_for_one_array_begins_anew(members, tmp_path, monkeypatch):
    read, real = [], hdf5.Stored.tensor
    monkeypatch.setattr(hdf5.Stored, "tensor", lambda stored: read.append(stored.shape) or real(stored))
    bad = hdf5_of(lambda root: _many_names_for_one_array(root, "optimizer/vars"), members)
    with pytest.warns(UserWarning, match="begins anew"):
        models.load_model(forged(tmp_path / "m.keras", bad))
    assert (2**16,) not in read


def test_many_names_for_one_array_in_a_list_are_not_read(tmp_path):
    network().save(path := tmp_path / "m.h5")
    with h5py.File(path, "a") as root:
        group = root["model_weights/a"]
        group.create_dataset("z", data=np.zeros(2**16, "u1"))
        group.attrs["weight_names"] = np.array([b"z"] * 4000, dtype="S1")
    with pytest.raises(ValueError, match="'a' has 2 weights .*, but in the file 4000"):
        models.load_model(path)


def test_layers_that_share_a_group_are_refused(tmp_path):
    network().save(path := tmp_path / "m.h5")
    with h5py.File(path, "a") as root:
        group = root["model_weights"]
        group["c"] = group["a"]
        group.attrs["layer_names"] = np.array([b"a", b"c"])
    with pytest.raises(ValueError, match="under another name too"):
        models.load_model(path)


def test_many_references_to_one_text_are_refused(tmp_path):
    """Three thousand times the same million letters."""
    network().save(path := tmp_path / "m.h5")
    count, letters = 3000, 2**20
    with h5py.File(path, "a") as root:
        names = ["q" * letters, *(f"r{number}" for number in range(count))]
        root["model_weights"].attrs["layer_names"] = np.array(names, dtype=h5py.string_dtype())
    data = bytearray(path.read_bytes())
    place, size = 0, struct.pack("<I", letters)
    while data[place + 16 : place + 20] != struct.pack("<I", 2):  # until the reference to "r0" follows
        place = data.index(size, place + 1)
    for number in range(1, count + 1):
        data[place + 16 * number : place + 16 * number + 16] = data[place : place + 16]
    path.write_bytes(data)
    with pytest.raises(ValueError, match="has 3001 texts, which may be of 1048576 bytes each"):
        models.load_model(path)


def corruptions(data, count):
    """The file with bits flipped, cut off, or with pieces copied to other places."""
    chosen = random.Random(0)
    for _ in range(count):
        bad, kind = bytearray(data), chosen.randrange(3)
        if kind == 0:
            for _ in range(chosen.choice([1, 1, 3, 20])):
                bad[chosen.randrange(len(bad))] ^= 1 << chosen.randrange(8)
        elif kind == 1:
            bad = bad[: chosen.randrange(len(bad))]
        else:
            to, begin, size = chosen.randrange(len(bad)), chosen.randrange(len(bad)), chosen.randrange(1, 200)
            bad[to : to + size] = bad[begin : begin + size]
        yield bytes(bad)


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_keras_file_is_refused_or_read_whole(tmp_path):
    model, path = network(), tmp_path / "m.keras"
    model.save(path)
    for bad in corruptions(path.read_bytes(), 150):
        path.write_bytes(bad)
        try:
            assert equal(models.load_model(path), model)
        except ValueError as error:
            assert str(path) in str(error)


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_h5_file_is_refused_or_read(tmp_path):
    """HDF5 has no checksums: flipped bits of a number are read as another number."""
    model, path = network(), tmp_path / "m.h5"
    model.save(path)
    for bad in corruptions(path.read_bytes(), 150):
        path.write_bytes(bad)
        try:
            models.load_model(path)
        except ValueError as error:
            assert str(path) in str(error)


def test_a_file_that_is_not_there():
    for ending in ENDINGS:
        with pytest.raises(FileNotFoundError):
            models.load_model(f"nowhere{ending}")


def test_an_operation_that_cuts_a_tensor_into_very_many_pieces_is_refused():
    with pytest.raises(ValueError, match="into 1000000000000 pieces"):
        drawer_of({"class_name": "ArraySplit", "config": {"name": "cut", "indices_or_sections": 10**12, "axis": 1}})


def doubled(depth):
    """The entry of a model that calls another twice, which calls another twice, and so on."""
    if depth == 0:
        return {"class_name": "Activation", "config": {"name": "m0", "activation": "relu"}}
    name, x = f"m{depth - 1}", {"class_name": "InputLayer", "config": {"batch_shape": [None, 2], "name": "x"}, "name": "x"}
    inner = {**doubled(depth - 1), "name": name, "inbound_nodes": [[["x", 0, 0, {}]], [["x", 0, 0, {}]]]}
    config = {"name": f"m{depth}", "layers": [x, inner], "input_layers": [["x", 0, 0]], "output_layers": [[name, 1, 0]]}
    return {"class_name": "Functional", "config": config}


def test_models_that_hold_each_other_twice_and_so_on_are_refused(monkeypatch):
    monkeypatch.setattr(bounds, "_FREE_CALLS_INSIDE", 10)
    monkeypatch.setattr(bounds, "_CALLS_INSIDE_PER_CONTAINER", 0)
    assert Reader().model(doubled(3)).output_shape == (None, 2)
    with pytest.raises(ValueError, match="models inside of others make 16 calls, more than 10"):
        Reader().model(doubled(5))


def test_an_argument_of_an_operation_that_is_not_known_here_is_refused():
    with pytest.raises(ValueError, match="descending=True of the operation 'Sort' is not known here"):
        drawer_of({"class_name": "Sort", "config": {"name": "s", "descending": True}})


class Scaled(layers.Layer):
    """With an object in its configuration, and no description of it."""

    def __init__(self, initializer="ones", **options):
        super().__init__(**options)
        self.initializer = initializers.get(initializer)

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (input_shape[-1],), initializer=self.initializer)

    def call(self, inputs):
        return inputs * self.scale

    def get_config(self):
        return {**super().get_config(), "initializer": self.initializer}


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_object_in_a_configuration_is_described(ending, tmp_path):
    x = Input((3,))
    model = Model(x, Scaled(initializers.Constant(2.0))(x))
    model.save(tmp_path / f"m{ending}")
    loaded = models.load_model(tmp_path / f"m{ending}", custom_objects={"Scaled": Scaled})
    assert loaded.layers[-1].initializer.value == 2.0
    assert equal(model, loaded)
