"""`SpectralNormalization`: holds the kernel of the layer inside to a spectral norm of about 1."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from torchkeras_fn import config, initializers
from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.engine.layer_parts.named_weight import NamedWeight
from torchkeras_fn.layers.time_distributed import Wrapper


class SpectralNormalization(Wrapper):
    """Divides the `kernel`, or the `embeddings`, of a layer by an estimate of the largest singular value before each training step.

    The estimate comes of `power_iterations` of the power method, which go on from `vector_u`, where the last ones ended. As
    in Keras, the kernel itself becomes what it was divided to; the gradient is taken as if it had been that from the start.
    Inference changes nothing. Weights: the kernel, `vector_u` `(1, outputs)`, which is not trained, and the layer's others.
    For a torch module there is `torch.nn.utils.parametrizations.spectral_norm`.
    Source: Miyato et al., 2018, https://arxiv.org/abs/1802.05957

    >>> from torchkeras_fn.layers import Dense
    >>> layer = SpectralNormalization(Dense(2, kernel_initializer="ones"), power_iterations=3)
    >>> _ = layer(torch.ones(1, 8))
    >>> layer.layer.kernel[0]
    tensor([0.2500, 0.2500], grad_fn=<SelectBackward0>)
    """

    def __init__(self, layer: Any, power_iterations: int = 1, **kwargs: Any):
        super().__init__(layer, **kwargs)
        self.power_iterations = positive_integer(power_iterations, "power_iterations")
        object.__setattr__(self, "takes_integers", self.layer.takes_integers)
        object.__setattr__(self, "needs_floats", self.layer.needs_floats)

    def build(self, input_shape: Any = None) -> nn.Module | None:
        """Build the layer inside, and the vector."""
        super().build(input_shape)
        held = {id(parameter): path for path, parameter in self.layer.named_parameters()}
        named = {weight.name: weight for weight in self.layer.named_weights()}
        weight = named.get("kernel", named.get("embeddings"))
        if weight is None or id(weight.tensor) not in held or "recurrent_kernel" in named:
            raise ValueError(f"the {type(self.layer).__name__} inside has no 'kernel' and no 'embeddings' that could be normalized")
        self._name, self._path = weight.name, held[id(weight.tensor)]
        begin = initializers.TruncatedNormal(stddev=0.02)
        self.vector_u = self.add_weight("vector_u", (1, weight.shape[-1]), initializer=begin, trainable=False)
        return None

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Normalize the kernel, in training, and call the layer."""
        if not training:
            return self.layer(inputs)
        weight = self._weight()
        kernel = weight.tensor
        with torch.no_grad(), torch.autocast(kernel.device.type, enabled=False):  # in 16 bits the norm would be off by half a percent
            matrix, vector = weight.view.reshape(-1, weight.shape[-1]), self.vector_u
            for _ in range(self.power_iterations):
                other = F.normalize(vector @ matrix.t(), eps=config.epsilon())
                vector = F.normalize(other @ matrix, eps=config.epsilon())
            size = other @ matrix @ vector.t()
            is_empty = (matrix == 0).all()
            self.vector_u.copy_(torch.where(is_empty, self.vector_u, vector))
            normalized = kernel / torch.where(is_empty, 1.0, size).reshape(())
            kernel.copy_(normalized)
        # Not the kernel itself: it changes again where the layer is called twice before the backward pass, as the critic of a GAN is.
        stand_in = normalized + (kernel - kernel.detach()) if torch.is_grad_enabled() else normalized
        return torch.func.functional_call(self.layer, {self._path: stand_in}, (inputs,))

    def _weight(self) -> NamedWeight:
        found: NamedWeight = next(weight for weight in self.layer.named_weights() if weight.name == self._name)
        return found

    def named_weights(self) -> list[NamedWeight]:
        """Return the weights in Keras' order: the kernel, `vector_u`, and the layer's others."""
        found = super().named_weights()
        return sorted(found, key=lambda weight: 1 if weight.name == "vector_u" else 0 if weight.name == f"layer/{self._name}" else 2)
