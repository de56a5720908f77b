"""The container of a saved model: a zip of few members, all of them stored as they are, and none of them trusted.

`config.json` comes last, and says which checksums the other members had when they were saved together. Reading refuses
whatever `write_archive` does not write: compression, links, paths, unknown or repeated members, bytes between members.
"""

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

from torchkeras_fn.saving.atomic import replacing
from torchkeras_fn.saving.formats import called, open_to_read
from torchkeras_fn.saving.trees import MOST_TEXT, parse_json, write_json

CONFIG = "config.json"
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_SIZE = 20
_LOCAL = struct.Struct("<4s5H3L2H")
_MOST_MEMBERS = 64
_MOST_LISTING = 2**16
_CHUNK = 2**22


@contextmanager
def part(path: Any, name: str) -> Iterator[None]:
    """Turn whatever goes wrong inside the block into a `ValueError` that says which part of which file is bad.

    >>> with part("m.model", "config.json"):
    ...     {}["layers"]
    Traceback (most recent call last):
        ...
    ValueError: m.model: config.json cannot be used: KeyError: 'layers'
    """
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{path}: {name} cannot be used: {kind}{error}"[:2000] + _where_ones_own_go(str(error))) from error


def _where_ones_own_go(message: str) -> str:
    """What to do about a name in a file that stands for nothing, where the message does not say so yet."""
    unknown = re.search(r"Unknown [a-z ]+ ('\w{1,100}')", message[:2000])
    return f" Your own is passed in custom_objects={{{unknown[1]}: ...}}." if unknown and "custom_objects" not in message else ""


# ---------------------------------------------------------------------- writing


def write_archive(target: Any, config: Mapping[str, Any], members: Mapping[str, Iterable[Any]]) -> None:
    """Write members, given as pieces of bytes, and `config.json`, to a path in one step, or to a file object.

    >>> write_archive(file := io.BytesIO(), {"a": 1}, {"b.json": [b"[]"]})
    >>> Archive(file, {"b.json"}).config["a"]
    1
    """
    if not hasattr(target, "write"):
        with replacing(target) as file:
            _write(file, config, members)
    elif target.seekable():
        _write(target, config, members)
    else:
        _write(whole := io.BytesIO(), config, members)
        target.write(whole.getvalue())


