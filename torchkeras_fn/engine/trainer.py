"""`Trainer`: fit, evaluate and predict for any `nn.Module`. `fit → _run_epoch → train_step → optimizer.step`."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from torchkeras_fn.callbacks.base import CallbackList
from torchkeras_fn.callbacks.history import History
from torchkeras_fn.callbacks.progress import Progress
from torchkeras_fn.engine.basics.logs import Logs
from torchkeras_fn.engine.batches.groups import Listener, at_the_first, at_the_last, in_groups, step_of_groups
from torchkeras_fn.engine.batches.loading import Epochs
from torchkeras_fn.engine.batches.unpacking import parts_of
from torchkeras_fn.engine.batches.workers import Loading
from torchkeras_fn.engine.data import Batch, check_batch_size, is_batches, split
from torchkeras_fn.engine.graphs.graph import graph_of
from torchkeras_fn.engine.layer_parts.reserved_names import parts_in_the_way
from torchkeras_fn.engine.layer_parts.weights import weighted_in
from torchkeras_fn.engine.objective import Objective
from torchkeras_fn.engine.steps.gradient import run_backward
from torchkeras_fn.engine.steps.session import Session
from torchkeras_fn.engine.trainer_parts.batch_methods import BatchMethods
from torchkeras_fn.engine.trainer_parts.custom_steps import CustomSteps
from torchkeras_fn.engine.trainer_parts.generator_methods import GeneratorMethods
from torchkeras_fn.engine.trainer_parts.resuming import Run
from torchkeras_fn.engine.trainer_parts.telling import length_of
from torchkeras_fn.engine.trainer_parts.validation import check_epochs, is_due, parts_of_validation
from torchkeras_fn.saving.methods import Saving

_STEP_NAMES = ("train_step", "test_step", "predict_step")
_STEPS = attrgetter(*_STEP_NAMES)
_NO_GRADIENT = (
    "The loss has no gradient, so nothing would be learned: it does not depend on the trained weights, or it was computed outside "
    "of torch, as numpy, .item() and .detach() do."
)


class Trainer(GeneratorMethods, BatchMethods, Saving, CustomSteps):
    """Gives an `nn.Module` Keras' training methods: `class Net(Trainer, nn.Module)` with a plain `forward`.

    A `forward` with an argument `training` is told the mode, as a `call` is.

    `train_step`, `test_step` and `predict_step` may be overridden; each takes a batch `(x, y, sample_weight)` of tensors
    on the model's device, or, if its argument is called `data` as in Keras, without what there is not: `(x, y)`, say, or `x`. So may
    `compute_loss` and `compute_metrics`, which the steps then call. A step of your own may read any batches: a tuple of more than
    three parts comes as it is; `x` and `y` may be objects, which are moved by their method `to`, texts, or arrays of unequal length.

    Data may be arrays (numpy arrays, tensors, nested lists, data frames, sparse matrices, HDF5 data sets, memory maps; lists
    or dicts of them for several inputs and outputs), or give batches: a `Sequence`, a generator, a torch data set or a
    `DataLoader`.

    >>> import numpy as np
    >>> import torch
    >>> class Net(Trainer, torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = torch.nn.Linear(3, 1)
    ...     def forward(self, x):
    ...         return self.linear(x)
    >>> net = Net()
    >>> net.compile("sgd", "mse")
    >>> history = net.fit(np.ones((8, 3)), np.ones(8), epochs=2, verbose=0)
    >>> net.predict(np.ones((2, 3))).shape
    (2, 1)
    """

    stop_training: bool = False

    def _overrides_train_step(self) -> bool:
        return type(self).train_step is not Trainer.train_step or self._has_own_parts

    def _has_own_steps(self) -> bool:
        return self._has_own_parts or _STEPS(type(self)) != _STEPS(Trainer) or not self.__dict__.keys().isdisjoint(_STEP_NAMES)

    def _is_built(self) -> bool:
        """Whether all parameters exist; those of this library's layers in the module are made for the first data, too."""
        module = self._as_module()
        return super()._is_built() and all(part.built for part in weighted_in(module) if part is not module)

    def _names_are_known(self) -> bool:
        """Whether no figure will come up that `metrics_names` does not name before the first batch."""
        return self._compiled("fit").output_names is not None and not self._has_own_steps()

    @property
    def metrics_names(self) -> list[str]:
        """The labels of what `evaluate` and the `*_on_batch` methods return."""
        return self._compiled("metrics_names").metrics_names

    def _check_names(self) -> None:
        """Raise `ValueError` where the module keeps a part under a name of this class, which a `forward` would find in its place."""
        objective = dict(getattr(self, "named_children", dict)()).get("objective", self.objective)
        for name, part in {"objective": objective, **parts_in_the_way(type(self), Trainer, self._as_module())}.items():
            if not (part is None or isinstance(part, Objective)):
                raise ValueError(
                    f"A Trainer has something of its own as {name!r}, so {type(self).__name__} cannot keep {repr(part):.100} as that: "
                    "give the attribute another name."
                )

    def _warn_of_nothing_to_train(self) -> None:
        """Warn where no parameter of a module is trained, unless a step of the user's does it. What was drawn says it by its weights."""
        module = self._as_module()
        if self._overrides_train_step() or graph_of(module) is not None:
            return
        reason, advice = "all of them are frozen", "Set trainable, or requires_grad, to True for those to learn, and call compile again."
        if next(module.parameters(), None) is None:
            reason, advice = "it has no parameters", "Keep its layers in attributes, or in an nn.ModuleList or nn.ModuleDict."
        warnings.warn(f"The model has no weights to train: {reason}. fit computes the loss, but learns nothing. {advice}", stacklevel=3)

    # ------------------------------------------------------------------ the three steps

    def train_step(self, batch: Batch) -> Mapping[str, Any]:
        """Train on a batch `(x, y, sample_weight)`, and return the figures of the epoch so far.

        An overriding method may return any dict of names to scalars or tensors: the last one is the epoch's. Metrics in
        the model's attributes begin anew with each epoch and evaluation.
        """
        x, y, sample_weight = batch if type(batch) is tuple and len(batch) == 3 else parts_of(batch)
        objective: Any = self.objective
        figures, back = objective.running, None
        if self._has_own_parts:
            loss, figures = self._of_own_parts(x, y, sample_weight, training=True)
        else:
            run = self._training_outputs if self._replica.run is None else self._replica.run
            outputs = run(x) if True in self._spares_data else self._run_on_copies(run, x, True)
            loss = objective.loss(outputs, y, sample_weight)
            objective.track(loss, outputs, y, sample_weight)
            back = outputs.back
        if loss.requires_grad:
            self.optimizer.zero_grad()
            run_backward(loss if self._scale_loss is None else self._scale_loss(loss))
            if back is not None:
                back()
            self.optimizer.step()
        elif self._collected:  # else every layer is frozen
            raise ValueError(_NO_GRADIENT)
        return figures if type(self).train_step is Trainer.train_step else dict(figures)  # which an overriding method may add to

    _usual_train_step = train_step
    """The step that a subclass may override."""

    def test_step(self, batch: Batch) -> Mapping[str, Any]:
        """Evaluate a batch `(x, y, sample_weight)`, and return the figures so far."""
        x, y, sample_weight = batch if type(batch) is tuple and len(batch) == 3 else parts_of(batch)
        objective: Any = self.objective
        figures = objective.running
        if self._has_own_parts:
            _, figures = self._of_own_parts(x, y, sample_weight, training=False)
        else:
            run = self._training_outputs
            outputs = run(x) if False in self._spares_data else self._run_on_copies(run, x, False)
            loss = objective.loss(outputs, y, sample_weight)
            objective.track(loss, outputs, y, sample_weight)
        return figures if type(self).test_step is Trainer.test_step else dict(figures)

    def predict_step(self, batch: Batch) -> Any:
        """Return the outputs for a batch, of which only `x` counts."""
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        return self._call(x) if False in self._spares_data else self._run_on_copies(self._call, x, False)

    # ------------------------------------------------------------------ the one loop

    def _run_epoch(
        self,
        batches: Iterable[Any],
        step: Callable[[Any], Any],
        before: Sequence[Listener] = (),
        after: Sequence[Listener] = (),
        done: int = 0,
        result: Any = None,
        each: Sequence[Listener] = (),
    ) -> Any:
        """Take a step for every batch, telling the listeners; return what the last step returned.

        Batches that are `done`, in another process, left their `result`. Setting `stop_training` ends an epoch of training,
        but neither an evaluation nor a prediction. With `steps_per_execution`, what the loop sees are groups of batches;
        only listeners in `each` are told of every one.
        """
        training = self._in_training and self._team is None  # several processes see to it that they stop together
        count = self._execution.steps_per_execution
        if count > 1:
            batches, step, done = in_groups(batches, count, done), step_of_groups(step, each), 0
            before, after = at_the_first(before), at_the_last(after)
        else:
            after = [*each, *after]
        for index, batch in enumerate(batches, done):
            for listen in before:
                listen(index, batch, None)
            result = step(batch)
            for listen in after:
                listen(index, batch, result)
            if training and self.stop_training:
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
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
    ) -> History:
        """Train from epoch `initial_epoch` up to epoch `epochs`, counted from 0, and return the `History`.

        `batch_size` is 32 unless given. `validation_split` keeps the last rows of arrays apart; `validation_data`
        overrides it: `(x, y)`, `(x, y, sample_weight)`, or anything that gives batches, of which `validation_steps` are read.
        `validation_freq=n` validates after every n epochs, a list after those in it, counted from 1. An epoch without a validation,
        or for which a generator had no batch left, has no `val_` figures: the history holds fewer of them. `shuffle` may be `'batch'`, for
        data that is best read in whole slices. `class_weight` is a dict from class to weight, or a list or dict of them
        by output; it multiplies `sample_weight`. `steps_per_epoch` is needed for a generator, which may be endless.
        `verbose` is 1 for a bar, 2 for a line an epoch, 0 for silence. `workers` threads (0: none), or processes with
        `use_multiprocessing`, keep up to `max_queue_size` batches ready.

        Raises `RuntimeError` before `compile`, and `ValueError` or `TypeError` for data or arguments that do not fit, in which case
        nothing has changed.
        """
        self._compiled("fit")
        progress, loading = self._progress(verbose), Loading(workers, use_multiprocessing, max_queue_size)
        if shuffle not in (True, False, "batch"):
            raise ValueError(f"shuffle is True, False or 'batch', got {shuffle!r}.")
        if not type(epochs) is type(initial_epoch) is type(validation_freq) is int or min(epochs, initial_epoch, validation_freq - 1) < 0:
            check_epochs(epochs, initial_epoch, validation_freq)
        self._warn_of_changes()
        size = check_batch_size(batch_size)
        with self._failing_together():
            with self._together():
                if validation_split and validation_data is None:
                    if is_batches(x):
                        raise ValueError(f"validation_split needs arrays, which have rows to keep apart; got a {type(x).__name__}.")
                    needs_targets = y is not None or not self._takes_what_comes("train_step")
                    arrays = self._ready_arrays(x, y, sample_weight, needs_targets)
                    train_arrays, kept_apart = split(arrays, validation_split)
                    train = self._open_arrays(train_arrays, size, shuffle, steps_per_epoch, class_weight)
                    validation: Epochs | None = self._open_arrays(kept_apart, validation_batch_size or size, False, validation_steps)
                else:
                    train = self._open(x, y, sample_weight, size, shuffle, steps_per_epoch, loading, class_weight, step="train_step")
                    validation = self._open_validation(validation_data, validation_batch_size or size, validation_steps, loading)
            if self._bound and not self._collected:
                self._warn_of_nothing_to_train()
            listeners, history = self._listeners(callbacks, train, validation, epochs, progress, size)
            self.__dict__["stop_training"] = False  # past the `__setattr__` of modules, which is slow
            listeners.tell("on_train_begin", {})
            self._meet()
            logs: Logs | None = None
            try:
                run = Run(self, train, validation, listeners, initial_epoch, epochs)
                for epoch in run.epochs_to_do():
                    validating = validation if validation is not None and is_due(epoch, validation_freq) else None
                    logs = self._fit_epoch(epoch, epochs, train, validating, listeners, progress, run) or logs
                    self._agree_to_stop()
                    run.epoch_is_over(epoch)
                    if self.stop_training or train.exhausted:
                        break
            finally:
                progress.abandon()
                train.close()
                if validation is not None:
                    validation.close()
            self._finalize_weights()
            listeners.tell("on_train_end", logs or {})
            self._meet()
            run.is_over()
            return history

    def _open_validation(self, data: Any, size: int, steps: int | None, loading: Loading) -> Epochs | None:
        return None if data is None else self._open(*parts_of_validation(data), batch_size=size, steps=steps, loading=loading)

    def _fit_epoch(
        self, epoch: int, epochs: int, train: Epochs, validation: Epochs | None, listeners: CallbackList, progress: Progress, run: Run
    ) -> Logs | None:
        """Train for an epoch, and return its figures; `None` where the data had ended with the epoch before."""
        progress.begin(f"Epoch {epoch + 1}/{epochs}", length_of(train), run.batch)
        listeners.tell("on_epoch_begin", epoch, {})
        self._meet()
        before, after = self._hooks(listeners, "train", progress)
        with Session(self, training=True, gathers=True):
            self._begin_figures()
            done, result, stopped = run.begin_epoch()
            after += run.batch_listeners(epoch)
            told = before or after[int(progress.active) :]  # by more than the bar
            may_stop = self.stop_training or self._overrides_train_step() or bool(told)
            batches, step = self._in_lockstep(train, self._training_step(), may_stop, bool(before), last=result)
            result = self._run_epoch(() if stopped else batches, step, before, after, done, result)
            self._agree_to_stop()
            if result is None and train.exhausted:
                progress.abandon()
                return None
            self._share_buffers()
            logs = self._figures_of_all(result, batches)
        if validation is not None:
            logs.update({f"val_{name}": figure for name, figure in self._evaluate(validation, listeners).items()})
        progress.end(logs)
        listeners.tell("on_epoch_end", epoch, logs)
        return logs

    # ------------------------------------------------------------------ evaluate, predict

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = 1,
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
    ) -> Any:
        """Return the loss, or a list of the loss and the metrics (see `metrics_names`); a dict with `return_dict=True`.

        Data is what `fit` takes. `steps` batches are read, all of them unless given.
        """
        self._compiled("evaluate")
        progress, loading = self._progress(verbose), Loading(workers, use_multiprocessing, max_queue_size)
        with self._failing_together():
            with self._together():
                batches = self._open(x, y, sample_weight, batch_size, False, steps, loading)
            self._share_buffers()
            listeners = self._told(callbacks, batches, progress, {"batch_size": check_batch_size(batch_size)})
            try:
                return self._returned(self._evaluate(batches, listeners, progress), return_dict)
            finally:
                progress.abandon()
                batches.close()

    def _evaluate(self, batches: Epochs, listeners: CallbackList, progress: Progress | None = None) -> dict[str, Any]:
        """Return the figures of all batches, in inference mode."""
        batches.rewind()
        if progress is not None:
            progress.begin("Evaluate", length_of(batches))
        listeners.tell("on_test_begin", {})
        with Session(self, training=False, gathers=True):
            self._begin_figures()
            shared, step = self._in_lockstep(batches, self._as_given(self.test_step))
            result = self._run_epoch(shared, step, *self._hooks(listeners, "test", progress))
            figures = self._figures_of_all(result, shared)
        if progress is not None:
            progress.end(figures)
        listeners.tell("on_test_end", figures)
        return figures.figures

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = 0,
        steps: int | None = None,
        callbacks: Any = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
    ) -> Any:
        """Return the outputs as numpy arrays, in the order of the samples: one array, or a list (or dict) of them.

        Data is what `fit` takes, of which only `x` counts; the model need not be compiled.
        """
        progress, loading = self._progress(verbose), Loading(workers, use_multiprocessing, max_queue_size)
        unseen = not (callbacks or progress.verbose or steps or self._team) and type(self).predict_step is Trainer.predict_step
        size = self._rows_at_once(x, check_batch_size(batch_size)) if unseen else batch_size
        with self._failing_together():
            with self._together():
                batches = self._open(x, None, None, size, False, steps, loading, with_targets=False, step="predict_step")
            self._share_buffers()
            listeners = self._told(callbacks, batches, progress, {"batch_size": check_batch_size(batch_size)})
            shared, step, sink = self._to_predict(batches, batches.samples if steps is None else None)
            before, after = self._hooks(listeners, "predict", progress)
            progress.begin("Predict", length_of(batches))
            listeners.tell("on_predict_begin", {})
            try:
                with Session(self, training=False):
                    self._run_epoch(shared, step, before, after, 0, None, [sink.take])
                progress.end({})
            finally:
                progress.abandon()
                batches.close()
            listeners.tell("on_predict_end", {})
            return sink.result()
