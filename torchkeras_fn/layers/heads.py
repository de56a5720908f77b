"""The torch modules behind attention with several heads: a projection, and the attention between projections."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn.layers.attention import causal_mask
from torchkeras_fn.layers.regularization import PatternedDropout


class Projection(nn.Module):
    """`inputs @ kernel + bias` for a kernel `(*inputs, *outputs)`, as Keras keeps it; the axes of both sides are flat.

    >>> Projection([3], [2, 4], bias=True)(torch.ones(5, 3)).shape
    torch.Size([5, 8])
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], bias: bool):
        super().__init__()
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.kernel = nn.Parameter(torch.zeros(*inputs, *outputs))
        self.bias = nn.Parameter(torch.zeros(*outputs)) if bias else None

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"{self.inputs}, {self.outputs}, bias={self.bias is not None}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Project the last axis."""
        kernel = self.kernel.view(math.prod(self.inputs), math.prod(self.outputs))
        return F.linear(inputs, kernel.t(), None if self.bias is None else self.bias.flatten())


class MultiHead(nn.Module):
    """The attention between projections, along the given axes of inputs of the given rank.

    `projections` are named `query`, `key`, `value`, `attention_output` and perhaps `gate`; query and key may have
    different numbers of heads.

    >>> parts = {name: Projection([8], [2, 4], bias=True) for name in ("query", "key", "value")}
    >>> parts["attention_output"] = Projection([2, 4], [8], bias=True)
    >>> attention = MultiHead(parts, axes=[1], rank=3, window=None, drop=PatternedDropout(0.0, None, None))
    >>> attention(torch.ones(2, 5, 8), torch.ones(2, 7, 8)).shape
    torch.Size([2, 5, 8])
    """

    heeds_query_mask = False
    """Whether a `query_mask` in the call counts: in Keras that of grouped heads does, in place of one that comes with the query."""

    def __init__(self, projections: Mapping[str, Projection], axes: Sequence[int], rank: int, window: int | None, drop: PatternedDropout):
        super().__init__()
        self.query, self.key, self.value = (projections[name] for name in ("query", "key", "value"))
        self.gate = projections.get("gate")
        self.attention_output = projections["attention_output"]
        self.drop = drop
        self.axes = tuple(axes)
        self.window = window
        self.rank = rank
        self.shared_by = projections["query"].outputs[0] // projections["key"].outputs[0]
        # (batch, other axes, heads, steps, features), from the (batch, axes, heads, features) of a projection
        self.order = (0, *(axis for axis in range(1, rank - 1) if axis not in self.axes), rank - 1, *self.axes, rank)
        self.order_back = tuple(self.order.index(axis) for axis in range(rank + 1))

    def forward(
        self,
        query: torch.Tensor,
        value: torch.Tensor,
        key: torch.Tensor | None = None,
        query_mask: torch.Tensor | None = None,
        value_mask: torch.Tensor | None = None,
        key_mask: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
        query_padding: torch.Tensor | None = None,
    ) -> Any:
        """Return the outputs, and the weights where they are asked for. `query_mask` counts with `heeds_query_mask` alone."""
        if query_mask is not None and self.heeds_query_mask:
            query_padding = query_mask
        if len(self.axes) > 1 and (use_causal_mask or self.window is not None):
            raise ValueError(f"use_causal_mask and sliding_window need one axis of steps, but attention goes along {self.axes}.")
        by_hand = return_attention_scores or self.training and self.drop.rate > 0 and self.drop.seed is not None
        by_hand = by_hand or self.rank > 3 and torch.compiler.is_exporting()  # ONNX knows attention of four axes alone
        masks = [None if query_padding is None else query_padding.unsqueeze(-1), attention_mask]
        masks += [None if mask is None else mask.unsqueeze(-2) for mask in (value_mask, key_mask)]
        causal_alone = use_causal_mask and not by_hand and self.window is None and all(mask is None for mask in masks)
        seen = self._seen(query, value, masks if causal_alone else [*masks, *self._positional(query, value, use_causal_mask)])
        queries, values = self._split(self.query, query), self._split(self.value, value)
        keys = self._split(self.key, value if key is None else key)
        scores = None
        if by_hand:
            outputs, scores = self._explicit(queries, keys, values, seen)
        else:
            outputs = self._fused(queries, keys, values, seen, causal_alone)
        outputs = self._join(outputs, query)
        if self.gate is not None:
            outputs = outputs * self.gate(query).sigmoid()
        outputs = self.attention_output(outputs)
        if len(self.attention_output.outputs) > 1:
            outputs = outputs.unflatten(-1, self.attention_output.outputs)
        return (outputs, self._with_axes(scores, query, value)) if return_attention_scores else outputs

    def _fused(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, seen: Any, causal: bool) -> torch.Tensor:
        if seen is not None and self.drop.rate == 0 and self.rank == 3:
            # As in Keras 3, whose own path differs here: a query that sees nothing gets the mean of all values, elsewhere 0.
            hidden = torch.zeros(seen.shape, dtype=queries.dtype, device=queries.device)
            seen = hidden.masked_fill(~seen, torch.finfo(queries.dtype).min / 2)
        rate = self.drop.rate if self.training else 0.0
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=seen, dropout_p=rate, is_causal=causal, enable_gqa=self.shared_by > 1
        )

    def _explicit(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, seen: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if self.shared_by > 1:
            keys, values = (part.repeat_interleave(self.shared_by, 1) for part in (keys, values))
        scores = (queries / math.sqrt(queries.shape[-1])) @ keys.transpose(-2, -1)
        if seen is None:
            scores = torch.softmax(scores, -1)
        else:
            hidden = ~seen
            lowest = torch.finfo(scores.dtype).min / 2
            scores = torch.softmax(scores.masked_fill(hidden, lowest), -1).masked_fill(hidden, 0)
        return self.drop(scores).to(values.dtype) @ values, scores

    # ------------------------------------------------------------------ axes

    def _split(self, projection: Projection, inputs: torch.Tensor) -> torch.Tensor:
        heads: torch.Tensor = projection(inputs).unflatten(-1, projection.outputs).permute(self.order)
        return heads if len(self.axes) == 1 else heads.flatten(-1 - len(self.axes), -2)

    def _join(self, heads: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        if len(self.axes) > 1:
            heads = heads.unflatten(-2, self._steps(query))
        return heads.permute(self.order_back).flatten(-2)

    def _with_axes(self, scores: Any, query: torch.Tensor, value: torch.Tensor) -> Any:
        if len(self.axes) == 1:
            return scores
        return scores.unflatten(-1, self._steps(value)).unflatten(-1 - len(self.axes), self._steps(query))

    def _steps(self, inputs: torch.Tensor) -> list[int]:
        return [inputs.shape[axis] for axis in self.axes]

    # ------------------------------------------------------------------ masks

    def _positional(self, query: torch.Tensor, value: torch.Tensor, causal: bool) -> list[torch.Tensor]:
        """The masks that depend on positions alone: `(queries, steps)`."""
        queries, steps = query.shape[self.axes[0]], value.shape[self.axes[0]]
        masks = [causal_mask(queries, steps, query.device)] if causal else []
        if self.window is not None:
            distances = torch.arange(queries, device=query.device).unsqueeze(1) - torch.arange(steps, device=query.device)
            masks.append(distances.abs() < self.window)
        return masks

    def _seen(self, query: torch.Tensor, value: torch.Tensor, masks: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
        """Return where all of the masks hold, with an axis for each of the scores': `(batch, other axes, heads, queries, steps)`."""
        count = len(self.axes)
        seen: torch.Tensor | None = None
        for mask in masks:
            if mask is None:
                continue
            mask = mask.bool()
            while mask.dim() < self.rank + count:
                mask = mask.unsqueeze(-2 * count - 1 if mask.dim() >= 2 * count else 0)
            if count > 1:
                mask = mask.expand(*mask.shape[: -2 * count], *self._steps(query), *self._steps(value))
                mask = mask.flatten(-count).flatten(-1 - count, -2)
            seen = mask if seen is None else seen & mask
        return seen
