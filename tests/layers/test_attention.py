"""`Attention` and `AdditiveAttention`: paths, dropout, masks, errors. tests/parity has the numbers."""

import pytest
import torch
import torch.nn.functional as F

from torchkeras_fn import Input, Model
from torchkeras_fn.layers import AdditiveAttention, Attention, Embedding, GlobalAveragePooling1D

QUERY, VALUE = (torch.randn(2, steps, 3, generator=torch.Generator().manual_seed(steps)) for steps in (4, 5))


def test_the_dot_product_runs_fused_unless_the_scores_are_asked_for(monkeypatch):
    calls, real = [], F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *args, **kwargs: calls.append(kwargs) or real(*args, **kwargs))
    layer = Attention(use_scale=True, dropout=0.3)
    layer([QUERY, VALUE], training=True)
    layer([QUERY, VALUE], use_causal_mask=True, training=False)
    assert [(call["dropout_p"], call["is_causal"]) for call in calls] == [(0.3, False), (0.0, True)]
    layer([QUERY, VALUE], return_attention_scores=True)
    Attention(score_mode="concat")([QUERY, VALUE])
    assert len(calls) == 2


def test_both_ways_give_the_same():
    for call in ({}, {"use_causal_mask": True}, {"mask": [None, torch.rand(2, 5) < 0.5]}):
        layer = Attention(use_scale=True).eval()
        torch.testing.assert_close(layer([QUERY, VALUE], **call), layer([QUERY, VALUE], return_attention_scores=True, **call)[0])


@pytest.mark.parametrize("make", [lambda **o: Attention(**o), lambda **o: AdditiveAttention(use_scale=False, **o)])
def test_dropout_acts_on_the_scores_that_are_returned_and_a_seed_repeats_it(make):
    layer, twin = make(dropout=0.5, seed=2), make(dropout=0.5, seed=2)
    outputs, scores = layer([QUERY, VALUE], return_attention_scores=True, training=True)
    assert not scores.all()
    torch.testing.assert_close(outputs, scores @ VALUE)
    torch.testing.assert_close(twin([QUERY, VALUE], training=True), outputs)
    assert layer([QUERY, VALUE], return_attention_scores=True, training=False)[1].all()


@pytest.mark.parametrize("passed", [False, True])
def test_the_outputs_have_the_mask_of_the_query_whether_it_comes_or_is_passed(passed):
    words = Input(shape=(4,))
    x = Embedding(9, 3, mask_zero=not passed)(words)
    outputs = Attention()([x, x], **({"mask": [words.ne(0), words.ne(0)]} if passed else {}))
    model = Model(words, [outputs, GlobalAveragePooling1D()(outputs)])
    values, means = model(torch.tensor([[3, 2, 0, 0]]))
    assert not values[0, 2:].any()
    torch.testing.assert_close(means, values[:, :2].mean(1))


def test_values_that_are_all_masked_give_finite_outputs_and_gradients():
    nothing = torch.zeros(2, 5, dtype=torch.bool)
    for layer in (Attention(), Attention(score_mode="concat"), AdditiveAttention()):
        query = QUERY.clone().requires_grad_()
        layer([query, VALUE], mask=[None, nothing]).sum().backward()
        assert query.grad.isfinite().all()


@pytest.mark.parametrize("make", [Attention, lambda: Attention(True), lambda: Attention(score_mode="concat"), AdditiveAttention])
def test_integers_are_attended_to_as_numbers(make):
    inputs = [torch.tensor([[[1], [2]]]), torch.tensor([[[3], [4], [1]]])]
    layer = make()
    torch.testing.assert_close(layer(inputs), layer([x.float() for x in inputs]))


def test_scores_by_sums_are_multiplied_by_their_weight():
    layer = Attention(score_mode="concat")
    layer([QUERY, VALUE])
    layer.set_weights([3.0])
    sums = (QUERY.unsqueeze(2) + VALUE.unsqueeze(1)).tanh().sum(-1)
    torch.testing.assert_close(layer([QUERY, VALUE], return_attention_scores=True)[1], (3 * sums).softmax(-1))


def test_arrays_and_tuples_are_taken():
    layer = Attention()
    wanted = layer([QUERY, VALUE])
    torch.testing.assert_close(layer((QUERY, VALUE)), wanted)
    torch.testing.assert_close(layer([QUERY.numpy(), VALUE.numpy()]), wanted)


@pytest.mark.parametrize("layer", [Attention(use_scale=True), AdditiveAttention()])
def test_a_model_is_exported_with_unknown_batch_and_lengths(layer):
    query, value = Input(shape=(None, 3)), Input(shape=(None, 3))
    model = Model([query, value], layer([query, value], use_causal_mask=True)).eval()
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("queries")}, {0: torch.export.Dim("batch"), 1: torch.export.Dim("steps")}
    program = torch.export.export(model.to_torch(), (torch.randn(3, 5, 3), torch.randn(3, 6, 3)), dynamic_shapes=free)
    data = [torch.randn(4, 7, 3), torch.randn(4, 2, 3)]
    torch.testing.assert_close(program.module()(*data), model(data))


X = Input(shape=(5, 3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attention(score_mode="cosine"), "'score_mode' must be one of 'dot', 'concat'; got 'cosine'"),
        (lambda: Attention(dropout=2), "'dropout' must be between 0 and 1, got 2"),
        (lambda: AdditiveAttention(dropout=-1), "AdditiveAttention: 'dropout' must be between 0 and 1, got -1"),
        (lambda: Attention(name="a")(X), r"^a \(Attention\) .*expected a list \[query, value\] or \[query, value, key\], got one tensor"),
        (lambda: Attention()([X]), "expected a list .*, got 1 of them"),
        (lambda: Attention()([X, X, X, X]), "expected a list .*, got 4 of them"),
        (lambda: Attention()([X, Input(shape=(3,))]), "at least 3 dimensions"),
        (lambda: Attention()([X, Input(shape=(5, 4))]), "query and key must have as many features, got 3 and 4"),
        (lambda: AdditiveAttention()([Input(shape=(5, None)), X]), "the number of the query's features must be known"),
        (lambda: Attention()([X, X], mask=[None]), r"'mask' must be a list \[query_mask, value_mask\], got list \[None\]"),
    ],
)
def test_mistakes_are_told_where_they_are_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()
