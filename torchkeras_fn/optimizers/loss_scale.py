"""`LossScaleOptimizer`: an optimizer around another, which scales the loss so that no small gradient is lost in float16."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from torchkeras_fn.arguments import number, positive_integer
from torchkeras_fn.configurable import plain
from torchkeras_fn.optimizers.base import COMMON, Optimizer
from torchkeras_fn.optimizers.scaling import Scaling
from torchkeras_fn.registry import Registry, custom_object_scope

registry = Registry("optimizer", {})
"""All optimizers by their names, which `optimizers` fills: one may stand around another."""


class LossScaleOptimizer(Optimizer):
    """Takes the steps of `inner_optimizer`, with a loss that is multiplied by a scale before the backward pass.

    The scale begins at `initial_scale`. A step with a gradient that is not finite is left out, and the scale halved; after
    `dynamic_growth_steps` without one it is doubled. Other options, such as `clipnorm`, are those of the inner optimizer, and
    so is the learning rate. `compile(precision='mixed_float16')` scales the loss without this.
    In a `train_step` of your own call `self.scale_loss(loss).backward()`. Raises `ValueError` for an inner optimizer that
    belongs to a model already.

    >>> from torchkeras_fn.optimizers import SGD
    >>> optimizer = LossScaleOptimizer(SGD(0.5, clipnorm=1.0), initial_scale=1024)
    >>> optimizer.learning_rate, optimizer.clipnorm
    (0.5, 1.0)
    """

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
        **options: Any,
    ):
        if not isinstance(inner_optimizer, Optimizer) or isinstance(inner_optimizer, LossScaleOptimizer):
            raise TypeError(
                f"LossScaleOptimizer goes around an optimizer of this library, got {inner_optimizer!r} of type "
                f"{type(inner_optimizer).__name__}. With one of torch's, compile(precision='mixed_float16') scales the loss."
            )
        if inner_optimizer.taken or inner_optimizer.built:
            raise ValueError("The inner optimizer belongs to a model already. Make a new one for LossScaleOptimizer.")
        defaults = Optimizer.from_config({}).get_config()
        wrong = [key for key, value in options.items() if key not in ("dynamic", *COMMON) or value != defaults.get(key, True)]
        if wrong:
            raise ValueError(f"LossScaleOptimizer has no option {wrong[0]!r}. Set it on the inner optimizer.")
        self.inner_optimizer = inner_optimizer
        self.initial_scale = number(initial_scale, "initial_scale")
        if self.initial_scale <= 0:
            raise ValueError(f"'initial_scale' must be above 0, got {initial_scale!r}.")
        self.dynamic_growth_steps = positive_integer(dynamic_growth_steps, "dynamic_growth_steps")
        given = {key: getattr(inner_optimizer, key) for key in COMMON if key not in ("name", "loss_scale_factor")}
        super().__init__(inner_optimizer._rate_source, **given, name=name, decay=inner_optimizer.decay)
        self._undecayed = inner_optimizer._undecayed

    @property
    def inner_optimizer(self) -> Optimizer:
        """The optimizer whose steps are taken, with the steps counted and the running means of weights taken so far."""
        if "_batches" in self.__dict__:  # counted here, as the options of a step are, but for what it does to the weights
            self._inner._batches, self._inner._batches_per_step = self._batches, self._batches_per_step
            self._inner._averages, self._inner.parameters = self._averages, self.parameters
        return self._inner

    @inner_optimizer.setter
    def inner_optimizer(self, inner: Optimizer) -> None:
        self._inner = inner

    @property
    def decaying_class(self) -> Any:  # type: ignore[override]
        """The torch class that decays weights in the same step: that of the inner optimizer."""
        return self.inner_optimizer.decaying_class

    @property
    def decays_itself(self) -> bool:  # type: ignore[override]
        """Whether the torch optimizer decays just the weights that it should: that of the inner optimizer does or not."""
        return self.inner_optimizer.decays_itself

    @property
    def rate_in_momentum(self) -> bool:  # type: ignore[override]
        """Whether Keras' momentum remembers steps: that of the inner optimizer does or not."""
        return self.inner_optimizer.rate_in_momentum

    @property
    def dynamic_scale(self) -> float:
        """The scale of the loss as it is now."""
        return self.initial_scale if self._scaling is None else float(self._scaling.state_dict()["scale"])

    def bind(self, parameters: Any, constraints: Any = (), names: Any = None, *rest: Any, **options: Any) -> None:
        """Make the torch optimizer: see `Optimizer`. The scale goes on where the optimizer was bound before."""
        found, before = list(parameters), self._scaling
        device = found[0].device.type if found else "cpu"
        scaling = Scaling(device, self.initial_scale, self.dynamic_growth_steps)
        if before is not None:
            scaling.load_state_dict(before.state_dict())
        super().bind(found, constraints, names, *rest, **{**options, "scaling": scaling})
        self.inner_optimizer.torch_optimizer = self.torch_optimizer  # the learning rate may be set there too

    def make(self, parameters: Sequence[torch.Tensor], decaying: bool = False) -> torch.optim.Optimizer:
        """Return a new torch optimizer for these parameters: that of the inner optimizer."""
        self.inner_optimizer._rate_source, self.inner_optimizer._names = self._rate_source, self._names
        return self.inner_optimizer.make(parameters, decaying)

    def for_another_model(self) -> "LossScaleOptimizer":
        """Return an optimizer of the same options that is not bound, around another inner one."""
        twin: Any = super().for_another_model()
        twin.inner_optimizer = self.inner_optimizer.for_another_model()
        return twin  # type: ignore[no-any-return]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, the inner optimizer with the learning rate as it is now."""
        self.inner_optimizer._rate_source = self._rate_source_now()
        config = {"inner_optimizer": plain(self.inner_optimizer), "initial_scale": self.initial_scale}
        return {**config, "dynamic_growth_steps": self.dynamic_growth_steps, "name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return a new optimizer made with what `get_config` returned."""
        with custom_object_scope(custom_objects or {}):
            return cls(**{**config, "inner_optimizer": registry.get(config["inner_optimizer"])})
