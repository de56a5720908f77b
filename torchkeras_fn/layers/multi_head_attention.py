"""Attention with several heads, each over projections of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from torchkeras_fn.arguments import fraction, integer, positive_integer, seed_of, sizes
from torchkeras_fn.engine.drawing.incoming import as_tensors
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.engine.symbolic import describe_operation
from torchkeras_fn.layers.einsum_dense import counting_by
from torchkeras_fn.layers.heads import MultiHead, Projection
from torchkeras_fn.layers.regularization import PatternedDropout

_PROJECTIONS = ("query", "key", "gate", "value", "attention_output")


class _Heads(Layer):
    """What layers with heads share: their weights, the call, and its masks."""

    weight_map = {f"{name}/{part}": Weight(f"{name}.{part}") for name in _PROJECTIONS for part in ("kernel", "bias")}
    supports_masking = True
    needs_floats = True
    dropout: float
    attention_axes: tuple[int, ...] | None = None

    def set_options(
        self, dropout: float, use_bias: bool, use_gate: bool, window: int | None, flash: bool | None, seed: int | None, **weights: Any
    ) -> None:
        """Set and check what all such layers take; `weights` are the options of the kernels and of the biases."""
        self.dropout = fraction(dropout, "dropout")
        self.use_bias = use_bias
        self.use_gate = use_gate
        self.sliding_window = None if window is None else positive_integer(window, "sliding_window")
        self.flash_attention = flash
        self.seed = seed_of(seed)
        if self.flash_attention and self.dropout > 0:
            raise ValueError(f"flash_attention=True allows no dropout, got dropout={self.dropout}.")
        self.describe_weights(**weights)
        self._weight_options.update({name: self._weight_options[name.rpartition("/")[2]] for name in self.weight_map})

    def __call__(
        self,
        query: Any = None,
        value: Any = None,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        **further: Any,
    ) -> Any:
        """Attend: see the class. As in Keras 3 the query's mask counts where it comes with the query; one given here for grouped heads.

        `further` are arguments of the `call` of a subclass.
        """
        if query is None or value is None:
            missing = "query" if query is None else "value"
            raise TypeError(f"{describe_operation(self)} is called on a query and a value, layer(query, value); got no {missing}.")
        if return_attention_scores and self.flash_attention:
            raise ValueError(f"{describe_operation(self)} returns no attention scores with flash_attention=True.")
        tensors = [query, value] if key is None else [query, value, key]
        masks = {"query_mask": query_mask, "value_mask": value_mask, "key_mask": key_mask, "attention_mask": attention_mask}
        options = {name: as_tensors(option, self.dtype) for name, option in masks.items() if option is not None}
        if training is not None:
            options["training"] = training
        flags = {"return_attention_scores": return_attention_scores, "use_causal_mask": use_causal_mask}
        return super().__call__(*tensors, **options, **further, **{name: True for name, flag in flags.items() if flag})

    def build_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return the shapes of query, value and key."""
        return super().build_shape(args)

    def mask_arguments(self, mask: Any, masks: Sequence[Any]) -> dict[str, Any]:
        """Return the masks of query, value and key."""
        names = ("query_padding", "value_mask", "key_mask")
        return {name: own for name, own in zip(names, masks, strict=False) if own is not None}

    def check_inputs(self, input_shape: Sequence[Any]) -> tuple[int, int, int]:
        """Return the number of features of query, value and key. Raises `ValueError` for shapes that do not fit each other."""
        if not all(isinstance(shape, tuple) for shape in input_shape):
            raise ValueError("query, value and key must each be one tensor")
        query, value, key = input_shape[0], input_shape[1], input_shape[-1]
        if len(query) < 3 or len(query) != len(value) or len(query) != len(key):
            raise ValueError("expected a query, value and key of one number of dimensions, 3 (batch, steps, features) or more")
        if any(a != b for a, b in zip(value[1:-1], key[1:-1], strict=True) if None not in (a, b)):
            raise ValueError(f"value and key must have as many steps, got {value} and {key}")
        if None in (query[-1], value[-1], key[-1]):
            raise ValueError("the number of features must be known, got None")
        return query[-1], value[-1], key[-1]

    def attention(self, projections: Mapping[str, Projection], axes: Sequence[int], rank: int) -> MultiHead:
        """Return the torch module for inputs of this rank."""
        for name, projection in projections.items():  # what each kernel reads, and what it writes, may be several axes
            reads, writes = range(len(projection.inputs)), range(len(projection.inputs), projection.kernel.ndim)
            options = self._weight_options[f"{name}/kernel"]
            self._weight_options[f"{name}/kernel"] = options._replace(initializer=counting_by(options.initializer, reads, writes))
        return MultiHead(projections, axes, rank, self.sliding_window, PatternedDropout(self.dropout, None, self.seed))


