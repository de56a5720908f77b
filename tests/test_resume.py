"""A training that is killed at random moments, and started again until it ends, is the training that was never interrupted."""

import contextlib
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.resumable import train

PLANS = {  # how many kills at a random time, and how many at a random step of writing a file
    ("arrays", "epoch"): (3, 2),
    ("arrays", 5): (2, 2),
    ("sequence", "epoch"): (1, 2),
    ("sequence", 5): (2, 1),
    ("loader", "epoch"): (1, 2),
    ("loader", 5): (2, 2),
}


@pytest.fixture(scope="module")
def processes():
    """Processes that are made by a copy of one which has imported everything, which takes no second each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.resumable"])
    return context


def start(processes, *args):
    process = processes.Process(target=train, args=args)
    process.start()
    return process


def end(process):
    """Wait for the end of a process, and end the worker processes that a killed one may have left."""
    process.join()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.exitcode


def result_in(folder):
    saved = np.load(folder / "result.npz")
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name == "log.csv" or path.suffix == ".weights"}
    return {name: saved[name] for name in saved.files}, files


def test_there_are_twenty_kills():
    assert sum(map(sum, PLANS.values())) >= 20


@pytest.fixture(scope="module")
def uninterrupted(processes, tmp_path_factory):
    """What comes of each training that nobody kills, and how long it takes."""
    found = {}
    for kind, _ in PLANS:
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            begun = time.monotonic()
            process = start(processes, kind, str(folder))
            assert end(process) == 0
            found[kind] = (*result_in(folder), time.monotonic() - begun)
    return found


@pytest.mark.parametrize(("kind", "save_freq"), PLANS, ids=lambda value: str(value))
def test_killed_and_started_again(kind, save_freq, processes, uninterrupted, tmp_path):
    arrays, files, seconds = uninterrupted[kind]
    moments = random.Random(f"{kind} {save_freq}")
    at_a_time, at_a_call = PLANS[kind, save_freq]
    kills = [True] * at_a_time + [False] * at_a_call
    moments.shuffle(kills)
    for by_time in kills:
        call = None if by_time else moments.randrange(1, 25)
        for _ in range(20):
            process = start(processes, kind, str(tmp_path), save_freq, call)
            process.join(moments.uniform(0.1, 0.5) * seconds if by_time else None)
            if by_time:
                process.kill()
            code = end(process)
            if code == -signal.SIGKILL:
                break
            assert code == 0
            begin_anew(tmp_path)  # it came to its end before it could be killed
        assert code == -signal.SIGKILL
    assert end(start(processes, kind, str(tmp_path), save_freq)) == 0
    found, found_files = result_in(tmp_path)
    assert str(found["history"]) == str(arrays["history"])
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        assert np.array_equal(found[name], values), name
    assert found_files == files
    assert not (tmp_path / "backup").exists()


def begin_anew(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
