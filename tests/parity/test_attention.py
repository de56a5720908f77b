"""Attention against the real Keras: outputs, scores, gradients of weights and inputs, with masks of every kind."""

from itertools import product

import keras
import numpy as np
import pytest
import torch

import torchkeras_fn as tk
from parity.twins import LIBRARIES, array, same, twins

QUERY, VALUE, KEY = (4, 6), (5, 6), (5, 6)


def gradients(model, arrays, training):
    """Return outputs, and the gradients of the weights in Keras' layout and of the inputs, of an arbitrary scalar."""
    inputs = [torch.tensor(x, requires_grad=x.dtype == np.float32) for x in arrays]
    outputs = model(inputs, training=training) if isinstance(model, keras.Model) else model.train(training)(inputs)
    flat = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    sum((part * torch.arange(part.numel()).reshape(part.shape).cos()).sum() for part in flat).backward()
    if isinstance(model, keras.Model):
        weights = [weight.value.grad for weight in model.trainable_weights]
    else:
        weights = [weight.arranged(weight.tensor.grad) for weight in model.named_weights()]
    return [array(part) for part in flat], weights, [x.grad for x in inputs if x.requires_grad]


def compare(recipe, *arrays, modes=(True, False)):
    """Draw a recipe in both libraries, run both on the same data in training and in inference mode, and compare all."""
    ours, theirs = twins(recipe)
    for training in modes:
        mine, other = (gradients(model, arrays, training) for model in (ours, theirs))
        for model in (ours, theirs):
            for weight in model.parameters():
                weight.grad = None
        for part, reference in zip(mine, other, strict=True):
            same(part, reference, 1e-4)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=(2, *shape)).astype("float32")


def on(shapes, make, **call):
    """A recipe: the layer that `make` returns for a library, called on inputs of the shapes one by one."""

    def recipe(k):
        inputs = [k.Input(shape=shape) for shape in shapes]
        outputs = make(k)(*inputs, **call)
        return k.Model(inputs, list(outputs) if isinstance(outputs, (list, tuple)) else outputs)

    return recipe


# ---------------------------------------------------------------------- MultiHeadAttention

MULTI_HEAD = [
    {},
    {"value_dim": 5},
    {"use_bias": False},
    {"output_shape": 7},
    {"output_shape": (2, 3)},
    {"use_gate": True},
    {"use_gate": True, "use_bias": False, "value_dim": 2},
    {"sliding_window": 1},
    {"sliding_window": 2},
    {"flash_attention": False},
    {"attention_axes": 1},
    {"attention_axes": (-2,)},
]
CALLS = [{}, {"use_causal_mask": True}, {"return_attention_scores": True}, {"use_causal_mask": True, "return_attention_scores": True}]

BOTH_PATHS = CALLS[1:3]


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("options", MULTI_HEAD, ids=str)
def test_multi_head_attention(options, call):
    shapes = [(4, 6), (5, 3), (5, 7)]
    recipe = on(shapes, lambda k: k.layers.MultiHeadAttention(2, 3, **options), **call)
    compare(recipe, *(normal(*shape) for shape in shapes))


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("heads", [1, 3])
def test_self_attention(heads, call):
    def recipe(k):
        x = k.Input(shape=(5, 6))
        outputs = k.layers.MultiHeadAttention(num_heads=heads, key_dim=4)(query=x, value=x, **call)
        return k.Model(x, list(outputs) if isinstance(outputs, (list, tuple)) else outputs)

    compare(recipe, normal(5, 6))


# Along several axes the queries may have other sizes than the values; along one, the other axis is a batch.
SEVERAL, SINGLE = [(3, 4, 6), (2, 5, 5)], [(3, 4, 6), (3, 4, 5)]
AXES = [(None, SEVERAL), ((1, 2), SEVERAL), ((2, 1), SEVERAL), ((1,), SINGLE), ((2,), SINGLE), ((-2,), SINGLE)]


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize(("axes", "shapes"), AXES)
def test_attention_along_some_axes(axes, shapes, scores):
    recipe = on(shapes, lambda k: k.layers.MultiHeadAttention(2, 3, attention_axes=axes), return_attention_scores=scores)
    compare(recipe, *(normal(*shape) for shape in shapes))


