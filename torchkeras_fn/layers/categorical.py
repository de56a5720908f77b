"""Layers that make codes of categories and of ranges of numbers: `CategoryEncoding`, `Discretization`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn.arguments import number, one_of, positive_integer
from torchkeras_fn.engine.symbolic import describe_operation
from torchkeras_fn.layers.preprocessing import DataLayer, batches_of, one_shape


class CategoryEncoding(DataLayer):
    """Makes vectors of `num_tokens` numbers out of indices: `(batch, indices)` to `(batch, num_tokens)`.

    `output_mode` is `'multi_hot'` (`'binary'`), 1 at each index that a row holds; `'count'`, how often it does, or the sum of
    the `count_weights` that the layer is called with beside the indices; or `'one_hot'`, a vector for each index, along a new
    last axis, which takes the place of one of size 1. An index that is none of `num_tokens` counts nowhere.

    >>> CategoryEncoding(4)(torch.tensor([[0, 1], [3, 3]])).tolist()
    [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """

    takes_integers = True

    def __init__(self, num_tokens: int, output_mode: str = "multi_hot", sparse: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_tokens = positive_integer(num_tokens, "num_tokens")
        self.output_mode = one_of("multi_hot" if output_mode == "binary" else output_mode, "output_mode", "multi_hot", "one_hot", "count")
        self.sparse = _dense(sparse)

    def build(self, input_shape: Any) -> nn.Module:
        """Return what encodes."""
        one_shape(input_shape)
        return Encode(self.num_tokens, self.output_mode, self.dtype)

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        """Encode."""
        if count_weights is None:
            return self.module(inputs.long())  # type: ignore[misc]
        if self.output_mode != "count":
            raise ValueError(f"{describe_operation(self)} takes count_weights with output_mode='count' only, got {self.output_mode!r}.")
        return self.module(inputs.long(), count_weights)  # type: ignore[misc]


class Discretization(DataLayer):
    """Makes of each number the index of the range that it lies in: that of `x` is the number of `bin_boundaries` not above `x`.

    The boundaries are given, or with `num_bins` found by `adapt(data)`, so that each range holds as many of the data. With
    an `output_mode` other than `'int'` the indices are encoded as `CategoryEncoding` does. `epsilon` is taken for Keras' sake,
    which estimates the boundaries to this share; here they are quantiles of all the data.

    >>> Discretization(bin_boundaries=[0.0, 1.0])(torch.tensor([[-1.5, 1.0, 3.4, 0.5]]))
    tensor([[0, 2, 2, 1]])
    """

    needs_floats = True

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if (bin_boundaries is None) == (num_bins is None):
            raise ValueError(f"One of 'bin_boundaries' and 'num_bins' must be given, got {bin_boundaries!r} and {num_bins!r}.")
        self.num_bins = None if num_bins is None else positive_integer(num_bins, "num_bins")
        self.epsilon = number(epsilon, "epsilon", minimum=0)
        self.output_mode = one_of(output_mode, "output_mode", "int", "one_hot", "multi_hot", "count")
        self.sparse = _dense(sparse)
        self.bin_boundaries = None if bin_boundaries is None else _ascending(bin_boundaries)

    def build(self, input_shape: Any) -> nn.Module:
        """Return what looks up the ranges."""
        one_shape(input_shape)
        module = Buckets(len(self.bin_boundaries or ()) if self.num_bins is None else self.num_bins - 1, self.output_mode, self.dtype)
        if self.bin_boundaries is not None:
            module.set_boundaries(self.bin_boundaries)
        return module

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Find the boundaries from data: an array, a tensor, or an iterable of batches, of which at most `steps` are read.

        Raises `ValueError` where the boundaries were given, or the data are empty.
        """
        if self.num_bins is None:
            raise ValueError(f"{describe_operation(self)} was given its boundaries, so it does not adapt to data.")
        found = []
        for count, batch in enumerate(batches_of(data)):
            if steps is not None and count >= steps:
                break
            found.append(batch.detach().cpu().double().flatten().numpy())
        values = np.concatenate(found) if found else np.zeros(0)
        if not np.isfinite(values).any():
            raise ValueError(f"{describe_operation(self)} cannot adapt to no data at all.")
        shares = np.arange(1, self.num_bins) / self.num_bins
        self.bin_boundaries = np.quantile(values[np.isfinite(values)], shares).tolist()
        if isinstance(self.module, Buckets):
            self.module.set_boundaries(self.bin_boundaries)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the boundaries that were found."""
        return {**super().get_config(), "bin_boundaries": self.bin_boundaries}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a new layer with the arguments that `get_config` returned: also with boundaries that were found."""
        found = config.get("bin_boundaries") if config.get("num_bins") is not None else None
        layer = super().from_config({**config, "bin_boundaries": None} if found is not None else config)
        if found is not None:
            layer.bin_boundaries = _ascending(found)
            if len(layer.bin_boundaries) != layer.num_bins - 1:
                raise ValueError(f"{layer.num_bins} bins have {layer.num_bins - 1} boundaries between them, got {len(found)}.")
        return layer


class Encode(nn.Module):
    """Makes vectors of zeros and ones, or of counts, out of indices.

    >>> Encode(3, "count", torch.float32)(torch.tensor([[0, 2, 2]]))
    tensor([[1., 0., 2.]])
    """

    one: torch.Tensor

    def __init__(self, size: int, mode: str, dtype: torch.dtype):
        super().__init__()
        self.size, self.mode = size, mode
        self.register_buffer("one", torch.ones((), dtype=dtype), persistent=False)  # is cast as the model that holds it is

    def extra_repr(self) -> str:
        """Return the size, for printing."""
        return f"{self.size}, {self.mode!r}"

    def forward(self, indices: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Encode."""
        if self.mode == "one_hot" and indices.ndim > 1 and indices.shape[-1] == 1:
            indices = indices.squeeze(-1)
        hot = indices.unsqueeze(-1) == torch.arange(self.size, device=indices.device)
        along = 1 if indices.ndim > 1 else 0
        if self.mode == "multi_hot" and indices.ndim:
            hot = hot.any(along)
        codes = hot.to(self.one.dtype)
        if self.mode != "count" or not indices.ndim:
            return codes
        return (codes if weights is None else codes * weights.to(codes.dtype).unsqueeze(-1)).sum(along)


class Buckets(nn.Module):
    """Makes of each number the number of boundaries that are not above it; `set_boundaries` says which those are.

    >>> buckets = Buckets(2, "int", torch.float32)
    >>> buckets.set_boundaries([0.0, 1.0])
    >>> buckets(torch.tensor([0.0, 2.0]))
    tensor([1, 2])
    """

    boundaries: torch.Tensor

    def __init__(self, count: int, mode: str, dtype: torch.dtype):
        super().__init__()
        self.register_buffer("boundaries", torch.zeros(count, dtype=dtype), persistent=False)
        self.encode = None if mode == "int" else Encode(count + 1, mode, dtype)
        self.is_set = False

    def set_boundaries(self, boundaries: Sequence[float]) -> None:
        """Set the boundaries."""
        with torch.no_grad():
            self.boundaries.copy_(torch.as_tensor(boundaries, dtype=self.boundaries.dtype))
        self.is_set = True

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Look up. Raises `ValueError` where the boundaries are not known yet, and the inputs hold numbers."""
        if not self.is_set and not torch.compiler.is_compiling() and type(inputs) is torch.Tensor and not inputs.is_meta:
            raise ValueError("Discretization has no boundaries yet: call its adapt(data), or give them as bin_boundaries.")
        indices = torch.bucketize(inputs.contiguous(), self.boundaries, right=True)
        return indices if self.encode is None else self.encode(indices)


def _ascending(boundaries: Any) -> list[float]:
    try:
        found = np.asarray(boundaries, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    if found.ndim != 1 or isinstance(boundaries, str) or not np.isfinite(found).all() or (np.diff(found) < 0).any():
        raise ValueError(f"'bin_boundaries' must be finite numbers in ascending order, got {boundaries!r}.")
    return found.tolist()  # type: ignore[no-any-return]


def _dense(sparse: Any) -> bool:
    if sparse:
        raise ValueError("sparse=True is not possible: torch trains on dense tensors.")
    return False
