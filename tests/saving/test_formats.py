"""The end of a file's name says which functions write and read it."""

import io
import os
import pathlib

import pytest

from saving.archives import small_model
from torchkeras_fn.models import load_model
from torchkeras_fn.saving import formats


@pytest.fixture()
def told(monkeypatch):
    """A format of the tests' own, which notes what it is asked for, and one that can do nothing."""
    calls = []
    monkeypatch.setattr(formats, "_FORMATS", dict(formats._FORMATS))
    note = [lambda *args, name=name: calls.append((name, args[-3:])) for name in formats.Format._fields[1:]]
    formats.register(".noted", formats.Format("noted", *note))
    formats.register(".weights.noted", formats.Format("unable"))
    return calls


def test_a_format_is_asked_for_files_of_its_ending(told):
    model = small_model()
    model.save("A.NOTED")
    load_model(pathlib.Path("a.noted"), compile=False)
    model.save_weights("a.noted")
    model.load_weights("a.noted", by_name=True)
    assert [name for name, _ in told] == ["save_model", "load_model", "save_weights", "load_weights"]
    assert told[0][1][1:] == ("A.NOTED", True)
    assert told[3][1] == ("a.noted", True, False)


def test_a_name_that_says_nothing_is_written_as_save_format_says(tmp_path):
    model = small_model()
    for save_format, begin in {"h5": b"\x89HDF", "keras": b"PK"}.items():
        model.save(tmp_path / save_format, save_format=save_format)
        assert (tmp_path / save_format).read_bytes().startswith(begin)
        load_model(tmp_path / save_format)
    model.save_weights(tmp_path / "weights", save_format="h5")
    assert (tmp_path / "weights").read_bytes().startswith(b"\x89HDF")
    model.save(tmp_path / "m.h5", save_format="keras")
    assert (tmp_path / "m.h5").read_bytes().startswith(b"\x89HDF")


def test_the_longest_ending_counts_and_what_it_lacks_is_an_error(told):
    with pytest.raises(ValueError, match=r"'.weights.noted' are in unable format, for which there is no save_weights here"):
        small_model().save_weights("a.weights.noted")


def test_nameless_file_objects_and_other_endings_are_this_librarys_own(told, tmp_path):
    model = small_model()
    model.save(io.BytesIO())
    model.save(tmp_path / "a.noted.model")
    assert told == []


def test_an_open_file_is_written_in_the_format_of_its_name(told, tmp_path):
    with open(tmp_path / "a.noted", "wb") as file:
        small_model().save(file)
        small_model().save_weights(file)
    assert [(name, args[1]) for name, args in told] == [("save_model", file), ("save_weights", file)]


def test_a_file_is_never_read_from_a_pipe_or_a_device(tmp_path):
    os.mkfifo(tmp_path / "pipe.model")
    for name, place in (("a.model", "/dev/urandom"), ("a.h5", "/dev/urandom"), ("a.keras", "/dev/zero"), ("a", "pipe.model")):
        (tmp_path / name).symlink_to(place)
        for read in (load_model, small_model().load_weights):
            with pytest.raises(ValueError, match="is a device or a pipe"):
                read(tmp_path / name)


def test_a_file_that_is_open_for_text_is_refused(tmp_path):
    (tmp_path / "a").write_text("text")
    with open(tmp_path / "a") as file, pytest.raises(TypeError, match="binary mode"):
        load_model(file)
