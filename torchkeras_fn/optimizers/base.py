"""`Optimizer`: Keras' names and options around a torch optimizer, which does the work."""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from torchkeras_fn.arguments import number, positive_integer
from torchkeras_fn.configurable import Configurable, plain
from torchkeras_fn.optimizers.averages import Averages
from torchkeras_fn.optimizers.fused import FusedStep
from torchkeras_fn.optimizers.gradients import Gathered, clip_each_norm, clip_global_norm, clip_values
from torchkeras_fn.optimizers.moving import FUSED_ON, follow_parameters, substitute
from torchkeras_fn.optimizers.own import check_own
from torchkeras_fn.optimizers.scaling import Scaling
from torchkeras_fn.optimizers.weight_decay import WeightDecay
from torchkeras_fn.origin import is_ours
from torchkeras_fn.registry import custom_object_scope, snake_case
from torchkeras_fn.shards import is_sharded, parts

COMMON = (
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "loss_scale_factor",
    "gradient_accumulation_steps",
    "name",
)
"""The arguments that all optimizers share, in Keras' order, after those of their own."""

_FUSED_FOR_PARTS = (torch.optim.Adam, torch.optim.AdamW)
"""The torch classes whose fused kernels take parameters of which each process holds a part."""



class Optimizer(WeightDecay, Configurable):
    """A description of a torch optimizer, bound to a model's parameters by `compile`.

    Every optimizer takes, after arguments of its own, those of this class, in this order.

    `learning_rate` (or `lr`) is a number, which can be read and set at any time; or a `LearningRateSchedule`, its config,
    or a function without arguments, which are asked at every step. `weight_decay` shrinks the weights by that share of
    the learning rate at each step, apart from the gradient (Loshchilov & Hutter, 2017). `clipnorm` limits the norm of
    each gradient, `global_clipnorm` that of all together, `clipvalue` each number; all three may be given.

    `use_ema` keeps running means of the weights, `ema_momentum * mean + (1 - ema_momentum) * weight` after each step,
    which become the weights every `ema_overwrite_frequency` steps and at the end of `fit`. The loss is multiplied by
    `loss_scale_factor` before the backward pass (by `fit`; in a `train_step` of your own by `scale_loss`), and the
    gradients are divided by it. With `gradient_accumulation_steps`, one step is taken with the mean gradient of so many
    batches; `iterations` counts these steps, while a schedule counts batches.

    `decay` divides the learning rate by `1 + decay * iterations`, as in Keras 2.

    Once bound, `zero_grad`, `state_dict` and `param_groups` are those of the torch optimizer, which is at
    `torch_optimizer`. Raises `ValueError` for numbers that make no sense.

    >>> class RAdam(Optimizer):
    ...     torch_class = torch.optim.RAdam
    >>> RAdam(lr=0.01, clipnorm=1.0).learning_rate
    0.01
    """

    torch_class: ClassVar[type[torch.optim.Optimizer]]
    decaying_class: ClassVar[type[torch.optim.Optimizer] | None] = None
    """The torch class that decays weights apart from the gradient in the same step; without one it is a pass of its own."""
    decays_itself: ClassVar[bool] = False
    """Whether what `make` returns decays just the weights that it should, some or all."""
    average: Callable[[Sequence[torch.Tensor]], None] | None = None
    """What makes the gradients those of several processes, in a `train_step` of the user's."""
    may_fuse: ClassVar[bool] = False
    may_group: ClassVar[bool] = False
    """Whether the torch class takes `foreach=True`, which calls each operation once for all parameters."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Note the arguments by their names. Raises `TypeError` for a class that is written as optimizers are in Keras."""
        if not is_ours(cls):
            check_own(cls, cls.make is not Optimizer.make)
        self = super().__new__(cls)
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        own = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        common = [name for name in COMMON if name not in own]
        self._arguments = (args[: len(own)], {**dict(zip(common, args[len(own) :], strict=False)), **kwargs})
        return self

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        lr: Any = None,
        decay: float | None = None,
    ):
        self.name = name or snake_case(type(self).__name__)
        self.weight_decay = _optional(weight_decay, "weight_decay")
        self.clipnorm = _optional(clipnorm, "clipnorm")
        self.clipvalue = _optional(clipvalue, "clipvalue")
        self.global_clipnorm = _optional(global_clipnorm, "global_clipnorm")
        self.use_ema = bool(use_ema)
        self.ema_momentum = number(ema_momentum, "ema_momentum", minimum=0)
        if self.ema_momentum > 1:
            raise ValueError(f"'ema_momentum' must be between 0 and 1, got {ema_momentum!r}.")
        self.ema_overwrite_frequency = ema_overwrite_frequency and positive_integer(ema_overwrite_frequency, "ema_overwrite_frequency")
        self.loss_scale_factor = _optional(loss_scale_factor, "loss_scale_factor")
        if self.loss_scale_factor == 0:
            raise ValueError("'loss_scale_factor' must be greater than 0, got 0: no gradient would be left.")
        steps = gradient_accumulation_steps
        self.gradient_accumulation_steps = steps and positive_integer(steps, "gradient_accumulation_steps", minimum=2)
        super().__init__(learning_rate if lr is None else lr, _optional(decay, "decay") or 0.0)
        self._undecayed: tuple[Sequence[torch.Tensor], str] = ((), "")
        self.taken = False
        """Whether a model was compiled with it: another one takes a copy."""
        self._release()

    def _release(self) -> None:
        """Belong to no model, and know of no step."""
        self.torch_optimizer: torch.optim.Optimizer | None = None
        self._names: Mapping[int, str] = {}
        self.parameters: list[torch.Tensor] = []
        self.constraints: list[Callable[[], None]] = []
        self._decayed: list[torch.Tensor] = []
        self._averages = Averages(self.ema_momentum) if self.use_ema else None
        self._gather(self.gradient_accumulation_steps)
        self._scaling: Scaling | None = None
        self._batches, self._set_aside = 0, {}

    def _gather(self, batches: int | None) -> None:
        """Take a step once in so many batches."""
        self._gathered = Gathered(batches) if batches else None
        self._batches_per_step = batches or 1

    def __getstate__(self) -> dict[str, Any]:
        """A copy is given the constraints of its own weights by its model."""
        return {**self.__dict__, "constraints": [], "average": None}

    def for_another_model(self) -> "Optimizer":
        """Return an optimizer of the same options that is not bound, with the learning rate as it is now."""
        twin = copy.copy(self)
        twin._rate_source = self._rate_source_now()
        twin._release()
        return twin

    # ------------------------------------------------------------------ binding

    def torch_options(self) -> dict[str, Any]:
        """Return the arguments of the torch optimizer, learning rate and weight decay aside."""
        return {}

    def bind(
        self,
        parameters: Iterable[torch.Tensor],
        constraints: Sequence[Callable[[], None]] = (),
        names: Mapping[int, str] | None = None,
        gradient_accumulation_steps: int | None = None,
        scaling: Scaling | None = None,
    ) -> None:
        """Make the torch optimizer for these parameters; `constraints` are called after each step.

        An optimizer that was bound before, as when a model is compiled with its own again, goes on: with the steps it has
        counted, and what it keeps for parameters that are still among these, as in Keras.

        `names` are the parameters' names by their `id`, for `exclude_from_weight_decay`. The others are what `compile` was
        asked for: `gradient_accumulation_steps` where the optimizer has none of its own, and to scale the loss.
        """
        before, self._rate_source = self._keep(), self._rate_source_now()
        self._release()
        if gradient_accumulation_steps is not None and gradient_accumulation_steps > 1:
            self._gather(gradient_accumulation_steps)
        self._scaling = scaling
        self.parameters = list(parameters)
        self.constraints = list(constraints)
        if self.parameters:
            decayed = [p for p in self.parameters if self._is_decayed(p, names or {})] if self.weight_decay else []
            together = self.decaying_class is not None and len(decayed) == len(self.parameters)
            self._decayed = [] if together or self.decays_itself else decayed
            self._names = names or {}
            self.torch_optimizer = self.make(self.parameters, together)
            self._names = {}
            self._take_step = FusedStep(self.torch_optimizer, self.parameters)
        self._go_on(before)

    def make(self, parameters: Sequence[torch.Tensor], decaying: bool = False) -> torch.optim.Optimizer:
        """Return a new torch optimizer for these parameters, which decays them itself where asked."""
        options = {"lr": self._rate(), **self.torch_options()}
        made: Any = self.torch_class
        if decaying and self.decaying_class is not None:
            made, options = self.decaying_class, {**options, "weight_decay": self.weight_decay}
        device = parameters[0].device.type
        fuses = self.may_fuse and device in FUSED_ON and all(p.dtype.is_floating_point for p in parameters)
        if fuses and (made in _FUSED_FOR_PARTS or not any(map(is_sharded, parameters))):
            options["fused"] = True
        elif self.may_group or fuses:
            options["foreach"] = True
        return made(parameters, **options)  # type: ignore[no-any-return]

    def follow(self, replaced: Mapping[int, Any] | None = None) -> None:
        """Take all that is kept for the parameters to where they are now, in their types, after they were moved or cast.

        `replaced` are those that torch put in the place of others, by the `id` of the old ones. A model does this itself.
        """
        if self.torch_optimizer is None:
            return
        replaced = replaced or {}
        self.parameters, self._decayed = substitute(self.parameters, replaced), substitute(self._decayed, replaced)
        follow_parameters(self.torch_optimizer, replaced)
        self._take_step = FusedStep(self.torch_optimizer, self.parameters)
        if self._averages is not None:
            self._averages.means = self._own(self._averages.means)
        if self._gathered is not None:
            self._gathered.sums = self._own(self._gathered.sums)
        if self._scaling is not None:
            self._scaling.move(self.parameters[0].device)

    # ------------------------------------------------------------------ steps

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Take a step with the gradients that the parameters have, and all that was asked for around it."""
        if self.torch_optimizer is None:
            return
        if self.average is not None:
            self.average(self.parameters)
        if self.loss_scale_factor is not None:
            self._unscale(self.loss_scale_factor)
        if self._gathered is None or self._gathered.add(self.parameters):
            unfit = self._scaling.unscale(self.torch_optimizer) if self._scaling is not None else None
            if self.clipnorm or self.clipvalue or self.global_clipnorm:
                self._clip()
            if self.decay or not isinstance(self._rate_source, float):  # `_rate_moves`, without its frame
                self._set_rate(self._rate())
            if self._decayed:
                self._decay_weights(unfit)
            if self._scaling is None or unfit is None:
                self._take_step()
            else:
                self._scaling.step(self._take_step)
        if self._averages is not None:
            self._average(self._averages)
        self._batches += 1
        for apply in self.constraints:
            apply()

    def _gradients(self) -> list[torch.Tensor]:
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def _unscale(self, factor: float) -> None:
        gradients = self._gradients()
        if gradients:
            torch._foreach_div_(parts(gradients), factor)

    def _clip(self) -> None:
        for parameter in self.parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:  # which torch neither measures nor limits
                parameter.grad = parameter.grad.to_dense()
        gradients = self._gradients()
        if gradients and self.clipnorm:
            clip_each_norm(gradients, self.clipnorm)
        if gradients and self.clipvalue:
            clip_values(gradients, self.clipvalue)
        if gradients and self.global_clipnorm:
            clip_global_norm(gradients, self.global_clipnorm)

    def _average(self, averages: Averages) -> None:
        steps = self._batches // self._batches_per_step
        averages.take(self.parameters, first=steps == 0)
        if self.ema_overwrite_frequency and (steps + 1) % self.ema_overwrite_frequency == 0:
            averages.give(self.parameters)

    def finalize_variable_values(self, var_list: Iterable[torch.Tensor] | None = None) -> None:
        """Set the weights, or those listed, to their running means, where `use_ema` keeps them; `fit` does so at its end.

        Raises `ValueError` for a weight that the optimizer was not bound to.
        """
        if self._averages is not None and self._averages.means:
            self._averages.give(self.parameters, var_list)

    @property
    def swapped(self) -> bool:
        """Whether the weights are their running means for now; set it to exchange them. Raises `ValueError` without `use_ema`."""
        return self._averages is not None and self._averages.swapped

    @swapped.setter
    def swapped(self, value: bool) -> None:
        if self._averages is None:
            raise ValueError(f"Running means are kept when `use_ema=True` is set on the optimizer. Received: use_ema={self.use_ema}.")
        if self._averages.swapped != value:
            self._averages.swap(self.parameters)

    # ------------------------------------------------------------------ for a training step of one's own

    def scale_loss(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss as the backward pass should see it: times `loss_scale_factor`, and the scale that `mixed_float16` needs."""
        loss = loss if self.loss_scale_factor is None else loss * self.loss_scale_factor
        return loss if self._scaling is None else self._scaling.scale(loss)

    @property
    def scales_loss(self) -> bool:
        """Whether `scale_loss` changes the loss."""
        return self.loss_scale_factor is not None or self._scaling is not None

    def build(self, variables: Iterable[torch.Tensor]) -> None:
        """Bind the optimizer to parameters, unless it is bound; for use without a model."""
        if self.torch_optimizer is None:
            self.bind(variables)

    def apply(self, grads: Iterable[torch.Tensor | None], trainable_variables: Iterable[torch.Tensor] | None = None) -> None:
        """Take a step with these gradients of the variables: those that the optimizer was built for, unless others are given.

        >>> from torchkeras_fn.optimizers import SGD
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> SGD(0.5).apply([torch.ones(1)], [weight])
        >>> weight
        Parameter containing:
        tensor([0.5000], requires_grad=True)
        """
        variables, gradients = self.parameters if trainable_variables is None else list(trainable_variables), list(grads)
        if self.torch_optimizer is None and not variables:
            raise RuntimeError("The optimizer knows no variables yet: call build(variables), or pass trainable_variables.")
        self.build(variables)
        known = {id(parameter) for parameter in self.parameters}
        if len(gradients) != len(variables) or not all(id(variable) in known for variable in variables):
            raise ValueError(
                f"apply takes a gradient for each variable, of those the optimizer was built for; got {len(gradients)} gradients "
                f"for {len(variables)} variables, {sum(id(variable) in known for variable in variables)} of which it knows."
            )
        self.zero_grad()
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.grad = gradient
        self.step()

    def apply_gradients(self, grads_and_vars: Iterable[tuple[torch.Tensor | None, torch.Tensor]]) -> None:
        """Take a step with pairs of a gradient and its variable."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])

    # ------------------------------------------------------------------ config and state

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, with the learning rate as it is now, or the schedule's config."""
        config = {**{name: getattr(self, name) for name in COMMON}, **super().get_config()}
        options = {name: plain(getattr(self, name, value)) for name, value in config.items() if name not in ("learning_rate", "lr")}
        source = self._rate_source
        return {"learning_rate": float(self.learning_rate) if isinstance(source, float) else plain(source), **options}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return a new optimizer made with the arguments that `get_config` returned."""
        with custom_object_scope(custom_objects or {}):
            return cls(**config)


def _optional(value: Any, argument: str) -> float | None:
    return None if value is None else number(value, argument, minimum=0)
