"""Models whose inputs and outputs are dicts, or nests of lists and dicts: what goes in and comes out is nested as they were drawn."""

import copy
import io
import json
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from torchkeras_fn import Input, Model, Sequential, layers
from torchkeras_fn.models import clone_model, load_model, model_from_json
from torchkeras_fn.utils import Sequence

RANDOM = np.random.default_rng(0)
X = {"text": RANDOM.normal(size=(8, 3)).astype("float32"), "image": RANDOM.normal(size=(8, 4)).astype("float32")}
Y = {"kind": RANDOM.normal(size=(8, 2)).astype("float32"), "box": RANDOM.normal(size=(8, 1)).astype("float32")}
NESTED_X = [X["image"], {"text": X["text"]}]
NESTED_Y = {"kind": [Y["kind"], Y["kind"]], "box": Y["box"]}


def of_dicts(kind=Model):
    """The keys are neither in their order nor the names of the layers, but for `image`."""
    image, text = Input(shape=(4,), name="image"), Input(shape=(3,), name="words")
    h = layers.Concatenate(name="both")([image, text])
    return kind(inputs={"text": text, "image": image}, outputs={"kind": layers.Dense(2, name="k")(h), "box": layers.Dense(1, name="b")(h)})


def of_nests(kind=Model):
    image, text = Input(shape=(4,), name="image"), Input(shape=(3,), name="words")
    h = layers.Concatenate(name="both")([image, text])
    one, two, box = layers.Dense(2, name="one")(h), layers.Dense(2, name="two")(h), layers.Dense(1, name="b")(h)
    return kind(inputs=[image, {"text": text}], outputs={"kind": [one, two], "box": box})


def batches():
    yield {name: values[:4] for name, values in X.items()}, {name: values[:4] for name, values in Y.items()}
    yield {name: values[4:] for name, values in X.items()}, {name: values[4:] for name, values in Y.items()}


class Rows(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {name: values[index] for name, values in X.items()}, {name: values[index] for name, values in Y.items()}


class Batches(Sequence):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return list(batches())[index]


def assert_same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), [other[key] for key in one]
    if isinstance(one, (list, tuple)):
        assert type(one) is type(other) and len(one) == len(other)
        for mine, its in zip(one, other, strict=True):
            assert_same(mine, its)
    else:
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-6)


# ---------------------------------------------------------------------- what a model says, and running it


def test_inputs_and_outputs_are_listed_by_the_keys_in_their_order():
    model = of_dicts()
    assert model.input_names == ["image", "words"] and model.output_names == ["b", "k"]
    assert model.input_shape == [(None, 4), (None, 3)] and model.output_shape == [(None, 1), (None, 2)]
    assert model.input["text"] is model.inputs[1] and model.output["kind"] is model.outputs[1]


def test_the_lowered_model_takes_the_keys_and_returns_the_dict():
    net = of_dicts().to_torch()
    found = net(image=torch.ones(2, 4), text=torch.ones(2, 3))
    assert {name: tuple(value.shape) for name, value in found.items()} == {"box": (2, 1), "kind": (2, 2)}


@pytest.mark.parametrize("name", ["0", "class", "self", "a b", "x'+", "é", "/"])
def test_keys_may_be_any_text(name):
    x = Input(shape=(3,))
    model = Model({name: x}, {name: layers.Dense(2)(x), "other": layers.Dense(1)(x)})
    assert sorted(model.predict({name: X["text"]}, verbose=0)) == sorted([name, "other"])


def test_a_call_returns_what_predict_returns():
    model = of_dicts()
    called = {name: value.detach() for name, value in model({name: torch.from_numpy(part) for name, part in X.items()}).items()}
    assert_same(called, model.predict(X, verbose=0))
    assert_same(called, model.predict_on_batch(X))


def test_a_list_is_taken_in_the_order_of_the_keys():
    model = of_dicts()
    assert_same(model.predict([X["image"], X["text"]], verbose=0), model.predict(X, verbose=0))


def test_a_nest_is_taken_and_returned():
    model = of_nests()
    found = model.predict(NESTED_X, batch_size=3, verbose=0)
    assert [part.shape for part in (found["box"], *found["kind"])] == [(8, 1), (8, 2), (8, 2)]
    assert_same(model.predict([X["image"], X["text"]], verbose=0), found)


@pytest.mark.parametrize("x", [{"image": X["image"]}, {"image": X["image"], "words": X["text"]}, [X["image"]]])
def test_a_call_on_another_nest_is_refused(x):
    with pytest.raises(ValueError, match=r"The inputs of model_\d+: expected \{'image': ..., 'text': ...\}, got "):
        of_dicts()(x)


