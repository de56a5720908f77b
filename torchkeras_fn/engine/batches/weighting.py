"""How much each sample counts: the checks of `sample_weight`, and `class_weight` for every kind of data."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch

from torchkeras_fn.alignment import weighted
from torchkeras_fn.engine.symbolic import Shape


def one_per_sample(weights: Sequence[Any], modes: Sequence[str | None]) -> list[Any]:
    """Return the columns of weights, those of shape `(samples, 1)` as `(samples,)` where there is no weight per step.

    >>> from torchkeras_fn.engine.batches.columns import column
    >>> [found] = one_per_sample([column([[1.0], [2.0]], "sample_weight")], [None])
    >>> found.shape
    (2,)
    """
    temporal = [index for index, mode in enumerate(modes) if mode == "temporal"]
    return [
        weight.squeezed() if weight is not None and weight.shape[1:] == (1,) and index not in temporal else weight
        for index, weight in enumerate(weights)
    ]


def check_sample_weight(
    weights: Sequence[Any], targets: Sequence[Any], output_shapes: Sequence[Shape], modes: Sequence[str | None]
) -> None:
    """Raise `ValueError` for weights of a rank that the targets, or `sample_weight_mode`, do not allow.

    Of three dimensions or more they weigh pixels, or whatever lies along the first axes of an output or its targets.
    """
    for index, (weight, target) in enumerate(zip(weights, targets, strict=True)):
        if weight is None:
            continue
        rank, mode = len(weight.shape), modes[index] if index < len(modes) else None
        target_rank = len(output_shapes[index]) if index < len(output_shapes) else len(target.shape) if target is not None else rank + 1
        if rank > 2 and mode != "temporal":
            known = [*output_shapes[index : index + 1], *([] if target is None else [target.shape])]
            if known and not any(_go_along(weight.shape, shape) for shape in known):
                raise ValueError(
                    f"sample_weight has shape {weight.shape}: expected a number per sample, or per pixel of one, which goes along the "
                    f"first axes of {' or '.join(map(str, dict.fromkeys(known)))}."
                )
            continue
        if mode == "temporal":
            if target_rank < 3:
                wanted = "an output (samples, steps, ...)"
                raise ValueError(f"sample_weight_mode='temporal' needs {wanted}, but this one has {target_rank} dimensions.")
            if rank != 2:
                raise ValueError(f"With sample_weight_mode='temporal', sample_weight is (samples, steps), got shape {weight.shape}.")
            if target is not None and weight.shape[1] != target.shape[1]:
                raise ValueError(f"sample_weight of shape {weight.shape} does not fit targets of shape {target.shape}.")
        elif rank == 2:
            raise ValueError(
                f"sample_weight has shape {weight.shape}. For weights per step, compile with sample_weight_mode='temporal'; "
                "else give one number per sample."
            )


def _go_along(weight: Shape, shape: Shape) -> bool:
    """Whether weights have the first axes of a shape; one of size 1 among four or more stands for all that the shape has there."""
    sizes = zip(weight[1:], shape[1:], strict=False)
    return len(weight) <= len(shape) and all(wanted in (None, size) or size == 1 and len(weight) > 3 for size, wanted in sizes)


def check_modes(value: Any, names: Sequence[str] | None) -> list[str | None]:
    """Return the `sample_weight_mode` of each output. Raises `ValueError` for an unknown mode, or a list or dict that is not complete.

    >>> check_modes("temporal", ["a", "b"])
    ['temporal', 'temporal']
    """
    if names is None and isinstance(value, (list, tuple)):  # of as many outputs as there will be
        names = [f"output_{index + 1}" for index in range(len(value))]
    names = list(names or ["output_1"])
    if isinstance(value, Mapping):
        unknown = [name for name in value if name not in names]
        missing = [name for name in names if name not in value]
        if unknown or missing:
            raise ValueError(f"sample_weight_mode needs an entry for each of the outputs {names}, got one for {list(value)}.")
        modes = [value[name] for name in names]
    elif isinstance(value, (list, tuple)):
        if len(value) != len(names):
            raise ValueError(f"sample_weight_mode has {len(value)} entries for the {len(names)} outputs {names}.")
        modes = list(value)
    else:
        modes = [value] * len(names)
    for mode in modes:
        if mode not in (None, "temporal", "samplewise"):
            raise ValueError(f"sample_weight_mode is None or 'temporal', got {mode!r}.")
    return modes


class ClassWeights:
    """The weight of each class, for each output that has some; a class that is not named weighs 1.

    `indices` says for each output whether its targets are class indices, and `classes` how many there are, if known. `shapes` holds
    those of the predictions for losses, as torch's, whose targets are indices unless they have that shape. The classes lie along the
    last of the axes, or that in `axes`.
    Where neither is known any whole number is a class, as -1 is for a hinge loss; and the first batch tells whether that axis of
    targets is that of the classes, or there is a class at each place, as in the masks of images. A class may be named by a float, as
    `np.unique` returns them for targets that are floats. Raises `ValueError` for a class that cannot be one, and for a dict
    that fits no output.

    >>> weights = ClassWeights({-1.0: 2.0, 1.0: 3.0}, ["output"], [False], [None])
    >>> weights.combine([torch.tensor([[-1.0], [1.0], [0.0]])], [None])
    [tensor([2., 3., 1.])]
    """

    def __init__(
        self,
        class_weight: Any,
        names: Sequence[str],
        indices: Sequence[bool],
        classes: Sequence[int | None],
        shapes: Sequence[Shape | None] = (),
        axes: Sequence[int] = (),
    ):
        chosen = _per_output(class_weight, names)
        self._indices, self._shapes = list(indices), list(shapes) or [None] * len(chosen)
        self._axes = list(axes) or [-1] * len(chosen)
        self._lie_along_axis: list[bool | None] = [None] * len(chosen)
        self._lowest = [0] * len(chosen)
        self._tables: list[torch.Tensor | None] = [None] * len(chosen)
        for index, (weights, count) in enumerate(zip(chosen, classes, strict=True)):
            if weights is not None:
                self._lowest[index], self._tables[index] = _table(weights, count, any_sign=count is None and not self._indices[index])

    def combine(self, targets: Sequence[Any], sample_weights: Sequence[Any]) -> list[Any]:
        """Return the weights of a batch's samples: those of their classes, times those that were given."""
        found = []
        for index, (target, given) in enumerate(zip(targets, sample_weights, strict=True)):
            table = self._tables[index]
            if table is None or target is None:
                found.append(given)
                continue
            if table.device != target.device:
                table = self._tables[index] = table.to(target.device)
            classes = self._classes(target, index)
            if self._lowest[index]:
                classes = classes - self._lowest[index]
            weight = table[classes.clamp(-1, len(table) - 1)]
            if given is not None:
                weight = weighted(weight, given) if weight.ndim >= given.ndim else weighted(given, weight)
            found.append(weight)
        return found

    def _classes(self, target: torch.Tensor, index: int) -> torch.Tensor:
        shape, axis = self._shapes[index], self._axes[index]
        if shape is not None:
            if target.ndim < len(shape):
                return target.long()
            has_shares = all(wanted in (None, size) for size, wanted in zip(target.shape[1:], shape[1:], strict=True))
            return _largest(target, axis) if has_shares and shape[axis] != 1 else target.squeeze(-1).long()
        if not self._indices[index] and target.ndim > 1 and target.shape[axis] > 1:
            lie_along_axis = self._lie_along_axis[index]
            if lie_along_axis is None:
                lie_along_axis = self._lie_along_axis[index] = _lie_along(axis, target)
            if lie_along_axis:
                return _largest(target, axis)
        return (target.squeeze(-1) if target.ndim > 1 and target.shape[-1] == 1 else target).long()


