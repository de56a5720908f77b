"""`Opening`: whatever data a user passes is opened, with the model built, bound and checked for it."""

from collections.abc import Mapping
from typing import Any

import torch

from torchkeras_fn.engine.basics.modes import mode_of
from torchkeras_fn.engine.batches.border import Border
from torchkeras_fn.engine.batches.loading import Epochs
from torchkeras_fn.engine.batches.unpacking import as_it_came, shown, unpack
from torchkeras_fn.engine.batches.weighting import ClassWeights
from torchkeras_fn.engine.batches.workers import Loading
from torchkeras_fn.engine.data import (
    Arrays,
    ArraySource,
    Batch,
    FedSource,
    Gather,
    Signature,
    arrays_of,
    check_batch_size,
    check_steps,
    converter,
    is_batches,
    open_batches,
)
from torchkeras_fn.engine.drawing.inference import InferenceError, infer
from torchkeras_fn.engine.drawing.spec import Spec
from torchkeras_fn.engine.outputs.returned import keys_of, numbered
from torchkeras_fn.engine.trainer_parts.preparation import Preparation
from torchkeras_fn.losses import BinaryCrossentropy


class Opening(Preparation):
    """What a `Trainer` does with data before its steps. A mixin for any `nn.Module`."""

    # ------------------------------------------------------------------ opening data

    def _open(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        shuffle: Any = False,
        steps: int | None = None,
        loading: Loading | None = None,
        class_weight: Any = None,
        with_targets: bool = True,
        step: str = "test_step",
    ) -> Epochs:
        """Return the batches of the data, whatever it is, with the model built and bound for them, and fit for the step."""
        size = check_batch_size(batch_size)
        steps = None if steps is None else check_steps(steps)
        if not is_batches(x):
            with_targets = with_targets and (y is not None or not self._takes_what_comes(step))  # it may make targets of the inputs
            arrays = self._ready_arrays(x, y, sample_weight, with_targets)
            return self._open_arrays(arrays, size, shuffle, steps, class_weight, with_targets)
        if y is not None or sample_weight is not None:
            raise ValueError(f"y and sample_weight come with the batches of a {type(x).__name__}, and cannot be passed beside it.")
        loading, own = loading or Loading(), self._takes_what_comes(step)
        epochs = open_batches(x, size, shuffle, loading, self._signature(), with_targets, steps, self._team)
        if not self._is_built():
            self._build_for_first(epochs.peek(), with_targets, epochs.source.batches_are_pairs, own)
        self._bind_if_needed()
        seen = None
        if class_weight is not None and self._signature().output_names is None and not own:  # whose outputs each have weights of their own
            first, first_y, _ = unpack(epochs.peek(), with_targets, epochs.source.batches_are_pairs, 1)
            seen = arrays_of(first, first_y, None, self._signature())
            self._make_ready(seen)
        signature = self._weighted_signature(class_weight, with_targets, seen)
        epochs.convert, epochs.source.device = converter(epochs.source, signature, with_targets, own), signature.device
        return self._alike(epochs)

    def _takes_what_comes(self, step: str) -> bool:
        """Whether a step is the user's, which may take batches that are not made of arrays."""
        return False

    def _build_for_first(self, raw: Any, with_targets: bool, lists_are_pairs: bool, for_own_step: bool) -> None:
        """Create the weights that depend on the data's shape for the first batch."""
        if for_own_step and as_it_came(raw, Signature(), with_targets, lists_are_pairs) is not None:
            raise ValueError(
                "Weights of the model are made for the first data that it is called on, which cannot be told from a batch of other things "
                f"than arrays. Call the model once on what the step will call it on, before fit. What came: {shown(raw)}."
            )
        self._build_for(arrays_of(unpack(raw, with_targets, lists_are_pairs, 1)[0], None, None, Signature()))

    def _open_arrays(
        self, arrays: Arrays, size: int, shuffle: Any, steps: int | None, class_weight: Any = None, with_targets: bool = True
    ) -> Epochs:
        signature = self._weighted_signature(class_weight, with_targets, arrays)
        if arrays.columns:
            return self._alike(Epochs(ArraySource(arrays, size, shuffle, signature, self._team), None, steps))
        if steps is None:
            raise ValueError("The number of steps must be given where the model feeds itself: steps_per_epoch, steps or validation_steps.")
        return Epochs(FedSource(arrays, signature), None, steps)

    def _alike(self, epochs: Epochs) -> Epochs:
        """Return data that is dealt out to several processes. Raises `ValueError` where they have not the same, or not all of it."""
        source = epochs.source
        if self._team is not None and source.is_dealt:
            told = self._team.gathered((source.samples, source.steps, epochs.steps))
            if len(set(told)) > 1:
                shown = ", ".join(f"{samples or 'unknown'} samples, {steps} batches" for samples, steps, _ in told)
                raise ValueError(
                    f"Data is shared out among the {self._team.count} processes, each of which was to have all of it, but they have: "
                    f"{shown}. Give each process the same data, or compile with distributed=False."
                )
        return epochs

    def _weighted_signature(self, class_weight: Any, with_targets: bool = True, arrays: Arrays | None = None) -> Signature:
        """The signature, with the weights of the classes in data like these arrays."""
        signature = self._signature()
        if not with_targets:
            signature.targets, signature.targets_fed = None, {}
        if class_weight is not None:
            names = self._names_for(class_weight, arrays)
            found, shapes = self._compiled("class_weight").losses_for(names), self._known_shapes(names)
            indices = [bool(getattr(loss, "indices", False)) for loss in found]
            axes = [_axis_of_classes(loss) for loss in found]
            classes: list[int | None] = [None] * len(names)
            for index, (loss, shape, axis) in enumerate(zip(found, signature.output_shapes, axes, strict=False)):
                width = shape[axis if -len(shape) <= axis < len(shape) else -1]
                classes[index] = width if width != 1 else 2 if isinstance(loss, BinaryCrossentropy) else None
            by_shape = [getattr(loss, "is_by_class", False) and len(shape or ()) > 1 for loss, shape in zip(found, shapes, strict=True)]
            known = [shape if is_by_shape else None for shape, is_by_shape in zip(shapes, by_shape, strict=True)]
            signature.class_weights = ClassWeights(class_weight, names, indices, classes, known, axes)
        return signature

    def _names_for(self, class_weight: Any, arrays: Arrays | None) -> list[str]:
        """The names of the outputs that classes have weights for: those of the targets, where a module has not shown its outputs yet.

        Raises `ValueError` where it cannot be told which weights are for which targets.
        """
        names = self._compiled("class_weight").output_names
        if names is not None:
            return names
        keys, count = (None, 1) if arrays is None else (arrays.keys, len(arrays.y))
        by_name = isinstance(class_weight, Mapping) and any(isinstance(key, str) for key in class_weight)
        if by_name and keys is None and count > 1 or isinstance(class_weight, (list, tuple)) and keys is not None and len(keys) > 1:
            raise ValueError(
                "What the model calls its outputs in training, and in which order they come, is known after the first step: until then "
                "give class_weight and y both as dicts by the names of the outputs, or both as lists in their order."
            )
        return keys or numbered(max(1, count))

    def _known_shapes(self, names: list[str]) -> list[Any]:
        """The shapes of these outputs, `None` for one that is not known."""
        shapes = self._signature().output_shapes or (self._checked[1] if self._checked is not None else None) or ()
        if isinstance(shapes, Mapping):
            return list(map(shapes.get, names))
        return [*shapes, *[None] * len(names)][: len(names)]

    def _ready_arrays(self, x: Any, y: Any, sample_weight: Any = None, with_targets: bool = True) -> Arrays:
        """Return arrays, checked and put in order, with the model built, bound and ready for them."""
        border = self._border(with_targets) if sample_weight is None and (self._bound or self._is_built()) else None
        arrays = border.made(border.arrays, x, y) if border is not None else None
        if arrays is None:
            arrays = self._arrays(x, y, sample_weight, with_targets)
            self._make_ready(arrays, with_targets)
            if border is not None:
                self._border(with_targets).learn(x, y, arrays)  # of outputs, which may be known only now
        return arrays

    def _arrays(self, x: Any, y: Any, sample_weight: Any, with_targets: bool) -> Arrays:
        if not self._is_built():
            self._build_for(arrays_of(x, None, None, Signature()))
        self._bind_if_needed()
        signature = self._signature()
        if not with_targets:
            signature.targets, signature.targets_fed = None, {}
        elif signature.output_names is None and isinstance(y, Mapping):
            shapes = self._output_shapes(arrays_of(x, None, None, signature))
            if isinstance(shapes, Mapping):
                self._compiled("training").outputs_for(shapes)
                signature = self._signature()
        return arrays_of(x, y, sample_weight, signature)

    def _batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        with_targets: bool = True,
        step: str = "train_step",
    ) -> Batch:
        """Return data as one batch, with the model ready for it, and fit for the step."""
        has_weights = sample_weight is not None or class_weight is not None
        border = self._border(with_targets) if not has_weights and (self._bound or self._is_built()) else None
        known = border.made(border.batches, x, y) if border is not None else None
        if known is not None:
            return known
        if self._takes_what_comes(step) and self._is_built():
            raw = x if y is None and sample_weight is None else (x, y) if sample_weight is None else (x, y, sample_weight)
            whole = as_it_came(raw, self._weighted_signature(class_weight, with_targets), with_targets, lists_are_pairs=False)
            if whole is not None:
                self._bind_if_needed()
                return whole, None, None
        arrays = self._ready_arrays(x, y, sample_weight, with_targets)
        return Gather(arrays, self._weighted_signature(class_weight, with_targets, arrays))(slice(None))

    def _border(self, with_targets: bool) -> Border:
        """What is known of single batches, for the model as it is now."""
        self._bind_if_needed()
        key, border = self._signature_key(), self._borders.get(with_targets)
        if border is not None and key is not None and border.key == key:
            return border
        signature = self._weighted_signature(None, with_targets)
        if border is None or border.signature != signature:
            border = Border(signature)
            self._borders = {**self._borders, with_targets: border}
        border.key = key
        return border

    # ------------------------------------------------------------------ getting ready

    def _make_ready(self, arrays: Arrays, with_targets: bool = True) -> None:
        """Check that outputs and targets agree."""
        if not with_targets:
            return
        objective, shapes = self._compiled("training"), self._output_shapes(arrays)
        if shapes is not None:
            objective.outputs_for(shapes)
            objective.check(list(shapes.values()) if isinstance(shapes, Mapping) else shapes, arrays.y)

    def _build_for(self, arrays: Arrays) -> None:
        """Create the weights that depend on the data's shape."""
        self._infer_outputs(arrays)
        if not self._is_built():
            with torch.no_grad(), mode_of(self._as_module(), training=False):
                self._call(Gather(arrays.part(0, 1), self._signature())(slice(None))[0])

    def _output_shapes(self, arrays: Arrays) -> Any:
        """The shapes of the outputs for this data, as far as they can be told without running on it."""
        known = [(part.shape[1:], part.dtype) for part in arrays.x]
        if self._checked is None or self._checked[0] != known:
            self._checked = (known, self._infer_outputs(arrays))
        return self._checked[1]

    def _infer_outputs(self, arrays: Arrays) -> Any:
        if arrays.are_whole:
            return None
        signature = self._signature()
        specs = []
        for part, dtype in zip(arrays.x, arrays.x_dtypes, strict=True):
            seen = dtype or (signature.float_dtype if part.dtype.is_floating_point else part.dtype)
            specs.append(Spec.of((None, *part.shape[1:]), seen))
        try:
            with mode_of(self._as_module(), training=False):
                outputs = infer(self._call, (arrays.rebuild(specs),), {}, device=signature.device)
        except InferenceError:
            return None
        keys = keys_of(outputs)
        parts = list(outputs.values() if isinstance(outputs, Mapping) else outputs if isinstance(outputs, (list, tuple)) else [outputs])
        if not all(isinstance(spec, Spec) for spec in parts):
            return None
        shapes = [spec.shape for spec in parts]
        return shapes if keys is None else dict(zip(keys, shapes, strict=True))


def _axis_of_classes(loss: Any) -> int:
    """The axis of predictions along which the classes lie: the loss says it, and torch's have them on axis 1."""
    axis = 1 if getattr(loss, "is_by_class", False) else getattr(loss, "axis", -1)
    return axis if isinstance(axis, int) else -1
