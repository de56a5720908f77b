"""Every python block of the pages in docs/ runs, in order, and prints what the page says; every shell line is one that torch knows."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.run import get_args_parser

from tests.pages import check_blocks

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def shell_blocks() -> list[Any]:
    """Return the blocks of shell in all pages."""
    return [pytest.param(block, id=f"{page.stem}-{index}") for page in PAGES for index, block in enumerate(SHELL.findall(page.read_text()))]


def test_there_are_pages() -> None:
    assert {page.stem for page in PAGES} >= {"contributing", "distributed", "performance"}
    assert len(shell_blocks()) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_python_block_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert check_blocks(page)


@pytest.mark.skipif(shutil.which("bash") is None, reason="asks bash whether it understands the lines")
@pytest.mark.parametrize("block", shell_blocks())
def test_every_shell_block_is_understood(block: str) -> None:
    subprocess.run(["bash", "-n"], input=block, text=True, check=True, timeout=30)
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if "torchrun" in words:
            options = get_args_parser().parse_args(words[words.index("torchrun") + 1 :])
            assert options.training_script.endswith(".py")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_the_files_that_a_page_points_to_are_there(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target
