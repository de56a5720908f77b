"""`save_weights` and `load_weights`: by position, by name, and what is done with weights that do not fit."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential, Trainer, layers


def stack(first="a", second="b", units=(3, 2), norm=True):
    parts = [layers.Dense(units[0], name=first, input_shape=(4,)), *([layers.BatchNormalization(name=f"{first}_norm")] if norm else [])]
    return Sequential([*parts, layers.Activation("relu"), layers.Dense(units[1], name=second)])


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.fixture()
def saved(tmp_path):
    model = stack()
    model.get_layer("a_norm").set_weights([np.full(3, value) for value in (1.0, 2.0, 3.0, 4.0)])
    model.save_weights(tmp_path / "w")
    return model, tmp_path / "w"


def test_by_position_names_do_not_matter(saved):
    model, path = saved
    twin = stack("first", "second")
    twin.load_weights(path)
    assert same(model, twin)


def test_by_position_the_topology_counts_and_not_the_names(saved):
    model, path = saved
    twin = stack("b", "a")
    twin.load_weights(path)
    assert same(model, twin)


def test_by_position_the_order_in_which_layers_were_made_does_not_count(tmp_path):
    def make(late):
        x = Input(shape=(4,))
        made = {name: layers.Dense(4, name=name) for name in (("b", "a") if late else ("a", "b"))}
        return Model(x, made["b"](made["a"](x)))

    make(False).save_weights(tmp_path / "w")
    twin = make(True)
    twin.load_weights(tmp_path / "w")
    assert list(twin.state_dict())[0] == "a.weight"


def test_by_name_only_known_layers_are_set(saved):
    model, path = saved
    twin = Sequential([layers.Dense(3, name="a", input_shape=(4,)), layers.Dense(5, name="new")])
    kept = twin.get_layer("new").get_weights()
    twin.load_weights(path, by_name=True)
    assert same(model.get_layer("a"), twin.get_layer("a"))
    assert np.array_equal(kept[0], twin.get_layer("new").get_weights()[0])


def test_a_file_of_a_whole_model_holds_weights_too(tmp_path):
    model, twin = stack(), stack("c", "d")
    model.compile("adam", "mse")
    model.save(tmp_path / "m")
    twin.load_weights(tmp_path / "m")
    assert same(model, twin)


@pytest.mark.parametrize(
    ("twin", "by_name", "message"),
    [
        (lambda: stack(norm=False), False, r"2 layers with weights, \['a', 'b'\], but the file has 3.*by_name"),
        (lambda: stack(units=(5, 2)), False, r"'a.weight' has shape \(5, 4\), but 'a.weight' in the file has shape \(3, 4\)"),
        (lambda: stack(units=(3, 4)), True, r"'b.weight' has shape \(4, 3\)"),
        (lambda: Sequential([layers.Dense(3, use_bias=False, name="a", input_shape=(4,))]), True, r"'a' has 1 weights"),
        (lambda: Sequential([layers.Dense(3)]), False, "no weights yet"),
    ],
)
def test_what_does_not_fit_changes_nothing(twin, by_name, message, saved):
    twin = twin()
    before = twin.get_weights()
    with pytest.raises(ValueError, match=f"^{re.escape(str(saved[1]))}: .*{message}"):
        twin.load_weights(saved[1], by_name=by_name)
    assert all(np.array_equal(a, b) for a, b in zip(before, twin.get_weights(), strict=True))


@pytest.mark.parametrize("by_name", [False, True])
def test_what_does_not_fit_can_be_skipped_with_a_warning_for_each_weight(by_name, saved):
    model, path = saved
    twin = stack(units=(3, 4))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        twin.load_weights(path, by_name=by_name, skip_mismatch=True)
    assert [("'b.weight'" in str(w.message), "'b.bias'" in str(w.message)) for w in caught] == [(True, False), (False, True)]
    assert same(model.get_layer("a"), twin.get_layer("a"))


@pytest.mark.parametrize("by_name", [False, True])
def test_weights_of_other_shapes_with_as_many_values_are_reshaped_on_request(by_name, tmp_path):
    dense, convolution = layers.Dense(2, name="a", input_shape=(4,)), layers.Conv2D(2, 1, name="a", input_shape=(5, 5, 4))
    model, twin = Sequential([dense]), Sequential([convolution])
    model.save_weights(tmp_path / "w")
    with pytest.raises(ValueError, match="has shape"):
        twin.load_weights(tmp_path / "w", by_name=by_name)
    twin.load_weights(tmp_path / "w", by_name=by_name, reshape=True)
    np.testing.assert_array_equal(convolution.get_weights()[0][0, 0], dense.get_weights()[0])
    with pytest.raises(ValueError, match="has shape"):
        Sequential([layers.Dense(3, name="a", input_shape=(4,))]).load_weights(tmp_path / "w", by_name=by_name, reshape=True)


def test_other_dtypes_are_cast(saved):
    model, path = saved
    twin = stack().double()
    twin.load_weights(path)
    assert twin.layers[0].module.weight.dtype == torch.float64
    assert same(model, twin)


def test_weights_that_exist_already_are_kept_with_overwrite_false(saved):
    with pytest.raises(FileExistsError):
        saved[0].save_weights(saved[1], overwrite=False)


def test_a_model_without_weights_has_none_to_save(tmp_path):
    class Net(Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="no weights yet"):
        Net().save_weights(tmp_path / "w")


class Plain(Trainer, nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.head = nn.Linear(3, 1)

    def forward(self, x):
        return self.head(self.body(x))


def test_any_module_that_trains_saves_its_weights(tmp_path):
    one, other = Plain(), Plain()
    one.body[1].num_batches_tracked.fill_(7)
    one.save_weights(tmp_path / "w")
    other.load_weights(tmp_path / "w")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5"])
def test_keras_files_are_refused_for_a_module_without_layers(name, tmp_path):
    with pytest.raises(TypeError, match="Plain is no Model, and Keras' files hold weights by the layers of one"):
        Plain().save_weights(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    Sequential([layers.Dense(1, input_shape=(2,))]).save_weights(tmp_path / name)
    with pytest.raises(TypeError, match="Plain is no Model, and Keras' files hold weights by the layers of one"):
        Plain().load_weights(tmp_path / name)


def test_a_file_of_torch_is_told_how_it_is_read(tmp_path):
    model = Sequential([layers.Dense(1, input_shape=(2,))])
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"a file of torch.save: model.load_state_dict\(torch.load\(path\)\)"):
        model.load_weights(tmp_path / "weights.pt")
