"""`Graph`: the order of nodes and layers, their names, what they need, and the errors of a drawing that does not hang together."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras_fn import Input, Model, ops
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.layers import Activation, Add, Conv1D, Dense, Embedding, GlobalAveragePooling1D, Lambda, Masking, concatenate


def drawing():
    """Two inputs, a shared layer, two branches of unequal length, one output of each."""
    a, b = Input(shape=(3,), name="a"), Input(shape=(3,), name="b")
    shared = Dense(4, name="shared")
    long = Dense(4, name="long_2")(Dense(4, name="long_1")(shared(a)))
    joined = concatenate([long, shared(b)], name="joined")
    return [a, b], [Dense(1, name="left")(joined), Dense(2, name="right")(shared(b))]


def test_layers_are_listed_bottom_up_and_breadth_first():
    inputs, outputs = drawing()
    names = Graph(inputs, outputs).layer_names
    assert names.index("shared") < names.index("long_1") < names.index("long_2") < names.index("joined") < names.index("left")
    assert names[0] == "a"


def test_layers_at_one_depth_keep_the_order_of_the_first_visit():
    x = Input(shape=(3,), name="x")
    branches = [Dense(2, name=f"branch_{index}")(x) for index in range(4)]
    assert Graph([x], [Add(name="sum")(branches)]).layer_names == ["x", "branch_0", "branch_1", "branch_2", "branch_3", "sum"]


def test_a_layer_stands_at_its_longest_way_to_an_output():
    x = Input(shape=(3,), name="x")
    far = Dense(3, name="far")(Dense(3, name="farther")(x))
    near = Dense(3, name="near")(x)
    assert Graph([x], [Add(name="sum")([near, far])]).layer_names == ["x", "farther", "near", "far", "sum"]


def beside_a_mask(mask):
    """Two branches of one length, of which the one that is listed last goes through a mask."""
    x = Input(shape=(5, 3), name="x")
    plain = GlobalAveragePooling1D(name="plain_2")(Dense(3, name="plain_1")(Dense(3, name="plain")(x)))
    return [x], [Add(name="sum")([plain, GlobalAveragePooling1D(name="masked_2")(mask(Dense(3, name="masked")(x)))])]


def test_the_operations_of_a_mask_are_on_the_way():
    names = Graph(*beside_a_mask(Masking(name="mask"))).layer_names
    assert names.index("masked") < names.index("plain")  # `not_equal` and `any` stand behind it, in Keras


def test_a_mask_that_nothing_takes_is_not_on_the_way():
    names = Graph(*beside_a_mask(lambda x: Conv1D(3, 1, name="after")(Masking(name="mask")(x)))).layer_names
    assert names.index("plain") < names.index("mask")


def beside_integers(*steps):
    """A branch of integers, through some steps, beside one of as many layers."""
    a, b = Input(shape=(3,), dtype="int32", name="a"), Input(shape=(3,), name="b")
    h = Activation("linear", name="integers")(a)
    for step in steps:
        h = step(h)
    return [b, a], [Add(name="sum")([Dense(2, name="plain_2")(Dense(2, name="plain_1")(b)), Dense(2, name="dense")(h)])]


def test_a_cast_that_a_layer_makes_is_not_on_the_way():
    assert Graph(*beside_integers()).layer_names == ["b", "a", "plain_1", "integers", "plain_2", "dense", "sum"]


def test_a_cast_that_was_asked_for_is_on_the_way():
    names = Graph(*beside_integers(lambda x: x.to(torch.int64))).layer_names
    assert names == ["a", "b", "integers", "plain_1", "plain_2", "dense", "sum"]


def test_a_cast_of_what_has_the_type_is_not_on_the_way():
    [b, a], [output] = beside_integers(lambda x: ops.where(x > 0, x, 1))  # two steps, with a cast to booleans between them
    longer = Dense(2, name="plain_4")(Dense(2, name="plain_3")(b))
    plain = Dense(2, name="plain_2")(Dense(2, name="plain_1")(longer))
    assert Graph([b, a], [Add(name="sum")([plain, output.node.args[0][1]])]).layer_names[:2] == ["b", "a"]


def test_the_operations_of_a_mask_are_on_the_way_of_integers_too():
    a, b = Input(shape=(4, 3), dtype="int32", name="a"), Input(shape=(4, 3), name="b")
    plain = GlobalAveragePooling1D(name="pool_1")(Conv1D(3, 1, name="plain")(b))
    masked = GlobalAveragePooling1D(name="pool_2")(Masking(name="mask")(a))
    assert Graph([b, a], [Add(name="sum")([plain, masked])]).layer_names[0] == "a"


def test_keywords_are_walked_through_by_name():
    x = Input(shape=(3,), name="x")
    second, first = Dense(3, name="second")(x), Dense(3, name="first")(x)
    y = torch.addcmul(x, tensor2=second, tensor1=first)
    assert Graph([x], [y]).layer_names == ["x", "first", "second"]


def test_a_cast_is_no_step_of_the_way():
    x, indices = Input(shape=(3,), name="x"), Input(shape=(3,), dtype="int32", name="indices")
    plain, cast = Dense(2, name="plain")(x), Dense(2, name="cast")(indices)
    assert Graph([x, indices], [Add(name="sum")([plain, cast])]).layer_names == ["x", "indices", "plain", "cast", "sum"]


def names_of(graph):
    return [graph.names[layer] for layer in graph.layers_of_outputs()]


def test_a_term_does_not_change_the_order_of_the_layers_of_the_outputs():
    a, b = Input(shape=(4,), name="a"), Input(shape=(4,), name="b")
    x, y = Dense(4, name="x")(a), Dense(4, name="y")(Dense(4, name="farther")(b))
    term = Dense(4, name="term_3")(Dense(4, name="term_2")(Dense(4, name="term_1")(x)))
    graph = Graph([a, b], [Add(name="sum")([x, y])], [term])
    assert graph.layer_names.index("x") < graph.layer_names.index("farther")
    assert names_of(graph) == ["b", "a", "farther", "x", "y", "sum"]


def test_a_size_is_not_on_the_way_of_the_layers_of_the_outputs():
    a, b = Input(shape=(4,), name="a"), Input(shape=(4,), name="b")
    x, y = Dense(4, name="x")(a), Dense(4, name="y_1")(b)
    y = Dense(4, name="y_3")(Dense(4, name="y_2")(y.view(x.size(0), 4)))
    graph = Graph([a, b], [Add(name="sum")([x, y])])
    assert graph.layer_names.index("x") < graph.layer_names.index("y_1")  # it has to run before
    assert names_of(graph) == ["b", "y_1", "a", "y_2", "x", "y_3", "sum"]


def test_a_layer_of_which_only_a_size_is_needed_computes_no_output():
    a, b = Input(shape=(4,), name="a"), Input(shape=(4,), name="b")
    graph = Graph([a, b], [Dense(4, name="y")(b).view(Dense(4, name="x")(a).size(0), 2, 2)])
    assert sorted(graph.layer_names) == ["a", "b", "x", "y"]
    assert sorted(names_of(graph)) == ["a", "b", "y"]


def test_every_node_follows_those_it_reads():
    graph = Graph(*drawing())
    position = {id(node): index for index, node in enumerate(graph.nodes)}
    assert all(position[id(parent.node)] < position[id(node)] for node in graph.nodes for parent in node.parents)


def test_nodes_that_no_output_needs_are_left_out():
    x = Input(shape=(3,))
    y = Dense(2)(x)
    Dense(5)(y)
    assert len(Graph([x], [y]).nodes) == 2


def test_a_model_may_begin_in_the_middle_of_a_drawing():
    x = Input(shape=(3,))
    h = Dense(4, name="before")(x)
    y = Dense(2, name="after")(h)
    model = Model(h, y)
    assert Graph([h], [y]).layer_names == ["input_1", "after"]
    assert list(model.state_dict()) == ["after.weight", "after.bias"]
    assert model(torch.ones(2, 4)).shape == (2, 2)


def test_a_model_that_begins_in_the_middle_can_be_drawn_on():
    h = Dense(4)(Input(shape=(3,)))
    hidden = Dense(2, name="hidden")(h)
    model = Model(h, Dense(1)(hidden))
    assert model.input is h
    assert Model(model.input, model.get_layer("hidden").output)(torch.ones(2, 4)).shape == (2, 2)


def test_a_layer_in_front_of_a_model_may_be_called_in_it_again():
    layer = Dense(3, name="again")
    h = layer(Input(shape=(3,)))
    model = Model(h, layer(h))
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Dense"]
    assert torch.allclose(model(torch.ones(2, 3)), layer(torch.ones(2, 3)))


def test_one_output_of_a_call_may_be_an_input_beside_what_the_call_reads():
    x = Input(shape=(3,))
    left, right = torch.split(x, [1, 2], 1)
    model = Model([x, left], torch.cat([left, right], 1))
    assert model(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[9.0]])).tolist() == [[9.0, 2.0, 3.0]]


def test_terms_of_a_model_that_begins_in_the_middle_count():
    h = Dense(4)(Input(shape=(3,)))
    model = Model(h, Dense(1, kernel_initializer="zeros")(h))
    model.add_loss(h.sum())
    model.compile("sgd", "mse")
    assert model.train_on_batch(torch.ones(1, 4), torch.zeros(1, 1)) == 4.0


def test_automatic_names_count_within_a_model():
    x = Input(shape=(3,))
    graph = Graph([x], [Dense(2)(Activation("relu")(Dense(4)(x)))])
    assert graph.layer_names == ["input_1", "dense_1", "activation_1", "dense_2"]


def test_automatic_names_repeat_when_the_same_is_drawn_again():
    def names():
        x = Input(shape=(3,))
        return Graph([x], [Dense(2)(Dense(4)(x))]).layer_names

    assert names() == names()


def test_automatic_names_step_aside_for_given_ones():
    x = Input(shape=(3,))
    assert Graph([x], [Dense(2)(Dense(4, name="dense_1")(x))]).layer_names == ["input_1", "dense_1", "dense_2"]


def test_a_layer_keeps_its_name_in_a_second_model_where_it_can():
    x = Input(shape=(3,))
    h = Dense(4)(x)
    last = Dense(2)
    Graph([x], [last(h)])
    assert Graph([h], [last.output]).names[last] == "dense_2"


def test_two_layers_of_one_name_are_refused():
    x = Input(shape=(3,))
    y = Activation("relu", name="twin")(Dense(4, name="twin")(x))
    with pytest.raises(ValueError, match="Two layers are named 'twin': a Dense and a Activation. Names are unique"):
        Graph([x], [y])


def test_one_layer_called_twice_is_no_clash_of_names():
    x = Input(shape=(3,))
    layer = Dense(3, name="twice")
    graph = Graph([x], [layer(layer(x))])
    assert len(graph.layers) == 2
    assert len(graph.calls_of(layer)) == 2


def test_an_input_that_no_output_needs_is_taken():
    x, y = Input(shape=(3,), name="x"), Input(shape=(3,), name="idle")
    graph = Graph([x, y], [Dense(2, name="y")(x)])
    assert graph.input_names == ["x", "idle"]
    assert graph.layer_names == ["x", "idle", "y"]  # in the order of Keras 3


def test_an_input_that_is_not_listed_is_named():
    x, y = Input(shape=(3,), name="given"), Input(shape=(3,), name="forgotten")
    with pytest.raises(ValueError, match=r"The output 'sum' depends on 'forgotten', which is not among the inputs \['given'\]"):
        Graph([x], [Add(name="sum")([x, y])])


def test_a_disconnected_output_is_named():
    x, y = Input(shape=(3,), name="given"), Input(shape=(3,), name="other")
    with pytest.raises(ValueError, match="The output 'apart' depends on 'other'"):
        Graph([x], [Dense(1)(x), Dense(1, name="apart")(y)])


def test_an_input_listed_twice_is_named():
    x = Input(shape=(3,), name="x")
    with pytest.raises(ValueError, match="The input 'x' is listed 2 times"):
        Graph([x, x], [Dense(2)(x)])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.ones((2, 3)), r"ndarray of shape \(2, 3\)"),
        (torch.ones(2, 3), r"Tensor of shape \(2, 3\)"),
        ("pixels", "'pixels'"),
        (None, "None"),
        (Dense(2, name="d"), "Dense d"),
    ],
)
def test_what_is_not_symbolic_is_shown(value, shown):
    x = Input(shape=(3,))
    y = Dense(2)(x)
    with pytest.raises(ValueError, match=f"Every input of a model is a symbolic tensor.*{shown}"):
        Graph([value], [y])
    with pytest.raises(ValueError, match=f"Every output of a model is a symbolic tensor.*{shown}"):
        Graph([x], [value])


def test_a_model_has_inputs_and_outputs():
    x = Input(shape=(3,))
    with pytest.raises(ValueError, match="A model needs at least one output"):
        Graph([x], [])
    with pytest.raises(ValueError, match="A model needs at least one input"):
        Graph([], [x])


def test_outputs_are_named_after_their_layers_and_numbered_where_they_repeat():
    x = Input(shape=(3,), name="x")
    y = Dense(2, name="y")(x)
    assert Graph([x], [y, y, torch.relu(y), x, y]).output_names == ["y", "y_1", "relu", "x", "y_2"]


def test_the_tensors_of_one_layer_are_outputs_of_one_name():
    x = Input(shape=(4,))
    first, second = Lambda(lambda x: x.chunk(2, -1), name="halves")(x)
    assert Graph([x], [first, second]).output_names == ["halves", "halves_1"]


def test_constants_are_gathered_once():
    x, weight = Input(shape=(3,)), nn.Parameter(torch.ones(3))
    graph = Graph([x], [x * weight + weight * torch.ones(3)])
    assert [name for name, _ in graph.constants.named_parameters()] == ["constant_1"]
    assert [name for name, _ in graph.constants.named_buffers()] == ["constant_2"]


def test_an_input_of_indices_takes_integers():
    x = Input(shape=(5,))
    graph = Graph([x], [Embedding(10, 2)(x)])
    assert graph.takes_integers(x)
    assert graph.input_dtype(0) is torch.int64


def test_an_input_of_a_nested_model_that_looks_up_takes_integers():
    x = Input(shape=(5,))
    inner = Model(x, Embedding(10, 2)(x))
    y = Input(shape=(5,))
    assert Graph([y], [inner(y)]).input_dtype(0) is torch.int64


def test_a_declared_dtype_is_kept():
    x = Input(shape=(5,), dtype="int32")
    assert Graph([x], [Embedding(10, 2)(x)]).input_dtype(0) is torch.int32


def test_any_other_input_is_of_the_float_type():
    x = Input(shape=(5,))
    assert Graph([x], [Dense(2)(x)]).input_dtype(0) is torch.float32


def test_a_drawing_of_a_thousand_layers_is_ordered_without_recursion():
    x = h = Input(shape=(2,))
    for _ in range(1200):
        h = h + 1
    assert len(Graph([x], [h]).nodes) == 1201
