"""A file is the old one or the new one, whatever happens while it is written."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from saving.archives import file_of, small_model
from torchkeras_fn.models import load_model
from torchkeras_fn.saving.atomic import locked, replacing


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half of it")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_so_does_a_disk_that_is_full(call, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "m.model"
    model = small_model()
    model.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        model.save(path)
    assert path.read_bytes() == before and names(tmp_path) == ["m.model"]


@pytest.mark.parametrize(("number", "named"), [(errno.ENOSPC, True), (errno.EFBIG, True), (errno.EIO, False)])
def test_a_disk_without_room_is_an_error_that_names_the_file(number, named, tmp_path):
    path = tmp_path / "m.model"
    with pytest.raises(OSError) as caught, replacing(path):
        raise OSError(number, os.strerror(number))
    assert caught.value.filename == (str(path.resolve()) if named else None)


def test_so_does_a_limit_on_the_size_of_files(tmp_path):
    path = tmp_path / "m.model"
    path.write_bytes(b"old")
    program = (
        "import resource, signal, sys; from torchkeras_fn import Sequential, layers\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "try: Sequential([layers.Dense(100, input_shape=(100,))]).save(sys.argv[1])\n"
        "except OSError: sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], env={**os.environ, "PYTHONPATH": os.getcwd()})
    assert done.returncode == 7
    assert path.read_bytes() == b"old" and names(tmp_path) == ["m.model"]


def test_a_process_killed_while_it_saves_leaves_a_whole_file(tmp_path):
    path = tmp_path / "m.model"
    program = (
        "import sys; from torchkeras_fn import Sequential, layers\n"
        "model = Sequential([layers.Dense(300, input_shape=(300,))])\n"
        "model.save(sys.argv[1]); print('go', flush=True)\n"
        "while True: model.save(sys.argv[1])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    process.stdout.readline()
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert load_model(path).output_shape == (None, 300)


def test_what_is_half_written_has_no_name_that_a_kill_could_leave_behind(tmp_path):
    with replacing(tmp_path / "a") as file:
        file.write(b"half of it")
        assert names(tmp_path) == []
    assert names(tmp_path) == ["a"]


def test_what_a_kill_left_behind_is_gone_with_the_next_save_but_not_what_another_process_writes(tmp_path):
    left, written, others = (tmp_path / name for name in (".a.0123abcd.tmp", ".a.01234567.tmp", ".b.0123abcd.tmp"))
    for path in (left, written, others):
        path.write_bytes(b"half of it")
    with locked(written), replacing(tmp_path / "a") as file:
        file.write(b"all of it")
    assert names(tmp_path) == sorted([written.name, others.name, "a"])


def test_a_save_is_safe_from_another_of_the_same_file(tmp_path, monkeypatch):
    def replace(*paths):
        monkeypatch.undo()
        with replacing(tmp_path / "a") as file:
            file.write(b"another")
        os.replace(*paths)

    monkeypatch.setattr(os, "replace", replace)
    with replacing(tmp_path / "a") as file:
        file.write(b"all of it")
    assert (tmp_path / "a").read_bytes() == b"all of it" and names(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["open", "link"])
def test_a_file_is_written_where_the_system_has_no_nameless_ones(call, tmp_path, monkeypatch):
    def unknown(path, *args, **options):
        if call == "link" or os.path.isdir(path) and args[0] & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return known(path, *args, **options)

    known = getattr(os, call)
    monkeypatch.setattr(os, call, unknown)
    with replacing(tmp_path / "a") as file:
        file.write(b"all of it")
    assert (tmp_path / "a").read_bytes() == b"all of it" and names(tmp_path) == ["a"]


def test_the_lock_of_a_folder_is_held_by_one_and_free_again_when_its_process_is_killed(tmp_path):
    program = (
        "import sys, time; from torchkeras_fn.saving.atomic import locked\n"
        "with locked(sys.argv[1]): print('held', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    process.stdout.readline()
    with pytest.raises(BlockingIOError), locked(tmp_path, waits=False):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with locked(tmp_path):
        assert names(tmp_path) == []


def test_links_stay_links_and_permissions_stay(tmp_path):
    target, link = tmp_path / "real", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    with replacing(link) as file:
        file.write(b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_may_be_read_by_those_who_may_read_others(tmp_path):
    (tmp_path / "other").write_bytes(b"")
    with replacing(tmp_path / "new") as file:
        file.write(b"new")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("nowhere/m", FileNotFoundError, "Make it first"),
        (".", IsADirectoryError, "is a folder"),
        ("/dev/null", ValueError, "device or a pipe"),
    ],
)
def test_places_where_no_file_can_stand(path, kind, message, tmp_path):
    with pytest.raises(kind, match=message), replacing(tmp_path / path):
        pass
    assert names(tmp_path) == []


def test_what_is_written_to_a_pipe_can_be_read_again():
    reader, writer = os.pipe()
    model = small_model()
    with os.fdopen(writer, "wb") as file:
        model.save(file)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == file_of(model)