def mask_of(*shape):
    """Return a random mask in which some rows are all false."""
    mask = np.random.default_rng(list(shape)).random((2, *shape)) < 0.6
    mask.reshape(-1, shape[-1])[1] = False
    return mask


GIVEN_MASKS = [
    {"attention_mask": (4, 5)},
    {"attention_mask": (1, 5)},
    {"attention_mask": (2, 4, 5)},
    {"value_mask": (5,)},
    {"key_mask": (5,)},
    {"query_mask": (4,)},
    {"query_mask": (4,), "value_mask": (5,), "key_mask": (5,), "attention_mask": (4, 5)},
]


@pytest.mark.parametrize("call", BOTH_PATHS, ids=str)
@pytest.mark.parametrize("options", [{}, {"dropout": 0.5}, {"sliding_window": 2}], ids=str)
@pytest.mark.parametrize("masks", GIVEN_MASKS, ids=str)
def test_masks_that_are_passed(masks, options, call):
    shapes = [(4, 6), (5, 6), (5, 6)]

    def recipe(k):
        inputs = [k.Input(shape=shape) for shape in shapes]
        given = {name: k.Input(shape=shape, dtype="bool") for name, shape in masks.items()}
        outputs = k.layers.MultiHeadAttention(2, 3, **options)(*inputs, **given, **call)
        return k.Model([*inputs, *given.values()], list(outputs) if isinstance(outputs, (list, tuple)) else outputs)

    arrays = [*(normal(*shape) for shape in shapes), *(mask_of(*shape) for shape in masks.values())]
    compare(recipe, *arrays, modes=(False,) if "dropout" in options else (True, False))


@pytest.mark.parametrize("call", BOTH_PATHS, ids=str)
@pytest.mark.parametrize("is_padded", [False, True], ids=["alone", "padded"])
@pytest.mark.parametrize("masks", GIVEN_MASKS[:2] + GIVEN_MASKS[3:], ids=str)  # Keras reads one for each head as one for each sample
def test_masks_that_are_passed_to_grouped_heads(masks, is_padded, call):
    def recipe(k):
        inputs, tensors = embedded(k, *[is_padded] * 3, lengths=(4, 5, 5))
        given = {name: k.Input(shape=shape, dtype="bool") for name, shape in masks.items()}
        outputs = k.layers.GroupQueryAttention(3, 4, 2)(*tensors, **given, **call)
        return k.Model([*inputs, *given.values()], list(outputs) if isinstance(outputs, (list, tuple)) else outputs)

    compare(recipe, IDS[:2], OTHER_IDS[:2], OTHER_IDS[1:], *(mask_of(*shape) for shape in masks.values()))


@pytest.mark.parametrize(
    ("axes", "shape", "mask"),
    [(2, (3, 4, 6), (3, 4, 4)), (2, (3, 4, 6), (1, 4, 4)), (1, (4, 3, 6), (3, 4, 4)), ((1, 2), (3, 4, 6), (3, 4, 3, 4))],
)
@pytest.mark.parametrize("scores", [False, True])
def test_masks_of_inputs_with_more_axes(axes, shape, mask, scores):
    def recipe(k):
        x, given = k.Input(shape=shape), k.Input(shape=mask, dtype="bool")
        layer = k.layers.MultiHeadAttention(2, 3, attention_axes=axes)
        outputs = layer(x, x, attention_mask=given, return_attention_scores=scores)
        return k.Model([x, given], list(outputs) if scores else outputs)

    compare(recipe, normal(*shape), mask_of(*mask))


