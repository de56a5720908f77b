"""`MonitorCallback`: what the callbacks that watch one figure share: is it there, and is it better than before?"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from torchkeras_fn.arguments import number, one_of
from torchkeras_fn.callbacks.callback import Callback, overrides
from torchkeras_fn.engine.basics.logs import known_name
from torchkeras_fn.metrics.direction import is_higher_better


class MonitorCallback(Callback):
    """A base for callbacks that watch the figure `monitor`.

    It is better when it is smaller with `mode='min'`, larger with `'max'`; `'auto'` asks the compiled metrics. It has to
    be so by more than `min_delta`, and better than `baseline` to begin with. NaN is never better. As in Keras, `monitor_op`
    is `np.less` or `np.greater`, and `min_delta` is negative for the first, once that is known.

    Raises `ValueError` when training begins, or after the first epoch where it cannot be told before, for a name that
    no figure has and for a figure of which `'auto'` cannot tell what is better.

    >>> watcher = MonitorCallback("val_loss", mode="min", min_delta=0.1)
    >>> watcher._is_improvement(0.5, 0.55), watcher._is_improvement(0.4, 0.55)
    (False, True)
    """

    monitor_op: Callable[[Any, Any], Any] | None = None
    _seen = False

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", baseline: float | None = None, min_delta: float = 0):
        if not isinstance(monitor, str):
            raise TypeError(f"'monitor' is the name of a figure, got {monitor!r} of type {type(monitor).__name__}.")
        self.monitor = monitor
        self.mode = one_of(mode, "mode", "auto", "min", "max")
        self.best = None if baseline is None else number(baseline, "baseline")
        self.min_delta = abs(number(min_delta, "min_delta"))
        if mode != "auto":
            self._set_monitor_op()

    def _begin_monitoring(self) -> None:
        """Raise what can be told before the first epoch."""
        self._seen = False
        if self._is_missing(self.monitor):
            raise ValueError(self._no_such_figure(self._names_to_come()))
        self._set_monitor_op()

    def _names_to_come(self) -> Sequence[str]:
        """The names of the figures that the callback will look at."""
        names: Sequence[str] = self.params.get("metrics", ())
        return names

    def _is_missing(self, name: str) -> bool:
        """Whether it is certain that no figure of this name will come."""
        if "metrics" not in self.params or known_name(name, ("lr",)) == "lr" or any(map(_may_add_figures, (self, *self.companions))):
            return False
        if _is_of_validation(name) and not self.params.get("do_validation", True):
            return True
        names = self._names_to_come()
        return bool(self.params.get("metrics_are_all")) and known_name(name, names) not in names

    def _no_such_figure(self, names: Any) -> str:
        validated = self.params.get("do_validation") or any(map(_is_of_validation, names))
        hint = " There is no validation data." if _is_of_validation(self.monitor) and not validated else ""
        return f"{type(self).__name__} monitors {self.monitor!r}, which is none of the figures {list(names)}.{hint}"

    def get_monitor_value(self, logs: Any) -> float | None:
        """Return the monitored figure; `None` at an epoch without validation. Raises `ValueError` where it is never there.

        Where several processes train the model together it is that of the first, so that all of them decide alike.
        """
        team = getattr(self.model, "_team", None)
        own = self._own_value(logs or {})
        return own if team is None else team.number_of_first(own)  # type: ignore[no-any-return]

    def _own_value(self, logs: Mapping[str, Any]) -> float | None:
        name = known_name(self.monitor, logs)
        if name in logs:
            self._seen = True
            return float(logs[name])
        unvalidated = _is_of_validation(self.monitor) and self.params.get("do_validation") and not any(map(_is_of_validation, logs))
        if self._seen or unvalidated:
            return None
        raise ValueError(self._no_such_figure(list(logs)))

    def _is_improvement(self, monitor_value: float, reference_value: float | None) -> bool:
        """Return whether a figure is better than another; than `None` is any but NaN."""
        if self.monitor_op is None:
            self._set_monitor_op()
        if reference_value is None:
            return not np.isnan(monitor_value)
        better: Any = self.monitor_op
        return bool(better(monitor_value - self.min_delta, reference_value))

    def _set_monitor_op(self) -> None:
        """Find out what is better."""
        if self.monitor_op is not None:
            return
        larger = self.mode == "max" if self.mode != "auto" else _larger_is_better(self.monitor, self.model)
        if larger is None:
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor!r}, and mode='auto' cannot tell whether that is better when it is "
                "larger or smaller. Give mode='max' or mode='min'."
            )
        self.monitor_op = np.greater if larger else np.less
        self.min_delta = abs(self.min_delta) * (1 if larger else -1)


def _is_of_validation(name: str) -> bool:
    return name.startswith("val_")


def _may_add_figures(callback: Any) -> bool:
    """Whether a callback has code of the user's that may write into the logs, or reads its figure from elsewhere."""
    if getattr(type(callback), "get_monitor_value", None) not in (None, MonitorCallback.get_monitor_value):
        return True
    methods = [getattr(callback, event) for event in ("on_epoch_end", "on_test_end") if overrides(callback, event)]
    functions = [getattr(method, "__func__", method) for method in methods]
    return any(not str(getattr(function, "__module__", "")).startswith("torchkeras_fn.callbacks.") for function in functions)


def _larger_is_better(monitor: str, model: Any) -> bool | None:
    """Ask the metric that was compiled under the name, and else the name itself."""
    objective = getattr(model, "objective", None)
    metrics = {} if objective is None else objective.named_metrics()
    return is_higher_better(known_name(monitor.removeprefix("val_"), metrics), metrics)
