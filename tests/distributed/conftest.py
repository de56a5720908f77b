"""The processes of `job.py` end with the last of these tests: others ask which processes run."""

from pathlib import Path

import pytest

from tests.distributed import job

HERE = Path(__file__).parent


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the processes before a test of another folder."""
    if nextitem is None or HERE not in nextitem.path.parents:
        job.end()
