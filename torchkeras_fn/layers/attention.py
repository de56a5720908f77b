"""Attention of a sequence to another, or to itself, without projections: Luong's and Bahdanau's."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import config
from torchkeras_fn.arguments import fraction, one_of, seed_of
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.layers.regularization import PatternedDropout


class Attention(Layer):
    """`softmax(query @ key.T) @ value`: each query's mean of the values, weighted by how much it resembles their keys.

    Called on `[query, value]` or `[query, value, key]`, of shapes `(batch, queries, dim)`, `(batch, steps, features)` and
    `(batch, steps, dim)`; without a key the values are the keys too. Returns `(batch, queries, features)`, and with
    `return_attention_scores=True` the weights `(batch, queries, steps)` too. `mask=[query_mask, value_mask]`, which come
    by themselves with masked inputs, `(batch, queries)` and `(batch, steps)`: a masked query's output is 0, and masked
    values count for nothing. With `use_causal_mask=True` no query sees values at later positions than its own.

    `score_mode` is `'dot'`, over torch's `scaled_dot_product_attention`, or `'concat'`: `sum(tanh(query + key))`.
    `dropout` is the share of the weights that is set to 0 while training. Weights: with `use_scale` a scalar `scale` of the
    scores, and in the mode `'concat'` a scalar `concat_score_weight`.
    Source: Luong et al., 2015, https://arxiv.org/abs/1508.04025

    >>> query, value = torch.ones(2, 4, 3), torch.ones(2, 7, 3)
    >>> outputs, weights = Attention()([query, value], return_attention_scores=True)
    >>> outputs.shape, weights.shape
    (torch.Size([2, 4, 3]), torch.Size([2, 4, 7]))
    """

    weight_map = {"scale": Weight("scale"), "concat_score_weight": Weight("concat_score_weight")}
    module_takes = frozenset({"mask"})

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.use_scale = use_scale
        self.score_mode = one_of(score_mode, "score_mode", "dot", "concat")
        self.dropout = fraction(dropout, "dropout")
        self.seed = seed_of(seed)
        self.describe_weights(scale=("ones",), concat_score_weight=("ones",))

    def build(self, input_shape: Any) -> nn.Module:
        """Check the shapes, and return the attention."""
        self.check_inputs(input_shape)
        return SequenceAttention(self.score_mode, () if self.use_scale else None, self.dropout, self.seed)

    def check_inputs(self, input_shape: Any) -> None:
        """Raise `ValueError` unless there are two or three inputs with batches of steps, of which query and key fit each other."""
        if not isinstance(input_shape, list) or len(input_shape) not in (2, 3):
            came = f"{len(input_shape)} of them" if isinstance(input_shape, list) else "one tensor"
            raise ValueError(f"expected a list [query, value] or [query, value, key], got {came}")
        if any(len(shape) < 3 for shape in input_shape):
            raise ValueError("expected tensors of at least 3 dimensions (batch, steps, features)")
        query, key = input_shape[0][-1], input_shape[-1][-1]
        if None not in (query, key) and query != key:
            raise ValueError(f"query and key must have as many features, got {query} and {key}")

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the query's mask."""
        return mask[0] if mask else None


class AdditiveAttention(Attention):
    """`softmax(sum(scale * tanh(query + key))) @ value`: attention whose scores are sums, not products.

    The inputs, masks, arguments of the call and outputs are those of `Attention`. Weight: with `use_scale` a `scale`
    `(dim,)`. Source: Bahdanau et al., 2014, https://arxiv.org/abs/1409.0473

    >>> AdditiveAttention()([torch.ones(2, 4, 3), torch.ones(2, 7, 3)]).shape
    torch.Size([2, 4, 3])
    """

    weight_map = {"scale": Weight("scale")}

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, seed: int | None = None, **kwargs: Any):
        super().__init__(use_scale=use_scale, dropout=dropout, seed=seed, **kwargs)
        self.describe_weights(scale=("glorot_uniform",))

    def build(self, input_shape: Any) -> nn.Module:
        """Check the shapes, and return the attention for this many features."""
        self.check_inputs(input_shape)
        features = input_shape[0][-1]
        if self.use_scale and features is None:
            raise ValueError("the number of the query's features must be known, got None")
        return SequenceAttention("additive", (features,) if self.use_scale else None, self.dropout, self.seed)


