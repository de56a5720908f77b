"""How processes find each other in a store that attempts before theirs have used."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist

from torchkeras_fn.engine.processes.joining import store_of_attempt


def attempt(store, count):
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda rank: store_of_attempt(store, rank, count), range(count)))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_processes_of_an_attempt_share_a_part_of_the_store_and_see_no_other_attempt(count):
    store = dist.HashStore()
    for _ in range(3):
        parts = attempt(store, count)
        assert not parts[-1].check(["address"])
        parts[0].set("address", "here")
        assert all(part.get("address") == b"here" for part in parts)


def test_one_that_came_in_an_attempt_before_does_not_count():
    store = dist.HashStore()
    attempt(store, 2)
    store.set_timeout(timedelta(seconds=0.1))
    with pytest.raises(RuntimeError, match=r"The processes \[1\] of 2 have not come"):
        store_of_attempt(store, 0, 2)
    with pytest.raises(RuntimeError, match="timeout"):
        store_of_attempt(store, 1, 2)
