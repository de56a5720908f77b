"""`Trainer`: compile, fit, evaluate and predict for any `nn.Module`. `fit → _run_epoch → train_step → optimizer.step`."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn import config, optimizers
from torchkeras_fn.callbacks.base import CallbackList
from torchkeras_fn.callbacks.history import History
from torchkeras_fn.callbacks.progress import Progress
from torchkeras_fn.engine.data import ArrayBatches, Arrays, Batch, Signature, arrays_of, check_batch_size, split
from torchkeras_fn.engine.device import choose, device_of, to_host
from torchkeras_fn.engine.inference import InferenceError, Spec, infer, inference_mode_of
from torchkeras_fn.engine.lowering import TrainingOutputs
from torchkeras_fn.engine.objective import Logs, Objective

Listener = Callable[[int, Any, Any], None]


class Trainer:
    """Gives an `nn.Module` Keras' training methods: `class Net(Trainer, nn.Module)` with a plain `forward`.

    `train_step`, `test_step` and `predict_step` may be overridden; each takes a batch `(x, y, sample_weight)` of tensors
    on the model's device.

    >>> class Net(Trainer, nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = nn.Linear(3, 1)
    ...     def forward(self, x):
    ...         return self.linear(x)
    >>> net = Net()
    >>> net.compile("sgd", "mse")
    >>> history = net.fit(np.ones((8, 3)), np.ones(8), epochs=2, verbose=0)
    >>> net.predict(np.ones((2, 3))).shape
    (2, 1)
    """

    optimizer: Any = None
    objective: Objective | None = None
    history: Any = None
    stop_training: bool = False
    _placed = False
    _bound = False
    _frozen: Sequence[nn.Parameter] = ()
    _checked: Any = None

    # ------------------------------------------------------------------ compile

    def compile(  # type: ignore[override]
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
    ) -> None:
        """Choose how to train.

        `optimizer` is a name, an `Optimizer`, or a torch optimizer, class or `functools.partial`. `loss`, `metrics`,
        `loss_weights` and `weighted_metrics` are one value for all outputs, a list in their order, or a dict by their
        names; losses may be names, `Loss` objects, functions `(y_true, y_pred)`, or torch losses. `device` is the best
        one there is unless given; a model that was moved with `.to()` stays where it is. Weights are kept.

        Raises `ValueError` for an unknown or unfit argument and `RuntimeError` for a device that is not there; the
        model is then as it was.
        """
        chosen = optimizers.get(optimizer)
        objective = Objective(loss, metrics, loss_weights, weighted_metrics, self._signature().output_names)
        if loss is None and type(self).train_step is Trainer.train_step and not self._has_loss_terms():
            raise ValueError("There is nothing to train on: give a loss, or add one with add_loss, or override train_step.")
        placed = choose(device, self._as_module(), self._placed)
        if isinstance(chosen, optimizers.Optimizer) and chosen.torch_optimizer is not None and chosen is not self.optimizer:
            chosen = type(chosen).from_config(chosen.get_config())
        self._device = placed
        self.optimizer, self.objective = chosen, objective
        self._bound, self._checked = False, None
        if self._is_built():
            self._bind()

    def _move(self) -> None:
        """Put the module on its device, without counting that as the user's doing."""
        placed = self._placed
        if not device_is(self._as_module(), self._device):
            self._as_module().to(self._device)
        self._placed = placed

    def _bind(self) -> None:
        """Give the optimizer the parameters, and lower the training view. The model is built by now."""
        module, objective = self._as_module(), self._compiled("train")
        self._move()
        parameters = self._trainable_parameters()
        wanted = {id(parameter) for parameter in parameters}
        self._frozen = [p for p in module.parameters() if p.requires_grad and id(p) not in wanted]
        if isinstance(self.optimizer, optimizers.Optimizer):
            self.optimizer.bind(parameters, self._constraints())
        elif not isinstance(self.optimizer, torch.optim.Optimizer):
            self.optimizer = self.optimizer(parameters)
        names = self._signature().output_names
        if objective.output_names is None and names is not None:
            objective.name_outputs(names)
        self._prepare_views(objective)
        self._bound = True

    @property
    def metrics_names(self) -> list[str]:
        """The labels of what `evaluate` and the `*_on_batch` methods return."""
        return self._compiled("metrics_names").metrics_names

    def _compiled(self, method: str) -> Objective:
        if self.objective is None:
            raise RuntimeError(f"The model is not compiled. Call compile(optimizer, loss, ...) before {method}.")
        return self.objective

    # ------------------------------------------------------------------ what a model tells the trainer; a plain module says little

    def _as_module(self) -> Any:
        return self

    def _forward_function(self) -> Callable[..., Any]:
        return self._as_module().forward  # type: ignore[no-any-return]

    def _signature(self) -> Signature:
        """Say what data the model takes."""
        module = self._as_module()
        floats = next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), config.dtype(None))
        names = self.objective.output_names if self.objective is not None else None
        return Signature(output_names=names, float_dtype=floats, device=device_of(module))

    def _is_built(self) -> bool:
        """Whether all parameters exist; a lazy torch module has some that do not."""
        return not any(isinstance(p, nn.parameter.UninitializedParameter) for p in self._as_module().parameters())

    def _trainable_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._as_module().parameters() if parameter.requires_grad]

    def _constraints(self) -> list[Callable[[], None]]:
        return []

    def _has_loss_terms(self) -> bool:
        return False

    def _prepare_views(self, objective: Objective) -> None:
        """Make ready what `_training_outputs` and `_inference_outputs` run."""

    def _call(self, x: Any) -> Any:
        """Call the module the way its `forward` takes its inputs: a list as several arguments, a dict by keyword."""
        if isinstance(x, torch.Tensor):
            return self(x)  # type: ignore[operator]
        if isinstance(x, Mapping):
            return self(**x) if self._forward_takes(x) else self(x)  # type: ignore[operator]
        return self(*x) if self._forward_takes(x) else self(x)  # type: ignore[operator]

    def _forward_takes(self, x: Any) -> bool:
        parameters = inspect.signature(self._forward_function()).parameters.values()
        if any(p.kind is (p.VAR_KEYWORD if isinstance(x, Mapping) else p.VAR_POSITIONAL) for p in parameters):
            return True
        if isinstance(x, Mapping):
            return set(x) <= {p.name for p in parameters}
        needed = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        return len(needed) >= len(x)

    def _training_outputs(self, x: Any) -> TrainingOutputs:
        """Run forward for a step that needs the loss."""
        predictions = self._call(x)
        values = list(predictions.values()) if isinstance(predictions, Mapping) else predictions
        values = values if isinstance(values, (list, tuple)) else (values,)
        objective = self._compiled("train")
        if objective.output_names is None:
            objective.outputs_for(predictions)
        return TrainingOutputs(values, (None,) * len(values), ())

    # ------------------------------------------------------------------ the three steps

    def train_step(self, batch: Batch) -> Mapping[str, Any]:
        """Train on a batch `(x, y, sample_weight)`, and return the figures of the epoch so far.

        An overriding method may return any dict of names to scalars or tensors: the last one is the epoch's.
        """
        x, y, sample_weight = batch
        objective: Any = self.objective
        outputs = self._training_outputs(x)
        loss = objective.loss(outputs, y, sample_weight)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        objective.track(loss, outputs, y, sample_weight)
        return objective.running  # type: ignore[no-any-return]

    def test_step(self, batch: Batch) -> Mapping[str, Any]:
        """Evaluate a batch `(x, y, sample_weight)`, and return the figures so far."""
        x, y, sample_weight = batch
        objective: Any = self.objective
        outputs = self._training_outputs(x)
        loss = objective.loss(outputs, y, sample_weight)
        objective.track(loss, outputs, y, sample_weight)
        return objective.running  # type: ignore[no-any-return]

    def predict_step(self, batch: Batch) -> Any:
        """Return the outputs for a batch, of which only `x` counts."""
        return self._call(batch[0])

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> torch.Tensor:
        """Return the compiled loss of predictions that `self(x)` returned; for an overridden `train_step`."""
        outputs = self._plain_outputs(y_pred)
        return self._compiled("compute_loss").loss(outputs, y, sample_weight, is_logits=False)

    def compute_metrics(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Mapping[str, Any]:
        """Let the compiled metrics take in predictions that `self(x)` returned, and return the figures so far."""
        objective = self._compiled("compute_metrics")
        outputs = self._plain_outputs(y_pred)
        with torch.no_grad():
            loss = objective.loss(outputs, y, sample_weight, is_logits=False)
            objective.track(loss, outputs, y, sample_weight, is_logits=False)
        return objective.running

    def _plain_outputs(self, y_pred: Any) -> TrainingOutputs:
        objective = self._compiled("compute_loss")
        objective.outputs_for(y_pred)
        values = list(y_pred.values()) if isinstance(y_pred, Mapping) else y_pred
        values = values if isinstance(values, (list, tuple)) else [values]
        return TrainingOutputs(values, [None] * len(values), ())

    # ------------------------------------------------------------------ the one loop

    def _run_epoch(
        self, batches: Iterable[Batch], step: Callable[[Batch], Any], before: Sequence[Listener] = (), after: Sequence[Listener] = ()
    ) -> Any:
        """Take a step for every batch, telling the listeners; return what the last step returned."""
        result = None
        for index, batch in enumerate(batches):
            for listen in before:
                listen(index, batch, None)
            result = step(batch)
            for listen in after:
                listen(index, batch, result)
            if self.stop_training:
                break
        return result

    # ------------------------------------------------------------------ fit

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = 1,
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: Any = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
    ) -> History:
        """Train for `epochs` epochs on arrays (or lists or dicts of them), and return the `History`.

        `validation_split` keeps the last rows apart, `validation_data` is `(x, y)` or `(x, y, sample_weight)`.
        `verbose` is 1 for a bar, 2 for a line an epoch, 0 for silence. Raises `RuntimeError` before `compile` and
        `ValueError` for data that does not fit, in which case nothing has changed.
        """
        objective = self._compiled("fit")
        progress = Progress(verbose)
        size = check_batch_size(batch_size)
        train = self._arrays(x, y, sample_weight)
        validation = None
        if validation_data is not None:
            validation = self._arrays(*_parts(validation_data))
        elif validation_split:
            train, validation = split(train, validation_split)
        self._make_ready(train)
        batches = ArrayBatches(train, size, bool(shuffle), self._signature())
        validation_batches = None if validation is None else ArrayBatches(validation, size, False, self._signature())
        history = History()
        parameters = {"epochs": epochs, "steps": len(batches), "verbose": progress.verbose, "samples": train.samples, "batch_size": size}
        listeners = CallbackList([*_as_list(callbacks), history], self, {**parameters, "metrics": self._log_names(validation is not None)})
        self.history = history
        self.stop_training = False
        listeners.tell("on_train_begin", {})
        try:
            for epoch in range(initial_epoch, epochs):
                progress.begin(f"Epoch {epoch + 1}/{epochs}", len(batches))
                listeners.tell("on_epoch_begin", epoch, {})
                objective.reset()
                with self._session(training=True):
                    figures = self._run_epoch(batches, self.train_step, *self._hooks(listeners, "train", progress))
                logs = self._epoch_logs(figures)
                if validation_batches is not None and not self.stop_training:
                    logs.figures |= {f"val_{name}": figure for name, figure in self._evaluate(validation_batches, listeners).items()}
                progress.end(logs)
                listeners.tell("on_epoch_end", epoch, logs)
                if self.stop_training:
                    break
        finally:
            progress.abandon()
        listeners.tell("on_train_end", {})
        return history

    def _log_names(self, validated: bool) -> list[str]:
        names = self._compiled("fit").metrics_names
        return names + [f"val_{name}" for name in names] if validated else names

    def _hooks(self, listeners: CallbackList, stage: str, progress: Progress | None = None) -> tuple[list[Listener], list[Listener]]:
        """The listeners of each batch: only those that somebody overrode, and the bar."""

        def telling(listener: Callable[..., None], with_figures: bool) -> Listener:
            def tell(index: int, batch: Batch, result: Any) -> None:
                figures = self._epoch_logs(result).figures if with_figures else {}
                listener(index, Logs({"batch": index, "size": _samples(batch[0]), **figures}))

            return tell

        before = [telling(listener, False) for listener in listeners.listeners(f"on_{stage}_batch_begin")]
        after = [telling(listener, stage != "predict") for listener in listeners.listeners(f"on_{stage}_batch_end")]
        if progress is not None and progress.active:
            after.insert(0, lambda index, batch, result: progress.step(lambda: self._epoch_logs(result)))
        return before, after

    def _epoch_logs(self, result: Any) -> Logs:
        """The figures behind what a step returned, as they are now."""
        return Logs(result or {})

    # ------------------------------------------------------------------ evaluate, predict

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: Any = 1, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Return the loss, or a list of the loss and the metrics (see `metrics_names`); a dict with `return_dict=True`."""
        self._compiled("evaluate")
        progress = Progress(verbose)
        arrays = self._arrays(x, y, sample_weight)
        self._make_ready(arrays)
        batches = ArrayBatches(arrays, check_batch_size(batch_size), False, self._signature())
        return self._returned(self._evaluate(batches, CallbackList((), self), progress), return_dict)

    def _evaluate(self, batches: Any, listeners: CallbackList, progress: Progress | None = None) -> dict[str, Any]:
        """Return the figures of all batches, in inference mode, without touching those of the epoch being trained."""
        self._compiled("evaluate").reset()
        if progress is not None:
            progress.begin("Evaluate", len(batches))
        listeners.tell("on_test_begin", {})
        with self._session(training=False):
            figures = self._epoch_logs(self._run_epoch(batches, self.test_step, *self._hooks(listeners, "test", progress)))
        if progress is not None:
            progress.end(figures)
        listeners.tell("on_test_end", figures)
        return figures.figures

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = 0, callbacks: Any = None) -> Any:
        """Return the outputs as numpy arrays, in the order of the samples: one array, or a list (or dict) of them."""
        progress = Progress(verbose)
        arrays = self._arrays(x, None, None, targets=False)
        batches = ArrayBatches(arrays, check_batch_size(batch_size), False, self._signature())
        listeners = CallbackList(_as_list(callbacks), self)
        sink = _Sink(arrays.samples)
        before, after = self._hooks(listeners, "predict", progress)
        progress.begin("Predict", len(batches))
        listeners.tell("on_predict_begin", {})
        with self._session(training=False):
            self._run_epoch(batches, self.predict_step, before, [sink.take, *after])
        progress.end({})
        listeners.tell("on_predict_end", {})
        return sink.result()

    # ------------------------------------------------------------------ one batch

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False) -> Any:
        """Take one training step on the batch, and return its figures as `evaluate` does."""
        objective = self._compiled("train_on_batch")
        batch = self._batch(x, y, sample_weight)
        objective.reset()
        with self._session(training=True):
            figures = self.train_step(batch)
        return self._returned(self._epoch_logs(figures).figures, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return the figures of the batch, in inference mode, as `evaluate` does."""
        objective = self._compiled("test_on_batch")
        batch = self._batch(x, y, sample_weight)
        objective.reset()
        with self._session(training=False):
            figures = self.test_step(batch)
        return self._returned(self._epoch_logs(figures).figures, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch as numpy arrays."""
        arrays = self._arrays(x, None, None, targets=False)
        sink = _Sink(arrays.samples)
        with self._session(training=False):
            batch = next(iter(ArrayBatches(arrays, arrays.samples, False, self._signature())))
            sink.take(0, batch, self.predict_step(batch))
        return sink.result()

    def _batch(self, x: Any, y: Any, sample_weight: Any) -> Batch:
        arrays = self._arrays(x, y, sample_weight)
        self._make_ready(arrays)
        return next(iter(ArrayBatches(arrays, arrays.samples, False, self._signature())))

    def _returned(self, figures: Mapping[str, Any], return_dict: bool) -> Any:
        logs = Logs(figures)
        if return_dict:
            return dict(logs)
        return list(logs.values()) if len(logs) > 1 else next(iter(logs.values()), None)

    # ------------------------------------------------------------------ getting ready

    def _arrays(self, x: Any, y: Any, sample_weight: Any, targets: bool = True) -> Arrays:
        if not self._is_built():
            self._build_for(arrays_of(x, None, None, self._signature(), None))
        wanted = self.objective.targets if targets and self.objective is not None and self.objective.outputs else None
        return arrays_of(x, y, sample_weight, self._signature(), wanted)

    def _make_ready(self, arrays: Arrays) -> None:
        """Build and bind the model for this data, and check that outputs and targets agree."""
        if not self._bound:
            self._bind()
        objective, shapes = self._compiled("fit"), self._output_shapes(arrays)
        if shapes is not None:
            if objective.output_names is None and not isinstance(shapes, Mapping):
                objective.outputs_for(shapes)
            objective.check(list(shapes.values()) if isinstance(shapes, Mapping) else shapes, arrays.y)

    def _build_for(self, arrays: Arrays) -> None:
        """Create the weights that depend on the data's shape."""
        self._inferred_outputs(arrays)
        if not self._is_built():
            with torch.no_grad(), inference_mode_of(self._as_module()):
                self._call(next(iter(ArrayBatches(arrays.part(0, 1), 1, False, self._signature())))[0])

    def _output_shapes(self, arrays: Arrays) -> Any:
        """The shapes of the outputs for this data, as far as they can be told without running on it."""
        known = [(tuple(tensor.shape[1:]), tensor.dtype) for tensor in arrays.x]
        if self._checked is None or self._checked[0] != known:
            self._checked = (known, self._inferred_outputs(arrays))
        return self._checked[1]

    def _inferred_outputs(self, arrays: Arrays) -> Any:
        signature = self._signature()
        specs = []
        for tensor, dtype in zip(arrays.x, arrays.x_dtypes, strict=True):
            seen = dtype or (signature.float_dtype if tensor.dtype.is_floating_point else tensor.dtype)
            specs.append(Spec.of((None, *tensor.shape[1:]), seen))
        try:
            with inference_mode_of(self._as_module()):
                outputs = infer(self._call, (arrays.rebuild(specs),), {}, device=signature.device)
        except InferenceError:
            return None
        if isinstance(outputs, Mapping):
            return {name: spec.shape for name, spec in outputs.items()}
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return [spec.shape for spec in outputs] if all(isinstance(spec, Spec) for spec in outputs) else None

    @contextmanager
    def _session(self, training: bool) -> Iterator[None]:
        """Run in training or inference mode, and leave the modes and the parameters' flags as they were."""
        module = self._as_module()
        modes = [(part, part.training) for part in module.modules()]
        module.train(training)
        frozen = list(self._frozen) if training else []
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            with torch.enable_grad() if training else torch.inference_mode():
                yield
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)
            for part, mode in modes:
                part.training = mode

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


