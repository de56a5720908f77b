"""`Forward`: how the `forward` of a trained module is called, and what it returned, as one entry for each output."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchkeras_fn.engine.batches.columns import is_whole
from torchkeras_fn.engine.lowered.training_outputs import TrainingOutputs
from torchkeras_fn.engine.outputs.counted import rows_in
from torchkeras_fn.engine.outputs.returned import parts_of


def parameters_of(forward: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return what a `forward` takes, by name; that of a traced module does not say it, and is given all there is in order.

    >>> list(parameters_of(torch.nn.Bilinear(1, 1, 1).forward))
    ['input1', 'input2']
    """
    try:
        return inspect.signature(forward).parameters
    except ValueError:
        return {"inputs": inspect.Parameter("inputs", inspect.Parameter.VAR_POSITIONAL)}


class Forward:
    """The part of a trainer that calls its module. A mixin, as `Preparation` is, of any `nn.Module`."""

    _tells_mode: bool = False
    """Whether `forward` has an argument `training`, which the steps then give it as they do a `call`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Note whether `forward` asks for the mode."""
        super().__init_subclass__(**kwargs)
        forward = getattr(cls, "forward", None)
        cls._tells_mode = inspect.isfunction(forward) and "training" in inspect.signature(forward).parameters

    def _call(self: Any, x: Any) -> Any:
        """Call the module the way its `forward` takes its inputs: a list as several arguments, a dict by keyword."""
        if self._precision is not None:
            return self._precision.run(self._call_forward, x)
        return self(x) if isinstance(x, torch.Tensor) and not self._tells_mode else self._call_forward(x)

    def _call_forward(self: Any, x: Any) -> Any:
        mode = {"training": self.training} if self._tells_mode else {}
        if isinstance(x, torch.Tensor) or not self._forward_takes(x):
            return self(x, **mode)
        return self(**{**mode, **x}) if isinstance(x, Mapping) else self(*x, **mode)

    def _forward_function(self: Any) -> Callable[..., Any]:
        forward: Callable[..., Any] = self._as_module().forward
        return forward

    def _forward_takes(self: Any, x: Any) -> bool:
        """Whether the parts of `x` are arguments of `forward` by themselves, which those of an object are not."""
        if is_whole(x):
            return False
        parameters = parameters_of(self._forward_function()).values()
        if any(p.kind is (p.VAR_KEYWORD if isinstance(x, Mapping) else p.VAR_POSITIONAL) for p in parameters):
            return True
        if isinstance(x, Mapping):
            return set(x) <= {p.name for p in parameters}
        extras = [p for p in parameters if p.name == "training" or p.name == "mask" and p.default is None]  # Keras' arguments
        needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p not in extras]
        return len(needed) >= len(x) > 1

    def _training_outputs(self: Any, x: Any) -> TrainingOutputs:
        """Run forward for a step that needs the loss."""
        outputs: TrainingOutputs = self._plain_outputs(self._call(x))
        if getattr(outputs.predictions[0] if outputs.predictions else None, "ndim", 1) == 0:
            self._compiled("training").rows = rows_in(x)
        return outputs

    def _plain_outputs(self: Any, predictions: Any) -> TrainingOutputs:
        """What a module returned, as one entry for each output."""
        objective = self._compiled("training")
        objective.outputs_for(predictions)
        if isinstance(predictions, torch.Tensor):
            return TrainingOutputs((predictions,), (None,))
        values = predictions if isinstance(predictions, (list, tuple)) else parts_of(predictions)
        return TrainingOutputs(values, (None,) * len(values))