def _write(file: Any, config: Mapping[str, Any], members: Mapping[str, Iterable[Any]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, pieces in members.items():
            with archive.open(_info(name), "w", force_zip64=not name.endswith(".json")) as member:
                for piece in pieces:
                    member.write(piece)
        checksums = {name: archive.getinfo(name).CRC for name in members}
        archive.writestr(_info(CONFIG), write_json({**config, "members": checksums}, "The configuration"))


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # of 1980: equal models make equal files
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


# ---------------------------------------------------------------------- reading


A = TypeVar("A", bound="Archive")


class Archive:
    """A file that `write_archive` may have written. Nothing is read but what is asked for, and that is checked.

    `source` is a path or a file object, `known` the names that members may have beside `config.json`, and `format` what
    the configuration must call itself. Raises `ValueError`, naming the bad part, for whatever else is found; what the
    system says of a path (`FileNotFoundError`, `PermissionError`) is handed on.
    """

    def __init__(self, source: Any, known: Iterable[str], format: str | None = None):
        self.path = called(source)
        self._file: BinaryIO = source if hasattr(source, "read") else open_to_read(source)
        self._owned = self._file is not source
        try:
            with self.part("the zip container"):
                self._places = self._find_members({CONFIG, *known})
            with self.part(CONFIG):
                self.config = self._read_config(format)
        except BaseException:
            self.close()
            raise

    def __enter__(self: A) -> A:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owned:
            self._file.close()

    def part(self, name: str) -> Any:
        """Return a `with` block in which every error becomes a `ValueError` that names this part of the file."""
        return part(self.path, name)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def size(self, name: str) -> int:
        """Return the number of bytes of a member."""
        self._check_there(name)
        return self._places[name][1]

    def head(self, name: str, count: int) -> bytes:
        """Return the first bytes of a member, not yet checked."""
        self._check_there(name)
        begin, size, _ = self._places[name]
        self._file.seek(begin)
        return self._file.read(min(count, size))

    def read(self, name: str) -> bytearray:
        """Return a member. Raises `ValueError` where its bytes are not those that were written."""
        self._check_there(name)
        begin, size, checksum = self._places[name]
        data, found, view = bytearray(size), 0, 0
        self._file.seek(begin)
        with memoryview(data) as whole:
            while view < size:
                piece = self._file.read(min(_CHUNK, size - view))
                if not piece:
                    raise ValueError(f"it ends after {view} of {size} bytes.")
                whole[view : view + len(piece)] = piece
                found = zlib.crc32(piece, found)
                view += len(piece)
        if found != checksum:
            raise ValueError("its bytes are not those that were saved: the checksum differs.")
        return data

    def read_json(self, name: str) -> Any:
        """Return what a member in JSON says."""
        if self.size(name) > MOST_TEXT:
            raise ValueError(f"it has {self.size(name)} bytes, more than {MOST_TEXT}.")
        return parse_json(bytes(self.read(name)))

    def _check_there(self, name: str) -> None:
        if name not in self._places:
            raise ValueError(f"there is no such member; there are {sorted(self._places)}.")

    def _read_config(self, format: str | None) -> dict[str, Any]:
        config = self.read_json(CONFIG)
        if not isinstance(config, dict) or not isinstance(config.get("members"), dict):
            raise ValueError("it is no table of what was saved.")
        if format is not None and config.get("format") != format:
            raise ValueError(f"it says that this is {config.get('format')!r:.80}, where {format!r} was expected.")
        if config["members"].keys() != self._places.keys() - {CONFIG}:
            beside = sorted(self._places.keys() - {CONFIG})
            raise ValueError(f"it was saved with {sorted(config['members'])!r:.200}, but beside it are {beside}.")
        for name, checksum in config["members"].items():
            if checksum != self._places[name][2]:
                raise ValueError(f"{name} is not the one that was saved with it: the file is mixed of several.")
        return config

    # ------------------------------------------------------------------ the container

    def _find_members(self, known: set[str]) -> dict[str, tuple[int, int, int]]:
        """Where each member begins, its size and its checksum. The members fill the file from its first byte on."""
        self._check_listing()
        with zipfile.ZipFile(self._file) as archive:
            infos, end = archive.infolist(), archive.start_dir
        position, places = 0, {}
        for info in sorted(infos, key=lambda info: info.header_offset):
            name = info.orig_filename
            _check_member(info, known)
            if name in places:
                raise ValueError(f"the member {name!r} is there twice.")
            if info.header_offset != position:
                raise ValueError(f"the member {name!r} begins at byte {info.header_offset}, where {position} was expected.")
            begin = position + self._local_size(info, position)
            position = begin + info.file_size
            if position > end:
                raise ValueError(f"the member {name!r} is said to end at byte {position}, but the members end at {end}.")
            places[name] = (begin, info.file_size, info.CRC)
        if position != end:
            raise ValueError(f"there are {end - position} bytes that belong to no member.")
        return places

    def _check_listing(self) -> None:
        """Bound the list of members before it is read."""
        file = self._file
        size = file.seek(0, io.SEEK_END)
        if size < _END.size:
            raise ValueError(f"it is no zip: it has {size} bytes.")
        tail = _END.size + _LOCATOR_SIZE + _END_64.size
        file.seek(max(size - tail, 0))
        data = file.read(tail)
        signature, disk, first, here, count, listing, _, comment = _END.unpack(data[-_END.size :])
        if signature != b"PK\5\6" or disk or first or comment:
            raise ValueError("it is no zip, or it is cut off: its last bytes are not those with which a zip ends.")
        if len(data) == tail and data[_END_64.size : _END_64.size + 4] == b"PK\6\7":
            signature, *_, here, count, listing, _ = _END_64.unpack(data[: _END_64.size])
            if signature != b"PK\6\6":
                raise ValueError("the end of the zip is damaged.")
        if here != count or count > _MOST_MEMBERS or listing > _MOST_LISTING:
            raise ValueError(f"it lists {count} members in {listing} bytes, more than a saved model has.")

    def _local_size(self, info: zipfile.ZipInfo, offset: int) -> int:
        """The size of the header that stands before a member; it must agree with the list."""
        self._file.seek(offset)
        signature, _, flags, method, _, _, _, packed, size, name, extra = _LOCAL.unpack(self._file.read(_LOCAL.size))
        if signature != b"PK\3\4" or flags != info.flag_bits or method != info.compress_type:
            raise ValueError(f"the header of the member {info.orig_filename!r} is damaged.")
        if self._file.read(name) != info.orig_filename.encode() or not {packed, size} <= {info.file_size, 0xFFFFFFFF}:
            raise ValueError(f"the header of the member {info.orig_filename!r} and the list of members disagree.")
        return _LOCAL.size + int(name) + int(extra)


def _check_member(info: zipfile.ZipInfo, known: set[str]) -> None:
    name = info.orig_filename
    if name not in known:
        is_torchs = name.endswith("/data.pkl")
        hint = " This is a file of torch.save: model.load_state_dict(torch.load(path)) reads weights from it." if is_torchs else ""
        raise ValueError(f"the member {name!r:.200} is none of a saved model's: {sorted(known)}. Nothing was read from it.{hint}")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ValueError(f"the member {name!r} is a link or a folder.")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise ValueError(f"the member {name!r} is compressed: {info.compress_size} bytes would become {info.file_size}.")
    if info.flag_bits & ~0x800:
        raise ValueError(f"the member {name!r} is encrypted, or written in a way that is not read here.")
