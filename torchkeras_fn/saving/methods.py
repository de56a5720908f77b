"""`Saving`: the methods that write a model to files and read its weights."""

from typing import Any

from torchkeras_fn.engine.distributed.writing import first_writes
from torchkeras_fn.engine.lowered.drawn import Drawn
from torchkeras_fn.saving import checkpoint, describe, export, formats, json_text, model_file, weights_file
from torchkeras_fn.saving.compile_config import compile_config


class Saving:
    """A mixin for any `nn.Module`. A module that is no `Model` can save its weights, and its training, but not its class."""

    def save(self, filepath: Any, overwrite: bool = True, include_optimizer: bool = True, **options: Any) -> None:
        """Write the model to one file: architecture, weights, training configuration and the optimizer's state.

        `models.load_model` reads it. `filepath` is a path, whose folder must be there, a binary file object, or a group of
        h5py, into which goes what a `.h5` file has. The end of the name, also that of an open file, chooses the format, and
        where it says nothing `save_format="keras"` or `"h5"` does.
        `overwrite=False` raises `FileExistsError` for a file that is there, `include_optimizer=False` leaves the training
        out. Raises `ValueError` for what a file can neither hold nor name, such as a `lambda`, and `TypeError` for a
        module that is no `Model`. Whatever happens, the file is the old one or the new one, and whole.

        Of several processes that train the model together the first writes; the others, which call this as well, return
        when the file is there, and raise `RuntimeError` where it could not be written. A file object is each one's own.

        >>> import io
        >>> from torchkeras_fn import Sequential, layers, models
        >>> model = Sequential([layers.Dense(1, input_shape=(2,))])
        >>> model.save(file := io.BytesIO())
        >>> models.load_model(file).output_shape
        (None, 1)
        """
        model_file.save_model(self, filepath, overwrite, include_optimizer, **options)

    def save_weights(self, filepath: Any, overwrite: bool = True, **options: Any) -> None:
        """Write the weights to one file, which `load_weights` reads. See `save` for the arguments."""
        save_format = options.pop("save_format", None)
        if save_format not in (None, "keras", "h5") or options:
            raise ValueError("save_weights takes a path and overwrite: the end of the path's name chooses the format.")
        weights_file.save_weights(self, filepath, overwrite, save_format)

    def load_weights(self, filepath: Any, by_name: bool = False, skip_mismatch: bool = False, reshape: bool = False) -> None:
        """Set the weights from a file that `save_weights` or `save` wrote: by the layers' positions, or `by_name`.

        `reshape` takes weights of other shapes with as many values, in their order. `skip_mismatch` warns of those that do
        not fit instead of raising `ValueError`, and keeps the model's own. By name, a layer that is not in the file keeps
        its weights. A call that raises changes nothing.

        >>> import io
        >>> from torchkeras_fn import Sequential, layers
        >>> first, second = (Sequential([layers.Dense(1, input_shape=(2,))]) for _ in range(2))
        >>> first.save_weights(file := io.BytesIO())
        >>> second.load_weights(file)
        >>> bool((first.get_weights()[0] == second.get_weights()[0]).all())
        True
        """
        weights_file.load_weights(self, filepath, by_name, skip_mismatch, reshape)

    def _check_can_save(self, filepath: Any, weights_only: bool) -> None:
        """Raise what `save` or `save_weights` would, as far as it can be told before there is anything to save."""
        model: Any = self
        if weights_only:
            if type(self).save_weights is Saving.save_weights:
                weights_file.function_to_save(model, filepath)
        elif type(self).save is Saving.save:
            is_own_format = formats.function_for(filepath, "save_model", None) is None
            if not isinstance(model, Drawn) or is_own_format and model.built:
                describe.describe_model(model, with_constants=False)
                if model.objective is not None and model._bound:
                    compile_config(model)

    def save_checkpoint(self, folder: Any) -> None:
        """Write the weights, and the training of a compiled model, into a folder by `torch.distributed.checkpoint`.

        Of a model compiled with `distributed='fsdp'` each process writes the parts that it holds, and none needs room for
        all of it; `save` puts the whole model together in the first process's memory. All processes call this, and see the
        same folder, which is made. A checkpoint that is there is replaced when the new one is whole. The folder named
        `parts-...` inside it is one that torch's own tools read. Raises `ValueError` for a model without weights, and
        `OSError` for a folder that cannot be written to.
        """
        checkpoint.save_checkpoint(self, folder)

    def load_checkpoint(self, folder: Any) -> None:
        """Set the weights, and the state of the training of a compiled model, from what `save_checkpoint` wrote.

        How many processes wrote it does not matter, and neither does whether the model lies in parts there or here. Nothing
        in the folder is run. Raises `FileNotFoundError` where there is no checkpoint, and `ValueError`, saying what is bad,
        for one that is damaged or of another model; then nothing has changed.

        >>> import tempfile
        >>> from torchkeras_fn import Sequential, layers
        >>> folder = tempfile.mkdtemp()
        >>> first, second = (Sequential([layers.Dense(1, input_shape=(2,))]) for _ in range(2))
        >>> first.save_checkpoint(folder)
        >>> second.load_checkpoint(folder)
        >>> bool((first.get_weights()[0] == second.get_weights()[0]).all())
        True
        """
        checkpoint.load_checkpoint(self, folder)

    def export(
        self, filepath: Any, format: str = "torch", verbose: bool | None = None, input_signature: Any = None, **options: Any
    ) -> None:
        """Write what the model does in inference as a program that runs without this library, for batches of any size.

        `format='torch'` writes what `torch.export.load(path).module()` reads; its name should end in `.pt2`.
        `format='onnx'` writes an ONNX file, with inputs and outputs under their Keras names (extra `onnx`). Sizes that an
        `Input` leaves open stay open. `filepath` is a path or a binary file object. `input_signature` says what the model
        takes: tensors, arrays, `Input(...)`s or shapes, in a list or dict where there are several; it is needed for a
        module that was not drawn and not called yet, and can fix sizes that are open. `options` are those of
        `torch.export.export`, such as `strict`, or of `torch.onnx.export`, such as `opset_version`.

        Raises `RuntimeError` for a model that is not built, or that torch cannot export, with torch's words and the layer
        where it is known; `ValueError` for another format, and `ImportError` without the extra. A call that raises leaves
        nothing behind.

        >>> import io
        >>> import torch
        >>> from torchkeras_fn import Sequential, layers
        >>> model = Sequential([layers.Dense(1, input_shape=(2,))])
        >>> model.export(file := io.BytesIO())
        >>> _ = file.seek(0)
        >>> torch.export.load(file).module()(torch.ones(5, 2)).shape
        torch.Size([5, 1])
        """
        if getattr(self, "_sharding", None) is not None:
            raise RuntimeError("A model in parts on several processes is not exported: save it, and load it in one process to export it.")
        first_writes(self, filepath, lambda: export.export_model(self, filepath, format, verbose, input_signature, **options))

    def to_json(self, **options: Any) -> str:
        """Return the architecture as JSON, for `models.model_from_json`; `options` are those of `json.dumps`."""
        return json_text.to_json(self, **options)

    def to_yaml(self, **options: Any) -> str:
        """Raise `RuntimeError`, as Keras does: YAML can make any Python object, so it is no safe format. Use `to_json`."""
        raise RuntimeError("Models are not written as YAML any more, which could run code when it is read. Use to_json().")
