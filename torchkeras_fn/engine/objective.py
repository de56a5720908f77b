"""`Objective`: what `compile` asked for. Outputs, targets, weights and masks go in; one scalar loss comes out, and the metrics."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch

from torchkeras_fn import losses
from torchkeras_fn.engine.basics.structure import Structure
from torchkeras_fn.engine.lowered.training_outputs import TrainingOutputs
from torchkeras_fn.engine.outputs.figures import Figures
from torchkeras_fn.engine.outputs.mismatches import check_returned, check_targets
from torchkeras_fn.engine.outputs.output import metric_of
from torchkeras_fn.engine.outputs.per_output import label_of, leaves_in, outputs_of
from torchkeras_fn.engine.outputs.returned import are_shapes, has_more, keys_of, names_in, numbered, places_of
from torchkeras_fn.losses.wrappers import FunctionLoss
from torchkeras_fn.metrics import Mean

_NO_WEIGHT = (None,)
_NO_LOSS = "There is nothing to train on: no output has a loss, and no loss term was added."
_NO_LOSS_OF_OWN = (
    "There is no loss to compute: compile was given none, and no loss term was added. Where train_step computes its own, "
    "evaluate and validation_data need a test_step that does so too: override it, leave out validation_data, or give compile a loss."
)


class Objective(Figures):
    """The losses and metrics of all outputs.

    `output_names` is `None` where the outputs are known only when the first batch has passed. `open_ended` says that
    the loss is computed elsewhere, in a `train_step` of the user's: metrics count without one. Raises `ValueError`
    for a loss or metric that is unknown, for a list of the wrong length, and for a name that no output has.
    """

    def __init__(
        self,
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        output_names: Sequence[str] | None = None,
        open_ended: bool = False,
    ):
        super().__init__(sees_loss=not open_ended)
        self.open_ended = open_ended
        self.settings = {"loss": loss, "metrics": metrics, "loss_weights": loss_weights, "weighted_metrics": weighted_metrics}
        if not isinstance(loss_weights, (Real, list, Mapping)) and loss_weights is not None:
            raise TypeError(f"loss_weights is a number, or a list or dict of numbers, got a {type(loss_weights).__name__}.")
        if isinstance(loss, (list, tuple, Mapping)) and not loss:
            raise ValueError("No output has a loss. Pass loss=None to train on add_loss terms alone.")
        self._check_names()
        self._names: list[str] | None = None
        self.output_names: list[str] | None = None
        """The names of the outputs; `None` where all that was seen is a single output in evaluation: there may be more in training."""
        self._is_settled = False
        """Whether the outputs are those of a step of training."""
        self._is_guessed = False
        """Whether there are outputs of which `compile` alone has told."""
        self._places: list[int | None] | None = None
        """Where the parts of what the module returned last belong among the outputs, unless they are these in their order."""
        self._in_evaluation: float = math.inf
        """How many outputs the module returned in evaluation, if that was seen."""
        self.structure: Structure | None = None
        """How the outputs, and so targets in a step of the user's, are nested."""
        self.rows: int | None = None
        """How many rows the inputs of the last batch had, where no output has them."""
        self._fitting: list[Any] | None = None
        """The shapes of outputs and targets that were found to fit."""
        if output_names is not None:
            self.name_outputs(output_names)

    def _check_names(self) -> None:
        """Raise for unknown names at once, also where the outputs are not known yet."""
        for identifier in leaves_in(self.settings["loss"]):
            losses.as_loss(identifier)
        for argument in ("metrics", "weighted_metrics"):
            for identifier in leaves_in(self.settings[argument]):
                metric_of(identifier, argument == "weighted_metrics")

    def outputs_for(self, predictions: Any) -> None:
        """Name the outputs of a module that said nothing of them, after what it returned, and make their losses.

        What it returns in training counts; in evaluation, some may be missing.
        """
        if self._is_settled and self._places is None and not self._varies:  # the usual, without a frame for each step
            kind, count = type(predictions), len(self.outputs)
            is_listed = kind in (list, tuple) and len(predictions) == count and type(predictions[0]) is torch.Tensor
            if kind is torch.Tensor if count == 1 else is_listed:
                if not torch.is_grad_enabled():
                    self._in_evaluation = count
                return
        in_training = torch.is_grad_enabled() and not are_shapes(predictions)
        if in_training and not self._is_settled:
            if self._names is None or self._is_guessed or has_more(predictions, self._names):
                self.name_outputs(names_in(predictions))
            self._is_settled, self.output_names = True, self._names
        elif self._names is None:
            found = names_in(predictions)
            names = self._asked_for(predictions) if len(found) == 1 else found
            are_numbers = names != found and names[1:] == numbered(len(names))[1:]
            if are_numbers and are_shapes(predictions):
                self._in_evaluation = len(found)
                return  # the first step will tell more
            self.name_outputs(names)
            self._is_guessed, self.output_names = names != found, None if len(names) == 1 or are_numbers else self._names
        self._places = places_of(self._names or (), predictions)
        if not in_training:
            self._in_evaluation = len(self._present())
        self._varies = self._in_evaluation < len(self.outputs)

    def _asked_for(self, single: Any) -> list[str]:
        """The single output there is in evaluation, and those beside it that `compile` was told of: they may be there in training."""
        named = [value for value in self.settings.values() if isinstance(value, Mapping) and "class_name" not in value]
        asked = list(dict.fromkeys(str(name) for value in named for name in value))
        found = names_in(single)
        if not asked:
            return [*found, *numbered(self._listed())[1:]]
        if keys_of(single) is None and found[0] not in asked:
            return asked
        return [*found, *(name for name in asked if name not in found)]

    def _listed(self) -> int:
        """For how many outputs `compile` was given lists; metrics in a flat list are for all."""
        counts = [1]
        for name, value in self.settings.items():
            if isinstance(value, (list, tuple)) and ("metrics" not in name or any(isinstance(entry, (list, tuple)) for entry in value)):
                counts.append(len(value))
        return max(counts)

    def _present(self) -> Sequence[int]:
        """The positions of the outputs that the module returned last."""
        return range(len(self.outputs)) if self._places is None else [place for place in self._places if place is not None]

    def losses_as_returned(self) -> list[Any]:
        """The losses of the parts that the module returned last, in their order; `None` for one that has none, or is no output."""
        places = range(len(self.outputs)) if self._places is None else self._places
        return [None if place is None else self.outputs[place].loss for place in places]

    def _arranged(self, outputs: TrainingOutputs) -> TrainingOutputs:
        """What the module returned as an entry for each output, `None` for one that it did not return."""
        found = {place: part for place, *part in zip(self._places or (), outputs.predictions, outputs.masks, strict=False)}
        predictions, masks = zip(*(found.get(index, (None, None)) for index in range(len(self.outputs))), strict=True)
        return outputs._replace(predictions=predictions, masks=masks)

    def name_outputs(self, names: Sequence[str]) -> None:
        """Make the losses and metrics of the outputs."""
        self.outputs = outputs_of(self.settings, names, self.open_ended)
        self._names, self._fitting = list(names), None
        self.output_names = self._names

    def losses_for(self, names: Sequence[str]) -> list[Any]:
        """Return the loss of each output of these names, `None` for those without one, and where it is not known yet.

        >>> [loss.name for loss in Objective("mse").losses_for(["output_1", "output_2"])]
        ['mean_squared_error', 'mean_squared_error']
        """
        known = {output.name: output.loss for output in self.outputs}
        given = self.settings["loss"]
        for_all = None if isinstance(given, (list, tuple, Mapping)) else losses.as_loss(given)
        return [known.get(name, for_all) for name in names]

    def check(self, shapes: Sequence[Any], targets: Sequence[Any]) -> None:
        """Raise `ValueError` where targets do not fit outputs of these shapes, or metrics the targets, before a step is taken."""
        asked = [shapes, [None if target is None else (target.shape[1:], target.dtype) for target in targets]]
        if asked == self._fitting:
            return
        present = self._present()
        outputs = [self.outputs[place] for place in present]
        of_those = [targets[place] for place in present] if len(targets) == len(self.outputs) else targets
        check_targets(outputs, shapes, of_those)
        self._fitting = asked

    @property
    def asked_for(self) -> dict[str, list[str]]:
        """The names of the losses and metrics as `compile` was given them."""
        kinds = ("loss", "metrics", "weighted_metrics")
        return {kind: [leaf if isinstance(leaf, str) else label_of(leaf) for leaf in leaves_in(self.settings[kind])] for kind in kinds}

    @property
    def targets(self) -> list[str] | None:
        """The names of the outputs that have a loss, and so need a target; `None` where the user's own step says it."""
        if self.open_ended or self.output_names is None or self._varies:
            return None
        names = []
        for output in self.outputs:
            if output.loss is not None:
                names.append(output.name)
        return names

    # ------------------------------------------------------------------ a batch

    def _of_each(self, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Targets and weights as one entry for each output."""
        if self.structure is not None:
            targets, weights = (value if value is None else self.structure.flat(value) for value in (targets, weights))
        if type(targets) is not list:
            targets = self._entries(targets)
        if type(weights) is not list:
            weights = [None] * len(self.outputs) if weights is None else self._entries(weights)
        if self._places is not None and len(targets) < len(self.outputs):
            targets, weights = (self._at_their_places(value) for value in (targets, weights))
        return targets, weights

    def _at_their_places(self, given: Sequence[Any]) -> Sequence[Any]:
        """Targets, or weights, of the outputs that there are in evaluation as an entry for each output."""
        if len(given) == len(self.outputs):
            return given
        found = dict(zip(self._present(), given, strict=False))
        return list(map(found.get, range(len(self.outputs))))

    def _entries(self, value: Any) -> Any:
        """Targets or weights as one entry for each output: a single tensor is the only one, `None` stands for all.

        Those in a dict go by name; where the outputs have no names but their numbers, its keys may be others, in the order of the outputs.
        """
        if value is None:
            return [None] * len(self.outputs)
        if isinstance(value, (list, tuple)):
            return value
        if not isinstance(value, Mapping):
            return [value]
        names = self._names or []
        return list(value.values()) if value.keys().isdisjoint(names) and names == numbered(len(names)) else list(map(value.get, names))

    def loss(self, outputs: TrainingOutputs, targets: Any, weights: Any, is_logits: bool = True) -> torch.Tensor:
        """Return the total loss of a batch: the weighted losses of the outputs, and the terms of the graph."""
        if self._places is not None:
            outputs = self._arranged(outputs)
        if weights is None and type(targets) is torch.Tensor and len(self.outputs) == 1:  # the usual, without a frame
            targets, weights = (targets,), _NO_WEIGHT
        else:
            targets, weights = self._of_each(targets, weights)
            if len(targets) > len(self.outputs) > 0:
                raise ValueError(f"y holds {len(targets)} targets, but the outputs are {[output.name for output in self.outputs]}.")
        total: Any = None
        single = len(self.outputs) == 1
        try:
            for index, output in enumerate(self.outputs):
                if output.loss is None or self._places is not None and self._is_missing(index):
                    continue
                if targets[index] is None:
                    raise ValueError(f"y is None, but the output {output.name!r} has a loss and needs targets.")
                value = output.value(outputs.predictions[index], outputs.masks[index], targets[index], weights[index], is_logits)
                if not single:
                    count = targets[index].shape[0]
                    output.mean_loss.add(value.detach(), count, times=count)
                if output.loss_weight is not None:
                    value = value * output.loss_weight
                total = value if total is None else total + value
        except (AttributeError, IndexError, TypeError):
            check_returned(self.outputs, outputs.predictions, targets)
            raise
        for term in outputs.losses:
            term = torch.as_tensor(term)
            term = term if term.ndim == 0 else term.mean()
            total = term if total is None else total + term
        if total is None:
            if not self.outputs:
                check_returned(self.outputs, outputs.predictions, targets)
            raise ValueError(_NO_LOSS_OF_OWN if self.open_ended else _NO_LOSS)
        return total  # type: ignore[no-any-return]

    def _is_missing(self, index: int) -> bool:
        """Whether an output is none in evaluation. Raises `ValueError` where it is missing in training."""
        if index in self._present():
            return False
        if torch.is_grad_enabled():
            names = [self.outputs[place].name for place in self._present()]
            raise ValueError(f"The output {self.outputs[index].name!r} has a loss, but in training the model returned {names} alone.")
        return True

    def decide_metrics(self, outputs: TrainingOutputs, targets: Any) -> None:
        """Decide, as a first batch does, what `'accuracy'` means, and which form each metric takes."""
        if all(output.metrics is not None for output in self.outputs):
            return
        predictions = outputs.predictions if self._places is None else self._arranged(outputs).predictions
        for output, target, prediction in zip(self.outputs, self._of_each(targets, None)[0], predictions, strict=False):
            if output.metrics is None and output.requested and target is not None and prediction is not None:
                output.resolve(*(torch.empty(tensor.shape, device="meta") for tensor in (target, prediction)))

    def track(self, loss: torch.Tensor | None, outputs: TrainingOutputs, targets: Any, weights: Any, is_logits: bool = True) -> None:
        """Take a batch into the figures of the epoch; nothing is read from the device. The user's own step may keep its `loss`."""
        if self._places is not None:
            outputs = self._arranged(outputs)
        if weights is None and type(targets) is torch.Tensor and len(self.outputs) == 1:
            targets, weights = (targets,), _NO_WEIGHT
        else:
            targets, weights = self._of_each(targets, weights)
        try:
            place = 0 if self._places is None and self.outputs[0].loss is not None else self._counted(outputs.predictions)
            first = outputs.predictions[place]
            if first.ndim == 0 and isinstance(self.outputs[place].loss, FunctionLoss):  # a layer has computed the loss, to be handed on
                first = targets[place]
            samples = first.shape[0] if first.ndim or self.rows is None else self.rows
            if loss is not None:
                self._sees_loss = True
                self.mean_loss.add(loss.detach(), samples, times=samples)
            for name, value in outputs.metrics:
                figure = value.detach() if value.dtype.is_floating_point else value.float()
                if name not in self.added:
                    self.added[name] = Mean(name)
                self.added[name].add(figure.mean(), samples, times=samples)
            for index, output in enumerate(self.outputs):
                if output.requested and targets[index] is not None and outputs.predictions[index] is not None:
                    output.update(outputs.predictions[index].detach(), outputs.masks[index], targets[index], weights[index], is_logits)
        except (AttributeError, IndexError, TypeError):
            check_returned(self.outputs, outputs.predictions, targets)
            raise

    def _counted(self, predictions: Sequence[Any]) -> int:
        """The position of the output that has a row for each sample: the first with a loss of those there are, or that may have rows."""
        present = self._present()
        with_loss = (place for place in present if self.outputs[place].loss is not None)
        with_rows = (place for place in present if getattr(predictions[place], "ndim", 0))
        return next(with_loss, next(with_rows, 0))

    # ------------------------------------------------------------------ an epoch that goes on

    def state_dict(self) -> dict[str, Any]:
        """Return what was gathered in the epoch so far, and what the data told about the outputs and metrics."""
        return {"output_names": self._names, **super().state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises `ValueError` where the state is that of other metrics."""
        if state["output_names"] not in (None, self._names):
            self.name_outputs(state["output_names"])
        super().load_state_dict(state)
