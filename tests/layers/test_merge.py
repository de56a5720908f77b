"""Merging layers: what they compute, on inputs of unequal rank too, their functions, masks and errors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torchkeras_fn import Input, Model, layers
from torchkeras_fn.layers.merge import _Merge

A, B, C = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()

MERGES = {
    "add": (lambda x, y: x + y),
    "multiply": (lambda x, y: x * y),
    "average": (lambda x, y: (x + y) / 2),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "subtract": torch.sub,
    "concatenate": (lambda x, y: torch.cat([x, y], -1)),
}
CLASSES = {name: getattr(layers, name.capitalize()) for name in MERGES}


def inputs(count=2, shape=(4,)):
    return [Input(shape=shape) for _ in range(count)]


@pytest.mark.parametrize("name", MERGES)
def test_two_inputs(name):
    xs = inputs()
    model = Model(xs, CLASSES[name]()(xs))
    expected = MERGES[name](A, B)
    torch.testing.assert_close(model(A, B), expected)
    torch.testing.assert_close(CLASSES[name]()([A, B]), expected)
    assert model.output_shape == (None, *expected.shape[1:])
    assert list(model.lowered.children()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("add", A + B + C),
        ("multiply", A * B * C),
        ("average", (A + B + C) / 3),
        ("maximum", torch.stack([A, B, C]).amax(0)),
        ("minimum", torch.stack([A, B, C]).amin(0)),
        ("concatenate", torch.cat([A, B, C], 1)),
    ],
)
def test_three_inputs(name, expected):
    xs = inputs(3)
    torch.testing.assert_close(Model(xs, CLASSES[name]()(xs))(A, B, C), expected)


@pytest.mark.parametrize("name", MERGES)
def test_the_function_calls_the_layer(name):
    xs = inputs()
    output = getattr(layers, name)(xs, name="joined")
    assert type(output.node.operation) is CLASSES[name]
    assert Model(xs, output).output_names == ["joined"]


@pytest.mark.parametrize("name", ["add", "multiply", "average", "maximum", "minimum", "subtract"])
def test_inputs_of_lower_rank_get_axes_after_the_batch(name):
    x, y = Input(shape=(6, 4)), Input(shape=(4,))
    first, second = torch.randn(5, 6, 4), torch.randn(5, 4)
    torch.testing.assert_close(Model([x, y], CLASSES[name]()([x, y]))(first, second), MERGES[name](first, second[:, None]))
    torch.testing.assert_close(Model([y, x], CLASSES[name]()([y, x]))(second, first), MERGES[name](second[:, None], first))


@pytest.mark.parametrize("name", ["add", "multiply", "maximum"])
def test_sizes_of_one_are_broadcast(name):
    x, y = Input(shape=(6, 1)), Input(shape=(1, 4))
    assert CLASSES[name]()([x, y]).shape == (None, 6, 4)


def test_the_same_input_may_come_twice():
    x = Input(shape=(4,))
    torch.testing.assert_close(Model(x, layers.add([x, x]))(A), 2 * A)


def test_a_tuple_is_a_list():
    x, y = inputs()
    assert layers.Add()((x, y)).shape == (None, 4)


@pytest.mark.parametrize(("axis", "shape"), [(1, (None, 6, 4)), (2, (None, 3, 8)), (-1, (None, 3, 8)), (-2, (None, 6, 4))])
def test_concatenating_along_an_axis(axis, shape):
    xs = inputs(shape=(3, 4))
    model = Model(xs, layers.concatenate(xs, axis=axis))
    data = torch.randn(5, 3, 4)
    assert model.output_shape == shape
    assert torch.equal(model(data, data), torch.cat([data, data], axis))


@pytest.mark.parametrize(
    ("axes", "shapes", "expected"),
    [
        (1, [(4,), (4,)], lambda x, y: (x * y).sum(1, keepdim=True)),
        (-1, [(4,), (4,)], lambda x, y: (x * y).sum(1, keepdim=True)),
        (1, [(4, 2), (4, 3)], lambda x, y: torch.einsum("bki,bkj->bij", x, y)),
        (2, [(4, 2), (3, 2)], lambda x, y: torch.einsum("bik,bjk->bij", x, y)),
        ((2, 1), [(4, 2), (2, 3)], lambda x, y: x @ y),
        ((1, 2), [(2, 4), (3, 2)], lambda x, y: torch.einsum("bki,bjk->bij", x, y)),
        ([-1, 1], [(4, 2), (2,)], lambda x, y: torch.einsum("bik,bk->bi", x, y)),
        ((3, 1), [(4, 5, 2), (2, 3)], lambda x, y: torch.einsum("bijk,bkl->bijl", x, y)),
    ],
)
def test_dot_products(axes, shapes, expected):
    x, y = (Input(shape=shape) for shape in shapes)
    first, second = (torch.randn(5, *shape) for shape in shapes)
    model = Model([x, y], layers.dot([x, y], axes=axes))
    torch.testing.assert_close(model(first, second), expected(first, second))
    assert model.output_shape == (None, *expected(first, second).shape[1:])


def test_a_normalized_dot_product_is_the_cosine():
    xs = inputs()
    torch.testing.assert_close(Model(xs, layers.dot(xs, 1, normalize=True))(A, B)[:, 0], F.cosine_similarity(A, B))


def test_the_cosine_of_zeros_is_zero_in_float16():
    zeros = torch.zeros(1, 3, dtype=torch.float16)
    assert layers.Dot(1, normalize=True)([zeros, zeros]).item() == 0


@pytest.mark.parametrize("name", [*MERGES, "dot"])
def test_a_single_tensor_is_refused(name):
    layer = layers.Dot(1) if name == "dot" else CLASSES[name]()
    with pytest.raises(ValueError, match=r"cannot be built for input of shape \(None, 4\): expected a list of .*, got one in no list"):
        layer(Input(shape=(4,)))


@pytest.mark.parametrize("name", sorted({*MERGES} - {"subtract"}))
def test_a_list_of_one_is_what_is_in_it(name):
    torch.testing.assert_close(CLASSES[name]()([A]), A)


@pytest.mark.parametrize("nested", [[[A, B]], [A, [B]]])
def test_lists_in_the_list_are_refused(nested):
    with pytest.raises(ValueError, match="expected a list of one or more inputs, got one with lists in it"):
        layers.Add()(nested)


@pytest.mark.parametrize("layer", [layers.Subtract(), layers.Dot(1)])
def test_three_inputs_are_too_many_for_a_difference_or_a_product(layer):
    with pytest.raises(ValueError, match="expected a list of exactly 2 inputs, got 3"):
        layer(inputs(3))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"total \(Add\) cannot take input of shape \(None, 3\), \(None, 4\)"):
        layers.Add(name="total")([Input(shape=(3,)), Input(shape=(4,))])


def test_concatenating_inputs_of_unequal_rank_is_refused():
    with pytest.raises(ValueError, match="expected inputs of one rank"):
        layers.concatenate([Input(shape=(3,)), Input(shape=(2, 3))])


def test_sizes_off_the_axis_must_agree():
    with pytest.raises(ValueError, match=r"Concatenate cannot take input of shape \(None, 2, 3\), \(None, 4, 5\)"):
        layers.concatenate([Input(shape=(2, 3)), Input(shape=(4, 5))])


def test_the_batch_is_not_summed_over():
    with pytest.raises(ValueError, match="axes 0 include the batch axis"):
        layers.dot(inputs(), axes=0)


@pytest.mark.parametrize("axes", [(1,), (1, 2, 3)])
def test_axes_are_a_pair(axes):
    with pytest.raises(ValueError, match="axes must be an integer or a pair of them"):
        layers.Dot(axes)


MASK = torch.tensor([[True, False]])


@pytest.mark.parametrize("name", ["add", "multiply", "average", "maximum", "minimum", "subtract"])
def test_a_step_is_shown_where_any_input_shows_it(name):
    layer = CLASSES[name]()
    xs = [torch.ones(1, 2, 3)] * 2
    layer(xs)
    assert layer.compute_mask(xs, [MASK, MASK]).tolist() == MASK.tolist()
    assert layer.compute_mask(xs, [MASK, ~MASK]).tolist() == [[True, True]]
    assert layer.compute_mask(xs, [None, MASK]) is None
    assert layer.compute_mask(xs, [None, None]) is None


SOME, ALL_BUT = torch.tensor([[[2.0], [3.0], [4.0]]]), torch.tensor([[[5.0], [-1.0], [6.0]]])


@pytest.mark.parametrize(
    ("name", "masks", "expected"),
    [
        ("multiply", [[1, 0, 0], [1, 1, 0]], [10, -1, 0]),
        ("multiply", [[1, 0, 0], None], [10, -1, 6]),
        ("multiply", [None, [0, 1, 1]], [2, -3, 24]),
        ("maximum", [[1, 1, 0], [1, 0, 1]], [5, 3, 6]),
        ("minimum", [[1, 1, 0], [1, 0, 1]], [2, 3, 6]),
        ("maximum", [None, [0, 1, 1]], [2, 3, 6]),
        ("add", [[1, 0, 0], [1, 1, 0]], [7, 2, 10]),
    ],
)
def test_what_a_mask_hides_leaves_the_choice_to_the_others(name, masks, expected):
    masks = [None if mask is None else torch.tensor([mask], dtype=torch.bool) for mask in masks]
    assert CLASSES[name]()([SOME, ALL_BUT], mask=masks).flatten().tolist() == expected


@pytest.mark.parametrize("name", ["multiply", "maximum", "minimum", "concatenate"])
@pytest.mark.parametrize("order", [1, -1])
def test_a_drawn_merge_takes_masks_of_any_rank(name, order):
    words = Input(shape=(3, 4), dtype="int32")
    embeddings = [layers.Embedding(7, 2), layers.Embedding(7, 2, mask_zero=True)][::order]
    model = Model(words, CLASSES[name]()([embedding(words) for embedding in embeddings]))
    data = torch.tensor([[[1, 2, 0, 0], [3, 0, 0, 0], [4, 5, 6, 1]]])
    each = [embedding(data) for embedding in embeddings]
    masks = [data != 0 if embedding.mask_zero else None for embedding in embeddings]
    torch.testing.assert_close(model(data), CLASSES[name]()(each, mask=masks))


@pytest.mark.parametrize("name", ["multiply", "maximum"])
def test_the_mask_of_an_input_that_is_given_further_axes_hides_nothing(name):
    steps, vector = torch.ones(2, 4, 3), torch.tensor([[0.0, 0.0, 0.0], [2.0, 3.0, 4.0]])
    masks = [None, torch.tensor([False, True])]
    torch.testing.assert_close(CLASSES[name]()([steps, vector], mask=masks), CLASSES[name]()([steps, vector]))


def test_masks_are_concatenated_along_the_steps():
    layer = layers.Concatenate(axis=1)
    xs = [torch.ones(1, 2, 3)] * 2
    layer(xs)
    assert layer.compute_mask(xs, [MASK, None]).tolist() == [[True, False, True, True]]


def test_an_attention_like_product_has_no_mask():
    layer = layers.Dot(2)
    xs = [torch.ones(1, 2, 3)] * 2
    layer(xs)
    assert layer.compute_mask(xs, [MASK, MASK]) is None


class Between(_Merge):
    """A point between the two inputs, as programs of Keras 2 draw for a gradient penalty."""

    def _merge_function(self, inputs):
        part = torch.rand(1)
        return part * inputs[0] + (1 - part) * inputs[1]


def test_a_class_of_ones_own_says_how_it_joins():
    low, high = torch.zeros(2, 4), torch.ones(2, 4)
    joined = Between()([low, high])
    assert joined.shape == (2, 4) and ((low <= joined) & (joined <= high)).all()


def test_what_a_class_of_ones_own_draws_is_drawn_anew_in_every_run():
    xs = inputs()
    model = Model(xs, Between()(xs))
    assert not torch.equal(model([A, B]), model([A, B]))


def test_a_class_that_does_not_say_how_it_joins_says_what_is_missing():
    with pytest.raises(ValueError, match="Vague does not say how it joins.*_merge_function"):
        type("Vague", (_Merge,), {})()(inputs())


def test_arrays_are_taken_where_a_user_asks_for_the_mask():
    arrays, masks = [np.ones((1, 2, 3))] * 2, [np.array([[True, False]]), np.array([[False, False]])]
    assert layers.Add().compute_mask(arrays, masks).tolist() == [[True, False]]
    assert layers.Concatenate(axis=1).compute_mask(arrays, masks).tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("mask", [torch.ones(2, 3), [torch.ones(2, 3)]])
@pytest.mark.parametrize("name", ["Add", "Concatenate"])
def test_masks_that_are_not_one_for_each_input_are_refused(name, mask):
    with pytest.raises(ValueError, match="'mask' is a list with the mask, or None, of each of the 2 inputs"):
        getattr(layers, name)().compute_mask([A, B], mask)
