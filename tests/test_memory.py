"""Memory as the benchmark measures it: training and predicting take it once, and long runs take no more than short ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MEMORY = Path(__file__).parent.parent / "benchmarks" / "memory.py"

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc, which Linux has")


def figure(name: str, *arguments: str) -> float:
    """Return a figure of the benchmark, which a process of its own measures."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(MEMORY.parent.parent)}
    command = [sys.executable, str(MEMORY), "--measure", name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_the_peak_of_fit_is_that_of_a_loop_by_hand():
    assert figure("fit", "--array-megabytes=120") <= 1.05 * figure("tight", "--array-megabytes=120")


def test_predict_holds_its_output_once():
    assert figure("predict", "--array-megabytes=200") <= 1.05


def test_2000_epochs_end_within_5_megabytes_of_the_tenth():
    assert figure("epochs", "--epochs=2000") <= 5.0
