"""Which way a file is written and read: told by the end of its name. Every further format has its place here."""

import os
from typing import Any, NamedTuple


class Format(NamedTuple):
    """The four functions of a way to save: `save_model(model, path, include_optimizer)`, `load_model(path, custom_objects, compile)`,
    `save_weights(model, path)` and `load_weights(model, path, by_name, skip_mismatch)`; `None` for one that it lacks.

    >>> Format("nothing").load_model is None
    True
    """

    name: str
    save_model: Any = None
    load_model: Any = None
    save_weights: Any = None
    load_weights: Any = None


_FORMATS: dict[str, Format] = {ending: Format("Keras' own") for ending in (".weights.h5", ".keras", ".h5", ".hdf5")}


def register(ending: str, format: Format) -> None:
    """Let files whose name ends so be written and read in this format."""
    _FORMATS[ending] = format


def function_for(path: Any, name: str, default: Any) -> Any:
    """Return the function of that name for a path: that of the format of its ending, or `default`, this library's own.

    Raises `ValueError` for a format that cannot do it.

    >>> function_for("model.tk", "save_model", print) is print
    True
    """
    if hasattr(path, "read") or hasattr(path, "write"):
        return default
    try:
        text = os.fsdecode(path).lower()
    except TypeError:
        raise TypeError(f"A path or a binary file object is needed, got {path!r} of type {type(path).__name__}.") from None
    for ending in sorted(_FORMATS, key=len, reverse=True):
        if text.endswith(ending):
            function = getattr(_FORMATS[ending], name)
            if function is None:
                raise ValueError(
                    f"{os.fsdecode(path)!r}: files that end in {ending!r} are in {_FORMATS[ending].name} format, for which there is no "
                    f"{name} here. Give the file another ending, such as '.model', for this library's own format."
                )
            return function
    return default
