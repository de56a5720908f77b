"""Models of dicts and nests in both libraries: structures, orders, names of figures, files, and inputs that no output needs."""

import keras
import numpy as np
import pytest

import torchkeras_fn as tk
from parity.test_training import choose, train
from parity.twins import same, twins

RANDOM = np.random.default_rng(0)
IMAGE, TEXT, OTHER = (RANDOM.normal(size=(44, size)).astype("float32") for size in (4, 3, 2))
X = {"text": TEXT, "image": IMAGE}
Y = {"kind": OTHER, "box": TEXT[:, :1]}
NESTED_X = [IMAGE, {"text": TEXT}]
NESTED_Y = {"kind": [OTHER, OTHER[:, ::-1].copy()], "box": TEXT[:, :1]}


def of_dicts(k):
    image, text = k.Input((4,), name="image"), k.Input((3,), name="text")
    h = k.layers.Dense(5, activation="tanh", name="h")(k.layers.Concatenate(name="both")([image, text]))
    return k.Model({"text": text, "image": image}, {"kind": k.layers.Dense(2, name="k")(h), "box": k.layers.Dense(1, name="b")(h)})


def of_nests(k):
    image, text = k.Input((4,), name="image"), k.Input((3,), name="text")
    h = k.layers.Concatenate(name="both")([image, text])
    kinds = [k.layers.Dense(2, name="one")(h), k.layers.Dense(2, name="two")(h)]
    return k.Model([image, {"text": text}], {"kind": kinds, "box": k.layers.Dense(1, name="b")(h)})


def of_one_dict(k):
    text = k.Input((3,), name="words")
    return k.Model({"text": text}, {"kind": k.layers.Dense(2, name="k")(text)})


def with_dicts_inside(k):
    image, text = k.Input((4,), name="i"), k.Input((3,), name="t")
    made = of_dicts(k)({"image": image, "text": text})
    return k.Model([image, text], k.layers.Concatenate(name="joined")([made["kind"], made["box"]]))


def with_an_unused_input(k):
    image, text = k.Input((4,), name="image"), k.Input((3,), name="text")
    return k.Model([image, text], k.layers.Dense(2, name="k")(image))


def from_the_middle(k):
    image, text = k.Input((4,), name="image"), k.Input((3,), name="text")
    h = k.layers.Dense(3, name="in_front")(k.layers.Concatenate()([image, text]))
    return k.Model([h, text], k.layers.Dense(2, name="k")(k.layers.Add()([h, text])))


CASES = {
    "dicts": (of_dicts, X, Y, {"loss": {"kind": "mse", "box": "mae"}, "metrics": {"kind": ["mae"], "box": ["mse"]}}),
    "weights of losses": (of_dicts, X, Y, {"loss": {"kind": "mse", "box": "mae"}, "loss_weights": {"kind": 2.0, "box": 0.5}}),
    "one loss": (of_dicts, X, Y, {"loss": "mse"}),
    "losses in a list": (of_dicts, X, Y, {"loss": ["mse", "mae"]}),
    "one dict": (of_one_dict, {"text": TEXT}, {"kind": OTHER}, {"loss": {"kind": "mse"}, "metrics": {"kind": ["mae"]}}),
    "nests": (of_nests, NESTED_X, NESTED_Y, {"loss": {"kind": ["mse", "mae"], "box": "mae"}}),
    "one loss for nests": (of_nests, NESTED_X, NESTED_Y, {"loss": "mse"}),
    "dicts inside": (with_dicts_inside, [IMAGE, TEXT], np.concatenate([OTHER, TEXT[:, :1]], -1), {"loss": "mse"}),
    "from the middle": (from_the_middle, [TEXT, TEXT + 1], OTHER, {"loss": "mse"}),
    "an unused input": (with_an_unused_input, [IMAGE, TEXT], OTHER, {"loss": "mse"}),
}


@pytest.mark.parametrize(("recipe", "x", "y", "compiling"), CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore:The structure of `inputs`")
def test_training(recipe, x, y, compiling):
    train(recipe, choose(**compiling), x, y, epochs=2)


def test_weights_of_samples_by_keys():
    weights = {"kind": np.linspace(0, 2, 44).astype("float32"), "box": np.ones(44, "float32")}
    train(of_dicts, choose(loss={"kind": "mse", "box": "mae"}), X, Y, epochs=2, sample_weight=weights)


@pytest.mark.parametrize("recipe", [of_dicts, of_nests, of_one_dict, with_dicts_inside])
def test_what_a_model_says_of_itself(recipe):
    ours, theirs = twins(recipe)
    assert ours.input_shape == theirs.input_shape and ours.output_shape == theirs.output_shape
    assert [tensor.shape for tensor in ours.inputs] == [tensor.shape for tensor in theirs.inputs]
    assert [tensor.shape for tensor in ours.outputs] == [tensor.shape for tensor in theirs.outputs]
    shapes = [keras.tree.map_structure(lambda tensor: tuple(tensor.shape), model.input) for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert ours.output_names == theirs.output_names


def test_layers_are_listed_alike_with_an_unused_input():
    ours, theirs = twins(with_an_unused_input)
    assert [ours.layer_name(layer) for layer in ours.layers] == [layer.name for layer in theirs.layers]


@pytest.mark.parametrize(("recipe", "x"), [case[:2] for name, case in CASES.items() if "loss" not in name])
def test_files_keep_the_structure_both_ways(recipe, x, tmp_path):
    ours, theirs = twins(recipe)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    expected = theirs.predict(x, verbose=0)
    same(keras.models.load_model(tmp_path / "ours.keras").predict(x, verbose=0), expected)
    same(tk.models.load_model(tmp_path / "theirs.keras").predict(x, verbose=0), expected)
