"""Every file in examples/ runs, and learns what it sets out to learn."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_digits

from torchkeras_fn.models import load_model

EXAMPLES = Path(__file__).parent.parent / "examples"


def check_digits(accuracy: float) -> None:
    assert accuracy >= 0.97


def check_two_inputs(figures: dict[str, float]) -> None:
    assert figures["same_accuracy"] >= 0.98
    assert figures["distance_mae"] <= 0.05


def check_plain_module(explained: float) -> None:
    assert explained >= 0.98


def check_resume(accuracy: list[float]) -> None:
    assert accuracy[-1] >= 0.98


def check_distributed(accuracy: float) -> None:
    assert accuracy >= 0.96


def check_augmentation(accuracies: dict[str, float]) -> None:
    assert accuracies["augmented"] >= accuracies["plain"] + 0.15


CHECKS = {
    "augmentation": check_augmentation,
    "digits": check_digits,
    "two_inputs": check_two_inputs,
    "plain_module": check_plain_module,
    "resume": check_resume,
    "distributed": check_distributed,
}


def run_main(name: str, **arguments: Any) -> Any:
    specification = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.main(verbose=0, **arguments)


def test_every_example_has_a_check() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(CHECKS)


@pytest.mark.parametrize("name", sorted(CHECKS.keys() - {"digits", "resume"}))  # which learn below: started by the README, and stopped
def test_example_learns(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    CHECKS[name](run_main(name))


@pytest.mark.parametrize("seed", [1, 2])
def test_digits_does_not_depend_on_a_lucky_seed(seed: int) -> None:
    check_digits(run_main("digits", seed=seed))


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_example_is_short(name: str) -> None:
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 80


def test_the_readme_command_prints_the_accuracy() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, "-W", "error", "examples/digits.py"]
    run = subprocess.run(command, cwd=EXAMPLES.parent, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    line = next(line for line in run.stdout.splitlines() if "held-out" in line)
    assert float(line.rpartition(" ")[2]) >= 0.97
    assert run.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C, as POSIX systems have it")
def test_resume_goes_on_after_control_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-W", "error", str(EXAMPLES / "resume.py")]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    monkeypatch.chdir(whole)
    check_resume(run_main("resume"))
    with subprocess.Popen(command, cwd=parts, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        next(line for line in run.stdout if line.startswith("Epoch 3/"))
        run.send_signal(signal.SIGINT)
        assert "start again, and it goes on" in run.stdout.read()
    assert run.returncode == 130
    again = subprocess.run(command, cwd=parts, env=environment, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    assert "Epoch 4/" in again.stdout and "Epoch 2/" not in again.stdout
    logs = [(folder / "resume-example" / "log.csv").read_bytes() for folder in (whole, parts)]
    assert logs[0] == logs[1]


def test_distributed_runs_under_torchrun_and_its_file_is_read_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(EXAMPLES / "distributed.py")]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("Accuracy")]  # one process speaks
    assert "with 2 process(es)" in line
    check_distributed(float(line.rpartition(" ")[2]))
    assert [line.split()[1] for line in lines if line.startswith("Epoch")] == [f"{epoch}/30" for epoch in range(1, 31)]
    model = load_model(tmp_path / "distributed-example" / "best.model")
    x = load_digits().data / 16
    assert (model.predict(x).argmax(-1) == load_digits().target).mean() >= 0.96