def _largest(target: torch.Tensor, axis: int) -> torch.Tensor:
    return (target.byte() if target.dtype is torch.bool else target).argmax(axis)  # torch finds no largest among booleans


def _lie_along(axis: int, target: torch.Tensor) -> bool:
    """Whether this axis of targets is that of the classes: it holds ones and zeros, or shares; of steps there may be empty ones."""
    if target.ndim == 2:
        return target.dtype.is_floating_point or bool(((target == 0) | (target == 1)).all())
    sums = target.float().sum(axis)
    are_whole = (sums - 1).abs() < 1e-3
    return bool((are_whole | (sums == 0)).all() & are_whole.any())


def _per_output(class_weight: Any, names: Sequence[str]) -> list[Any]:
    if isinstance(class_weight, Mapping) and not all(isinstance(key, str) for key in class_weight):
        if len(names) > 1:
            raise ValueError(f"The model has {len(names)} outputs: give class_weight as a list, or as a dict by output name, of dicts.")
        return [class_weight]
    if isinstance(class_weight, Mapping):
        unknown = [key for key in class_weight if key not in names]
        if unknown:
            raise ValueError(f"class_weight names {unknown[0]!r}, which is no output. The outputs are {list(names)}.")
        return [class_weight.get(name) for name in names]
    if isinstance(class_weight, (list, tuple)):
        if len(class_weight) != len(names):
            listed = "a list holds one dict from class to weight for each"
            raise ValueError(f"class_weight has {len(class_weight)} entries for {len(names)} outputs: {listed}.")
        return list(class_weight)
    raise TypeError(f"class_weight is a dict from class to weight, or a list or dict of these, got {type(class_weight).__name__}.")


def _table(weights: Mapping[Any, float], count: int | None, any_sign: bool) -> tuple[int, torch.Tensor]:
    """The lowest class, and the weights by class from there on, with a 1 at the end for all others."""
    if not isinstance(weights, Mapping):
        raise TypeError(f"class_weight holds a dict from class to weight for each output, got a {type(weights).__name__}.")
    for key in weights:
        if not _is_whole(key) or (key < 0 and not any_sign) or (count is not None and key >= count):
            known = f"integers between 0 and {count - 1}" if count is not None else "whole numbers" if any_sign else "integers not negative"
            raise ValueError(f"class_weight has a weight for class {key!r}, but classes are {known}.")
        if not _is_weight(weights[key]):
            raise ValueError(f"class_weight has {weights[key]!r} for class {key!r}, but a weight is a finite number, and not negative.")
    by_class = {int(key): float(weight) for key, weight in weights.items()}
    lowest, highest = min([0, *by_class]), max([0, *by_class])
    table = torch.ones(highest - lowest + 2)
    for key, weight in by_class.items():
        table[key - lowest] = weight
    return lowest, table


def _is_weight(weight: Any) -> bool:
    if isinstance(weight, (np.ndarray, torch.Tensor)):
        weight = weight.item() if weight.ndim == 0 else None
    return isinstance(weight, (Real, np.bool_)) and 0 <= float(weight) < math.inf


def _is_whole(key: Any) -> bool:
    return isinstance(key, (int, float, np.number, np.bool_)) and not np.iscomplexobj(key) and float(key).is_integer()
