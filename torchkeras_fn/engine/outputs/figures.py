"""`Figures`: what the loss and the metrics of all outputs have gathered in an epoch, under the names that the logs have."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch

from torchkeras_fn.engine.basics.logs import to_number
from torchkeras_fn.engine.outputs.output import Output
from torchkeras_fn.metrics import Mean, TorchMetric, keep
from torchkeras_fn.metrics.gathered import gathered, take_up
from torchkeras_fn.metrics.merging import check_mergeable, merge


class Figures:
    """The mean of the loss, the metrics of the outputs, and what a layer or the model adds. The objective of a model has them.

    `sees_loss` says that there is a loss among them.
    """

    def __init__(self, sees_loss: bool = True):
        self.outputs: list[Output] = []
        self.mean_loss = Mean("loss", "float64")
        self.added: dict[str, Any] = {}
        self.running = Running(self)
        self._sees_loss = sees_loss
        self._varies = False
        """Whether there are fewer outputs in evaluation than in training."""

    def _with_figures(self) -> list[Output]:
        """The outputs without those that are none in an evaluation."""
        return [output for output in self.outputs if output.loss is None or float(output.mean_loss.count)] or self.outputs

    @property
    def metrics_names(self) -> list[str]:
        """The names of all figures: `loss`, the losses of several outputs, then the metrics of each."""
        several, outputs = len(self.outputs) > 1, self._with_figures() if self._varies else self.outputs
        names = [
            "loss",
            *(f"{output.name}_loss" for output in outputs if several and output.loss is not None),
            *(name for output in outputs for name, _, _ in output.named_metrics()),
            *self.added,
        ]
        return list(dict.fromkeys(names))  # what is added may stand in place of another

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

        >>> Figures().known_metrics()
        [<Mean name=loss>]
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
        """Begin a new epoch, with the losses as they are now."""
        for output in self.outputs:
            for attributes, noted in output.noted:
                if len(attributes) != len(noted) or not all(map(is_, attributes.values(), noted)):
                    output.decide_anew()
                    break
        unused = self.outputs[0].mean_loss if len(self.outputs) == 1 else None  # the loss of a single output is the loss
        for metric in self.known_metrics():
            if metric is not unused:
                (getattr(metric, "reset_state", None) or metric.reset)()  # Keras' name, or torchmetrics'

    def state_dict(self) -> dict[str, Any]:
        """Return what was gathered in the epoch so far, and what the data told about the metrics."""
        return {
            "seen": [output.seen for output in self.outputs],
            "sees_loss": self._sees_loss,
            "added": list(self.added),
            "figures": list(map(gathered, self.known_metrics())),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there. Raises `ValueError` where the state is that of other metrics."""
        for output, seen in zip(self.outputs, state["seen"], strict=True):
            if seen is not None:
                output.resolve(*(torch.empty(shape, device="meta") for shape in seen))
        self._sees_loss = bool(state["sees_loss"])
        for name in state["added"]:
            self.added.setdefault(name, Mean(name))
        for metric, figures in zip(self.known_metrics(), state["figures"], strict=True):
            take_up(metric, figures)


class Running(Mapping[str, Any]):
    """The figures so far: computed, as tensors on the device, when they are looked at."""

    def __init__(self, figures: Figures):
        self._figures = figures

    def __getitem__(self, name: str) -> Any:
        return self._figures.results()[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures.results())

    def __len__(self) -> int:
        return len(self._figures.results())

    def computed(self) -> dict[str, Any]:
        """Return all figures as they are now: as tensors on the device, and as numbers where that is the CPU."""
        found = {}
        for name, compute in self._figures.results().items():
            metric = getattr(compute, "__self__", None)
            found[name] = metric.number() if isinstance(metric, Mean) and metric.total.is_cpu else compute()
        return found

    def numbers(self) -> dict[str, Any]:
        """Return all figures as they are now, read from the device."""
        found = {}
        for name, compute in self._figures.results().items():
            metric = getattr(compute, "__self__", None)
            found[name] = metric.number() if isinstance(metric, Mean) and not metric.total.is_meta else to_number(compute())
        return found
