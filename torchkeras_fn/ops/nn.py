"""What networks are made of: activations, normalizations, losses of single samples, attention."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import activations, config
from torchkeras_fn.engine.symbolic import is_symbolic
from torchkeras_fn.ops.conversion import as_floats, as_tensor, axes_of, entry
from torchkeras_fn.ops.indexing import multi_hot, one_hot  # noqa: F401 - Keras has them here, too
from torchkeras_fn.ops.reductions import moments
from torchkeras_fn.ops.spatial import (  # noqa: F401 - Keras has them here, too
    average_pool,
    channels_back,
    channels_next,
    conv,
    conv_transpose,
    depthwise_conv,
    fold,
    is_channels_last,
    max_pool,
    separable_conv,
    unfold,
)


def _activation(name: str) -> Callable[..., Any]:
    """An activation that also takes arrays; `stands_for` the one in `activations`, under whose name it is written down."""
    function: Callable[..., Any] = getattr(activations, name)
    taking_arrays = entry(
        lambda x, *args, **kwargs: function(as_floats(x), *args, **kwargs),
        name,
        __name__,
        f"Return `activations.{name}(x, ...)`.",
    )
    taking_arrays.stands_for = function  # type: ignore[attr-defined]
    return taking_arrays


relu = _activation("relu")
relu6 = _activation("relu6")
leaky_relu = _activation("leaky_relu")
elu = _activation("elu")
selu = _activation("selu")
celu = _activation("celu")
glu = _activation("glu")
sigmoid = _activation("sigmoid")
log_sigmoid = _activation("log_sigmoid")
hard_sigmoid = _activation("hard_sigmoid")
sparse_sigmoid = _activation("sparse_sigmoid")
silu = swish = _activation("silu")
hard_silu = hard_swish = _activation("hard_silu")
hard_tanh = _activation("hard_tanh")
tanh_shrink = _activation("tanh_shrink")
hard_shrink = _activation("hard_shrink")
soft_shrink = _activation("soft_shrink")
threshold = _activation("threshold")
softplus = _activation("softplus")
sparse_plus = _activation("sparse_plus")
squareplus = _activation("squareplus")
softsign = _activation("softsign")
softmax = _activation("softmax")
log_softmax = _activation("log_softmax")
sparsemax = _activation("sparsemax")


def gelu(x: Any, approximate: bool = True) -> Any:
    """Return `activations.gelu(x, approximate)`, of which this one's default is the tanh formula, as in Keras 3.

    >>> gelu([0.0])
    tensor([0.])
    """
    return activations.gelu(as_floats(x), approximate)


# ---------------------------------------------------------------------- normalizations


def normalize(x: Any, axis: int | Sequence[int] = -1, order: float = 2, epsilon: float | None = None) -> Any:
    """Return `x` divided by its norm along the axes, or by `epsilon` where that is larger.

    >>> normalize([3.0, 4.0])
    tensor([0.6000, 0.8000])
    """
    epsilon = config.epsilon() if epsilon is None else epsilon
    return F.normalize(as_floats(x), p=order, dim=axes_of(axis), eps=epsilon)


def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int = -1, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Any:
    """Return `(x - mean) / sqrt(variance + epsilon) * scale + offset`, with a number for each place along the axis.

    >>> batch_normalization([[1.0, 5.0]], [1.0, 1.0], [1.0, 4.0], epsilon=0.0)
    tensor([[0., 2.]])
    """
    x = as_floats(x)
    sizes = [-1 if one == axis % x.ndim else 1 for one in range(x.ndim)]
    mean, variance, offset, scale = (
        None if part is None else torch.reshape(as_tensor(part, like=x), sizes) for part in (mean, variance, offset, scale)
    )
    factor = torch.rsqrt(variance + epsilon)
    factor = factor if scale is None else factor * scale
    centered = (x - mean) * factor
    return centered if offset is None else centered + offset


def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: int | Sequence[int] = -1, epsilon: float | None = None
) -> Any:
    """Return `x` with mean 0 and variance 1 along the axes, times `gamma`, plus `beta`.

    >>> layer_normalization([1.0, 3.0], epsilon=0.0)
    tensor([-1.,  1.])
    """
    x = as_floats(x)
    epsilon = config.epsilon() if epsilon is None else epsilon
    mean, variance = moments(x, axis, keepdims=True)
    normed = (x - mean) * torch.rsqrt(variance + epsilon)
    normed = normed if gamma is None else normed * as_tensor(gamma, like=x)
    return normed if beta is None else normed + as_tensor(beta, like=x)


def rms_normalization(x: Any, scale: Any = None, axis: int | Sequence[int] = -1, epsilon: float | None = None) -> Any:
    """Return `x` divided by the root of its mean square along the axes, times `scale`.

    >>> rms_normalization([1.0, 7.0]).square().mean()
    tensor(1.0000)
    """
    x = as_floats(x)
    epsilon = config.epsilon() if epsilon is None else epsilon
    factor = torch.rsqrt(torch.mean(torch.square(x), dim=axes_of(axis), keepdim=True) + epsilon)
    return x * factor if scale is None else x * factor * (scale if isinstance(scale, (int, float)) else as_tensor(scale, like=x))


# ---------------------------------------------------------------------- losses of single samples


def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """Return `-sum(target * log(output))` along the axis of the classes.

    >>> categorical_crossentropy([[0.0, 1.0]], [[0.5, 0.5]])
    tensor([0.6931])
    """
    logarithms = _logarithms(output, from_logits, axis)
    return -torch.sum(as_tensor(target, logarithms.dtype, like=logarithms) * logarithms, axis)


def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """Return `-log(output)` at the class index that is the target.

    >>> sparse_categorical_crossentropy([1], [[0.5, 0.5]])
    tensor([0.6931])
    """
    logarithms = _logarithms(output, from_logits, axis)
    target = as_tensor(target, "int64", like=logarithms)
    if target.ndim == logarithms.ndim and target.shape[axis] == 1:
        return -torch.squeeze(torch.take_along_dim(logarithms, target, axis), axis)
    return -torch.squeeze(torch.take_along_dim(logarithms, torch.unsqueeze(target, axis), axis), axis)


def _logarithms(output: Any, from_logits: bool, axis: int) -> Any:
    output = as_floats(output)
    if from_logits:
        return torch.log_softmax(output, axis)
    epsilon = config.epsilon()
    return torch.log(torch.clamp(output / torch.sum(output, axis, keepdim=True), epsilon, 1 - epsilon))


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """Return `-target * log(output) - (1 - target) * log(1 - output)`, element by element.

    >>> binary_crossentropy([1.0], [0.5])
    tensor([0.6931])
    """
    output = as_floats(output)
    target = as_tensor(target, output.dtype, like=output)
    if from_logits:
        return F.binary_cross_entropy_with_logits(output, target, reduction="none")
    epsilon = config.epsilon()
    output = torch.clamp(output, epsilon, 1 - epsilon)
    return -(target * torch.log(output) + (1 - target) * torch.log(1 - output))


def ctc_loss(target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0) -> Any:
    """Return the CTC loss of each sample, for labels `(batch, labels)` and logits `(batch, steps, classes)`.

    `mask_index` is the class that stands for no label. Source: Graves et al., 2006.

    >>> ctc_loss([[1]], torch.zeros(1, 1, 2), [1], [1])
    tensor([0.6931])
    """
    return ctc(as_floats(output), target, output_length, target_length, mask_index)


def ctc(logits: Any, labels: Any, steps: Any, lengths: Any, blank: int) -> Any:
    """Return torch's CTC loss of each sample, from logits `(batch, steps, classes)`. Raises `ValueError` for symbolic ones.

    >>> ctc(torch.zeros(1, 1, 2), [[1]], [1], [1], blank=0)
    tensor([0.6931])
    """
    if is_symbolic((logits, labels)):
        raise ValueError("The CTC loss reads lengths and labels as it goes, so it is not drawn. Put it in a Lambda layer, or in a loss.")
    if logits.is_meta or not len(logits):  # the shape is asked for, with nothing to read
        return torch.sum(logits, (1, 2))
    steps_first = torch.permute(torch.log_softmax(logits, -1), (1, 0, 2))
    labels, steps, lengths = (as_tensor(part, "int64", like=logits) for part in (labels, steps, lengths))
    return F.ctc_loss(steps_first, labels, steps, lengths, blank=blank, reduction="none")


# ---------------------------------------------------------------------- pixels and channels


def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Return images with the channels laid out as blocks of pixels, from `(batch, height, width, channels * block_size ** 2)`.

    All channels of a block's first pixel come first; with `'channels_first'` all pixels of the first channel, as in `nn.PixelShuffle`.

    >>> depth_to_space(torch.ones(1, 2, 2, 12), 2).shape
    torch.Size([1, 4, 4, 3])
    """
    x = channels_next(as_tensor(x), data_format)
    if is_channels_last(data_format):
        blocks = torch.permute(torch.unflatten(x, 1, (block_size, block_size, -1)), (0, 3, 4, 1, 5, 2))
    else:
        blocks = torch.permute(torch.unflatten(x, 1, (-1, block_size, block_size)), (0, 1, 4, 2, 5, 3))
    rows = torch.flatten(blocks, 2, 3)
    return channels_back(torch.flatten(rows, 3, 4), data_format)