@pytest.mark.parametrize("x", [[X["image"], {"words": X["text"]}], {"image": X["image"], "text": X["text"]}])
def test_data_that_is_nested_otherwise_is_refused(x):
    with pytest.raises(ValueError, match=r"x: expected \[..., \{'text': ...\}\], got "):
        of_nests().predict(x, verbose=0)


def test_data_without_a_key_is_refused():
    with pytest.raises(ValueError, match=r"x has data for \['image'\], but the model's inputs are \['image', 'text'\]"):
        of_dicts().predict({"image": X["image"]}, verbose=0)


@pytest.mark.parametrize("ends", [({}, "y"), ("x", {}), ({"a": []}, "y"), ({1: "x"}, "y"), ("x", {"y": None})])
def test_what_holds_no_tensor_is_refused(ends):
    x = Input(shape=(3,))
    drawn = {"x": x, "y": layers.Dense(1)(x)}
    inputs, outputs = ({1: x} if end == {1: "x"} else drawn[end] if isinstance(end, str) else end for end in ends)
    with pytest.raises(ValueError, match="at least one|An empty list|are strings|is a symbolic tensor"):
        Model(inputs, outputs)


def test_one_output_in_a_dict_is_returned_in_a_dict():
    x = Input(shape=(3,))
    model = Model({"x": x}, {"y": layers.Dense(2)(x)})
    assert model.predict(X["text"], verbose=0)["y"].shape == (8, 2)


# ---------------------------------------------------------------------- training


def test_the_keys_name_losses_metrics_weights_and_figures():
    model = of_dicts()
    model.compile("sgd", {"kind": "mse", "box": "mae"}, metrics={"kind": ["mae"]}, loss_weights={"kind": 2.0})
    logs = model.fit(X, Y, sample_weight={"box": np.ones(8)}, verbose=0).history
    assert list(logs) == ["loss", "box_loss", "kind_loss", "kind_mae"]
    assert logs["loss"][0] == pytest.approx(logs["box_loss"][0] + 2 * logs["kind_loss"][0], rel=1e-5)


def test_targets_come_by_keys_or_in_their_order():
    model = of_dicts()
    model.compile("sgd", "mse")
    assert model.evaluate(X, [Y["box"], Y["kind"]], verbose=0) == model.evaluate(X, Y, verbose=0)


def test_an_output_without_a_loss_needs_no_target():
    model = of_dicts()
    model.compile("sgd", {"kind": "mse"})
    assert list(model.fit(X, {"kind": Y["kind"]}, verbose=0).history) == ["loss", "kind_loss"]


def test_class_weights_go_by_keys():
    model = of_dicts()
    model.compile("sgd", {"kind": "sparse_categorical_crossentropy", "box": "mse"})
    y = {"kind": np.zeros(8, int), "box": Y["box"]}
    plain = model.test_on_batch(X, y, return_dict=True)
    weighted = model.train_on_batch(X, y, class_weight={"kind": {0: 3.0}}, return_dict=True)
    assert weighted["kind_loss"] == pytest.approx(3 * plain["kind_loss"], rel=1e-5)
    assert weighted["box_loss"] == pytest.approx(plain["box_loss"], rel=1e-5)


def test_nested_losses_metrics_and_targets():
    model = of_nests()
    model.compile(
        "sgd",
        {"kind": ["mse", "mae"], "box": "mae"},
        metrics={"kind": [["mae"], []], "box": []},
        loss_weights={"kind": [1.0, 0.5], "box": 0.0},
    )
    weight = {"kind": [np.ones(8), np.ones(8)], "box": np.ones(8)}
    logs = model.fit(NESTED_X, NESTED_Y, sample_weight=weight, verbose=0).history
    assert list(logs) == ["loss", "box_loss", "kind/one_loss", "kind/two_loss", "kind/one_mae"]
    assert logs["loss"][0] == pytest.approx(logs["kind/one_loss"][0] + 0.5 * logs["kind/two_loss"][0], rel=1e-5)


@pytest.mark.parametrize(
    "data",
    [batches, Batches, lambda: DataLoader(Rows(), 4), lambda: [next(batches())]],
    ids=["generator", "Sequence", "DataLoader", "list"],
)
def test_batches_of_dicts(data):
    model, twin = of_dicts(), of_dicts()
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        each.compile("sgd", {"kind": "mse", "box": "mae"})
    given = data()
    if isinstance(given, list):
        found = model.fit(*given[0], shuffle=False, batch_size=4, verbose=0).history["loss"]
        expected = twin.fit(*given[0], shuffle=False, batch_size=4, verbose=0).history["loss"]
    else:
        found = model.fit(given, steps_per_epoch=2, shuffle=False, verbose=0).history["loss"]
        expected = twin.fit(X, Y, shuffle=False, batch_size=4, verbose=0).history["loss"]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("draw", "x", "y"), [(of_dicts, X, Y), (of_nests, NESTED_X, NESTED_Y)])