@pytest.mark.parametrize("dtype", ["int32", "float32", "bool"])
def test_a_constant_mask_of_any_type(dtype):
    mask = np.tril(np.ones((4, 4))).astype(dtype)

    def recipe(k):
        x = k.Input(shape=(4, 6))
        layer = k.layers.MultiHeadAttention(2, 3)
        return k.Model(x, layer(x, x, attention_mask=mask))

    ours, theirs = (recipe(library) for library in LIBRARIES)
    theirs.layers[1].set_weights(ours.layers[1].get_weights())
    same(ours.predict(normal(4, 6), verbose=0), theirs.predict(normal(4, 6), verbose=0))


IDS = np.array([[1, 2, 0, 0], [0, 3, 1, 4], [0, 0, 0, 0]])
OTHER_IDS = np.array([[1, 2, 3, 0, 0], [1, 0, 2, 0, 4], [1, 2, 3, 4, 1]])


def embedded(k, *padded, lengths=(None, None, None)):
    """Return inputs of indices and their embeddings, masked where 0 is padding."""
    inputs = [k.Input(shape=(length,), dtype="int32") for length, _ in zip(lengths, padded, strict=False)]
    return inputs, [k.layers.Embedding(5, 6, mask_zero=zero)(x) for x, zero in zip(inputs, padded, strict=True)]


@pytest.mark.parametrize("call", BOTH_PATHS, ids=str)
@pytest.mark.parametrize("padded", list(product([False, True], repeat=3)), ids=str)
@pytest.mark.parametrize("name", ["MultiHeadAttention", "GroupQueryAttention"])
def test_masks_that_come_with_the_inputs(name, padded, call):
    def recipe(k):
        inputs, tensors = embedded(k, *padded)
        layer = k.layers.MultiHeadAttention(2, 3) if name == "MultiHeadAttention" else k.layers.GroupQueryAttention(3, 4, 2)
        outputs = layer(*tensors, **call)
        return k.Model(inputs, list(outputs) if isinstance(outputs, (list, tuple)) else outputs)

    compare(recipe, IDS, OTHER_IDS, OTHER_IDS[::-1].copy())


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"use_bias": False}, {"use_gate": True}, {"sliding_window": 2}, {"num_key_value_heads": 1}, {"num_key_value_heads": 4}]
)
def test_grouped_query_attention(options, call):
    options = {"num_key_value_heads": 2, **options}
    shapes = [(4, 6), (5, 6), (5, 7)]
    recipe = on(shapes, lambda k: k.layers.GroupQueryAttention(3, 4, **options), **call)
    compare(recipe, *(normal(*shape) for shape in shapes))


# ---------------------------------------------------------------------- Attention and AdditiveAttention

PLAIN = {
    "dot": lambda k, **options: k.layers.Attention(**options),
    "concat": lambda k, **options: k.layers.Attention(score_mode="concat", **options),
    "additive": lambda k, **options: k.layers.AdditiveAttention(**options),
}


def on_list(shapes, make, **call):
    def recipe(k):
        inputs = [k.Input(shape=shape) for shape in shapes]
        outputs = make(k)(inputs, **call)
        return k.Model(inputs, list(outputs) if isinstance(outputs, (list, tuple)) else outputs)

    return recipe


@pytest.mark.parametrize("call", BOTH_PATHS, ids=str)
@pytest.mark.parametrize("shapes", [[(4, 6), (5, 6)], [(4, 6), (5, 3), (5, 6)], [(2, 4, 6), (2, 5, 3), (2, 5, 6)]], ids=str)
@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("kind", PLAIN)
def test_attention(kind, use_scale, shapes, call):
    compare(on_list(shapes, lambda k: PLAIN[kind](k, use_scale=use_scale), **call), *(normal(*shape) for shape in shapes))


