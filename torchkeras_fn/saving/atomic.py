"""Files that are there whole or not at all: written beside their place, synced, and put there in one step."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO


@contextmanager
def replacing(path: Any) -> Iterator[BinaryIO]:
    """Give a file to write; when the block ends it stands at `path`, and when it fails `path` is what it was.

    A crash at any moment leaves the old file or the new one. Raises `FileNotFoundError` for a folder that is not there,
    `IsADirectoryError` and `ValueError` for a path at which stands something that is no file.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "numbers")
    >>> with replacing(path) as file:
    ...     _ = file.write(b"123")
    >>> path.read_bytes()
    b'123'
    """
    target = os.path.realpath(os.fsdecode(path))  # a link stays a link: what it points to is replaced
    folder, name = os.path.split(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"There is no folder {folder!r} to save {name!r} in. Make it first.")
    if os.path.isdir(target):
        raise IsADirectoryError(f"{target!r} is a folder. Give the path of a file.")
    mode = os.stat(target).st_mode if os.path.exists(target) else None
    if mode is not None and not stat.S_ISREG(mode):
        raise ValueError(f"{target!r} is a device or a pipe, which cannot be replaced. Give the path of a file, or a file object.")
    temporary = os.path.join(folder, f".{name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Make the new name last. Windows has no such call, and needs none."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot; the file itself is synced
            os.fsync(handle)
    finally:
        os.close(handle)
