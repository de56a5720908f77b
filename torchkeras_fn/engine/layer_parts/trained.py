"""`Trained`: which weights of a layer training changes, and the lists of them, which the `build` of a Keras 1 or 2 layer adds to."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import nn

from torchkeras_fn.engine.layer_parts.weights import NamedWeight, Weighted
from torchkeras_fn.engine.symbolic import describe_operation
from torchkeras_fn.metrics.state import State


class Growing(list[torch.Tensor]):
    """A list of weights, to which a `build` of Keras 1 or 2 adds: of each tensor added at the end it holds what `keep` makes of it.

    >>> weights = Growing([torch.ones(1)], torch.nn.Parameter)
    >>> weights.append(torch.zeros(2))
    >>> weights += [torch.zeros(3)]
    >>> [type(weight).__name__ for weight in weights]
    ['Tensor', 'Parameter', 'Parameter']
    """

    def __init__(self, weights: Iterable[torch.Tensor], keep: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__(weights)
        self._keep = keep

    def append(self, weight: torch.Tensor) -> None:
        """Add a weight."""
        super().append(self._keep(weight))

    def extend(self, weights: Iterable[torch.Tensor]) -> None:
        """Add several."""
        for weight in weights:
            self.append(weight)

    def __iadd__(self, weights: Iterable[torch.Tensor]) -> "Growing":  # type: ignore[override,misc]
        self.extend(weights)
        return self


class Trained(Weighted):
    """The base of `Layer` that knows which of its weights are trained.

    >>> layer = Trained()
    >>> layer.scale, layer.count = layer.add_weight("scale", (2,)), layer.add_weight("count", (), trainable=False)
    >>> len(layer.trainable_weights), len(layer.non_trainable_weights)
    (1, 1)
    """

    _is_being_built: bool = False
    _trainable: bool = True

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; honoured when a model is compiled. Setting it reaches the layers inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.sublayers():
            layer.set_trainable(value)

    def set_trainable(self, value: bool) -> None:
        """Note whether training changes this layer's weights; override where freezing changes more."""
        self._trainable = bool(value)

    @property
    def trainable_variables(self) -> list[torch.Tensor]:
        """The weights that training changes: what `trainable_weights` gives."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[torch.Tensor]:
        """The weights that training leaves alone: what `non_trainable_weights` gives."""
        return self.non_trainable_weights

    @property
    def trainable_weights(self) -> list[torch.Tensor]:
        """The weights that training changes: the parameters of every trainable layer inside; none if this one is not.

        A `build` may append to the list what is to be trained too, and to `non_trainable_weights` what is not.
        """
        frozen = self._frozen_parameters()
        kept = _unique(self.weights)
        trained: list[torch.Tensor] = [w for w in kept if isinstance(w, nn.Parameter) and w.requires_grad and id(w) not in frozen]
        return Growing(trained, self._train_too) if self._is_being_built else trained

    @trainable_weights.setter
    def trainable_weights(self, weights: Sequence[torch.Tensor]) -> None:
        """Say which tensors training changes, as the `build` of layers written for Keras 1 and 2 does; others of the layer's own stay.

        A tensor of an attribute becomes a weight under the attribute's name. Raises `ValueError` for one that the layer does not keep.
        """
        trained = []
        for tensor in weights:
            if not isinstance(tensor, nn.Parameter):
                name = self._let_go_of(tensor, "trainable_weights")
                tensor = nn.Parameter(tensor.detach())
                self.register_parameter(name, tensor)
            elif not any(tensor is known for known in self.parameters()):
                self.register_parameter(self._free_name("weight", numbered=True), tensor)
            trained.append(tensor)
        for parameter in [*self._parameters.values(), *trained]:
            if parameter is not None:
                parameter.requires_grad_(any(parameter is tensor for tensor in trained))

    @property
    def non_trainable_weights(self) -> list[torch.Tensor]:
        """The weights that training leaves alone: moving statistics, and the parameters of frozen layers."""
        trainable = {id(weight) for weight in self.trainable_weights}
        left = [weight for weight in _unique(self.weights) if id(weight) not in trainable]
        return Growing(left, self._keep_as_it_is) if self._is_being_built else left

    @non_trainable_weights.setter
    def non_trainable_weights(self, weights: Sequence[torch.Tensor]) -> None:
        """Say which tensors are weights that training leaves alone; others of the layer's stay what they are."""
        for tensor in weights:
            self._keep_as_it_is(tensor)

    def _train_too(self, tensor: torch.Tensor) -> torch.Tensor:
        name = self._name_of(tensor)
        self.trainable_weights = [*self.trainable_weights, tensor]
        return tensor if name is None else self.get_parameter(name)

    def _keep_as_it_is(self, tensor: torch.Tensor) -> torch.Tensor:
        if isinstance(tensor, nn.Parameter):
            return tensor.requires_grad_(False)
        is_state = isinstance(tensor, State)  # reads a buffer; the addresses of others say nothing, as 0 is that of all without memory
        if any(tensor is known or is_state and tensor.data_ptr() == known.data_ptr() for known in self.buffers()):
            return tensor
        name = self._let_go_of(tensor, "non_trainable_weights")
        self.register_buffer(name, tensor.detach().as_subclass(torch.Tensor))
        return self.get_buffer(name)

    def _name_of(self, tensor: torch.Tensor) -> str | None:
        """The attribute that holds a plain tensor."""
        return next((key for key, value in vars(self).items() if value is tensor), None)

    def _let_go_of(self, tensor: torch.Tensor, which: str) -> str:
        """Remove the attribute that holds a plain tensor, and return its name, under which the tensor becomes a weight."""
        name = self._name_of(tensor)
        if name is None:
            raise ValueError(f"{which} of {describe_operation(self)} holds a tensor that none of its attributes does.")
        delattr(self, name)
        return name

    def _frozen_parameters(self) -> set[int]:
        layers = list(self.sublayers())
        if not self._trainable:
            return {id(weight.tensor) for layer in layers for weight in layer.named_weights()}
        return {id(weight.tensor) for layer in layers if not layer._trainable for weight in layer.frozen_with_it()}

    def frozen_with_it(self) -> list[NamedWeight]:
        """Return the weights that stay as they are, wherever this layer is used, while it is not trainable: all those in it."""
        return self.named_weights()


def _unique(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())
