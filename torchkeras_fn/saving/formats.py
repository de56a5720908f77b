"""Which way a file is written and read: told by the end of its name, or by its first bytes. Every further format has its place here."""

import os
import stat
import sys
from typing import Any, BinaryIO, NamedTuple


class Format(NamedTuple):
    """The four functions of a way to save: `save_model(model, path, include_optimizer)`, `load_model(path, custom_objects, compile)`,
    `save_weights(model, path)` and `load_weights(model, path, by_name, skip_mismatch)`, which is given
    `reshape=True` where that is asked for; `None` for one that it lacks.

    In place of a path may come a binary file object, and for `.h5` a group of h5py.

    >>> Format("nothing").load_model is None
    True
    """

    name: str
    save_model: Any = None
    load_model: Any = None
    save_weights: Any = None
    load_weights: Any = None


_FORMATS: dict[str, Format] = {ending: Format("Keras' own") for ending in (".weights.h5", ".keras", ".h5", ".hdf5")}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP, _NAME_IN_ZIP = b"PK\3\4", 30
_MEMBERS_OF_KERAS = (b"metadata.json", b"config.json", b"model.weights.h5")
"""One of these stands first in a `.keras` file, and none of them in this library's own."""


def register(ending: str, format: Format) -> None:
    """Let files whose name ends so be written and read in this format."""
    _FORMATS[ending] = format


def function_for(target: Any, name: str, default: Any, save_format: str | None = None) -> Any:
    """Return the function of that name for a path, an open file or a group of h5py, or `default`, this library's own.

    The end of the path's name says which. An open file is written as the end of its own name says, and read as its first
    bytes do, as is a file whose name says nothing, which is written as `save_format` says, `"keras"` or `"h5"`. Raises
    `ValueError` for a format that cannot do it.

    >>> function_for("model.tk", "save_model", print) is print
    True
    """
    ending = _ending_of(target, reads=name.startswith("load"))
    if ending is None and save_format is None:
        return default
    ending = ending or f".{save_format}"
    function = getattr(_FORMATS[ending], name)
    if function is None:
        raise ValueError(
            f"{called(target)!r}: files that end in {ending!r} are in {_FORMATS[ending].name} format, for which there is no "
            f"{name} here. Give the file another ending, such as '.model', for this library's own format."
        )
    return function


def _ending_of(target: Any, reads: bool) -> str | None:
    """The ending under which the format of a target is registered; `None` for this library's own."""
    if is_group(target):
        return ".h5"
    if is_open_file(target):
        return _ending_by_content(target) if reads else _ending_of_name(str(getattr(target, "name", "")))
    try:
        text = os.fsdecode(target)
    except TypeError:
        raise TypeError(
            f"A path or a binary file object is needed, or a group of h5py; got {target!r} of type {type(target).__name__}."
        ) from None
    ending = _ending_of_name(text)
    if ending is None and reads and os.path.isfile(text):
        with open(text, "rb") as file:
            return _ending_by_content(file)
    return ending


def _ending_of_name(text: str) -> str | None:
    return next((ending for ending in sorted(_FORMATS, key=len, reverse=True) if text.lower().endswith(ending)), None)


def _ending_by_content(file: Any) -> str | None:
    if not hasattr(file, "seekable") or not file.seekable():
        return None
    file.seek(0)
    begin = file.read(_NAME_IN_ZIP + max(map(len, _MEMBERS_OF_KERAS)))
    file.seek(0)
    if not isinstance(begin, bytes):
        raise TypeError(f"{called(file)} is open for text. Open it in binary mode: open(path, 'rb').")
    if begin.startswith(_HDF5):
        return ".h5"
    return ".keras" if begin.startswith(_ZIP) and begin[_NAME_IN_ZIP:].startswith(_MEMBERS_OF_KERAS) else None


# ---------------------------------------------------------------------- what stands in place of a path


def is_open_file(target: Any) -> bool:
    """Return whether something is a file object, not a path.

    >>> is_open_file(sys.stdout), is_open_file("model.h5")
    (True, False)
    """
    return hasattr(target, "read") or hasattr(target, "write")


def is_group(target: Any) -> bool:
    """Return whether something is a group of h5py, such as an open `h5py.File`. Does not import h5py.

    >>> is_group("model.h5")
    False
    """
    h5py = sys.modules.get("h5py")
    return h5py is not None and isinstance(target, h5py.Group)


def called(target: Any) -> str:
    """Return what an error message calls a path, an open file or a group.

    >>> called("model.h5")
    'model.h5'
    """
    if is_group(target):
        return f"The group {target.name!r} of {target.file.filename!r}"
    return str(getattr(target, "name", "the file")) if is_open_file(target) else os.fsdecode(target)


def open_to_read(path: Any) -> BinaryIO:
    """Return the open file at a path. Raises `ValueError` for a pipe or a device, which may never end, also behind a link.

    >>> open_to_read("/dev/zero")
    Traceback (most recent call last):
        ...
    ValueError: '/dev/zero' is a device or a pipe. Give the path of a file, or a file object.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a folder the system says so itself
        raise ValueError(f"{os.fsdecode(path)!r} is a device or a pipe. Give the path of a file, or a file object.")
    return open(path, "rb")