class SequenceAttention(nn.Module):
    """The weighted means of values, for scores of the kind `'dot'`, `'concat'` or `'additive'`.

    >>> query, value = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 3.0], [3.0, 5.0]]])
    >>> SequenceAttention("dot", None, 0.0, None)([query, value])
    tensor([[[2., 4.]]])
    """

    def __init__(self, kind: str, scale: Sequence[int] | None, dropout: float, seed: int | None):
        super().__init__()
        self.kind = kind
        self.scale = None if scale is None else nn.Parameter(torch.ones(tuple(scale)))
        self.concat_score_weight = nn.Parameter(torch.ones(())) if kind == "concat" else None
        self.drop = PatternedDropout(dropout, None, seed)

    def forward(
        self, inputs: Sequence[torch.Tensor], mask: Any = None, return_attention_scores: bool = False, use_causal_mask: bool = False
    ) -> Any:
        """Return the means, and the weights where they are asked for."""
        if mask is not None and (not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3)):
            raise ValueError(f"'mask' must be a list [query_mask, value_mask], got {type(mask).__name__} {mask!r}.")
        wanted = config.dtype(None) if self.scale is None else self.scale.dtype
        query, value, key = (x if x.is_floating_point() else x.to(wanted) for x in (inputs[0], inputs[1], inputs[-1]))
        query_mask, value_mask = mask[:2] if mask is not None else (None, None)
        if self.kind == "dot" and not return_attention_scores and not (self.drop.seed is not None and self.training):
            weights, outputs = None, self._fused(query, value, key, value_mask, use_causal_mask)
        else:
            hidden = _hidden(query, key, value_mask, use_causal_mask)
            scores = self.scores(query, key)
            weights = self.drop(torch.softmax(scores if hidden is None else scores + hidden, -1))
            outputs = weights.to(value.dtype) @ value
        if query_mask is not None:
            outputs = outputs.masked_fill(~query_mask.bool().unsqueeze(-1), 0)
        return (outputs, weights) if return_attention_scores else outputs

    def scores(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Return how much each query resembles each key: `(batch, queries, steps)`."""
        if self.kind == "dot":
            return self._scaled(query) @ key.transpose(-2, -1)
        sums = query.unsqueeze(-2) + key.unsqueeze(-3)
        if self.concat_score_weight is not None:
            return self.concat_score_weight * self._scaled(sums).tanh().sum(-1)
        return self._scaled(sums.tanh()).sum(-1)

    def _scaled(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if self.scale is None else tensor * self.scale

    def _fused(self, query: torch.Tensor, value: torch.Tensor, key: torch.Tensor, mask: Any, causal: bool) -> torch.Tensor:
        hidden = None if mask is None else _hidden(query, key, mask, causal)
        flat = query.dim() == 3  # the fused kernels want an axis of heads
        queries, keys, values = (tensor.unsqueeze(1) if flat else tensor for tensor in (self._scaled(query), key, value))
        outputs = F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=hidden.unsqueeze(1) if flat and hidden is not None else hidden,
            dropout_p=self.drop.rate if self.training else 0.0,
            is_causal=causal and hidden is None,
            scale=1.0,
        )
        return outputs.squeeze(1) if flat else outputs


def _hidden(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, causal: bool) -> torch.Tensor | None:
    """What is added to the scores: a number so low where a value is not to be seen that nothing but other such scores matches it."""
    seen = None if mask is None else mask.bool().unsqueeze(-2)
    if causal:
        earlier = causal_mask(query.shape[-2], key.shape[-2], query.device)
        seen = earlier if seen is None else seen & earlier
    if seen is None:
        return None
    lowest = -65504.0 if query.dtype is torch.float16 else -1e9
    return torch.zeros(seen.shape, dtype=query.dtype, device=query.device).masked_fill(~seen, lowest)


def causal_mask(queries: int, steps: int, device: torch.device) -> torch.Tensor:
    """Return which steps each query may see, its own and those before: `(queries, steps)`.

    >>> causal_mask(2, 3, torch.device("cpu"))
    tensor([[ True, False, False],
            [ True,  True, False]])
    """
    return torch.ones(queries, steps, dtype=torch.bool, device=device).tril()
