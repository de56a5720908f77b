"""What `compile` was given for all outputs, or by their order or names, as one entry for each output; and the outputs made of that."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn import losses
from torchkeras_fn.engine.outputs.output import Output, metric_of


def entry_per_output(value: Any, names: Sequence[str], argument: str, default: Any = None) -> list[Any]:
    """Return one entry for each output out of one value for all, a list in their order, or a dict by their names.

    >>> entry_per_output({"b": "mse"}, ["a", "b"], "loss")
    [None, 'mse']
    """
    if isinstance(value, Mapping) and "class_name" not in value:
        known = [*names, *(name.rpartition("_")[0] for name in names)]
        unknown = [name for name in value if name not in known]
        if unknown:
            raise ValueError(f"{argument!r} names {unknown[0]!r}, which is no output. The outputs are {list(names)}.")
        return [
            value.get(name, value.get(name.rpartition("_")[0], default) if name.rpartition("_")[2].isdigit() else default) for name in names
        ]
    if isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise ValueError(f"{argument!r} has {len(value)} entries, but the model has {len(names)} outputs: {list(names)}.")
        return [default if entry is None else entry for entry in value]
    return [default if value is None else value] * len(names)


def metrics_per_output(value: Any, names: Sequence[str], argument: str) -> list[list[Any]]:
    """Return the list of metrics of each output: a flat list is for every output, one with lists or `None` goes by their order.

    >>> metrics_per_output(["acc"], ["a", "b"], "metrics")
    [['acc'], ['acc']]
    >>> metrics_per_output([None, "acc"], ["a", "b"], "metrics")
    [[], ['acc']]
    """
    goes_by_order = isinstance(value, (list, tuple)) and any(isinstance(entry, (list, tuple, type(None))) for entry in value)
    if isinstance(value, (list, tuple)) and (not goes_by_order or len(names) == 1 and None in value):
        entries = [value for _ in names]
    else:
        entries = entry_per_output(value, names, argument)
    lists = [entry if isinstance(entry, (list, tuple)) else [entry] for entry in entries]
    return [[metric for metric in metrics if metric is not None] for metrics in lists]


def outputs_of(settings: Mapping[str, Any], names: Sequence[str], open_ended: bool) -> list[Output]:
    """Return the outputs of these names with the `loss`, `loss_weights`, `metrics` and `weighted_metrics` of the settings.

    Metrics are for an output with a loss, unless the settings are `open_ended`: then the loss is computed elsewhere.

    >>> settings = {"loss": "mse", "loss_weights": None, "metrics": ["mae"], "weighted_metrics": None}
    >>> [label for output in outputs_of(settings, ["a", "b"], False) for label, _, _ in output.requested]
    ['a_mae', 'b_mae']
    """
    chosen = entry_per_output(settings["loss"], names, "loss")
    weights = entry_per_output(settings["loss_weights"], names, "loss_weights", default=1.0)
    plain = metrics_per_output(settings["metrics"], names, "metrics")
    counted = metrics_per_output(settings["weighted_metrics"], names, "weighted_metrics")
    outputs = []
    labels = {"loss", *(f"{name}_loss" for name in names)}
    used: set[int] = set()
    for name, loss, weight, own, own_weighted in zip(names, chosen, weights, plain, counted, strict=True):
        figures = []
        prefix = f"{name}_" if len(names) > 1 else ""
        wanted = [*((m, False) for m in own), *((m, True) for m in own_weighted)] if loss is not None or open_ended else []
        for identifier, is_weighted in wanted:
            metric = metric_of(identifier, is_weighted)
            if not isinstance(metric, str) and id(identifier) in used:
                metric = copy.deepcopy(metric)  # one object for several outputs would mix their figures
            used.add(id(identifier))
            label = identifier if isinstance(identifier, str) else label_of(metric)
            figures.append((_unique(prefix, label, is_weighted, labels), metric, is_weighted))
        outputs.append(Output(name, losses.as_loss(loss), _loss_weight(weight), figures, prefix))
    return outputs


def _loss_weight(weight: Any) -> Any:
    """What the loss of an output is multiplied by, `None` for 1. A variable goes on being read, for a callback may set it."""
    if isinstance(weight, torch.Tensor):
        return weight.detach()
    return None if weight is None or float(weight) == 1.0 else float(weight)


def _unique(prefix: str, label: str, is_weighted: bool, taken: set[str]) -> str:
    """The name of a figure; a weighted metric beside a plain one is `weighted_...`, and others are numbered."""
    name = prefix + label
    if name in taken and is_weighted:
        name = f"{prefix}weighted_{label}"
    number, unique = 0, name
    while unique in taken:
        number += 1
        unique = f"{name}_{number}"
    taken.add(unique)
    return unique


def label_of(metric: Any) -> str:
    """Return what a loss or a metric is called in the logs.

    >>> label_of(losses.MeanSquaredError())
    'mean_squared_error'
    """
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", None) or type(metric).__name__)


def leaves_in(tree: Any) -> list[Any]:
    """Return the losses or metrics in what `compile` was given.

    >>> leaves_in({"a": ["mse", None], "b": "mae"})
    ['mse', 'mae']
    """
    if isinstance(tree, Mapping) and "class_name" not in tree:
        return [leaf for part in tree.values() for leaf in leaves_in(part)]
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in leaves_in(part)]
    return [] if tree is None else [tree]


def warn_of_untrained(losses: Sequence[Any], trained: Sequence[nn.Parameter]) -> None:
    """Warn where a loss has parameters of its own, such as a centre for each class, that an optimizer of `trained` ones leaves alone.

    >>> warn_of_untrained([nn.MSELoss()], [])
    """
    for loss in losses:
        if isinstance(loss, nn.Module) and any(p.requires_grad and all(p is not q for q in trained) for p in loss.parameters()):
            warnings.warn(
                f"The parameters of the loss {type(loss).__name__} are not trained, only those of the model. Make it a part of the "
                "model, or pass an optimizer of torch with the parameters of both; loss.requires_grad_(False) says that they stay.",
                stacklevel=3,
            )
