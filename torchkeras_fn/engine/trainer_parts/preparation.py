"""`Preparation`: `compile`, and everything between it and the first step: building, placing and binding a model, opening data."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from torchkeras_fn import config, optimizers
from torchkeras_fn.engine.basics.walking import parameters_of
from torchkeras_fn.engine.batches.border import Border
from torchkeras_fn.engine.batches.weighting import check_modes
from torchkeras_fn.engine.data import Signature
from torchkeras_fn.engine.device import choose, device_is, device_of, first_parameter
from torchkeras_fn.engine.distributed.sharded import Sharded
from torchkeras_fn.engine.objective import Objective
from torchkeras_fn.engine.outputs.counted import Counted
from torchkeras_fn.engine.outputs.custom_metrics import reset_metrics_in, resettable_metrics_in
from torchkeras_fn.engine.outputs.per_output import leaves_in, warn_of_untrained
from torchkeras_fn.engine.outputs.target_tensors import target_feeds
from torchkeras_fn.engine.processes.processes import Processes, join, local_device
from torchkeras_fn.engine.steps.compiled import CompiledSteps
from torchkeras_fn.engine.steps.execution import Execution
from torchkeras_fn.engine.steps.forward import Forward
from torchkeras_fn.engine.steps.stepping import Stepping
from torchkeras_fn.engine.trainer_parts.placement import Placement, place_of, places_of, strides_of


class Preparation(Forward, Stepping, Sharded, Placement):
    """What a `Trainer` does before and around its steps. A mixin for any `nn.Module`."""

    objective: Objective | None = None
    _processes: Processes | None = None
    _team: Processes | None = None
    """The processes, if there are several, among whom each step is shared out."""
    _hold = optimizers.Hold()
    _check_names: Callable[[], None]
    _bound = False
    _in_training = False
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
        optimizer: Any = "rmsprop",
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
        auto_scale_loss: bool = True,
        gradient_accumulation_steps: int | None = None,
        steps_per_execution: int = 1,
        distributed: Any = None,
        sync_batchnorm: bool = False,
    ) -> None:
        """Choose how to train.

        `optimizer` is a name, an `Optimizer`, or a torch optimizer, class or `functools.partial`; the model's own, given again
        as after a change of `trainable`, goes on from the steps it has taken. A `train_step` with optimizers of its own, as of a
        GAN, needs none, and `super().compile()` will do. `loss`, `metrics`,
        `loss_weights`, `weighted_metrics` and `sample_weight_mode` (`None` or `'temporal'`) are one value for all
        outputs, a list in their order, or a dict by their names (of outputs in a dict their keys, of nested ones a nest like
        theirs); losses may be names, `Loss` objects, functions `(y_true, y_pred)`, or torch losses. An output without a
        loss is not trained on and needs no target.
        `target_tensors` supplies targets from tensors, so that no `y` is passed. `device` is the best one there is
        unless given; a model that was moved with `.to()` stays where it is. Weights are kept.

        `jit_compile=True` compiles training steps up to the optimizer's step: forward, loss, gradients and this library's metrics
        become one function for each shape of batch, on CUDA one recording that is replayed. Compiling takes seconds and
        begins when a shape comes again; a short last batch is not compiled. What Python does in layers, losses and
        metrics (numbers, prints, branches) it does while the step is compiled, and not again. A change of the model, or of a
        number in an attribute of a layer or a loss, counts from the next epoch on. A step that cannot be compiled (it reads
        values from tensors, `train_step` is overridden, there are hooks, several processes train, there is no compiler) runs
        as it is, and one warning says why. `evaluate` and `predict` are not compiled. It excludes `run_eagerly=True`; `'auto'` is `False`.

        `precision` is that of the forward passes of fit, evaluate and predict: `'float32'`, or `None` for the same, or one
        of Keras' policies `'mixed_bfloat16'` and `'mixed_float16'`. These let `torch.autocast` compute in 16 bits what is
        safe in them, for all layers alike, whatever their `dtype`; weights, losses, metrics and predictions are float32.
        In a step of your own, so are calls of the model and its parts. For `mixed_float16` the loss is multiplied by a
        scale before the backward pass, in a `train_step` of your own by `self.scale_loss(loss)`, which keeps small
        gradients: it begins at 2**15, and a step with a gradient that is not finite is left out (but counted) and halves
        it. Optimizers of torch that are not fused, and ours without a fused kernel (all but SGD, Adam, AdamW and Adagrad),
        read one number from the device at each such step. `auto_scale_loss=False` leaves the scale out.

        With `gradient_accumulation_steps=n`, 2 or more, one step is taken with the mean gradient of n batches, as with the
        optimizer's own argument; `None` and 1 mean every batch. It works for torch's optimizers too. With
        `steps_per_execution=n`, 1 unless given, callbacks and the bar are told once for n batches: of the beginning with
        the number of the first, of the end with that of the last; `stop_training` is looked at then, and a backup is made
        then. What is computed does not change. `run_eagerly=True` says that nothing is to be compiled, as is usual.

        Where `torchrun` started several processes, or a process group of `torch.distributed` is there, they train the model
        together unless `distributed=False`: all begin with the weights of the first, `fit`, `evaluate` and `predict` give each
        its share of the data, `batch_size` counts for each, and gradients, figures and predictions are those of all rows.
        All of them call `compile`, as the methods named. `distributed='fsdp'` shares out the weights too, for models that
        are too large for one device; `True` and `'ddp'` mean copies, which is the default. Without other processes none of
        this changes anything. `sync_batchnorm=True` lets `BatchNormalization` take its statistics over the rows of all
        processes, and not of each by itself.

        Raises `ValueError` for an unknown or unfit argument, `TypeError` for one of the wrong kind, and `RuntimeError`
        for a device that is not there; the model is then as it was. `ValueError` too for a `precision` that the device cannot
        do or with weights that are not float32, for numbers below 1, for a `gradient_accumulation_steps` that the optimizer
        contradicts, and for an optimizer that takes a closure where gradients are to be gathered or scaled.
        """
        execution = Execution.of(
            jit_compile,
            run_eagerly,
            precision=precision,
            auto_scale_loss=auto_scale_loss,
            gradient_accumulation_steps=gradient_accumulation_steps,
            steps_per_execution=steps_per_execution,
            distributed=distributed,
            sync_batchnorm=sync_batchnorm,
        )
        self._check_names()
        chosen = optimizers.get(optimizer)
        names = self._drawn_names()
        own = list(self._as_module().parameters()) if self._is_built() else None
        optimizers.check(chosen, own, with_closure=self._overrides_train_step())
        if own is not None and not isinstance(chosen, torch.optim.Optimizer) and not self._overrides_train_step():
            warn_of_untrained(leaves_in(loss), own)
        own_step = loss is None and self._overrides_train_step()
        settings = {"loss": loss, "metrics": metrics, "loss_weights": loss_weights, "weighted_metrics": weighted_metrics}
        in_order = {name: self._per_output(value) for name, value in settings.items()}
        objective = Objective(**in_order, output_names=names, open_ended=own_step)
        modes = check_modes(self._per_output(sample_weight_mode), names)
        targets_fed = target_feeds(self._per_output(target_tensors), names)
        if not leaves_in(loss) and not own_step and not self._has_loss_terms():
            raise ValueError("There is nothing to train on: give a loss, or add one with add_loss, or override train_step.")
        processes = join(distributed)
        if processes is not None and device is None and not self._placed:
            device = local_device()
        team = processes if processes is not None and processes.count > 1 else None
        if team is not None:
            objective.check_mergeable()
            if optimizers.takes_closure(chosen):
                raise ValueError("An optimizer that takes steps with a closure cannot train over several processes: use another one.")
        placed = choose(device, self._as_module(), self._placed)
        self._check_sharding(execution, processes)
        self._check_execution(execution, chosen, placed, self._as_module() if own is not None else None)
        self._hold.constraints = ()  # those of the last compile
        if self._around_steps is not None:
            self._around_steps.detach()
        if isinstance(chosen, optimizers.Optimizer):
            if chosen.taken and chosen is not self.optimizer:
                chosen = chosen.for_another_model()  # two models never share the state of an optimizer
            chosen.taken = True
        self._device, self._processes, self._team = placed, processes, team
        self.optimizer, self.objective, self._execution = chosen, objective, execution
        self._weight_modes, self._targets_fed = modes, targets_fed
        self._bound, self._checked, self._borders = False, None, {}
        if self._is_built():
            self._bind()
            self._share_weights()

    def _bind(self) -> None:
        """Give the optimizer the parameters, and lower the training view. The model is built by now."""
        module, objective = self._as_module(), self._compiled("training")
        placed, device = self._placed, self._device
        self._choose_precision(device, module)
        if self._team is not None and self._execution.distributed == "fsdp":
            self._shard(module, device, self._team)
        elif not device_is(module, device):
            module.to(device)
        self._placed, self._device = placed, device
        self._collected = self._trainable_parameters()
        wanted = {id(parameter) for parameter in self._collected}
        self._frozen = [p for p in module.parameters() if p.requires_grad and id(p) not in wanted]
        self._bind_optimizer(self._collected, self._parameter_names(), device)
        self._compiled_steps = CompiledSteps(self) if self._execution.jit_compile else None
        self._hold_weights()
        names = self._signature().output_names
        if names is not None and objective.output_names != names:
            objective.name_outputs(names)
        self._prepare_views(objective)
        self._bound, self._places = True, places_of(self._collected)

    def _hold_weights(self) -> None:
        """See to it that the optimizer holds the weights to their constraints after each step."""
        constraints = self._constraints()
        if isinstance(self.optimizer, optimizers.Optimizer):
            self.optimizer.constraints = constraints
        elif constraints:
            self._hold = optimizers.Hold(constraints)
            self.optimizer.register_step_post_hook(self._hold)
        self._accompany_steps()

    def _prepare_again(self) -> None:
        self._hold.constraints = ()
        self._choose_precision(self._device, self._as_module())
        self._hold_weights()
        self._prepare_views(self._compiled("training"))

    def _bind_if_needed(self) -> None:
        """Bind a compiled model whose weights exist by now; one that was not compiled can still predict."""
        if self._bound:
            if self._around_steps is not None and not self._around_steps.is_attached:
                self._accompany_steps()
            # `places_of`, without its frame: it is asked before every step on a single batch.
            if [*map(place_of, self._collected), *map(strides_of, self._collected)] != self._places:
                self._follow_weights()
        elif self.objective is not None:
            self._bind()

    def _compiled(self, what: str) -> Objective:
        if self.objective is None:
            raise RuntimeError(f"The model is not compiled. Call compile(optimizer, loss, ...) before {what}.")
        return self.objective

    def _warn_of_changes(self) -> None:
        """Warn where `trainable` was changed after `compile`."""
        if self._bound and set(map(id, self._collected)) != set(map(id, self._trainable_parameters())):
            warnings.warn(
                "Discrepancy between trainable weights and collected trainable weights: 'trainable' was changed after compile. "
                "Training goes on as compiled; call compile again for the change to count.",
                UserWarning,
                stacklevel=3,
            )

    def _share_weights(self) -> None:
        """Begin with the same weights in all processes that train together."""

    def _training_together(self, team: Processes) -> AbstractContextManager[None]:
        """Let every training step end with the same gradients in all processes."""
        return nullcontext()

    @property
    def is_first_process(self) -> bool:
        """Whether this process prints and writes files for all that train the model together; `True` for one that is alone."""
        return self._processes is None or self._processes.is_first

    # ------------------------------------------------------------------ what a model tells the trainer; a plain module says little

    def _as_module(self) -> Any:
        return self

    def _overrides_train_step(self) -> bool:
        return False

    def _has_own_steps(self) -> bool:
        """Whether a step is the user's, who calls the model in it."""
        return False

    def _per_output(self, value: Any) -> Any:
        """Return what `compile` was given as a list by outputs where it is nested like them; anything else as it is."""
        return value

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

    def _drawn_names(self) -> list[str] | None:
        """The names of the outputs, where the model says them; what it was seen to return before is another compile's to know."""
        names = self._signature().output_names
        return None if self.objective is not None and names is self.objective.output_names else names

    def _signature_key(self) -> Any:
        """What may change in the signature from call to call; `None` where only a walk through the module would tell."""
        first = first_parameter(self._as_module())
        if first is None or not first.dtype.is_floating_point:
            return None
        names = self.objective.output_names if self.objective is not None else None
        return first.dtype, first.device, names, getattr(self, "_views", {}).get("signature")

    def _is_built(self) -> bool:
        """Whether all parameters exist; a lazy torch module has some that do not."""
        return not any(isinstance(p, nn.parameter.UninitializedParameter) for p in self._as_module().parameters())

    def _trainable_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in parameters_of(self._as_module()) if parameter.requires_grad]

    def _parameter_names(self) -> dict[int, str]:
        """The names of the parameters by their `id`: torch's, and Keras' where there is one, which their tensors are given too."""
        module = self._as_module()
        names = {id(parameter): name for name, parameter in module.named_parameters()}
        for weight in getattr(module, "name_weights", list)():
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
        """Make ready what `_training_outputs` and `_call` run; metrics that the module keeps, for its `forward` to update, are logged."""
        if not self._has_own_steps():
            known = set(map(id, objective.known_metrics()))
            found = resettable_metrics_in(self._as_module())
            objective.added |= {metric.name: metric for metric in found if id(metric) not in known}
            if found and self._team is not None:
                objective.check_mergeable()

    def _for_execution(self, view: Any, training: bool) -> Any:
        """Return a view of the module, which has a `run`, as the steps run it."""
        view = self._in_precision(view if self._sharding is None else self._sharding.over(view))
        has_rows = any(self._signature().output_shapes or [True])
        return view if has_rows or not training else Counted(view, self._compiled("training"))

    def _rows_at_once(self, x: Any, batch_size: int) -> int:
        """How many rows to predict at once where nobody can see that it is more than `batch_size`."""
        return batch_size

    # ------------------------------------------------------------------ modes

    def _begin_figures(self) -> None:
        """Begin an epoch or an evaluation with no figures; the metrics of a model with steps of its own begin anew, too."""
        self._compiled("training").reset()
        if self._has_own_steps():
            reset_metrics_in(self._as_module())
