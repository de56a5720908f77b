"""Layers that keep activations at a common scale."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.weights import Weight


class BatchNormalization(Layer):
    """Brings each feature along `axis` to mean 0 and deviation 1, then scales by `gamma` and shifts by `beta`.

    Training uses the batch's statistics and moves the running ones by `1 - momentum`; inference, and a layer with
    `trainable=False`, uses the running ones. Weights: `gamma`, `beta`, `moving_mean`, `moving_variance`, each
    `(features,)`. As in Keras, and unlike `nn.BatchNorm1d`, the running variance is that of the batch itself (divided
    by n, not n - 1), and a batch of one is allowed.

    >>> BatchNormalization()(torch.ones(4, 3)).shape
    torch.Size([4, 3])
    """

    weight_map = {
        "gamma": Weight("weight"),
        "beta": Weight("bias"),
        "moving_mean": Weight("running_mean"),
        "moving_variance": Weight("running_var"),
    }
    needs_floats = True
    supports_masking = True

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
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.axis = int(axis) if isinstance(axis, int) else int(axis[0])
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
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
        self._position = self.axis % rank
        features = input_shape[self._position]
        if features is None:
            raise ValueError(f"the size of axis {self.axis} must be known, got None")
        module = BatchNorm(features, self.epsilon, self.momentum, self.center, self.scale)
        module.frozen = not self.trainable
        return module

    def prepare(self, inputs: Any) -> Any:
        """Put the features on axis 1, where torch has them."""
        return inputs if self._position == 1 else inputs.movedim(self._position, 1)

    def finish(self, outputs: Any) -> Any:
        """Put the features back."""
        return outputs if self._position == 1 else outputs.movedim(1, self._position)

    def set_trainable(self, value: bool) -> None:
        """Freeze or unfreeze the weights and the running statistics."""
        super().set_trainable(value)
        if isinstance(self.module, BatchNorm):
            self.module.frozen = not value


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
        self.frozen = False
        if not scale:
            self.weight = None
        if not center:
            self.bias = None

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalize over all axes but axis 1."""
        rate, count = float(self.momentum or 0.0), input.numel() // input.shape[1] if input.shape[1] else 0
        if not self.training or self.frozen:
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

    def _normalize(self, inputs: torch.Tensor, mean: Any, variance: Any, training: bool) -> torch.Tensor:
        return torch.batch_norm(
            inputs, self.weight, self.bias, mean, variance, training, float(self.momentum or 0.0), self.eps, torch.backends.cudnn.enabled
        )
