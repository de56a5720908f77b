"""`TensorBoard`: writes what TensorBoard shows: figures, the graph, weights."""

import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from torchkeras_fn.arguments import positive_integer
from torchkeras_fn.callbacks.callback import Callback, only_if
from torchkeras_fn.callbacks.learning_rates import learning_rate
from torchkeras_fn.callbacks.tensorboard_graph import graph_definition
from torchkeras_fn.shards import whole


class TensorBoard(Callback):
    """Writes for TensorBoard (`tensorboard --logdir logs`), into the folders `train` and `validation` of `log_dir`.

    Each epoch: the figures and the learning rate (`epoch_loss`, `epoch_learning_rate`), and with `write_steps_per_second`
    the speed. With `update_freq` `'batch'` or a number: every so many batches the figures so far (`batch_loss`). At the
    end of an evaluation: its figures over the optimizer's steps. With `write_graph`: the layers of a drawn model. Every
    `histogram_freq` epochs: histograms of the weights, with `write_images` pictures of them, with `write_grads` histograms
    of the last gradients. Every `embeddings_freq` epochs: the tables of `nn.Embedding` modules, all or those in
    `embeddings_layer_names`, labelled by the lines of the files in `embeddings_metadata` (one file, or a dict by name).
    `profile_batch` is a batch, or the first and the last of several, counted from 1, that `torch.profiler` records.

    `batch_size` and `embeddings_data` of Keras 2 are accepted and have no use. Needs the extra `tensorboard`, and raises
    `ImportError` without it; `ValueError` for bad values.

    >>> TensorBoard("logs", update_freq="batch").update_freq
    1
    """

    def __init__(
        self,
        log_dir: Any = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: Any = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
        *,
        write_grads: bool = False,
        embeddings_layer_names: Sequence[str] | None = None,
        embeddings_data: Any = None,
        batch_size: int | None = None,
    ):
        if importlib.util.find_spec("tensorboard") is None:
            raise ImportError("TensorBoard needs the package tensorboard: pip install 'torchkeras_fn[tensorboard]'.")
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = positive_integer(histogram_freq or 0, "histogram_freq", minimum=0)
        self.write_graph = write_graph
        self.write_images = write_images
        self.write_grads = write_grads
        self.write_steps_per_second = write_steps_per_second
        if isinstance(update_freq, str) and update_freq not in ("batch", "epoch"):
            raise ValueError(f"'update_freq' is 'batch', 'epoch' or a number of batches, got {update_freq!r}.")
        self.update_freq = 1 if update_freq == "batch" else update_freq
        if update_freq != "epoch":
            positive_integer(self.update_freq, "update_freq")
        self.profile_batch = _first_and_last(profile_batch)
        self.embeddings_freq = positive_integer(embeddings_freq or 0, "embeddings_freq", minimum=0)
        self.embeddings_metadata = embeddings_metadata
        self.embeddings_layer_names = embeddings_layer_names
        self._train_batches = 0
        self._writers: dict[str, Any] = {}
        self._profiler: Any = None
        self._training = False

    def __getstate__(self) -> dict[str, Any]:
        """A copy opens files of its own."""
        return {**super().__getstate__(), "_writers": {}, "_profiler": None}

    # ------------------------------------------------------------------ files

    def _writer(self, folder: str) -> Any:
        """The writer into a folder, opened when there is something to write; of several processes the first alone has one."""
        if not self._speaks:
            return _Silent()
        from torch.utils.tensorboard import SummaryWriter

        if folder not in self._writers:
            self._writers[folder] = SummaryWriter(os.path.join(self.log_dir, folder))
        return self._writers[folder]

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    # ------------------------------------------------------------------ training

    def on_train_begin(self, logs: Any = None) -> None:
        """Write the graph."""
        self._training = True
        self._train_batches = 0
        self._check_metadata()
        definition = graph_definition(self.model) if self.write_graph and self._speaks else None
        if definition is not None:
            from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import]

            self._writer("train").file_writer.add_event(Event(graph_def=definition.SerializeToString()))

    @only_if(lambda self: self.profile_batch[0])
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Begin to record."""
        if self._train_batches + 1 == self.profile_batch[0] and self._speaks:
            handler = torch.profiler.tensorboard_trace_handler(os.path.join(self.log_dir, "train"))
            self._profiler = torch.profiler.profile(on_trace_ready=handler)
            self._profiler.start()

    @only_if(lambda self: self.update_freq != "epoch" or self.profile_batch[0] or self.write_steps_per_second)
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Write the figures so far, if it is time."""
        self._train_batches += 1
        if self._profiler is not None and self._train_batches >= self.profile_batch[1]:
            self._end_profile()
        if self._speaks and self.update_freq != "epoch" and self._train_batches % self.update_freq == 0:
            figures = {f"batch_{name}": logs[name] for name in logs or {} if name not in ("batch", "size")}
            self._write("train", figures, self._train_batches)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the time."""
        self._begun, self._batches_before = time.perf_counter(), self._train_batches

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the figures, and what else is due."""
        figures = {name: logs[name] for name in logs or {}}
        trained = {f"epoch_{name}": figure for name, figure in figures.items() if not name.startswith("val_")}
        if getattr(self.model, "optimizer", None) is not None:
            trained["epoch_learning_rate"] = learning_rate(self.model.optimizer)
        if self.write_steps_per_second:
            trained["epoch_steps_per_second"] = (self._train_batches - self._batches_before) / (time.perf_counter() - self._begun)
        self._write("train", trained, epoch)
        validated = {f"epoch_{name.removeprefix('val_')}": figure for name, figure in figures.items() if name.startswith("val_")}
        if validated:
            self._write("validation", validated, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_weights(epoch)
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            self._write_embeddings(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Close the files."""
        if self._profiler is not None:
            self._end_profile()
        self._training = False
        self._close()

    def on_test_end(self, logs: Any = None) -> None:
        """Write the figures of an evaluation over the steps of the optimizer."""
        step = int(getattr(getattr(self.model, "optimizer", None), "iterations", self._train_batches))
        self._write("validation", {f"evaluation_{name}_vs_iterations": logs[name] for name in logs or {}}, step)
        if not self._training:
            self._close()

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches so far."""
        return {"train_batches": self._train_batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._train_batches = self._batches_before = state["train_batches"]

    # ------------------------------------------------------------------ what is written

    def _write(self, folder: str, figures: Mapping[str, Any], step: int) -> None:
        for tag, figure in figures.items():
            if not isinstance(figure, str):
                self._writer(folder).add_scalar(tag, figure, step)

    def _end_profile(self) -> None:
        self._profiler.stop()
        self._profiler = None

    def _write_weights(self, epoch: int) -> None:
        for name, weight in _weights_of(self.model):
            self._write_histogram(f"{name}/histogram", weight, epoch)
            picture = _picture(weight) if self.write_images else None
            if picture is not None:
                self._writer("train").add_images(f"{name}/image", picture, epoch, dataformats="NHWC")
        for name, parameter in self.model.named_parameters() if self.write_grads else ():
            if parameter.grad is not None:
                self._write_histogram(f"{name}/gradient", parameter.grad, epoch)

    def _write_histogram(self, tag: str, values: torch.Tensor, epoch: int) -> None:
        values = whole(values)
        finite = values.detach().float()[values.isfinite()]  # NaN and infinity have no place in a histogram
        if finite.numel():
            self._writer("train").add_histogram(tag, finite, epoch)

    def _embeddings(self) -> dict[str, nn.Embedding]:
        found = {name: module for name, module in self.model.named_modules() if isinstance(module, nn.Embedding)}
        wanted = self.embeddings_layer_names
        return {name: module for name, module in found.items() if not wanted or name in wanted or name.split(".")[0] in wanted}

    def _check_metadata(self) -> None:
        if not self.embeddings_freq or not isinstance(self.embeddings_metadata, Mapping):
            return
        names = list(self._embeddings())
        unknown = [name for name in self.embeddings_metadata if name not in names]
        if unknown:
            raise ValueError(f"'embeddings_metadata' names {unknown[0]!r}, which is none of the embeddings {names}.")

    def _write_embeddings(self, epoch: int) -> None:
        for name, module in self._embeddings().items():
            path = self.embeddings_metadata.get(name) if isinstance(self.embeddings_metadata, Mapping) else self.embeddings_metadata
            labels = None
            if path is not None:
                with open(path) as file:
                    labels = file.read().splitlines()
            self._writer("train").add_embedding(whole(module.weight).detach().float(), metadata=labels, tag=name, global_step=epoch)


class _Silent:
    """A writer that writes nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def _first_and_last(profile_batch: Any) -> tuple[int, int]:
    batches = profile_batch.split(",") if isinstance(profile_batch, str) else profile_batch
    batches = list(batches) if isinstance(batches, (list, tuple)) else [batches]
    try:
        first, last = int(batches[0]), int(batches[-1])
    except (TypeError, ValueError):
        first, last = -1, -1
    if len(batches) > 2 or first < 0 or last < first:
        raise ValueError(f"'profile_batch' is a batch, or the first and the last of several, counted from 1; got {profile_batch!r}.")
    return first, last


def _weights_of(model: Any) -> list[tuple[str, torch.Tensor]]:
    """The weights by name: in Keras' layout, or as a plain module has them."""
    if hasattr(model, "named_weights"):
        return [(weight.name, weight.view) for weight in model.named_weights()]
    return [(name, whole(parameter.detach())) for name, parameter in model.named_parameters()]


def _picture(weight: torch.Tensor) -> torch.Tensor | None:
    """A weight as pictures in shades of grey, darkest where it is least; `None` where it has too many axes."""
    values = weight.detach().float().squeeze()
    if values.ndim == 1:
        values = values.view(1, 1, -1)
    elif values.ndim == 2:
        values = (values.T if values.shape[0] > values.shape[1] else values).unsqueeze(0)
    elif values.ndim == 3:
        values = values.permute(2, 0, 1)
    else:
        return None
    low, high = values.min(), values.max()
    return ((values - low) / (high - low).clamp(min=1e-12)).unsqueeze(-1)