def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Return images with blocks of pixels laid out as channels, the inverse of `depth_to_space`.

    >>> space_to_depth(torch.ones(1, 4, 4, 3), 2).shape
    torch.Size([1, 2, 2, 12])
    """
    x = channels_next(as_tensor(x), data_format)
    blocks = torch.unflatten(torch.unflatten(x, 3, (-1, block_size)), 2, (-1, block_size))
    order = (0, 3, 5, 1, 2, 4) if is_channels_last(data_format) else (0, 1, 3, 5, 2, 4)
    return channels_back(torch.flatten(torch.permute(blocks, order), 1, 3), data_format)


def psnr(x1: Any, x2: Any, max_val: float) -> Any:
    """Return the ratio of the largest signal there can be and the mean squared difference of two, in decibels.

    >>> psnr([0.0, 1.0], [0.0, 0.9], 1.0)
    tensor(23.0103)
    """
    x1, x2 = as_floats(x1), as_floats(x2)
    return 20 * math.log10(max_val) - 10 * torch.log10(torch.mean(torch.square(x1 - x2)))


# ---------------------------------------------------------------------- attention


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
) -> Any:
    """Return for each query the values, weighted by the softmax of its products with the keys: all `(batch, steps, heads, features)`.

    `mask` is true where a query may look, `bias` is added to the products; both broadcast to `(batch, heads, queries, keys)`.
    `flash_attention` changes nothing: torch chooses the fastest kernel that computes it.
    Source: Vaswani et al., 2017, https://arxiv.org/abs/1706.03762

    >>> dot_product_attention(*[torch.ones(2, 5, 4, 8)] * 3).shape
    torch.Size([2, 5, 4, 8])
    """
    query, key, value = (torch.swapaxes(as_floats(part), 1, 2) for part in (query, key, value))
    mask = None if mask is None else as_tensor(mask, "bool", like=query)
    if bias is not None:
        bias = as_tensor(bias, like=query)
        mask = bias if mask is None else torch.where(mask, bias, float("-inf"))
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=is_causal, scale=scale)
    return torch.swapaxes(attended, 1, 2)
