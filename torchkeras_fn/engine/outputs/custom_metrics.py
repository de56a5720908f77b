"""Figures that a user's own step returned, of all processes together, and the metrics that a model keeps in its attributes for it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn.engine.basics.logs import to_number
from torchkeras_fn.metrics import Metric, keep
from torchkeras_fn.metrics.merging import check_mergeable, merge
from torchkeras_fn.metrics.torch_metric import is_torch_metric

Exchange = Callable[[Any], list[Any]]


def metrics_in(model: nn.Module) -> list[Metric]:
    """Return the metrics in the attributes of a model and of the modules in it, and in lists and dicts there.

    >>> model = nn.Linear(1, 1)
    >>> model.seen = {"loss": Metric(name="loss")}
    >>> metrics_in(model)
    [<Metric name=loss>]
    """
    found: dict[int, Metric] = {}
    for module in model.modules():
        for value in vars(module).values():
            for part in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(part, Metric):
                    found[id(part)] = part
    return list(found.values())


def resettable_metrics_in(model: nn.Module) -> list[Metric]:
    """Return those of the metrics that can begin anew.

    >>> model = nn.Linear(1, 1)
    >>> model.seen = Metric(name="loss")
    >>> resettable_metrics_in(model)
    []
    """
    return [metric for metric in metrics_in(model) if metric.variables or type(metric).reset_state is not Metric.reset_state]


def reset_metrics_in(model: nn.Module) -> None:
    """Let the metrics that a model keeps for steps of its own, those of torchmetrics too, begin anew, but for those that cannot."""
    for metric in resettable_metrics_in(model):
        metric.reset_state()
    with torch.inference_mode(False):  # training may go on with what an evaluation made anew
        for part in filter(is_torch_metric, model.modules()):
            part.reset()  # type: ignore[operator]


def keep_metrics_in(model: nn.Module) -> Callable[[], None]:
    """Return a function that puts the metrics of a model, those of torchmetrics too, back into the state they are in now."""
    with torch.inference_mode(False):  # training may go on with the copies that an evaluation makes
        restore = [keep(part) for part in (*metrics_in(model), *filter(is_torch_metric, model.modules()))]

    def put_back() -> None:
        for put_one_back in restore:
            put_one_back()

    return put_back


def keep_figures(trainer: Any) -> Callable[[], None]:
    """Return a function that puts back all that a trainer has gathered so far: in its objective, and in the metrics of its model."""
    objective = trainer.objective
    with torch.inference_mode(False), torch.no_grad():
        restore = [keep(metric) for metric in objective.known_metrics()]
        put_metrics_back = keep_metrics_in(trainer._as_module())

    def put_back() -> None:
        with torch.inference_mode(False), torch.no_grad():
            objective.reset()  # of metrics, too, whose kind was not known
            for put_one_back in restore:
                put_one_back()
            put_metrics_back()

    return put_back


def figures_of_all(result: Mapping[str, Any], rows: int, last: int, model: Any, exchange: Exchange) -> dict[str, Any]:
    """Return the figures that steps of a user's own end with, of all processes. A collective: `exchange` returns what each gave.

    A figure that a metric of the model, or of `compile`, has at the end of the step is what that metric has for all rows.
    Others are means over the processes: by their `rows` where the step gathers something, so that it may be a figure of the
    epoch, and by those of the `last` step where it does not. What is no number is the first's.
    """
    own = {name: to_number(value) for name, value in result.items()}
    metrics, compiled = metrics_in(model), model.objective.results()
    gathered = any(bool(variable.any()) for metric in (*metrics, model.objective.mean_loss) for variable in metric.variables)
    told = exchange((rows, last, own, _sources(own, metrics, compiled), gathered))
    found = _means([(rows if any(part[4] for part in told) else last, figures) for rows, last, figures, *_ in told])
    sources = _agreed([part[3] for part in told if part[0]])
    if any(isinstance(source, str) for source in sources.values()):
        with torch.inference_mode(False), torch.no_grad():
            model.objective.merge(exchange)
        found |= {name: to_number(compiled[source]()) for name, source in sources.items() if isinstance(source, str)}
    for number in sorted({source for source in sources.values() if not isinstance(source, str)}):
        figure = _merged(metrics[number], exchange)
        if figure is not None:
            found |= {name: figure for name, source in sources.items() if source == number}
    return found


def _sources(own: Mapping[str, Any], metrics: list[Metric], compiled: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """For each figure the metrics that have just this value: numbers of the model's, names of the compiled; its own name comes first."""
    candidates: list[tuple[str, Any, Any]] = [(metric.name, number, _value(metric.result)) for number, metric in enumerate(metrics)]
    candidates += [(name, name, _value(compute)) for name, compute in compiled.items()]
    found = {}
    for name, figure in own.items():
        alike = [(label != name, source) for label, source, value in candidates if value is not None and _same(figure, value)]
        found[name] = [source for _, source in sorted(alike, key=lambda pair: pair[0])]
    return found


def _value(compute: Callable[[], Any]) -> Any:
    with suppress(Exception):  # of a metric that has seen nothing yet
        value = compute()
        return None if isinstance(value, Mapping) else to_number(value)
    return None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) or one is None:
        return False
    with suppress(TypeError, ValueError, RuntimeError):
        return np.array_equal(np.asarray(one, "float32"), np.asarray(other, "float32"), equal_nan=True)
    return False


def _agreed(told: list[dict[str, list[Any]]]) -> dict[str, Any]:
    """For each figure the metric that it is of in all processes, where there is one."""
    first = told[0] if told else {}
    found = {name: [source for source in sources if all(source in part.get(name, ()) for part in told)] for name, sources in first.items()}
    return {name: sources[0] for name, sources in found.items() if sources}


def _merged(metric: Metric, exchange: Exchange) -> Any:
    """What a metric has for all processes; it is left as it was. `None` where nobody can tell."""
    try:
        check_mergeable(metric)
    except ValueError:
        return None
    put_back = keep(metric)
    try:
        with torch.inference_mode(False), torch.no_grad():
            merge([metric], exchange)
            return to_number(metric.result())
    except ValueError:  # it gathers in attributes that differ, which all processes see alike
        return None
    finally:
        put_back()


def _means(told: list[tuple[int, Mapping[str, Any]]]) -> dict[str, Any]:
    total = sum(rows for rows, _ in told)
    found: dict[str, Any] = {}
    for name, first in told[0][1].items():
        values = [(rows, figures[name]) for rows, figures in told if rows and name in figures]
        is_number = total and all(isinstance(value, Number) and not isinstance(value, bool) for _, value in values)
        found[name] = sum(rows / total * value for rows, value in values) if is_number else first
    return found
