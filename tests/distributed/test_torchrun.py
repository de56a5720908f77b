"""A script that knows nothing of processes, run as it is and by `torchrun`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, os, sys
import numpy as np
from torchkeras_fn import Input, Sequential
from torchkeras_fn.config import set_random_seed
from torchkeras_fn.layers import Dense

set_random_seed(0)
random = np.random.default_rng(0)
x = random.normal(size=(50, 4)).astype("float32")
y = x.sum(1, keepdims=True)
model = Sequential([Input(shape=(4,)), Dense(8, activation="relu"), Dense(1)])
model.compile("adam", "mse", metrics=["mae"], device=sys.argv[2], precision=sys.argv[3])
history = model.fit(x, y, batch_size=12 // int(os.environ.get("WORLD_SIZE", 1)), epochs=3, validation_split=0.2)
found = {**history.history, "evaluated": model.evaluate(x, y, verbose=0), "predicted": model.predict(x).tolist()}
with open(f"{sys.argv[1]}/{os.environ.get('RANK', 'alone')}", "w") as file:
    json.dump({**found, "device": str(next(model.parameters()).device)}, file)
"""


def found_by(folder: Path, device: str, precision: str = "float32") -> list[dict]:
    """What the script finds when it is run as it is, and in each of two processes."""
    script = folder / "train.py"
    script.write_text(SCRIPT.replace("sys.argv[2]", device).replace("sys.argv[3]", repr(precision)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    by_torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script), str(folder)]
    for command in ([sys.executable, str(script), str(folder)], by_torchrun):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        assert "Epoch 3/3" in done.stdout + done.stderr
    return [json.loads((folder / name).read_text()) for name in ("alone", "0", "1")]


def check(alone: dict, both: list[dict], tolerance: float) -> None:
    devices = [found.pop("device") for found in (alone, *both)]
    for found in both:
        assert list(found) == list(alone)
        for name in alone:
            np.testing.assert_allclose(found[name], alone[name], rtol=tolerance, atol=tolerance, err_msg=f"{name} on {devices}")
    assert both[0] == both[1]


def test_the_same_script_does_the_same(tmp_path):
    alone, *both = found_by(tmp_path, "'cpu'")
    check(alone, both, 1e-4)


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_the_same_script_does_the_same_on_two_devices(tmp_path, precision):
    alone, *both = found_by(tmp_path, "None", precision)
    assert [found["device"] for found in both] == ["cuda:0", "cuda:1"]
    check(alone, both, 1e-3 if precision == "float32" else 5e-2)  # the products of short floats are rounded in other orders
