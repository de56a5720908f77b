"""`MultiHeadAttention` and `GroupedQueryAttention`: torch's own beside them, paths, dropout, masks, errors. tests/parity has numbers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import Input, Model, layers
from torchkeras_fn.layers import Embedding, GroupedQueryAttention, GroupQueryAttention, MultiHeadAttention

X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def fused(monkeypatch):
    """The options of every call of torch's fused attention."""
    calls, real = [], F.scaled_dot_product_attention

    def counted(*args, **kwargs):
        calls.append(kwargs)
        return real(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", counted)
    return calls


@pytest.mark.parametrize("causal", [False, True])
def test_it_computes_what_torchs_own_does(causal):
    layer, own = MultiHeadAttention(2, 4), nn.MultiheadAttention(8, 2, batch_first=True)
    layer(X, X)
    with torch.no_grad():
        own.in_proj_bias.normal_()
        for name, kernel, bias in zip(("query", "key", "value"), own.in_proj_weight.chunk(3), own.in_proj_bias.chunk(3), strict=True):
            getattr(layer.module, name).kernel.copy_(kernel.t().unflatten(1, (2, 4)))
            getattr(layer.module, name).bias.copy_(bias.unflatten(0, (2, 4)))
        layer.module.attention_output.kernel.copy_(own.out_proj.weight.t().unflatten(0, (2, 4)))
    hidden = nn.Transformer.generate_square_subsequent_mask(5) if causal else None
    wanted, weights = own(X, X, X, attn_mask=hidden, average_attn_weights=False)
    torch.testing.assert_close(layer(X, X, use_causal_mask=causal), wanted)
    torch.testing.assert_close(layer(X, X, use_causal_mask=causal, return_attention_scores=True), (wanted, weights))


def test_the_fused_kernel_runs_unless_the_scores_are_asked_for(fused):
    layer = MultiHeadAttention(2, 4)
    layer(X, X, use_causal_mask=True)
    assert fused[-1]["is_causal"] and fused[-1]["attn_mask"] is None
    layer(X, X, use_causal_mask=True, value_mask=torch.ones(2, 5, dtype=torch.bool))
    assert not fused[-1]["is_causal"] and fused[-1]["attn_mask"].shape == (2, 1, 5, 5)
    GroupedQueryAttention(4, 4, 2)(X, X)
    assert fused[-1]["enable_gqa"]
    assert len(fused) == 3
    layer(X, X, return_attention_scores=True)
    assert len(fused) == 3


def test_dropout_acts_in_training_only_and_inside_the_fused_kernel(fused):
    layer = MultiHeadAttention(2, 4, dropout=0.4)
    layer(X, X, training=True)
    layer(X, X, training=False)
    assert [call["dropout_p"] for call in fused] == [0.4, 0.0]
    assert not torch.equal(layer.train()(X, X), layer(X, X))
    assert torch.equal(layer.eval()(X, X), layer(X, X))


def test_a_seed_repeats_the_dropout():
    layer, twin = (MultiHeadAttention(2, 4, dropout=0.4, seed=3) for _ in range(2))
    twin(X, X)
    layer(X, X)
    twin.set_weights(layer.get_weights())
    torch.testing.assert_close(layer(X, X, training=True), twin(X, X, training=True))
    assert not torch.equal(layer(X, X, training=True), layer(X, X, training=True))


def test_dropped_weights_are_made_up_for_and_the_scores_are_those_before():
    layer = MultiHeadAttention(1, 4, dropout=0.5, seed=1)
    x = torch.ones(400, 5, 8)
    dropped, scores = layer(x, x, training=True, return_attention_scores=True)
    torch.testing.assert_close(dropped.mean(0), layer(x, x, training=False)[0], atol=0.1, rtol=0.1)  # a mean over 400 draws
    torch.testing.assert_close(scores, torch.full_like(scores, 0.2))


@pytest.mark.parametrize(
    "call",
    [
        lambda layer, q, v, k: layer(q, v, k),
        lambda layer, q, v, k: layer(query=q, value=v, key=k),
        lambda layer, q, v, k: layer(q, v, key=k),
        lambda layer, q, v, k: layer(key=k, value=v, query=q),
    ],
)
def test_the_call_takes_positions_and_keywords_symbolic_and_real(call):
    layer = MultiHeadAttention(2, 4)
    shapes = [(4, 8), (6, 3), (6, 5)]
    tensors, data = [Input(shape=shape) for shape in shapes], [torch.randn(2, *shape) for shape in shapes]
    drawn = call(layer, *tensors)
    assert drawn.shape == (None, 4, 8)
    torch.testing.assert_close(Model(tensors, drawn)(data), call(layer, *data))


def test_masks_may_be_arrays():
    layer = MultiHeadAttention(2, 4)
    mask = np.tril(np.ones((5, 5), dtype="int32"))
    torch.testing.assert_close(layer(X, X, attention_mask=mask), layer(X, X, use_causal_mask=True))


def test_a_mask_with_an_axis_of_heads_hides_from_each_head_what_it_says():
    layer = MultiHeadAttention(2, 4)
    mask = torch.rand(2, 2, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.5
    padding = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    _, scores = layer(X, X, attention_mask=mask, value_mask=padding, return_attention_scores=True)
    assert torch.equal(scores != 0, mask & padding[:, None, None])


def test_a_query_that_sees_nothing_has_finite_outputs_and_gradients():
    nothing = torch.zeros(2, 5, 5, dtype=torch.bool)
    for layer in (MultiHeadAttention(2, 4), MultiHeadAttention(2, 4, dropout=0.5)):
        x = X.clone().requires_grad_()
        outputs, scores = layer(x, x, attention_mask=nothing, return_attention_scores=True)
        (layer(x, x, attention_mask=nothing) + outputs).sum().backward()
        assert x.grad.isfinite().all() and not scores.any()


def test_the_outputs_have_the_mask_of_the_query_and_the_scores_none():
    words, others = Input(shape=(4,)), Input(shape=(6,))
    outputs, scores = MultiHeadAttention(2, 4)(
        Embedding(9, 8, mask_zero=True)(words), Embedding(9, 8, mask_zero=True)(others), return_attention_scores=True
    )
    averages = layers.GlobalAveragePooling1D()(outputs)
    model = Model([words, others], [outputs, scores, averages])
    data = [torch.tensor([[1, 2, 0, 0]]), torch.tensor([[1, 2, 3, 4, 0, 0]])]
    values, weights, means = model(data)
    torch.testing.assert_close(means, values[:, :2].mean(1))
    assert weights[0, :, :2, :4].all() and not weights[0, :, 2:].any() and not weights[0, :, :, 4:].any()
    model.compile("sgd", ["mse", "mse", None])
    model.train_on_batch(data, [torch.zeros(1, 4, 8), torch.zeros(1, 2, 4, 6)])


def test_a_mask_given_for_the_query_is_taken_but_counts_for_nothing():
    layer, hidden = MultiHeadAttention(2, 4), torch.zeros(2, 5, dtype=torch.bool)
    torch.testing.assert_close(layer(X, X, query_mask=hidden), layer(X, X))


def test_groups_of_one_are_plain_heads():
    grouped, plain = GroupedQueryAttention(4, 2, 2), MultiHeadAttention(2, 4)
    grouped(X, X), plain(X, X)
    plain.set_weights(grouped.get_weights())
    torch.testing.assert_close(grouped(X, X), plain(X, X))


@pytest.mark.parametrize("make", [lambda: MultiHeadAttention(2, 4), lambda: GroupedQueryAttention(4, 4, 2)])
def test_a_model_is_exported_with_unknown_batch_and_lengths(make):
    query, value = Input(shape=(None, 8)), Input(shape=(None, 8))
    model = Model([query, value], make()(query, value, use_causal_mask=True)).eval()
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("queries")}, {0: torch.export.Dim("batch"), 1: torch.export.Dim("steps")}
    program = torch.export.export(model.to_torch(), (torch.randn(3, 5, 8), torch.randn(3, 6, 8)), dynamic_shapes=free)
    data = [torch.randn(4, 7, 8), torch.randn(4, 2, 8)]
    torch.testing.assert_close(program.module()(*data), model(data))


def test_state_dict_keys_and_weights():
    x = Input(shape=(5, 8))
    model = Model(x, MultiHeadAttention(2, 3, use_gate=True, use_bias=False, output_shape=(4, 5), name="m")(x, x))
    assert sorted(model.state_dict()) == sorted(f"m.{name}.kernel" for name in ("query", "key", "gate", "value", "attention_output"))
    shapes = {weight.name: tuple(weight.view.shape) for weight in model.layers[-1].named_weights()}
    projected = {f"{name}/kernel": (8, 2, 3) for name in ("query", "key", "gate", "value")}
    assert shapes == {**projected, "attention_output/kernel": (2, 3, 4, 5)}


def test_options_of_weights_reach_all_of_them():
    layer = MultiHeadAttention(2, 4, kernel_initializer="ones", bias_initializer="ones", kernel_regularizer="l2", bias_constraint="non_neg")
    layer(X, X)
    assert all((weight == 1).all() for weight in layer.get_weights())
    named = {weight.name.split("/")[1]: weight.options for weight in layer.named_weights()}
    assert named["kernel"].regularizer is not None and named["bias"].constraint is not None
    assert named["kernel"].constraint is None and named["bias"].regularizer is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_float_types(dtype):
    layer = MultiHeadAttention(2, 4, dtype=str(dtype).removeprefix("torch."))
    x = X.to(dtype)
    outputs, scores = layer(x, x, value_mask=torch.tensor([[True] * 4 + [False]] * 2), return_attention_scores=True)
    assert outputs.dtype is dtype and scores.dtype is dtype
    assert layer(x, x, value_mask=torch.tensor([[True] * 4 + [False]] * 2)).dtype is dtype


def test_keras_exports_the_grouped_layer_under_another_name():
    assert GroupQueryAttention is GroupedQueryAttention
    assert type(layers.deserialize(layers.serialize(GroupedQueryAttention(4, 4, 2)))) is GroupedQueryAttention


THREE, FOUR = Input(shape=(5, 8)), Input(shape=(3, 5, 8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiHeadAttention(0, 3), "MultiHeadAttention: 'num_heads' must be an integer of at least 1, got 0"),
        (lambda: MultiHeadAttention(2, 3, value_dim=0), "'value_dim' must be an integer of at least 1, got 0"),
        (lambda: MultiHeadAttention(2, 3, dropout=1.5), "'dropout' must be between 0 and 1, got 1.5"),
        (lambda: MultiHeadAttention(2, 3, output_shape=(2, -1)), "'output_shape' must be"),
        (lambda: MultiHeadAttention(2, 3, attention_axes="a"), "'attention_axes' must be an integer, got 'a'"),
        (lambda: MultiHeadAttention(2, 3, attention_axes=()), r"'attention_axes' must be an integer or some integers, got \(\)"),
        (lambda: MultiHeadAttention(2, 3, sliding_window=0), "'sliding_window' must be an integer of at least 1, got 0"),
        (lambda: MultiHeadAttention(2, 3, flash_attention=True, dropout=0.1), "flash_attention=True allows no dropout, got dropout=0.1"),
        (
            lambda: MultiHeadAttention(2, 3, name="m", flash_attention=True)(THREE, THREE, return_attention_scores=True),
            r"^m \(MultiHeadAttention\) returns no attention scores with flash_attention=True",
        ),
        (lambda: MultiHeadAttention(2, 3, attention_axes=3)(FOUR, FOUR), "MultiHeadAttention .*'attention_axes' must be axes between"),
        (lambda: MultiHeadAttention(2, 3, attention_axes=(1, 1))(FOUR, FOUR), "'attention_axes' must be axes between"),
        (lambda: MultiHeadAttention(2, 3)(THREE, FOUR), "a query, value and key of one number of dimensions"),
        (lambda: MultiHeadAttention(2, 3)(Input(shape=(8,)), Input(shape=(8,))), "of one number of dimensions, 3"),
        (lambda: MultiHeadAttention(2, 3)(THREE, THREE, Input(shape=(4, 8))), "value and key must have as many steps"),
        (lambda: MultiHeadAttention(2, 3)([THREE, THREE], THREE), "must each be one tensor"),
        (lambda: MultiHeadAttention(2, 3)(THREE, Input(shape=(5, None))), "the number of features must be known"),
        (lambda: MultiHeadAttention(2, 3)(FOUR, FOUR, use_causal_mask=True), r"need one axis of steps, but attention goes along \(1, 2\)"),
        (lambda: GroupedQueryAttention(0, 4, 2), "GroupedQueryAttention: 'head_dim' must be"),
        (lambda: GroupedQueryAttention(3, 4, 3), "'num_query_heads' must be divisible by 'num_key_value_heads', got 4 and 3"),
        (lambda: GroupedQueryAttention(3, 4, 2)(FOUR, FOUR), r"GroupedQueryAttention .*expected 3 dimensions \(batch, steps, features\)"),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_call_without_a_value_says_what_is_missing():
    with pytest.raises(TypeError, match=r"MultiHeadAttention is called on a query and a value, layer\(query, value\); got no value"):
        MultiHeadAttention(2, 3)(THREE)


class Shifted(MultiHeadAttention):
    def call(self, query, value, shift=None, **options):
        return super().call(query, value, **options) + shift


def test_the_call_of_a_subclass_may_take_more():
    layer, x = Shifted(2, 3), torch.ones(2, 4, 8)
    assert torch.equal(layer(x, x, shift=torch.ones(8)), layer(x, x, shift=torch.zeros(8)) + 1)