class _Sink:
    """Takes the outputs of each batch into one array that is as long as all samples; a list of arrays for several outputs."""

    def __init__(self, samples: int):
        self.samples = samples
        self.filled = 0
        self.arrays: list[torch.Tensor] = []
        self.structure: Any = None

    def take(self, index: int, batch: Batch, outputs: Any) -> None:
        """Copy the outputs of a batch behind those that came before."""
        values = list(outputs.values()) if isinstance(outputs, Mapping) else list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        hosted = [to_host(value) for value in values]
        if self.structure is None:
            self.structure = outputs if isinstance(outputs, Mapping) else list if isinstance(outputs, (list, tuple)) else None
            self.arrays = [torch.empty((self.samples, *value.shape[1:]), dtype=value.dtype) for value in hosted]
        for array, value in zip(self.arrays, hosted, strict=True):
            array[self.filled : self.filled + len(value)] = value
        self.filled += len(hosted[0])

    def result(self) -> Any:
        """Return the filled arrays as numpy, in the structure of the outputs."""
        arrays: list[np.ndarray] = [array.numpy() for array in self.arrays]
        if isinstance(self.structure, Mapping):
            return dict(zip(self.structure, arrays, strict=True))
        return arrays if self.structure is list else arrays[0]


def device_is(module: nn.Module, device: torch.device) -> bool:
    """Return whether all of a module is on the device."""
    return all(tensor.device == device for tensor in [*module.parameters(), *module.buffers()])


def _parts(validation_data: Any) -> tuple[Any, Any, Any]:
    if not isinstance(validation_data, (list, tuple)) or len(validation_data) not in (2, 3):
        count = len(validation_data) if isinstance(validation_data, (list, tuple)) else type(validation_data).__name__
        raise ValueError(f"validation_data is (x, y) or (x, y, sample_weight), got {count}.")
    x, y, *weight = validation_data
    return x, y, weight[0] if weight else None


def _as_list(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]


def _samples(x: Any) -> int:
    first = next(iter(x.values())) if isinstance(x, Mapping) else x if isinstance(x, torch.Tensor) else x[0]
    return len(first)

