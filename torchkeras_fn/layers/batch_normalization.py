"""Batch normalization: over the samples of a batch, with moving statistics for inference."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn import config, portion
from torchkeras_fn.arguments import number
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.layer_parts.named_weight import Weight
from torchkeras_fn.engine.lowered.layout import channels_back, channels_to_front
from torchkeras_fn.layers.core import axes_of


class BatchNormalization(Layer):
    """Brings each feature along `axis` to mean 0 and deviation 1, then scales by `gamma` and shifts by `beta`.

    Training uses the batch's statistics, those of the steps that a mask shows, and moves the running ones by
    `1 - momentum`; inference, and a layer with
    `trainable=False`, uses the running ones. Weights: `gamma`, `beta`, `moving_mean`, `moving_variance`, each
    `(features,)`. As in Keras, and unlike `nn.BatchNorm1d`, the running variance is that of the batch itself (divided
    by n, not n - 1), and a batch of one is allowed. Where several processes train a model, each takes the statistics of its
    own rows, unless the layer is `synchronized`, or all are by `compile(sync_batchnorm=True)`.

    >>> BatchNormalization()(torch.ones(4, 3)).shape
    torch.Size([4, 3])
    """

    weight_map = {
        "gamma": Weight("weight"),
        "beta": Weight("bias"),
        "moving_mean": Weight("running_mean"),
        "moving_variance": Weight("running_var"),
    }
    module_takes = frozenset({"mask"})
    needs_floats = True
    supports_masking = True
    takes_later = Layer.takes_later | {"momentum", "epsilon"}

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if len(axes_of(axis, "axis")) != 1:
            raise ValueError(f"'axis' must be one axis, got {axis!r}.")
        (self.axis,) = axes_of(axis, "axis")
        self.momentum = number(momentum, "momentum", minimum=0)
        self.epsilon = number(epsilon, "epsilon", minimum=0)
        self.center = center
        self.scale = scale
        self.synchronized = bool(synchronized)
        self.describe_weights(
            gamma=(gamma_initializer, gamma_regularizer, gamma_constraint),
            beta=(beta_initializer, beta_regularizer, beta_constraint),
            moving_mean=(moving_mean_initializer,),
            moving_variance=(moving_variance_initializer,),
        )

    def build(self, input_shape: Any) -> nn.Module:
        """Return the torch module for this many features."""
        rank = len(input_shape)
        if not 0 < self.axis % rank < rank or not -rank <= self.axis < rank:
            raise ValueError(f"'axis' must be an axis of the input other than the batch, got {self.axis}")
        self._position, self._rank = self.axis % rank, rank
        features = input_shape[self._position]
        if features is None:
            raise ValueError(f"the size of axis {self.axis} must be known, got None")
        module = BatchNorm(features, self.epsilon, self.momentum, self.center, self.scale)
        module.position = self._position
        module.frozen[0] = not self.trainable
        module.synchronized = self.synchronized
        return module

    def prepare(self, inputs: Any) -> Any:
        """Put the features on axis 1, where torch has them."""
        return channels_to_front(inputs, self._position, self._rank)

    def finish(self, outputs: Any) -> Any:
        """Put the features back."""
        return channels_back(outputs, self._position, self._rank)

    def set_later(self, name: str, value: Any) -> None:
        """Tell the torch module another momentum or epsilon."""
        super().set_later(name, value)
        if isinstance(self.module, BatchNorm):
            self.module.momentum, self.module.eps = 1 - self.momentum, self.epsilon

    def set_trainable(self, value: bool) -> None:
        """Freeze or unfreeze the weights and the running statistics."""
        super().set_trainable(value)
        if isinstance(self.module, BatchNorm):
            self.module.frozen[0] = not value


class BatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` for any rank, with Keras' running variance and inference mode while `frozen`.

    >>> BatchNorm(3)(torch.ones(1, 3))
    tensor([[0., 0., 0.]], grad_fn=<NativeBatchNormBackward0>)
    """

    weight: Any
    bias: Any
    running_mean: Any
    running_var: Any

    def __init__(self, features: int, epsilon: float = 1e-3, momentum: float = 0.99, center: bool = True, scale: bool = True):
        super().__init__(features, eps=epsilon, momentum=1 - momentum)
        self.num_batches_tracked = None
        self.position = 1
        self.frozen = [False]  # in a list, which a twin in a fixed mode shares
        self.synchronized = False
        if not scale:
            self.weight = None
        if not center:
            self.bias = None

    def forward(self, input: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Normalize over all axes but axis 1.

        In training a mask over the leading axes says what counts; those of the layer's input, which had axis 1 at `position`.
        """
        if self.training and not self.frozen[0]:
            own = portion.current()
            if own is not None and (own.sync_batchnorm or self.synchronized):
                return self._normalize_shown(input, mask, own)
            if mask is not None:
                return self._normalize_shown(input, mask)
        rate, count = float(self.momentum or 0.0), input.numel() // input.shape[1] if input.shape[1] else 0
        if not self.training or self.frozen[0]:
            return self._normalize(input, self.running_mean, self.running_var, False)
        if count <= 1:
            with torch.no_grad():
                self.running_mean.lerp_(input.reshape(-1, input.shape[1]).sum(0).to(self.running_mean.dtype), rate)
                self.running_var.mul_(1 - rate)
            return self._normalize(input, None, None, True)
        kept, moved = self.running_var * (1 - rate), self.running_var.clone()
        outputs = self._normalize(input, self.running_mean, moved, True)
        with torch.no_grad():
            # torch added n / (n - 1) times the batch's variance: take the excess, a share 1 / n of what came in, out again
            self.running_var.copy_(torch.lerp(moved, kept, 1 / count))
        return outputs

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        """Load a plain dict, also one of torch's own layer, which counts batches beside; torch would want that count in any."""
        nn.Module._load_from_state_dict(self, state_dict, prefix, *arguments)
        unexpected = arguments[3]
        if f"{prefix}num_batches_tracked" in unexpected:
            unexpected.remove(f"{prefix}num_batches_tracked")

    def _normalize_shown(self, inputs: torch.Tensor, mask: torch.Tensor | None, own: portion.Portion | None = None) -> torch.Tensor:
        """Normalize by what a mask shows; with a portion, by the statistics of the rows of all processes."""
        shown = inputs.new_ones(len(inputs), dtype=torch.bool) if mask is None else mask.bool()
        if own is not None and not own.rows:
            shown = torch.zeros_like(shown)
        shown = shown.reshape(*shown.shape, *[1] * (inputs.ndim - shown.ndim)).movedim(self.position, 1)
        over = [0, *range(2, inputs.ndim)]
        sums = inputs.masked_fill(~shown, 0).sum(over, keepdim=True)
        count = shown.expand_as(inputs).sum(over, keepdim=True).to(sums.dtype)
        if own is not None:
            sums, count = portion.added(torch.stack([sums, count]), own)
        count = count + (0 if mask is None else config.epsilon())
        mean = sums / count
        squares = (inputs - mean).masked_fill(~shown, 0).square().sum(over, keepdim=True)
        variance = (squares if own is None else portion.added(squares, own)) / count
        with torch.no_grad():
            rate = float(self.momentum or 0.0)
            self.running_mean.lerp_(mean.flatten().to(self.running_mean.dtype), rate)
            self.running_var.lerp_(variance.flatten().to(self.running_var.dtype), rate)
        outputs = (inputs - mean) * torch.rsqrt(variance + self.eps)
        along = [-1, *[1] * (inputs.ndim - 2)]
        outputs = outputs if self.weight is None else outputs * self.weight.view(along)
        return outputs if self.bias is None else outputs + self.bias.view(along)

    def _normalize(self, inputs: torch.Tensor, mean: Any, variance: Any, training: bool) -> torch.Tensor:
        return torch.batch_norm(
            inputs, self.weight, self.bias, mean, variance, training, float(self.momentum or 0.0), self.eps, torch.backends.cudnn.enabled
        )