def test_validation_data_may_be_split_off_or_given(draw, x, y):
    model = draw()
    model.compile("sgd", "mse")
    split = model.fit(x, y, validation_split=0.5, verbose=0).history
    assert list(split) == list(model.fit(x, y, validation_data=(x, y), verbose=0).history)
    assert "val_box_loss" in split


def test_compiled_steps_compute_the_same():
    model, twin = of_dicts(), of_dicts()
    twin.set_weights(model.get_weights())
    model.compile("sgd", "mse", jit_compile=True)
    twin.compile("sgd", "mse")
    expected = twin.fit(X, Y, epochs=3, verbose=0).history["loss"]
    assert model.fit(X, Y, epochs=3, verbose=0).history["loss"] == pytest.approx(expected, rel=1e-5)


class OwnStep(Model):
    def train_step(self, data):
        x, y = data
        self.saw = x, y, self(x, training=True)
        return super().train_step(data)

    def test_step(self, data):
        x, y = data
        return {"loss": self.compute_loss(x, y, self(x))}


@pytest.mark.parametrize(("draw", "x", "y"), [(of_dicts, X, Y), (of_nests, NESTED_X, NESTED_Y)])
def test_a_step_of_the_users_sees_the_nests(draw, x, y):
    model = draw(OwnStep)
    model.compile("sgd", "mse")
    loss = model.evaluate(x, y, verbose=0)
    assert model.train_on_batch(x, y, return_dict=True)["loss"] == pytest.approx(loss, rel=1e-5)
    assert_same(model.saw[0], x)
    assert_same(model.saw[1], y)
    assert model.saw[2].keys() == y.keys()


def test_a_loss_of_the_users_sees_the_nests():
    class OwnLoss(Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return (y_pred["box"] - y["box"]).square().mean() + 0 * x["image"].sum()

    model = of_dicts(OwnLoss)
    model.compile("sgd", "mse")
    expected = np.square(model.predict(X, verbose=0)["box"] - Y["box"]).mean()
    assert model.train_on_batch(X, Y, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_call_of_the_users_sees_the_nests():
    class OwnCall(Model):
        def call(self, inputs):
            return {"kind": inputs["image"][:, :2], "box": inputs["text"][:, :1]}

    assert_same(of_dicts(OwnCall).predict(X, verbose=0), {"kind": X["image"][:, :2], "box": X["text"][:, :1]})


# ---------------------------------------------------------------------- inside other models


@pytest.mark.parametrize("is_dict", [True, False])
def test_a_model_of_dicts_in_another_model(is_dict):
    inner, image, text = of_dicts(), Input(shape=(4,)), Input(shape=(3,))
    made = inner({"text": text, "image": image} if is_dict else [image, text])
    assert made["kind"].shape == (None, 2) and made["box"].shape == (None, 1)
    outer = Model([image, text], [made["kind"], made["box"]])
    inside = inner.predict(X, verbose=0)
    assert_same(outer.predict([X["image"], X["text"]], verbose=0), [inside["kind"], inside["box"]])


def test_masks_go_through_a_model_of_dicts():
    indices = Input(shape=(5,), dtype="int64")
    inner = Model({"steps": indices}, {"h": layers.Embedding(9, 4, mask_zero=True)(indices)})
    outer_indices = Input(shape=(5,), dtype="int64")
    outer = Model(outer_indices, layers.GlobalAveragePooling1D()(inner({"steps": outer_indices})["h"]))
    data = np.array([[1, 2, 0, 0, 0]])
    assert_same(outer.predict(data, verbose=0), inner.predict({"steps": data}, verbose=0)["h"][:, :2].mean(1))


def test_a_dict_has_no_place_in_a_stack():
    with pytest.raises(ValueError, match="returns one tensor"):
        x = Input(shape=(3,))
        Sequential([Model(x, {"y": layers.Dense(1)(x), "z": x})])


def test_terms_of_the_loss_are_added():
    model = of_dicts()
    model.add_loss(model.output["kind"].square().mean())
    model.compile("sgd", {"box": "mse"})
    found = model.evaluate(X, {"box": Y["box"]}, verbose=0, return_dict=True)
    assert found["loss"] > found["box_loss"]


# ---------------------------------------------------------------------- copies and files


def saved(model):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return load_model(file)


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model)), "save": saved}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(("draw", "x", "y"), [(of_dicts, X, Y), (of_nests, NESTED_X, NESTED_Y)])
def test_a_copy_is_nested_alike(draw, x, y, duplicate):
    model = draw()
    model.compile("sgd", "mse", metrics=["mae"])
    twin = duplicate(model)
    assert_same(twin.predict(x, verbose=0), model.predict(x, verbose=0))
    assert twin.train_on_batch(x, y, return_dict=True) == model.train_on_batch(x, y, return_dict=True)


