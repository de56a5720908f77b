"""Every python block of the README runs, in order, in one namespace, and prints what the README says it prints."""

from pathlib import Path

import pytest

from tests.pages import check_blocks

README = Path(__file__).parent.parent / "README.md"


def test_every_python_block_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some save files
    says = check_blocks(README)
    assert len(says) >= 3
    assert any(says)


def test_the_commands_are_there() -> None:
    text = README.read_text()
    assert "pip install '.[examples]' && python examples/digits.py" in text
    assert "pip install '.[test]' && pytest" in text
    assert "python examples/distributed.py" in text
    assert "torchrun --nproc-per-node=2 examples/distributed.py" in text
