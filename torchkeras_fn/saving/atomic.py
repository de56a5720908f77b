"""Files that are there whole or not at all: written beside their place, synced, and put there in one step."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


_NO_ROOM = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def replacing(path: Any) -> Iterator[BinaryIO]:
    """Give a file to write; when the block ends it stands at `path`, and when it fails `path` is what it was.

    A crash at any moment leaves the old file or the new one. Raises `FileNotFoundError` for a folder that is not there,
    `IsADirectoryError` and `ValueError` for a path at which stands something that is no file, and `OSError`, naming the
    file, where there is no room for it.

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
    _remove_leftovers(folder, name[:200])
    try:
        with _nameless(folder) or open(temporary, "xb") as file:
            _lock(file.fileno(), waits=True)
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not os.path.exists(temporary):
                _give_name(file, temporary)
            if fcntl is None:
                file.close()  # on Windows an open file keeps its name
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            os.replace(temporary, target)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            error.filename = target  # the system does not say which file there is no room for
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


@contextmanager
def locked(folder: str, waits: bool = True) -> Iterator[None]:
    """Hold the lock of a folder, or a file, in the block. It is free again when the process ends, however that comes about.

    Raises `BlockingIOError` where another holds it, unless it `waits`. Where the system or the file system has no such locks,
    as Windows has none, none is held.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with locked(folder):
    ...     os.listdir(folder)
    []
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, waits)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, waits: bool) -> None:
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:  # some network file systems cannot
        pass


def _remove_leftovers(folder: str, name: str) -> None:
    """Remove what killed processes left of a file that they wrote: nobody holds the lock of it."""
    with contextlib.suppress(OSError):
        for other in os.listdir(folder):
            path = os.path.join(folder, other)
            if re.fullmatch(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.tmp", other) and stat.S_ISREG(os.lstat(path).st_mode):
                with contextlib.suppress(OSError), locked(path, waits=False):
                    os.unlink(path)


def _nameless(folder: str) -> BinaryIO | None:
    """A file without a name, which is gone when the process is killed; `None` where the system or the file system has none."""
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except (AttributeError, OSError):
        return None


def _give_name(file: BinaryIO, path: str) -> None:
    try:
        handle = file.fileno()
        os.link(f"/proc/self/fd/{handle}", path, src_dir_fd=handle)  # without a descriptor, Python does not follow the link in /proc
    except OSError:  # where there is no /proc
        file.seek(0)
        with open(path, "xb") as named:
            shutil.copyfileobj(file, named)
            named.flush()
            os.fsync(named.fileno())


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
