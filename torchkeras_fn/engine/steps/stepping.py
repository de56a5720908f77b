"""`Stepping`: what `compile` asks for in the steps of a model: precision, the scale of the loss, gradients gathered over batches."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn import optimizers
from torchkeras_fn.engine.steps.compiled import CompiledSteps
from torchkeras_fn.engine.steps.execution import Execution
from torchkeras_fn.engine.steps.precision import InPrecision, Precision


class Stepping:
    """The part of a `Trainer` that sets up its steps as the `Execution` says. A mixin for any `nn.Module`."""

    optimizer: Any = None
    _execution = Execution()
    _precision: Precision | None = None
    _around_steps: optimizers.AroundSteps | None = None
    _compiled_steps: CompiledSteps | None = None
    _scale_loss: Callable[[torch.Tensor], torch.Tensor] | None = None

    def scale_loss(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss as the backward pass should see it, for a `train_step` of your own: `self.scale_loss(loss).backward()`.

        It is multiplied by the scale that `precision='mixed_float16'` needs, and by the optimizer's `loss_scale_factor`;
        without them it is the loss itself. `optimizer.step()` takes the scale out of the gradients.
        """
        return loss if self._scale_loss is None else self._scale_loss(loss)

    def _check_execution(self, execution: Execution, optimizer: Any, device: torch.device, module: nn.Module | None) -> None:
        """Raise `ValueError` for what the optimizer, the device, or the module, if it is built, cannot do."""
        precision = Precision.of(execution.precision, device)
        if precision is not None and module is not None:
            precision.check(module)
        wanted = execution.gradient_accumulation_steps
        if isinstance(optimizer, optimizers.Optimizer):
            own = optimizer.gradient_accumulation_steps
            if wanted is not None and own is not None and wanted != own:
                raise ValueError(
                    f"gradient_accumulation_steps={wanted}, but the optimizer was made with gradient_accumulation_steps={own}. "
                    "Give one of them."
                )
        elif optimizers.takes_closure(optimizer) and ((wanted or 1) > 1 or execution.scales_loss):
            raise ValueError(
                "An optimizer that takes steps with a closure computes its gradients itself: they can neither be gathered over batches "
                "nor scaled. Leave out gradient_accumulation_steps, and pass auto_scale_loss=False."
            )

    def _choose_precision(self, device: torch.device, module: nn.Module) -> None:
        """Set what runs the forward passes. Raises `ValueError` where the weights are not float32, or the device cannot do it."""
        precision = Precision.of(self._execution.precision, device)
        if precision is not None:
            precision.check(module)
        self._precision = precision

    def _bind_optimizer(self, parameters: Sequence[nn.Parameter], names: dict[int, str], device: torch.device) -> None:
        """Give the optimizer the parameters, and what is asked for around its steps."""
        execution = self._execution
        scaling = optimizers.Scaling(device.type) if execution.scales_loss else None
        wanted = execution.gradient_accumulation_steps
        before, self._scale_loss, self._around_steps = self._around_steps, None, None
        if isinstance(self.optimizer, optimizers.Optimizer):
            self.optimizer.bind(parameters, names=names, gradient_accumulation_steps=wanted, scaling=scaling)
            self._scale_loss = self.optimizer.scale_loss if self.optimizer.scales_loss else None
            return
        if not isinstance(self.optimizer, torch.optim.Optimizer):
            self.optimizer = self.optimizer(parameters)
        if scaling is not None or (wanted or 1) > 1:
            self._around_steps = optimizers.AroundSteps(wanted, scaling)
            self._around_steps.go_on(before, self.optimizer)
            self._scale_loss = scaling.scale if scaling is not None else None

    def _accompany_steps(self) -> None:
        """Begin with what belongs around the steps of a torch optimizer, which may be a copy's."""
        if self._around_steps is not None:
            self._around_steps.detach()
            self._around_steps.attach(self.optimizer)

    def _training_step(self) -> Callable[[Any], Any]:
        """Return what takes the training steps of an epoch that begins now, or of a single batch."""
        steps = self._compiled_steps
        if steps is None:
            return self._as_given(self.train_step)  # type: ignore[attr-defined, no-any-return]
        if steps.trainer is not self:  # but the model of which this one is a copy
            steps = self._compiled_steps = CompiledSteps(self)
        return steps.begin()

    def _in_precision(self, view: Any) -> Any:
        """Return a view as it runs in the precision that was asked for."""
        return view if self._precision is None else InPrecision(view, self._precision)
