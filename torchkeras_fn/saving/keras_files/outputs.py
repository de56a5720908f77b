"""What `compile` was given, listed for the outputs of a model as Keras 3 takes it."""

from collections.abc import Mapping
from typing import Any

from torchkeras_fn import metrics
from torchkeras_fn.engine.outputs.per_output import entry_per_output, metrics_per_output

_METRICS = ("metrics", "weighted_metrics")
_CROSSENTROPIES = ("crossentropy", "ce")
"""Names that Keras 3 does not know: they mean whichever crossentropy fits the loss, the output and the targets."""


def per_output(model: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return losses, metrics and weights of losses with an entry for each output, as plain values like those that came.

    Keras takes no flat list of metrics, nor one loss with several weights, nor a dict that leaves outputs out, where a model has
    several outputs, and no metric that is not in a list. What Keras takes stays as it is, and so does everything as long as the
    outputs are not known.

    >>> from torchkeras_fn import Input, Model, layers
    >>> x = Input((2,))
    >>> model = Model(x, [layers.Dense(1, name="a")(x), layers.Dense(1, name="b")(x)])
    >>> model.compile("sgd", "mse")
    >>> per_output(model, {"loss": "mse", "loss_weights": None, "metrics": ["mae"], "weighted_metrics": None})["metrics"]
    [['mae'], ['mae']]
    """
    names = model.objective.output_names
    if names is None:
        return {**given, **{name: _in_list(given[name]) for name in _METRICS}}
    found = {name: _metrics(model, names, given, name) if given[name] else given[name] for name in _METRICS}
    if len(names) == 1:
        return {**given, **found}
    loss, weights = given["loss"], given["loss_weights"]
    return {
        "loss": _complete(model, names, loss, "loss") if isinstance(loss, (str, list, Mapping)) else loss,
        **found,
        "loss_weights": weights if weights is None else _complete(model, names, weights, "loss_weights", 1.0),
    }


def _complete(model: Any, names: list[str], value: Any, argument: str, default: Any = None) -> Any:
    """An entry for each output, by names where outputs have them or the user gave them, else in their order."""
    entries = entry_per_output(value, names, argument, default)
    by_name = _has_named_outputs(model) or isinstance(value, Mapping) and "class_name" not in value
    return dict(zip(names, entries, strict=True)) if by_name else entries


def _metrics(model: Any, names: list[str], given: Mapping[str, Any], argument: str) -> Any:
    value = given[argument]
    listed = metrics_per_output(value, names, argument)
    before = [0] * len(names) if argument == "metrics" else map(len, metrics_per_output(given["metrics"], names, "metrics"))
    chosen = [  # without a loss, an output has no metrics here
        [_chosen(model, index, first + place, metric) for place, metric in enumerate(own) if _counts(model, index)]
        for index, (own, first) in enumerate(zip(listed, before, strict=True))
    ]
    if len(names) == 1:
        return chosen[0]
    return {name: own for name, own in zip(names, chosen, strict=True) if own} if _has_named_outputs(model) else chosen


def _chosen(model: Any, index: int, place: int, metric: Any) -> Any:
    """The metric itself, or the class that an open name stands for: the one that was chosen, or will be for targets that fit the loss."""
    if not isinstance(metric, str) or metric.lower() not in _CROSSENTROPIES:
        return metric
    output = model.objective.outputs[index]
    if output.metrics and place < len(output.metrics):
        kind = output.metrics[place][1]
    else:
        shape = tuple(model.outputs[index].shape) if model.graph is not None else (None, None)
        kind = metrics.choose(metric, output.loss, shape, shape)
    return {"class_name": type(kind).__name__, "config": {"name": metric}}


def _counts(model: Any, index: int) -> bool:
    return model.objective.open_ended or model.objective.outputs[index].loss is not None


def _has_named_outputs(model: Any) -> bool:
    structure = model._output_structure
    return structure is not None and isinstance(structure.nest, dict) and not structure.is_deep


def _in_list(value: Any) -> Any:
    return [value] if isinstance(value, str) or isinstance(value, Mapping) and "class_name" in value else value