@pytest.mark.parametrize("call", BOTH_PATHS, ids=str)
@pytest.mark.parametrize("masks", [(True, True), (False, True), (True, False)], ids=str)
@pytest.mark.parametrize("is_passed", [False, True])
@pytest.mark.parametrize("kind", PLAIN)
def test_attention_with_masks(kind, is_passed, masks, call):
    def recipe(k):
        inputs, tensors = embedded(k, *([False, False] if is_passed else masks), lengths=(4, 5))
        given = [k.Input(shape=shape, dtype="bool") if has else None for shape, has in zip([(4,), (5,)], masks, strict=True)]
        outputs = PLAIN[kind](k)(tensors, **({"mask": given} if is_passed else {}), **call)
        inputs += [tensor for tensor in given if tensor is not None] if is_passed else []
        return k.Model(inputs, list(outputs) if isinstance(outputs, (list, tuple)) else outputs)

    given = [ids != 0 for ids, has in zip([IDS, OTHER_IDS], masks, strict=True) if has] if is_passed else []
    compare(recipe, IDS, OTHER_IDS, *given)


# ---------------------------------------------------------------------- in models


def test_a_transformer_block_trains_alike():
    def recipe(k):
        words = k.Input(shape=(6,), dtype="int32")
        x = k.layers.Embedding(9, 8, mask_zero=True)(words)
        attended = k.layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
        x = k.layers.LayerNormalization()(k.layers.Dense(8, activation="relu")(attended))
        return k.Model(words, k.layers.Dense(3)(x))

    histories, weights = [], []
    random = np.random.default_rng(0)
    x, y = random.integers(0, 9, size=(32, 6)), random.normal(size=(32, 6, 3)).astype("float32")
    models = twins(recipe)
    for model in models:
        model.compile(optimizer="sgd", loss="mse")
        histories.append(model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"])
        weights.append(model.get_weights())
    same(histories[0], histories[1], 1e-4)
    same(weights[0], weights[1], 1e-4)
    same(models[0].predict(x, verbose=0), models[1].predict(x, verbose=0), 1e-4)


def test_a_decoder_with_cross_attention_trains_alike():
    def recipe(k):
        source, target = k.Input(shape=(None, 5)), k.Input(shape=(None, 4))
        x = k.layers.Dense(6)(target)
        x = k.layers.Add()([x, k.layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)])
        x = k.layers.Add()([x, k.layers.MultiHeadAttention(3, 2, value_dim=4)(query=x, value=source, key=source)])
        x = k.layers.Attention(use_scale=True)([x, source, k.layers.Dense(6)(source)])
        return k.Model([source, target], k.layers.Dense(2)(x))

    random = np.random.default_rng(0)
    x = [random.normal(size=(16, 7, 5)).astype("float32"), random.normal(size=(16, 3, 4)).astype("float32")]
    y = random.normal(size=(16, 3, 2)).astype("float32")
    histories, weights = [], []
    for model in twins(recipe):
        model.compile(optimizer="sgd", loss="mse")
        histories.append(model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history["loss"])
        weights.append(model.get_weights())
    same(histories[0], histories[1], 1e-4)
    same(weights[0], weights[1], 1e-4)


@pytest.mark.parametrize("make", [lambda k: k.layers.MultiHeadAttention(2, 3), lambda k: k.layers.GroupQueryAttention(3, 4, 2)])
def test_names_and_order_of_the_weights(make):
    names = []
    for library in LIBRARIES:
        layer = make(library)
        layer(*[library.Input(shape=(4, 6))] * 2)
        is_ours = library is tk
        names.append([weight.name for weight in layer.named_weights()] if is_ours else [w.path.split("/", 1)[1] for w in layer.weights])
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "make", [lambda k: k.layers.MultiHeadAttention(8, 32), lambda k: k.layers.GroupQueryAttention(32, 8, 4)], ids=["heads", "grouped"]
)
def test_spread_of_random_kernels_at_the_start(make):
    weights = []
    for k in LIBRARIES:
        layer, x = make(k), torch.ones(1, 2, 96)
        layer(x, x)
        weights.append([weight for weight in layer.get_weights() if weight.ndim > 1 and weight.std() > 0])
    for ours, theirs in zip(*weights, strict=True):
        assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
