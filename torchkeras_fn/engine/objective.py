"""`Objective`: what `compile` asked for. Outputs, targets, weights and masks go in; one scalar loss comes out, and the metrics."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import torch

from torchkeras_fn import losses
from torchkeras_fn.engine.logs import to_number
from torchkeras_fn.engine.lowering import TrainingOutputs
from torchkeras_fn.engine.mismatches import check_returned, check_targets
from torchkeras_fn.engine.output import Output, metric_of
from torchkeras_fn.engine.per_output import entry_per_output, metrics_per_output
from torchkeras_fn.engine.returned import are_shapes, has_more, is_record, keys_of, names_in, numbered, parts_of, places_of
from torchkeras_fn.engine.structure import Structure
from torchkeras_fn.losses.wrappers import FunctionLoss
from torchkeras_fn.metrics import Mean, TorchMetric, keep
from torchkeras_fn.metrics.gathered import gathered, take_up
from torchkeras_fn.metrics.merging import check_mergeable, merge

_NO_WEIGHT = (None,)
_NO_LOSS = "There is nothing to train on: no output has a loss, and no loss term was added."
_NO_LOSS_OF_OWN = (
    "There is no loss to compute: compile was given none, and no loss term was added. Where train_step computes its own, "
    "evaluate and validation_data need a test_step that does so too: override it, leave out validation_data, or give compile a loss."
)


class Running(Mapping[str, Any]):
    """The figures of an objective so far: computed, as tensors on the device, when they are looked at."""

    def __init__(self, objective: "Objective"):
        self._objective = objective

    def __getitem__(self, name: str) -> Any:
        return self._objective.results()[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._objective.results())

    def __len__(self) -> int:
        return len(self._objective.results())

    def computed(self) -> dict[str, Any]:
        """Return all figures as they are now: as tensors on the device, and as numbers where that is the CPU."""
        found = {}
        for name, compute in self._objective.results().items():
            metric = getattr(compute, "__self__", None)
            found[name] = metric.number() if isinstance(metric, Mean) and metric.total.is_cpu else compute()
        return found

    def numbers(self) -> dict[str, Any]:
        """Return all figures as they are now, read from the device."""
        found = {}
        for name, compute in self._objective.results().items():
            metric = getattr(compute, "__self__", None)
            found[name] = metric.number() if isinstance(metric, Mean) and not metric.total.is_meta else to_number(compute())
        return found


class Objective:
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
        self.open_ended = open_ended
        self._sees_loss = not open_ended
        self.settings = {"loss": loss, "metrics": metrics, "loss_weights": loss_weights, "weighted_metrics": weighted_metrics}
        if not isinstance(loss_weights, (Real, list, Mapping)) and loss_weights is not None:
            raise TypeError(f"loss_weights is a number, or a list or dict of numbers, got a {type(loss_weights).__name__}.")
        if isinstance(loss, (list, tuple, Mapping)) and not _leaves(loss):
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
        self._varies = False
        """Whether these are fewer than in training."""
        self.structure: Structure | None = None
        """How the outputs, and so targets in a step of the user's, are nested."""
        self._fitting: list[Any] | None = None
        """The shapes of outputs and targets that were found to fit."""
        self.outputs: list[Output] = []
        self.mean_loss = Mean("loss", "float64")
        self.running = Running(self)
        self.added: dict[str, Mean] = {}
        if output_names is not None:
            self.name_outputs(output_names)

    def _check_names(self) -> None:
        """Raise for unknown names at once, also where the outputs are not known yet."""
        for identifier in _leaves(self.settings["loss"]):
            losses.as_loss(identifier)
        for argument in ("metrics", "weighted_metrics"):
            for identifier in _leaves(self.settings[argument]):
                metric_of(identifier, argument == "weighted_metrics")

    def _make_outputs(self, names: Sequence[str]) -> None:
        chosen = entry_per_output(self.settings["loss"], names, "loss")
        weights = entry_per_output(self.settings["loss_weights"], names, "loss_weights", default=1.0)
        plain = metrics_per_output(self.settings["metrics"], names, "metrics")
        counted = metrics_per_output(self.settings["weighted_metrics"], names, "weighted_metrics")
        self.outputs = []
        labels = {"loss", *(f"{name}_loss" for name in names)}
        used: set[int] = set()
        for name, loss, weight, own, own_weighted in zip(names, chosen, weights, plain, counted, strict=True):
            figures = []
            prefix = f"{name}_" if len(names) > 1 else ""
            wanted = [*((m, False) for m in own), *((m, True) for m in own_weighted)] if loss is not None or self.open_ended else []
            for identifier, is_weighted in wanted:
                metric = metric_of(identifier, is_weighted)
                if not isinstance(metric, str) and id(identifier) in used:
                    metric = copy.deepcopy(metric)  # one object for several outputs would mix their figures
                used.add(id(identifier))
                label = identifier if isinstance(identifier, str) else _label(metric)
                figures.append((_unique(prefix, label, is_weighted, labels), metric, is_weighted))
            self.outputs.append(Output(name, losses.as_loss(loss), _loss_weight(weight), figures, prefix))

    def outputs_for(self, predictions: Any) -> None:
        """Name the outputs of a module that said nothing of them, after what it returned, and make their losses.

        What it returns in training counts; in evaluation, some may be missing.
        """
        if self._is_settled and self._places is None and len(self.outputs) == 1 and type(predictions) is torch.Tensor:
            return
        in_training = torch.is_grad_enabled() and not are_shapes(predictions)
        if in_training and not self._is_settled:
            if self._names is None or self._is_guessed or has_more(predictions, self._names):
                self.name_outputs(names_in(predictions))
            self._is_settled, self.output_names = True, self._names
        elif self._names is None:
            found = names_in(predictions)
            names = self._asked_for(predictions) if len(found) == 1 else found
            self.name_outputs(names)
            self._is_guessed, self.output_names = names != found, None if len(names) == 1 else self._names
        self._places = places_of(self._names or (), predictions)
        if not in_training:
            self._in_evaluation = len(self._present())
        self._varies = self._in_evaluation < len(self.outputs)

    def _asked_for(self, single: Any) -> list[str]:
        """The single output there is in evaluation, and those beside it that `compile` was told of: they may be there in training."""
        named = [value for value in self.settings.values() if isinstance(value, Mapping) and "class_name" not in value]
        asked = list(dict.fromkeys(str(name) for value in named for name in value))
        found, lists = names_in(single), [self.settings[name] for name in ("loss", "loss_weights")]
        if keys_of(single) is None and found[0] not in asked:
            return asked or numbered(max([1, *(len(value) for value in lists if isinstance(value, (list, tuple)))]))
        return [*found, *(name for name in asked if name not in found)]

    def _present(self) -> Sequence[int]:
        """The positions of the outputs that the module returned last."""
        return range(len(self.outputs)) if self._places is None else [place for place in self._places if place is not None]

    def _arranged(self, outputs: TrainingOutputs) -> TrainingOutputs:
        """What the module returned as an entry for each output, `None` for one that it did not return."""
        given = outputs.predictions
        if len(given) == 1 and is_record(given[0]):
            given = parts_of(given[0])
        masks = outputs.masks if len(outputs.masks) == len(given) else [None] * len(given)
        found = {place: part for place, *part in zip(self._places or (), given, masks, strict=False)}
        predictions, masks = zip(*(found.get(index, (None, None)) for index in range(len(self.outputs))), strict=True)
        return outputs._replace(predictions=predictions, masks=masks)

    def name_outputs(self, names: Sequence[str]) -> None:
        """Make the losses and metrics of the outputs."""
        self._make_outputs(names)
        self._names, self._fitting = list(names), None
        self.output_names = self._names

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
        return {kind: [leaf if isinstance(leaf, str) else _label(leaf) for leaf in _leaves(self.settings[kind])] for kind in kinds}

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
            targets = [targets] if isinstance(targets, torch.Tensor) else self._entries(targets)
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
            samples = first.shape[0]
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

    # ------------------------------------------------------------------ an epoch

    def _with_figures(self) -> list[Output]:
        """The outputs without those that are none in an evaluation."""
        return [output for output in self.outputs if output.loss is None or float(output.mean_loss.count)] or self.outputs

    @property
    def metrics_names(self) -> list[str]:
        """The names of all figures: `loss`, the losses of several outputs, then the metrics of each."""
        several, outputs = len(self.outputs) > 1, self._with_figures() if self._varies else self.outputs
        return [
            "loss",
            *(f"{output.name}_loss" for output in outputs if several and output.loss is not None),
            *(name for output in outputs for name, _, _ in output.named_metrics()),
            *self.added,
        ]

    def named_metrics(self) -> dict[str, Any]:
        """The metrics by the names of their figures in the logs, for those who ask what they stand for."""
        named = [entry for output in self.outputs for entry in output.named_metrics()]
        return {name: metric.parts.get(part or "", metric) if isinstance(metric, TorchMetric) else metric for name, metric, part in named}

    def results(self) -> dict[str, Callable[[], Any]]:
        """Return for each figure the function that computes it, as a tensor on the device."""
        found: dict[str, Callable[[], Any]] = {"loss": self.mean_loss.result} if self._sees_loss else {}
        several, outputs = len(self.outputs) > 1, self._with_figures() if self._varies else self.outputs
        for output in outputs:
            if several and output.loss is not None:
                found[f"{output.name}_loss"] = output.mean_loss.result
        for output in outputs:
            found |= output.results()
        for name, metric in self.added.items():
            found[name] = metric.result
        return found

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Begin anew within the block, and go back to the figures so far after it: for an evaluation in the middle of an epoch."""
        restore = [keep(metric) for metric in self.known_metrics()]
        self.reset()
        try:
            yield
        finally:
            self.reset()
            for put_back in restore:
                put_back()

    def known_metrics(self) -> list[Any]:
        """Return all that gathers figures: the means of the losses, and every metric but those whose kind the first batch tells.

        >>> Objective("mse", ["mae", "acc"], output_names=["y"]).known_metrics()
        [<Mean name=loss>, <Mean name=y_loss>, <MeanAbsoluteError name=mae>]
        """
        figures: list[Any] = [self.mean_loss, *self.added.values()]
        for output in self.outputs:
            figures.append(output.mean_loss)
            for _, metric, _ in output.metrics or output.requested:
                if not isinstance(metric, str):
                    figures.append(metric)
        return figures

    def check_mergeable(self) -> None:
        """Raise `ValueError` for a metric whose figures cannot be put together over several processes."""
        for metric in self.known_metrics():
            check_mergeable(metric)

    def merge(self, exchange: Callable[[Any], list[Any]]) -> None:
        """Put together what all processes have gathered; `exchange` returns what each of them gave."""
        merge(self.known_metrics(), exchange)

    def reset(self) -> None:
        """Begin a new epoch."""
        unused = self.outputs[0].mean_loss if len(self.outputs) == 1 else None  # the loss of a single output is the loss
        for metric in self.known_metrics():
            if metric is not unused:
                (getattr(metric, "reset_state", None) or metric.reset)()  # Keras' name, or torchmetrics'

    def state_dict(self) -> dict[str, Any]:
        """Return what was gathered in the epoch so far, and what the data told about the metrics."""
        return {
            "output_names": self._names,
            "seen": [output.seen for output in self.outputs],
            "sees_loss": self._sees_loss,
            "added": list(self.added),
            "figures": list(map(gathered, self.known_metrics())),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises `ValueError` where the state is that of other metrics."""
        if state["output_names"] not in (None, self._names):
            self.name_outputs(state["output_names"])
        for output, seen in zip(self.outputs, state["seen"], strict=True):
            if seen is not None:
                output.resolve(*(torch.empty(shape, device="meta") for shape in seen))
        self._sees_loss = bool(state["sees_loss"])
        for name in state["added"]:
            self.added.setdefault(name, Mean(name))
        for metric, figures in zip(self.known_metrics(), state["figures"], strict=True):
            take_up(metric, figures)


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


def _label(metric: Any) -> str:
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", None) or type(metric).__name__)


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, Mapping) and "class_name" not in tree:
        return [leaf for part in tree.values() for leaf in _leaves(part)]
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in _leaves(part)]
    return [] if tree is None else [tree]
