"""What `compile` was given for all outputs, or by their order or names, as one entry for each output."""

from collections.abc import Mapping, Sequence
from typing import Any


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
    """Return the list of metrics of each output: a flat list is for every output, a list of lists goes by their order.

    >>> metrics_per_output(["acc"], ["a", "b"], "metrics")
    [['acc'], ['acc']]
    """
    if isinstance(value, (list, tuple)) and not any(isinstance(entry, (list, tuple)) for entry in value):
        entries = [value for _ in names]
    else:
        entries = entry_per_output(value, names, argument)
    lists = [entry if isinstance(entry, (list, tuple)) else [entry] for entry in entries]
    return [[metric for metric in metrics if metric is not None] for metrics in lists]
