"""Outputs, targets and metrics that do not fit together: what is said of them, before a step is taken and after one that failed."""

from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn.engine.outputs.output import Output
from torchkeras_fn.metrics import Metric

_PER_OUTPUT = " A flat list of metrics is for every output; pass a dict by the names of the outputs, or a list of a list for each."
_OUTPUTS_ARE_TENSORS = "A model returns a tensor, or a list, tuple or dict of tensors, one for each output"


def check_targets(outputs: Sequence[Output], shapes: Sequence[Any], targets: Sequence[Any]) -> None:
    """Raise `ValueError` where a target does not fit an output of its shape, or a metric the target; `None` is a size not known yet.

    >>> from torchkeras_fn.losses import MeanSquaredError
    >>> check_targets([Output("y", MeanSquaredError(), 1.0, [])], [(None, 3)], [torch.ones(8, 2)])
    Traceback (most recent call last):
    ValueError: Output 'y': Targets of shape (None, 2) do not fit predictions of shape (None, 3).
    """
    for output, shape, target in zip(outputs, shapes, targets, strict=False):
        if output.loss is None or target is None or None in shape[1:]:
            continue
        y_true, y_pred = torch.empty(0, *target.shape[1:], dtype=target.dtype), torch.empty(0, *shape[1:])
        try:
            output.loss.align(y_true, y_pred)
        except ValueError as error:
            raise ValueError(f"Output {output.name!r}: {error}") from None
        for name, metric, _ in output.requested:
            try:
                if isinstance(metric, Metric) and metric.is_plain:
                    metric.check(y_true, y_pred)
            except ValueError as error:
                raise ValueError(f"Metric {name!r}: {error}{_PER_OUTPUT if len(outputs) > 1 else ''}") from None


def check_returned(outputs: Sequence[Output], predictions: Sequence[Any], targets: Sequence[Any]) -> None:
    """Raise where there is not one tensor for each output in what the model returned, or in the targets: then a step failed of that.

    >>> check_returned([Output("y", None, 1.0, [])], [torch.tensor(3.0)], [torch.ones(8, 1)])
    Traceback (most recent call last):
    ValueError: The first axis of an output is that of the samples, but 'y' is a single number.
    """
    if not len(predictions):
        raise TypeError(f"{_OUTPUTS_ARE_TENSORS}, but the model returned none at all.")
    names = [output.name for output in outputs]
    for output, prediction in zip(outputs, predictions, strict=False):
        if output.loss is None and not output.requested and prediction is not predictions[0]:
            continue
        if not isinstance(prediction, torch.Tensor):
            came = f"the output {output.name!r} is of type {type(prediction).__name__}"
            raise TypeError(f"{_OUTPUTS_ARE_TENSORS}, but {came}.{' Does forward end with a return?' if prediction is None else ''}")
        if not prediction.ndim:
            raise ValueError(f"The first axis of an output is that of the samples, but {output.name!r} is a single number.")
    if len(predictions) < len(names):
        raise ValueError(f"The model returned {len(names)} outputs at first, and now {len(predictions)}; their number must not change.")
    if len(targets) < len(names):
        raise ValueError(
            f"The model has {len(names)} outputs, {names}, but y holds {len(targets)} of their targets. Pass a list of one for each "
            "output, or a dict by their names; an output without a loss may have None."
        )
