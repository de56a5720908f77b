"""The `.keras` container: a zip of two texts and an HDF5 file. It is written as Keras writes it, and read without trust."""

import io
import stat
import zipfile
from collections.abc import Mapping
from typing import Any

from torchkeras_fn.saving.archive import Archive
from torchkeras_fn.saving.atomic import replacing

METADATA = "metadata.json"
CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
_FREE_BYTES = 2**24
_MOST_EXPANSION = 100
_CHUNK = 2**22


class KerasArchive(Archive):
    """A `.keras` file. Its members may be compressed, unlike those of this library's own files, but not out of proportion.

    Raises `ValueError`, naming the bad part, for unknown or repeated members, links, paths, and checksums that differ.
    """

    def __init__(self, source: Any):
        super().__init__(source, {METADATA, WEIGHTS})

    def _find_members(self, known: set[str]) -> dict[str, tuple[int, int, int]]:
        self._check_listing()
        with zipfile.ZipFile(self._file) as archive:
            infos = archive.infolist()
        for info in infos:
            _check_member(info, known, [other.orig_filename for other in infos])
        return {info.orig_filename: (info.header_offset, info.file_size, info.CRC) for info in infos}

    def _read_config(self, format: str | None) -> dict[str, Any]:
        config = self.read_json(CONFIG)
        if not isinstance(config, dict) or not isinstance(config.get("class_name"), str) or "config" not in config:
            raise ValueError("it describes no model.")
        return config

    @property
    def version(self) -> str:
        """The version of Keras that wrote the file; Keras 3's where it does not say."""
        said = self.read_json(METADATA) if METADATA in self else None
        return str(said.get("keras_version", "3")) if isinstance(said, Mapping) else "3"

    def read(self, name: str) -> bytearray:
        """Return a member. Raises `ValueError` where its bytes are not those that were written."""
        size, data = self.size(name), bytearray()
        try:
            with zipfile.ZipFile(self._file) as archive, archive.open(name) as member:
                while piece := member.read(min(_CHUNK, size + 1 - len(data))):
                    data += piece
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise ValueError(f"its bytes are not those that were saved: {error}") from error
        except Exception as error:
            raise ValueError(f"it cannot be decompressed: {error}") from error
        if len(data) != size:
            raise ValueError(f"it has {len(data)} bytes, where {size} were expected.")
        return data


def _check_member(info: zipfile.ZipInfo, known: set[str], names: list[str]) -> None:
    name = info.orig_filename
    if name not in known:
        raise ValueError(
            f"the member {name!r:.200} is none of those that are read here: {sorted(known)}. Nothing was read from it. Tables of words "
            "('assets'), weights in several files and weights in numpy's format are not."
        )
    if names.count(name) > 1:
        raise ValueError(f"the member {name!r} is there twice.")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ValueError(f"the member {name!r} is a link or a folder.")
    if info.flag_bits & 0x1:
        raise ValueError(f"the member {name!r} is encrypted.")
    if info.file_size > max(_FREE_BYTES, _MOST_EXPANSION * info.compress_size):
        raise ValueError(f"the member {name!r} is out of proportion: {info.compress_size} bytes would become {info.file_size}.")


def write_container(target: Any, members: Mapping[str, bytes]) -> None:
    """Write members, in their order, to a path, in one step, or to a binary file object.

    >>> write_container(file := io.BytesIO(), {"config.json": b'{"class_name": "Sequential", "config": {}}'})
    >>> KerasArchive(file).config["class_name"]
    'Sequential'
    """
    if not hasattr(target, "write"):
        with replacing(target) as file:
            _write(file, members)
    else:
        _write(whole := io.BytesIO(), members)
        target.write(whole.getvalue())


def _write(file: Any, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)  # of 1980: equal models make equal files
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
