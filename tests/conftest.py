"""What all tests share: one thread, fixed seeds, and no CUDA test where there is no CUDA device."""

import gc
import importlib
import random
import signal

import numpy as np
import pytest
import torch
from torch.utils import backend_registration

# The models of the tests are small: a second thread costs more than it saves, and sums in another order.
torch.set_num_threads(1)

# A shell lets what it starts in the background ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Older versions of torch know no devices that are written in Python, as the pretended one is. Once it is known, torch takes no other
# for the accelerator, not even where there is one: nothing would run there, and no memory be pinned for it.
_has_devices_in_python = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
collect_ignore = [] if _has_devices_in_python and not torch.accelerator.is_available() else ["pretend.py", "test_accelerator.py"]
if not collect_ignore:
    importlib.import_module("tests.pretend")  # before the first backward pass, at which torch counts what devices there are


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what is there before the first test: a million objects of torch, Keras and pytest."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed(request: pytest.FixtureRequest) -> int:
    """Seed the random generators before each test, so that none depends on those that ran before it."""
    if request.node.get_closest_marker("cuda") is not None:
        torch.cuda.manual_seed_all(0)
    # As `set_random_seed` does; but torch notes for each device that is not used where it was seeded, which takes as long as a small test.
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)
    return 0


@pytest.fixture(autouse=True)
def on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch report no accelerator to what is not marked `cuda`: its numbers, and what it waits for, are the same on every machine."""
    if request.node.get_closest_marker("cuda") is None:
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `cuda` on a machine without a CUDA device."""
    if item.get_closest_marker("cuda") is not None and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and torch.cuda.is_available() is False")