class MultiHeadAttention(_Heads):
    """Attention in `num_heads` parts: `softmax(query @ key.T / sqrt(key_dim)) @ value` of projections, and a projection of all.

    Called as `layer(query, value, key=None)` on `(batch, queries, dim)` and twice `(batch, steps, dim)`; without a key the
    values are the keys too. Returns `(batch, queries, dim)`, or `(batch, queries, *output_shape)`, and with
    `return_attention_scores=True` the weights `(batch, heads, queries, steps)` too. Further arguments of the call:
    `attention_mask` `(batch, queries, steps)` is true where a query may see a step; `value_mask` and `key_mask`
    `(batch, steps)` hide steps from all queries; `use_causal_mask=True` hides those at later positions than the query's.
    Masks that come with the inputs hide their steps by themselves.

    Tensors may have more axes; `attention_axes` are those of the steps, all between batch and features unless given.
    `sliding_window` lets a query see only steps less than that many positions away. `use_gate` multiplies the heads by
    `sigmoid` of a projection of the query (https://arxiv.org/abs/2505.06708). `dropout` is the share of the weights that
    is set to 0 while training. Weights: `query`, `key`, `gate` and `value`, each a `kernel` `(dim, heads, head_dim)` and a
    `bias` `(heads, head_dim)`, then `attention_output`: `(heads, value_dim, *output_shape)` and `output_shape`.
    The work is done by torch's `scaled_dot_product_attention`, which chooses its kernels itself: `flash_attention=True` only
    refuses what that has not, dropout and scores. `activity_regularizer` is asked of the outputs.
    Source: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762

    >>> import torch
    >>> x = torch.ones(2, 5, 8)
    >>> MultiHeadAttention(num_heads=2, key_dim=4)(x, x, use_causal_mask=True).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.num_heads = positive_integer(num_heads, "num_heads")
        self.key_dim = positive_integer(key_dim, "key_dim")
        self.value_dim = self.key_dim if value_dim is None else positive_integer(value_dim, "value_dim")
        features = sizes(output_shape or (), "output_shape")
        self._features = tuple(positive_integer(size, "output_shape") for size in features)
        self.attention_axes = None if attention_axes is None else _axes(attention_axes)
        kernel, bias = (kernel_initializer, kernel_regularizer, kernel_constraint), (bias_initializer, bias_regularizer, bias_constraint)
        self.set_options(dropout, use_bias, use_gate, sliding_window, flash_attention, seed, kernel=kernel, bias=bias)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the projections and the attention between them."""
        query, value, key = self.check_inputs(input_shape)
        rank = len(input_shape[0])
        axes = [axis % rank for axis in self.attention_axes or range(1, rank - 1) if -rank <= axis < rank]
        if len(axes) < len(self.attention_axes or ()) or not set(axes) <= set(range(1, rank - 1)) or len(set(axes)) < len(axes):
            raise ValueError(f"'attention_axes' must be axes between the batch and the features, got {self.attention_axes}")
        projections = {
            "query": Projection([query], [self.num_heads, self.key_dim], self.use_bias),
            "key": Projection([key], [self.num_heads, self.key_dim], self.use_bias),
            "value": Projection([value], [self.num_heads, self.value_dim], self.use_bias),
            "attention_output": Projection([self.num_heads, self.value_dim], self._features or [query], self.use_bias),
        }
        if self.use_gate:
            projections["gate"] = Projection([query], [self.num_heads, self.value_dim], self.use_bias)
        return self.attention(projections, axes, rank)


class GroupedQueryAttention(_Heads):
    """Attention in `num_query_heads` parts, of which several share a key and a value, `num_key_value_heads` in all.

    The call and its masks are those of `MultiHeadAttention`, for inputs of 3 dimensions, but that a `query_mask` given in the call
    counts too; the outputs have as many features as the query. Weights: `query`, `key`, `gate` (with `use_gate`) and `value`,
    each a `kernel` `(dim, heads, head_dim)` and a `bias` `(heads, head_dim)`, then `attention_output`:
    `(num_query_heads, head_dim, dim)` and `(dim,)`.
    Source: Ainslie et al., 2023, https://arxiv.org/abs/2305.13245

    >>> import torch
    >>> x = torch.ones(2, 5, 8)
    >>> GroupedQueryAttention(head_dim=4, num_query_heads=4, num_key_value_heads=2)(x, x).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.head_dim = positive_integer(head_dim, "head_dim")
        self.num_query_heads = positive_integer(num_query_heads, "num_query_heads")
        self.num_key_value_heads = positive_integer(num_key_value_heads, "num_key_value_heads")
        if self.num_query_heads % self.num_key_value_heads:
            raise ValueError(
                f"'num_query_heads' must be divisible by 'num_key_value_heads', got {num_query_heads} and {num_key_value_heads}."
            )
        kernel, bias = (kernel_initializer, kernel_regularizer, kernel_constraint), (bias_initializer, bias_regularizer, bias_constraint)
        self.set_options(dropout, use_bias, use_gate, sliding_window, flash_attention, seed, kernel=kernel, bias=bias)

    def build(self, input_shape: Any) -> nn.Module:
        """Return the projections and the attention between them."""
        query, value, key = self.check_inputs(input_shape)
        if len(input_shape[0]) != 3:
            raise ValueError(f"expected 3 dimensions (batch, steps, features), got {len(input_shape[0])}")
        own, shared = [self.num_query_heads, self.head_dim], [self.num_key_value_heads, self.head_dim]
        projections = {
            "query": Projection([query], own, self.use_bias),
            "key": Projection([key], shared, self.use_bias),
            "value": Projection([value], shared, self.use_bias),
            "attention_output": Projection(own, [query], self.use_bias),
        }
        if self.use_gate:
            projections["gate"] = Projection([query], own, self.use_bias)
        attention = self.attention(projections, [1], 3)
        attention.heeds_query_mask = True
        return attention


GroupQueryAttention = GroupedQueryAttention


def _axes(value: Any) -> tuple[int, ...]:
    axes = value if isinstance(value, (list, tuple)) else [value]
    if not axes:
        raise ValueError(f"'attention_axes' must be an integer or some integers, got {value!r}.")
    return tuple(integer(axis, "attention_axes") for axis in axes)
