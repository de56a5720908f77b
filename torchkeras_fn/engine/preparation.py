"""`Preparation`: `compile`, and everything between it and the first step: building, placing and binding a model, opening data."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from torchkeras_fn import config, optimizers
from torchkeras_fn.engine.border import Border
from torchkeras_fn.engine.data import (
    Signature,
)
from torchkeras_fn.engine.device import choose, device_is, device_of, first_parameter
from torchkeras_fn.engine.execution import Execution
from torchkeras_fn.engine.feeding import target_feeds
from torchkeras_fn.engine.inference import is_in_mode
from torchkeras_fn.engine.lowering import TrainingOutputs
from torchkeras_fn.engine.objective import Objective
from torchkeras_fn.engine.weighting import check_modes


class Preparation:
    """What a `Trainer` does before and around its steps. A mixin for any `nn.Module`."""

    optimizer: Any = None
    objective: Objective | None = None
    _placed = False
    _execution = Execution()
    _hold = optimizers.Hold()
    _scale_loss: Callable[[torch.Tensor], torch.Tensor] | None = None
    _bound = False
    _in_training = False
    _frozen: Sequence[nn.Parameter] = ()
    _collected: Sequence[nn.Parameter] = ()
    _checked: Any = None
    _borders: Mapping[bool, Border] = {}
    _weight_modes: Sequence[str | None] = ()
    _targets_fed: Mapping[int, Callable[[], torch.Tensor]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise `TypeError` where torch's own `compile` would hide this one."""
        super().__init_subclass__(**kwargs)
        if cls.compile is nn.Module.compile:
            raise TypeError(f"Trainer comes before torch's module: class {cls.__name__}(Trainer, nn.Module).")

    # ------------------------------------------------------------------ compile

    def compile(
        self,
        optimizer: Any,
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        sample_weight_mode: Any = None,
        weighted_metrics: Any = None,
        target_tensors: Any = None,
        *,
        device: Any = None,
        run_eagerly: bool = False,
        jit_compile: Any = False,
        precision: str | None = None,
        gradient_accumulation_steps: int | None = None,
        steps_per_execution: int = 1,
        distributed: Any = None,
        sync_batchnorm: bool = False,
    ) -> None:
        """Choose how to train.

        `optimizer` is a name, an `Optimizer`, or a torch optimizer, class or `functools.partial`. `loss`, `metrics`,
        `loss_weights`, `weighted_metrics` and `sample_weight_mode` (`None` or `'temporal'`) are one value for all
        outputs, a list in their order, or a dict by their names; losses may be names, `Loss` objects, functions
        `(y_true, y_pred)`, or torch losses. An output without a loss is not trained on and needs no target.
        `target_tensors` supplies targets from tensors, so that no `y` is passed. `device` is the best one there is
        unless given; a model that was moved with `.to()` stays where it is. Weights are kept.

        Raises `ValueError` for an unknown or unfit argument, `TypeError` for one of the wrong kind, and `RuntimeError`
        for a device that is not there; the model is then as it was.
        """
        execution = Execution.of(
            jit_compile,
            run_eagerly,
            precision=precision,
            gradient_accumulation_steps=gradient_accumulation_steps,
            steps_per_execution=steps_per_execution,
            distributed=distributed,
            sync_batchnorm=sync_batchnorm,
        )
        chosen = optimizers.get(optimizer)
        names = self._signature().output_names
        own = list(self._as_module().parameters()) if self._is_built() else None
        optimizers.check(chosen, own, with_closure=self._overrides_train_step())
        own_step = loss is None and self._overrides_train_step()
        objective = Objective(loss, metrics, loss_weights, weighted_metrics, names, open_ended=own_step)
        modes = check_modes(sample_weight_mode, names)
        targets_fed = target_feeds(target_tensors, names)
        if loss is None and not own_step and not self._has_loss_terms():
            raise ValueError("There is nothing to train on: give a loss, or add one with add_loss, or override train_step.")
        placed = choose(device, self._as_module(), self._placed)
        self._hold.constraints = ()  # those of the last compile
        if isinstance(chosen, optimizers.Optimizer):
            if chosen.taken and chosen is not self.optimizer:
                chosen = chosen.for_another_model()  # two models never share the state of an optimizer
            chosen.taken = True
        self._device = placed
        self.optimizer, self.objective, self._execution = chosen, objective, execution
        self._weight_modes, self._targets_fed = modes, targets_fed
        self._bound, self._checked, self._borders = False, None, {}
        if self._is_built():
            self._bind()

    def _bind(self) -> None:
        """Give the optimizer the parameters, and lower the training view. The model is built by now."""
        module, objective = self._as_module(), self._compiled("training")
        placed = self._placed
        if not device_is(module, self._device):
            module.to(self._device)
        self._placed = placed
        self._collected = self._trainable_parameters()
        wanted = {id(parameter) for parameter in self._collected}
        self._frozen = [p for p in module.parameters() if p.requires_grad and id(p) not in wanted]
        self._scale_loss = None
        if isinstance(self.optimizer, optimizers.Optimizer):
            self.optimizer.bind(self._collected, names=self._parameter_names())
            self._scale_loss = self.optimizer.scale_loss if self.optimizer.loss_scale_factor is not None else None
        elif not isinstance(self.optimizer, torch.optim.Optimizer):
            self.optimizer = self.optimizer(self._collected)
        self._hold_weights()
        names = self._signature().output_names
        if names is not None and objective.output_names != names:
            objective.name_outputs(names)
        self._prepare_views(objective)
        self._bound = True

    def _hold_weights(self) -> None:
        """See to it that the optimizer holds the weights to their constraints after each step."""
        constraints = self._constraints()
        if isinstance(self.optimizer, optimizers.Optimizer):
            self.optimizer.constraints = constraints
        elif constraints:
            self._hold = optimizers.Hold(constraints)
            self.optimizer.register_step_post_hook(self._hold)

    def _bind_if_needed(self) -> None:
        """Bind a compiled model whose weights exist by now; one that was not compiled can still predict."""
        if self.objective is not None and not self._bound:
            self._bind()

    def _compiled(self, what: str) -> Objective:
        if self.objective is None:
            raise RuntimeError(f"The model is not compiled. Call compile(optimizer, loss, ...) before {what}.")
        return self.objective

    def _warn_of_changes(self) -> None:
        """Warn where `trainable` was changed after `compile`."""
        if self._bound and {id(p) for p in self._collected} != {id(p) for p in self._trainable_parameters()}:
            warnings.warn(
                "Discrepancy between trainable weights and collected trainable weights: 'trainable' was changed after compile. "
                "Training goes on as compiled; call compile again for the change to count.",
                UserWarning,
                stacklevel=3,
            )

    # ------------------------------------------------------------------ what a model tells the trainer; a plain module says little

    def _as_module(self) -> Any:
        return self

    def _overrides_train_step(self) -> bool:
        return False

    def _signature(self) -> Signature:
        """Say what data the model takes."""
        module = self._as_module()
        first = first_parameter(module)
        if first is not None and first.dtype.is_floating_point:
            floats, device = first.dtype, first.device
        else:
            floats = next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), config.dtype(None))
            device = device_of(module)
        objective = self.objective
        return Signature(
            output_names=objective.output_names if objective is not None else None,
            float_dtype=floats,
            device=device,
            targets_fed=self._targets_fed,
            targets=objective.targets if objective is not None else None,
            weight_modes=self._weight_modes,
        )

    def _is_built(self) -> bool:
        """Whether all parameters exist; a lazy torch module has some that do not."""
        return not any(isinstance(p, nn.parameter.UninitializedParameter) for p in self._as_module().parameters())

    def _trainable_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._as_module().parameters() if parameter.requires_grad]

    def _parameter_names(self) -> dict[int, str]:
        """The names of the parameters by their `id`: torch's, and Keras' where there is one."""
        module = self._as_module()
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        for weight in getattr(module, "named_weights", list)():
            if id(weight.tensor) in names:
                names[id(weight.tensor)] += f" {weight.name}"
        return names

    def _finalize_weights(self) -> None:
        """Set the weights to the running means that an optimizer with `use_ema` keeps."""
        if isinstance(self.optimizer, optimizers.Optimizer):
            self.optimizer.finalize_variable_values()

    def _constraints(self) -> list[Callable[[], None]]:
        return []

    def _has_loss_terms(self) -> bool:
        return False

    def _prepare_views(self, objective: Objective) -> None:
        """Make ready what `_training_outputs` and `_call` run."""

    def _for_execution(self, view: Any, training: bool) -> Any:
        """Return a view of the module, which has a `run`, as the steps run it."""
        return view

    def _call(self, x: Any) -> Any:
        """Call the module the way its `forward` takes its inputs: a list as several arguments, a dict by keyword."""
        if isinstance(x, torch.Tensor):
            return self(x)  # type: ignore[operator]
        if isinstance(x, Mapping):
            return self(**x) if self._forward_takes(x) else self(x)  # type: ignore[operator]
        return self(*x) if self._forward_takes(x) else self(x)  # type: ignore[operator]

    def _forward_function(self) -> Callable[..., Any]:
        return self._as_module().forward  # type: ignore[no-any-return]

    def _forward_takes(self, x: Any) -> bool:
        parameters = inspect.signature(self._forward_function()).parameters.values()
        if any(p.kind is (p.VAR_KEYWORD if isinstance(x, Mapping) else p.VAR_POSITIONAL) for p in parameters):
            return True
        if isinstance(x, Mapping):
            return set(x) <= {p.name for p in parameters}
        needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in ("training", "mask")]
        return len(needed) >= len(x) > 1

    def _training_outputs(self, x: Any) -> TrainingOutputs:
        """Run forward for a step that needs the loss."""
        return self._plain_outputs(self._call(x))

    def _plain_outputs(self, predictions: Any) -> TrainingOutputs:
        """What a module returned, as one entry for each output."""
        objective = self._compiled("training")
        objective.outputs_for(predictions)
        values = list(predictions.values()) if isinstance(predictions, Mapping) else predictions
        values = values if isinstance(values, (list, tuple)) else (values,)
        return TrainingOutputs(values, (None,) * len(values))

    def _rows_at_once(self, x: Any, batch_size: int) -> int:
        """How many rows to predict at once where nobody can see that it is more than `batch_size`."""
        return batch_size

    # ------------------------------------------------------------------ modes

    @contextmanager
    def _session(self, training: bool) -> Iterator[None]:
        """Run in training or inference mode, and leave the modes and the parameters' flags as they were."""
        module = self._as_module()
        modes = []
        if not is_in_mode(module, training):
            modes = [(part, part.training) for part in module.modules()]
            module.train(training)
        frozen = list(self._frozen) if training else []
        for parameter in frozen:
            parameter.requires_grad_(False)
        own, outer = self.__dict__, self._in_training  # past the `__setattr__` of modules, which is slow
        own["_in_training"] = training
        try:
            with torch.enable_grad() if training else torch.inference_mode():
                yield
        finally:
            own["_in_training"] = outer
            for parameter in frozen:
                parameter.requires_grad_(True)
            for part, mode in modes:
                part.training = mode

    def _aside(self) -> AbstractContextManager[None]:
        """Set the figures of an epoch of training aside, if one is under way: a callback looks at the model in between."""
        return self._compiled("training").apart() if self._in_training else nullcontext()

    # ------------------------------------------------------------------ placement

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Move or cast the module as torch does; a model that was moved stays there when it is compiled."""
        device, *_ = torch._C._nn._parse_to(*args, **kwargs)
        if device is not None:
            self._placed = True
        return super().to(*args, **kwargs)  # type: ignore[misc]

    def cpu(self) -> Any:
        """Move the module to the CPU, and keep it there."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Any:
        """Move the module to a CUDA device, and keep it there."""
        return self.to(torch.device("cuda", device) if isinstance(device, int) else device or "cuda")
