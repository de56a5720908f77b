"""A model as a picture: the text for Graphviz, and what is asked of pydot."""

import re
import sys
import types

import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, Sequential
from torchkeras_fn.layers import Concatenate, Dense
from torchkeras_fn.utils import model_to_dot, plot_model
from torchkeras_fn.utils.drawing import dot_source


def branching():
    x = Input(shape=(3,))
    inner = Sequential([Input(shape=(4,)), Dense(2, name="low"), Dense(1, name="high")], name="inner")
    shared = Dense(4, name="shared")
    joined = shared(x) + shared(x)
    return Model(x, [inner(joined), Concatenate(name="joined")([joined, x])])


def arrows(source):
    return [line.strip() for line in source.splitlines() if "->" in line]


def test_every_call_is_a_box_and_every_tensor_an_arrow():
    source = dot_source(branching())
    assert source.count("[label=") == 6 and source.count("shared: Dense") == 2
    assert arrows(source) == ["n0 -> n1", "n0 -> n2", "n1 -> n3", "n2 -> n3", "n3 -> n4", "n3 -> n5", "n0 -> n5"]


def test_a_nested_model_is_expanded_into_a_cluster():
    source = dot_source(branching(), expand_nested=True)
    assert 'subgraph "cluster_4"' in source and "low: Dense" in source and "inner: Sequential" not in source
    assert 'label="inner"' in source
    assert "n3 -> n4" in source and "n4 -> n5" in source


def test_an_output_of_an_expanded_model_leads_on():
    x = Input(shape=(4,))
    inner = Sequential([Input(shape=(4,)), Dense(2)])
    assert arrows(dot_source(Model(x, Dense(1)(inner(x))), expand_nested=True)) == ["n0 -> n1", "n1 -> n2"]


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({}, "low: Dense"),
        ({"show_layer_names": False}, "Dense"),
        ({"show_shapes": True}, "low: Dense|(None, 2)"),
        ({"show_dtype": True, "show_shapes": True}, "low: Dense|float32|(None, 2)"),
        ({"show_layer_activations": True}, "low: Dense|relu"),
        ({"show_trainable": True}, "low: Dense|trainable"),
    ],
)
def test_a_box_shows_what_is_asked_for(options, label):
    assert f'[label="{label}"]' in dot_source(Sequential([Input(shape=(4,)), Dense(2, activation="relu", name="low")]), **options)


def test_what_is_said_of_layers_is_not_of_functions():
    x = Input(shape=(4,))
    shown = dot_source(Model(x, torch.relu(Dense(2, trainable=False)(x))), show_layer_activations=True, show_trainable=True)
    assert re.findall(r'label="(.*)"', shown)[1:] == ["dense_1: Dense|not trainable", "relu: function"]


@pytest.mark.parametrize("given", [3, "model.png", Dense(2), nn.Linear(2, 2)])
def test_what_is_no_model_is_refused(given):
    with pytest.raises(TypeError, match="Expected a Model to draw, got"):
        dot_source(given)


def test_another_direction_is_refused():
    with pytest.raises(ValueError, match="'rankdir' must be one of 'TB', 'LR', 'BT', 'RL'; got 'left'"):
        dot_source(Sequential([Input(shape=(4,)), Dense(2)]), rankdir="left")


def test_signs_of_the_language_in_a_name_are_escaped():
    assert r"a\|b\{c\}: Dense" in dot_source(Sequential([Input(shape=(4,)), Dense(2, name="a|b{c}")]))


def test_a_subclassed_model_is_drawn_as_the_chain_of_its_layers():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = Dense(2), Dense(1)

        def call(self, x):
            return self.second(self.first(x))

    net = Net()
    net.build((None, 3))
    assert arrows(dot_source(net)) == ["n0 -> n1"]


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(ValueError, match="not built yet"):
        dot_source(Sequential([Dense(2)]))


def test_a_text_is_written_with_nothing_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydot", None)
    plot_model(branching(), tmp_path / "model.dot", rankdir="LR")
    assert 'rankdir="LR"' in (tmp_path / "model.dot").read_text()


def test_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(ImportError, match=r"pip install 'torchkeras_fn\[drawing\]'"):
        plot_model(branching(), tmp_path / "model.png")
    assert not list(tmp_path.iterdir())


def test_pydot_is_given_the_text_and_writes_the_format_of_the_ending(tmp_path, monkeypatch):
    written = []

    class Dot:
        def write(self, path, format):
            written.append((path, format))

    monkeypatch.setitem(sys.modules, "pydot", types.SimpleNamespace(graph_from_dot_data=lambda source: (written.append(source) or Dot(),)))
    model = branching()
    plot_model(model, tmp_path / "model.svg", show_shapes=True)
    assert written == [dot_source(model, show_shapes=True), (str(tmp_path / "model.svg"), "svg")]


def test_a_graph_for_another_is_a_cluster(monkeypatch):
    class Cluster:
        def __init__(self, **options):
            self.added = []
            self.add_node = self.add_subgraph = self.add_edge = self.added.append

    def read(source):
        return (types.SimpleNamespace(get_nodes=lambda: ["box"], get_subgraphs=lambda: ["nested"], get_edges=lambda: ["arrow"]),)

    monkeypatch.setitem(sys.modules, "pydot", types.SimpleNamespace(Cluster=Cluster, graph_from_dot_data=read))
    assert model_to_dot(branching(), subgraph=True).added == ["box", "nested", "arrow"]
