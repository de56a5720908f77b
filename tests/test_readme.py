"""Every python block of the README runs, in order, in one namespace."""

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parent.parent / "README.md"


def python_blocks() -> list[tuple[int, str]]:
    """Return the python blocks of the README, each with the line on which it starts."""
    text = README.read_text()
    return [(text[: found.start(1)].count("\n"), found.group(1)) for found in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)]


def test_every_python_block_runs() -> None:
    blocks = python_blocks()
    assert len(blocks) >= 3
    namespace: dict[str, Any] = {"__name__": "readme"}
    for line, block in blocks:
        # The empty lines in front make a traceback point at the README's own line.
        exec(compile("\n" * line + block, str(README), "exec"), namespace)


def test_the_two_commands_are_there() -> None:
    text = README.read_text()
    assert "pip install '.[examples]' && python examples/digits.py" in text
    assert "pip install '.[test]' && pytest" in text
