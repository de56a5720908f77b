"""The methods for a single batch: `train_on_batch`, `test_on_batch` and `predict_on_batch`. They take the steps that `fit` takes."""

from collections.abc import Mapping
from typing import Any

from torchkeras_fn.engine.batches.sink import Sink
from torchkeras_fn.engine.outputs.figures import Running
from torchkeras_fn.engine.steps.session import Session
from torchkeras_fn.engine.trainer_parts.custom_steps import CustomSteps


class BatchMethods(CustomSteps):
    """The part of a `Trainer` that works on one batch, without callbacks. A mixin for any `nn.Module`."""

    train_step: Any
    test_step: Any
    predict_step: Any
    _usual_train_step: Any
    _warn_of_nothing_to_train: Any

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False) -> Any:
        """Take one training step on the batch, and return its figures as `evaluate` does."""
        objective = self._compiled("train_on_batch")
        team = self._team
        batch = (self._batch if team is None else self._batch_of_all)(x, y, sample_weight, class_weight)
        if self._bound and not self._collected:
            self._warn_of_nothing_to_train()
        with Session(self, training=True, gathers=True):
            objective.reset()
            is_own = type(self).train_step is not type(self)._usual_train_step or "train_step" in self.__dict__
            is_usual = not is_own and self._compiled_steps is None
            step = self.train_step if is_usual else self._training_step()
            figures = step(batch) if team is None else self._step_of_all(team, step, batch)
            return self._returned(figures, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Return the figures of the batch, in inference mode, as `evaluate` does."""
        objective = self._compiled("test_on_batch")
        team = self._team
        batch = (self._batch if team is None else self._batch_of_all)(x, y, sample_weight, None, True, "test_step")
        with Session(self, training=False, gathers=True):
            objective.reset()
            step = self._as_given(self.test_step)
            figures = step(batch) if team is None else self._step_of_all(team, step, batch)
            return self._returned(figures, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch as numpy arrays."""
        batch = self._batch(x, with_targets=False, step="predict_step")
        sink = Sink(None)
        with Session(self, training=False):
            sink.take(0, batch, self._as_given(self.predict_step)(batch))
        return sink.result()

    def _returned(self, figures: Mapping[str, Any], return_dict: bool) -> Any:
        read = figures.numbers() if isinstance(figures, Running) else dict(self._figures(figures))
        if return_dict:
            return read
        return list(read.values()) if len(read) > 1 else next(iter(read.values()), None)
