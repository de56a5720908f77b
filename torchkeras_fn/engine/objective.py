"""`Objective`: what `compile` asked for. Outputs, targets, weights and masks go in; one scalar loss comes out, and the metrics."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch

from torchkeras_fn import losses
from torchkeras_fn.engine.lowering import TrainingOutputs
from torchkeras_fn.metrics import Mean, choose_accuracy
from torchkeras_fn.metrics import get as get_metric

Update = Callable[[Any, Any, Any], None]


class Logs(MutableMapping[str, Any]):
    """Names and figures that become Python floats when they are read, and cost nothing when they are not.

    `acc` and `accuracy` are one name, and so are `lr` and `learning_rate`.

    >>> Logs({"accuracy": torch.tensor(0.5)})["acc"]
    0.5
    """

    def __init__(self, figures: Mapping[str, Any]):
        self.figures = dict(figures)

    def __getitem__(self, name: str) -> Any:
        return to_number(self.figures[known_name(name, self.figures)])

    def __setitem__(self, name: str, figure: Any) -> None:
        self.figures[name] = figure

    def __delitem__(self, name: str) -> None:
        del self.figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.figures)

    def __len__(self) -> int:
        return len(self.figures)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and known_name(name, self.figures) in self.figures

    def __repr__(self) -> str:
        return repr(dict(self))


_OTHER_NAMES = {"acc": "accuracy", "accuracy": "acc", "lr": "learning_rate", "learning_rate": "lr"}


def known_name(name: str, known: Any) -> str:
    """Return the name under which a figure stands in `known`: its own, or the older or newer word for it.

    >>> known_name("val_acc", {"val_accuracy": 1})
    'val_accuracy'
    """
    if name in known:
        return name
    for word, other in _OTHER_NAMES.items():
        if name == word or name.endswith(f"_{word}"):
            candidate = name.removesuffix(word) + other
            if candidate in known:
                return candidate
    return name


def to_number(figure: Any) -> Any:
    """Return a scalar tensor as a Python float; a tensor without data, on the `meta` device, as NaN."""
    if not isinstance(figure, torch.Tensor):
        return figure
    return float("nan") if figure.is_meta else float(figure)


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


def entries(value: Any, count: int = 1) -> Any:
    """Return targets or weights as one entry for each output: a single tensor is the only one, `None` stands for all.

    >>> entries(None, 2)
    [None, None]
    """
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, Mapping):
        return list(value.values())
    return [value] * (count if value is None else 1)


class _Output:
    """One output: its loss, the weight of that loss, and its metrics, in plain form and in the form for logits."""

    def __init__(self, name: str, loss: Any, loss_weight: float, figures: Sequence[tuple[str, Any, bool]]):
        self.name = name
        self.loss: losses.Loss | None = loss
        self.loss_weight = loss_weight
        self.requested = list(figures)
        self.metrics: list[tuple[str, Any, bool]] | None = None
        self.mean_loss = Mean(f"{name}_loss")
        self.kind: str | None = None
        self.logit_loss: losses.Loss | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy binds its metrics anew."""
        return {**self.__dict__, "metrics": None, "requested": [(n, m, w) for n, m, w in (self.metrics or self.requested)]}

    def accept_logits(self, kind: str) -> bool:
        """Note what stands behind the logits that the training view offers; return whether the loss has a form for them."""
        self.logit_loss = self.loss.on_logits(kind) if self.loss is not None else None
        self.kind = kind if self.logit_loss is not None else None
        return self.kind is not None

    def resolve(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> None:
        """Decide what `'accuracy'` means, and which form each metric takes."""
        self.metrics = []
        for name, metric, is_weighted in self.requested:
            if isinstance(metric, str):
                metric = choose_accuracy(self.loss, y_true.shape, y_pred.shape)(name)
            self.metrics.append((name, metric, is_weighted))
        self._plain: list[tuple[Update, bool]] = [(metric.update_state, is_weighted) for _, metric, is_weighted in self.metrics]
        self._on_logits: list[tuple[Update | None, bool]] = [
            (on_logits(metric, self.kind) if self.kind else None, is_weighted) for _, metric, is_weighted in self.metrics
        ]

    def value(self, prediction: Any, mask: Any, y_true: Any, weight: Any, is_logits: bool) -> torch.Tensor:
        """Return the loss of a batch."""
        loss: Any = self.logit_loss if is_logits and self.kind else self.loss
        y_true = loss.align(y_true, prediction)
        if weight is None and mask is None and loss.reduction == "sum_over_batch_size":
            return loss.mean(y_true, prediction)  # type: ignore[no-any-return]
        values = loss.call(y_true, prediction)
        return loss.reduce(losses.weighted(values, _combine(weight, mask, values)))  # type: ignore[no-any-return]

    def update(self, prediction: torch.Tensor, mask: Any, y_true: Any, weight: Any, is_logits: bool) -> None:
        """Let the metrics take in a batch."""
        if self.metrics is None:
            self.resolve(y_true, prediction)
        probabilities = None
        forms = self._on_logits if is_logits and self.kind else self._plain
        for (update, is_weighted), (plain, _) in zip(forms, self._plain, strict=True):
            used = weight if is_weighted else None
            combined = used if mask is None else _combine(used, mask, None)
            if update is not None:
                update(y_true, prediction, combined)
                continue
            if probabilities is None:
                probabilities = torch.softmax(prediction, -1) if self.kind == "softmax" else torch.sigmoid(prediction)
            plain(y_true, probabilities, combined)


def on_logits(metric: Any, kind: str) -> Update | None:
    """Return the metric's update for logits, if it has one; a torchmetrics object, or a metric from elsewhere, has none."""
    form = getattr(metric, "on_logits", None)
    return form(kind) if form is not None else None


def _combine(weight: Any, mask: Any, values: Any) -> Any:
    """One weight out of sample weights and a mask; against `values`, the mask is scaled so that a mean is over unmasked steps."""
    if mask is None:
        return weight
    mask = mask.to(torch.float32)
    if values is not None:
        mask = mask * (mask.numel() / mask.sum().clamp(min=1))
    return mask if weight is None else losses.weighted(mask, weight)


class Objective:
    """The losses and metrics of all outputs.

    `output_names` is `None` where the outputs are known only when the first batch has passed. Raises `ValueError`
    for a loss or metric that is unknown, for a list of the wrong length, and for a name that no output has.
    """

    def __init__(
        self,
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        output_names: Sequence[str] | None = None,
    ):
        self.settings = {"loss": loss, "metrics": metrics, "loss_weights": loss_weights, "weighted_metrics": weighted_metrics}
        if not isinstance(loss_weights, (int, float, list, Mapping)) and loss_weights is not None:
            raise TypeError(f"loss_weights is a number, or a list or dict of numbers, got a {type(loss_weights).__name__}.")
        self._check_names()
        self.output_names: list[str] | None = None
        self.outputs: list[_Output] = []
        self.mean_loss = Mean("loss")
        self.running = Running(self)
        self.added: dict[str, Mean] = {}
        if output_names is not None:
            self.name_outputs(output_names)

    def _check_names(self) -> None:
        """Raise for unknown names at once, also where the outputs are not known yet."""
        for identifier in _leaves(self.settings["loss"]):
            losses.get(identifier)
        for argument in ("metrics", "weighted_metrics"):
            for identifier in _leaves(self.settings[argument]):
                get_metric(identifier)

    def _make_outputs(self, names: Sequence[str]) -> None:
        chosen = entry_per_output(self.settings["loss"], names, "loss")
        if self.settings["loss"] is not None and all(loss is None for loss in chosen):
            raise ValueError("No output has a loss. Pass loss=None to train on add_loss terms alone.")
        weights = entry_per_output(self.settings["loss_weights"], names, "loss_weights", default=1.0)
        plain = metrics_per_output(self.settings["metrics"], names, "metrics")
        weighted = metrics_per_output(self.settings["weighted_metrics"], names, "weighted_metrics")
        self.outputs = []
        taken: set[str] = set()
        for name, loss, weight, own, own_weighted in zip(names, chosen, weights, plain, weighted, strict=True):
            figures = []
            prefix = f"{name}_" if len(names) > 1 else ""
            for identifier, is_weighted in [*((m, False) for m in own), *((m, True) for m in own_weighted)]:
                metric = get_metric(identifier)
                label = prefix + (identifier if isinstance(identifier, str) else _label(metric))
                label = label if label not in taken or not is_weighted else f"{prefix}weighted_{label.removeprefix(prefix)}"
                taken.add(label)
                figures.append((label, metric, is_weighted))
            output = _Output(name, losses.get(loss), float(1.0 if weight is None else weight), figures if loss is not None else [])
            self.outputs.append(output)

    def outputs_for(self, predictions: Any) -> None:
        """Name the outputs of a module that said nothing of them, after what it returned, and make their losses."""
        if self.output_names is None:
            self.name_outputs(list(predictions) if isinstance(predictions, Mapping) else [f"output_{i + 1}" for i in range(count_of(predictions))])

    def name_outputs(self, names: Sequence[str]) -> None:
        """Make the losses and metrics of the outputs."""
        self._make_outputs(names)
        self.output_names = list(names)

    def check(self, shapes: Sequence[Any], targets: Sequence[Any]) -> None:
        """Raise `ValueError` where targets do not fit outputs of these shapes, before a step is taken."""
        for output, shape, target in zip(self.outputs, shapes, targets, strict=False):
            if output.loss is None or target is None or None in shape[1:]:
                continue
            try:
                output.loss.align(torch.empty(0, *target.shape[1:], dtype=target.dtype), torch.empty(0, *shape[1:]))
            except ValueError as error:
                raise ValueError(f"Output {output.name!r}: {error}") from None

    @property
    def targets(self) -> list[str]:
        """The names of the outputs that have a loss, and so need a target."""
        return [output.name for output in self.outputs if output.loss is not None]

    # ------------------------------------------------------------------ a batch

    def loss(self, outputs: TrainingOutputs, targets: Any, weights: Any, is_logits: bool = True) -> torch.Tensor:
        """Return the total loss of a batch: the weighted losses of the outputs, and the terms of the graph."""
        targets, weights = entries(targets), entries(weights, len(self.outputs))
        total: Any = None
        single = len(self.outputs) == 1
        for index, output in enumerate(self.outputs):
            if output.loss is None:
                continue
            value = output.value(outputs.predictions[index], outputs.masks[index], targets[index], weights[index], is_logits)
            if not single:
                count = len(targets[index])
                output.mean_loss.add(value.detach(), count, times=count)
            if output.loss_weight != 1.0:
                value = value * output.loss_weight
            total = value if total is None else total + value
        for term in outputs.losses:
            term = term if term.ndim == 0 else term.mean()
            total = term if total is None else total + term
        if total is None:
            raise ValueError("There is nothing to train on: no output has a loss, and no loss term was added.")
        return total  # type: ignore[no-any-return]

    def track(self, loss: torch.Tensor, outputs: TrainingOutputs, targets: Any, weights: Any, is_logits: bool = True) -> None:
        """Take a batch into the figures of the epoch; nothing is read from the device."""
        samples = len(outputs.predictions[0])
        self.mean_loss.add(loss.detach(), samples, times=samples)
        for name, value in outputs.metrics:
            self.added.setdefault(name, Mean(name)).add(value.detach().mean(), samples, times=samples)
        targets, weights = entries(targets), entries(weights, len(self.outputs))
        for index, output in enumerate(self.outputs):
            if output.requested:
                output.update(outputs.predictions[index].detach(), outputs.masks[index], targets[index], weights[index], is_logits)

    # ------------------------------------------------------------------ an epoch

    @property
    def metrics_names(self) -> list[str]:
        """The names of all figures: `loss`, the losses of several outputs, then the metrics of each."""
        several = len(self.outputs) > 1
        return [
            "loss",
            *(f"{output.name}_loss" for output in self.outputs if several and output.loss is not None),
            *(name for output in self.outputs for name, _, _ in output.requested),
            *self.added,
        ]

    def results(self) -> dict[str, Callable[[], Any]]:
        """Return for each figure the function that computes it, as a tensor on the device."""
        found: dict[str, Callable[[], Any]] = {"loss": self.mean_loss.result}
        if len(self.outputs) > 1:
            found |= {f"{output.name}_loss": output.mean_loss.result for output in self.outputs if output.loss is not None}
        for output in self.outputs:
            found |= {name: metric.result for name, metric, _ in output.metrics or []}
        return found | {name: metric.result for name, metric in self.added.items()}

    def reset(self) -> None:
        """Begin a new epoch."""
        for mean in (self.mean_loss, *self.added.values()):
            mean.reset_state()
        for output in self.outputs:
            output.mean_loss.reset_state()
            for _, metric, _ in output.metrics or output.requested:
                if not isinstance(metric, str):
                    reset_state(metric)


def reset_state(metric: Any) -> None:
    """Reset a metric: Keras' `reset_state`, or torchmetrics' `reset`."""
    (getattr(metric, "reset_state", None) or metric.reset)()


def count_of(predictions: Any) -> int:
    """Return the number of outputs in what a module returned."""
    return len(predictions) if isinstance(predictions, (list, tuple, Mapping)) else 1


def _label(metric: Any) -> str:
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", None) or type(metric).__name__)


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, Mapping) and "class_name" not in tree:
        return [leaf for part in tree.values() for leaf in _leaves(part)]
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in _leaves(part)]
    return [] if tree is None else [tree]


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
        return [value.get(name, value.get(name.rpartition("_")[0], default) if name.rpartition("_")[2].isdigit() else default) for name in names]
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
        return [list(value) for _ in names]
    entries = entry_per_output(value, names, argument)
    return [list(entry) if isinstance(entry, (list, tuple)) else [] if entry is None else [entry] for entry in entries]
