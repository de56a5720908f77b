"""The benchmarks run, and everyone in them trains the same model."""

import importlib
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import torchkeras_fn

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MODELS = ("dense-64", "dense-512", "regression", "two-by-two", "convolution", "lstm")


@pytest.fixture
def load(monkeypatch):
    """Return what imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def trainable(module):
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("name", MODELS)
def test_the_drawn_model_is_the_network_of_the_loops(load, name):
    drawn, network = load("contestants.drawn").MODELS[name](torchkeras_fn), load("networks").NETWORKS[name]()
    second_bias = 4 * 64 if name == "lstm" else 0  # torch has one for the inputs and one for the state
    assert trainable(drawn) == trainable(network) - second_bias


@pytest.mark.parametrize("kind", ["epochs", "calls", "sequence", "train-on-batch", "predict"])
@pytest.mark.parametrize("contestant", ["tight", "usual", "eager"])
def test_a_contestant_does_every_kind_of_task(load, contestant, kind):
    task = load("tasks").Task(kind, "dense-64", steps=1 if kind == "train-on-batch" else 2, batch_size=4, bar=1.0)
    assert load("contestants").CONTESTANTS[contestant].make(task, "cpu")(2) is not None


@pytest.mark.parametrize("contestant", ["tight", "usual", "eager"])
@pytest.mark.parametrize("model", MODELS)
def test_a_contestant_trains_every_model(load, contestant, model):
    task = load("tasks").Task("epochs", model, steps=2, batch_size=4, bar=1.0)
    assert load("contestants").CONTESTANTS[contestant].make(task, "cpu")(1) is not None


def test_the_table_compares_processes_with_the_tight_loop():
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--rounds", "1", "--seconds", "0", "--only", "fit-one-batch"]
    chosen = ["--contestants", "eager", "--devices", "cpu", "--markdown"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    titles = "| task | tight loop | torchkeras_fn |"
    assert done.stdout.count(titles) == 2  # of the times and of the warm-up
    row = next(line for line in done.stdout.splitlines() if line.startswith("| fit-one-batch"))
    tight, ours = row.strip("| ").split(" | ")[1:]
    assert tight.endswith("µs ± 0%") and ours.endswith("(1.20)")


def test_results_are_written_between_their_marks(load, tmp_path):
    tables, readme = load("tables"), tmp_path / "README.md"
    text = (BENCHMARKS / "README.md").read_text()
    readme.write_text(text)
    for section in ("times", "memory", "times", "memory"):
        tables.write(section, "written anew", readme)
    assert readme.read_text().count("written anew") == 2
    assert readme.read_text().startswith(text.partition("<!--")[0])


def test_a_page_without_the_marks_is_left_alone(load, tmp_path):
    tables, page = load("tables"), tmp_path / "page.md"
    page.write_text("# No marks")
    with pytest.raises(RuntimeError, match="has no <!-- times"):
        tables.write("times", "written anew", page)
    assert page.read_text() == "# No marks"


def test_a_missed_bar_is_said(load):
    tables = load("tables")
    fast, slow = tables.Result(steps=[1e-4] * 3, ratios=[0.5] * 3), tables.Result(steps=[2e-4] * 3, ratios=[0.7, 0.9, 0.8])
    text = tables.tables("cpu", {"dense-64": {"tight": tables.Result(steps=[1e-4] * 3, ratios=[1.0] * 3), "eager": slow, "compiled": fast}})
    assert "| **0.80** (0.78) | 0.50 (0.70) |" in text
    assert "Bars missed: torchkeras_fn at dense-64 (above 0.78 in 2 of 3 rounds)." in text


def kernel(start, end, name="gemm"):
    where = SimpleNamespace(start=start, end=end)
    return SimpleNamespace(time_range=where, device_type=torch.autograd.DeviceType.CUDA, name=name)


BUSY = {
    "kernels side by side": ([kernel(0, 2), kernel(1, 4), kernel(6, 8), kernel(4, 6, "Memcpy HtoD")], "75%"),
    "a profiler that may not look": ([], "not measured, since torch's profiler was shown no kernels"),
}


@pytest.mark.parametrize("events, expected", BUSY.values(), ids=BUSY)
def test_the_share_of_time_in_which_kernels_run(load, monkeypatch, events, expected):
    gpu = load("gpu")
    monkeypatch.setattr(gpu, "dense_model", lambda: SimpleNamespace(fit=lambda *data, **options: None))
    monkeypatch.setattr(gpu, "STEPS", 1)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.profiler, "profile", lambda activities: nullcontext(SimpleNamespace(events=lambda: events)))
    assert gpu.busy() == expected
