"""`gradients`: of real tensors what torch's autograd says; of drawn ones a layer that asks it in every run."""

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn.engine.basics.modes import mode_of
from torchkeras_fn.engine.graphs.graph import Graph
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.lowering import lower
from torchkeras_fn.engine.symbolic import KerasTensor, is_symbolic


def gradients(loss: Any, variables: Any) -> list[Any]:
    """Return the gradient of a loss, or of the sum of its elements, with respect to each of some tensors or weights.

    Those of a drawn loss are symbolic: put into `K.function` they are computed whenever it is called. `None` stands
    for a symbolic tensor that the loss does not depend on. Raises `ValueError` for one of integers, for a real loss or
    variable that torch keeps no record of, and for a real loss where a variable is symbolic.

    >>> from torchkeras_fn import Input
    >>> from torchkeras_fn import backend as K
    >>> x = Input(shape=(2,))
    >>> K.function([x], gradients(K.sum(x**2), x))([torch.tensor([[1.0, 3.0]])])
    [array([[2., 6.]], dtype=float32)]
    """
    listed = list(variables) if isinstance(variables, (list, tuple)) else [variables]
    if not is_symbolic((loss, listed)):
        if not all(tensor.requires_grad for tensor in (loss, *listed)):
            raise ValueError(_NOT_RECORDED)
        return list(torch.autograd.grad(loss.sum(), listed, create_graph=True, allow_unused=True))
    drawn = [variable for variable in listed if isinstance(variable, KerasTensor)]
    if not isinstance(loss, KerasTensor):
        raise ValueError(_LOSS_OF_A_STEP.format(names=[tensor.name for tensor in drawn]))
    for tensor in drawn:
        if not tensor.is_floating_point():
            raise ValueError(f"{tensor.name!r} is of type {tensor.dtype}, which has no gradients. Expected a float type.")
    origins = _origins(loss, drawn)
    reached = [variable for variable in listed if isinstance(variable, torch.Tensor) or any(variable is origin for origin in origins)]
    if not origins or not reached:
        return [None] * len(listed)
    found = Gradients(loss, origins, reached)([*origins, *(variable for variable in reached if isinstance(variable, torch.Tensor))])
    values = {id(variable): value for variable, value in zip(reached, found, strict=True)}
    return [values.get(id(variable)) for variable in listed]


_NOT_RECORDED = (
    "gradients() was given real tensors, of which torch did not record how the loss is made of the variables, as inside a Lambda or a "
    "layer that predict() runs. Call it on symbolic tensors, outside of the Lambda: gradients(loss, tensor) is then computed in every "
    "run. Of real tensors let torch record: with torch.enable_grad(): x = x.detach().requires_grad_(), and make the loss of that x."
)

_LOSS_OF_A_STEP = (
    "gradients() was given a real loss, which cannot depend on the symbolic {names}, as inside a loss or metric, which gets the values of "
    "a step. Draw the gradient outside of it: penalty = ... gradients(output, tensor)[0] ..., and model.add_loss(penalty)."
)


class Gradients(Layer):
    """Computes a drawn loss once more from the tensors it comes from (and weights, the last inputs), and what it changes by with them.

    >>> from torchkeras_fn import Input
    >>> x = Input(shape=(2,))
    >>> Gradients(x**2, [x], [x])([x])
    [<KerasTensor shape=(None, 2), dtype=float32, from=Gradients>]
    """

    def __init__(self, loss: KerasTensor, origins: Sequence[KerasTensor], variables: Sequence[Any]):
        super().__init__()
        self._drawn_loss = Graph(origins, [loss])
        self._places = [next((place for place, origin in enumerate(origins) if origin is variable), None) for variable in variables]
        self._lowered: list[Any] = []  # in a list, as its weights are those of other layers

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Return the gradients, which can be differentiated themselves where gradients are recorded."""
        if not self._lowered:
            self._lowered.append(lower(self._drawn_loss, "Loss"))
        is_recording = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad(), mode_of(self._lowered[0], training=bool(training)):
            origins = [_differentiable(tensor) for tensor in inputs[: len(self._drawn_loss.inputs)]]
            weights = iter(inputs[len(origins) :])
            variables = [next(weights) if place is None else origins[place] for place in self._places]
            loss = self._lowered[0](*origins).sum()
            return list(torch.autograd.grad(loss, variables, create_graph=is_recording, allow_unused=True, materialize_grads=True))


def _differentiable(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.requires_grad or not tensor.is_floating_point():
        return tensor.clone() if tensor.is_inference() else tensor
    return (tensor.clone() if tensor.is_inference() else tensor.detach()).requires_grad_()


def _origins(loss: KerasTensor, variables: Sequence[KerasTensor]) -> list[KerasTensor]:
    """Return the variables that the loss depends on, and the inputs that it depends on besides."""
    stops = {id(variable) for variable in variables}
    found: dict[int, KerasTensor] = {}
    seen: set[int] = set()
    stack = [loss]
    while stack:
        tensor = stack.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if id(tensor) in stops or not tensor.node.parents:
            found[id(tensor)] = tensor
        else:
            stack.extend(tensor.node.parents)
    return list(found.values())
