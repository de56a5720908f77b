"""Every python block of the README runs, in order, in one namespace, and prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

README = Path(__file__).parent.parent / "README.md"

# A block of python, and the block without a language that may follow it at once: what it prints.
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$(\n\n```\n(?P<printed>.*?)^```$)?", re.DOTALL | re.MULTILINE)


def lines(text: str) -> list[str]:
    """Return the lines without the space at their ends, and without empty ones."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_every_python_block_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some save files
    text = README.read_text()
    blocks = list(BLOCK.finditer(text))
    assert len(blocks) >= 3
    assert any(block["printed"] for block in blocks)
    namespace: dict[str, Any] = {"__name__": "readme"}
    for block in blocks:
        # The empty lines in front make a traceback point at the README's own line.
        first_line = text[: block.start("code")].count("\n")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * first_line + block["code"], str(README), "exec"), namespace)
        if block["printed"] is not None:
            assert lines(printed.getvalue()) == lines(block["printed"])


def test_the_two_commands_are_there() -> None:
    text = README.read_text()
    assert "pip install '.[examples]' && python examples/digits.py" in text
    assert "pip install '.[test]' && pytest" in text
