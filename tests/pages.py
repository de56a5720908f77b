"""The python blocks of a page: they run in order, in one namespace, and print what the page says they print."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

# A block of python, and the block without a language that may follow it at once: what it prints.
_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$(\n\n```\n(?P<printed>.*?)^```$)?", re.DOTALL | re.MULTILINE)


def check_blocks(page: Path) -> list[bool]:
    """Run the blocks of a page, and return for each whether the page says what it prints."""
    text = page.read_text()
    namespace: dict[str, Any] = {"__name__": page.stem.lower()}
    blocks = list(_BLOCK.finditer(text))
    for block in blocks:
        # The empty lines in front make a traceback point at the page's own line.
        first_line = text[: block.start("code")].count("\n")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * first_line + block["code"], str(page), "exec"), namespace)
        if block["printed"] is not None:
            assert _lines(printed.getvalue()) == _lines(block["printed"])
    return [block["printed"] is not None for block in blocks]


def _lines(text: str) -> list[str]:
    """Return the lines without the space at their ends, and without empty ones."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]