@pytest.mark.parametrize("duplicate", [clone_model, lambda model: model_from_json(model.to_json())])
@pytest.mark.parametrize(("draw", "x"), [(of_dicts, X), (of_nests, NESTED_X)])
def test_a_new_model_of_the_description_is_nested_alike(draw, x, duplicate):
    model = draw()
    twin = duplicate(model)
    twin.set_weights(model.get_weights())
    assert_same(twin.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_clone_takes_the_dict_of_its_inputs():
    entries = {"text": Input(shape=(3,), name="new"), "image": Input(shape=(4,))}
    assert clone_model(of_dicts(), input_tensors=entries).input["text"] is entries["text"]


def test_a_description_without_structures_is_one_of_lists():
    config = of_dicts().get_config()
    twin = Model.from_config({key: value for key, value in config.items() if not key.endswith("_structure")})
    assert isinstance(twin.output, list)


STRANGE = [
    {"box": 0},
    {"box": 0, "kind": 2},
    {"box": 1, "kind": 0},
    {"box": 0, "kind": "1"},
    {"box": 0, "kind": {}},
    {"$dict": [[0, 0], [1, 1]]},
    {"$dict": [[{"$dtype": "float32"}, 0], ["kind", 1]]},
    "box",
    7,
]


@pytest.mark.parametrize("structure", STRANGE, ids=str)
@pytest.mark.parametrize("end", ["input_structure", "output_structure"])
def test_a_strange_structure_in_a_description_is_refused(end, structure):
    described = json.loads(of_dicts().to_json())
    described["config"][end] = structure
    with pytest.raises(ValueError, match="The text describes no model that can be made here: "):
        model_from_json(json.dumps(described))


def test_a_structure_without_end_in_a_description_is_refused():
    described = json.loads(of_dicts().to_json())
    text = json.dumps({**described, "config": {**described["config"], "output_structure": "HERE"}})
    with pytest.raises(ValueError, match="The text describes no model that can be made here: "):
        model_from_json(text.replace('"HERE"', "[" * 300 + "0" + "]" * 300))


def test_the_summary_is_printed():
    lines = []
    of_dicts().summary(print_fn=lines.append)
    assert any("words" in line for line in lines)


@pytest.mark.parametrize(
    ("draw", "shapes"), [(of_dicts, {"box": (2, 1), "kind": (2, 2)}), (of_nests, {"box": (2, 1), "kind": [(2, 2), (2, 2)]})]
)
def test_an_exported_program_returns_the_nest(draw, shapes, tmp_path):
    draw().export(tmp_path / "model.pt2")
    found = torch.export.load(tmp_path / "model.pt2").module()(torch.ones(2, 4), torch.ones(2, 3))
    shown = {name: [tuple(p.shape) for p in part] if isinstance(part, list) else tuple(part.shape) for name, part in found.items()}
    assert shown == shapes


# ---------------------------------------------------------------------- inputs that no output needs


def test_an_unused_input_is_taken_and_kept():
    x, idle = Input(shape=(3,), name="x"), Input(shape=(4,), name="idle")
    model = Model([x, idle], layers.Dense(2, name="y")(x))
    data = [X["text"], X["image"]]
    model.compile("sgd", "mse")
    model.fit(data, Y["kind"], verbose=0)
    for twin in (copy.deepcopy(model), saved(model)):
        assert twin.input_names == ["x", "idle"]
        assert_same(twin.predict(data, verbose=0), model.predict(data, verbose=0))


def test_an_input_may_be_used_by_a_loss_alone():
    x, target = Input(shape=(3,)), Input(shape=(2,))
    y = layers.Dense(2)(x)
    model = Model([x, target], y)
    model.add_loss((y - target).square().mean())
    model.compile("sgd")
    data = [X["text"], Y["kind"]]
    expected = np.square(model.predict(data, verbose=0) - Y["kind"]).mean()
    assert model.train_on_batch(data) == pytest.approx(expected, rel=1e-5)
