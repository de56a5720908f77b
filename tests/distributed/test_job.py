"""The tool of these tests itself: what comes back from several processes, and that nobody is left waiting."""

import os
import time

import pytest
import torch
import torch.distributed as dist

from tests.distributed import job
from tests.distributed.job import Failed, outcomes, run


def add(number):
    total = torch.tensor(float(number + dist.get_rank()))
    dist.all_reduce(total)
    return total.item()


def fail_on(rank, by):
    if dist.get_rank() == rank:
        by()
    return dist.get_rank()


def complain():
    raise ValueError("no good")


def test_results_come_by_rank():
    assert run(add, 2, 10) == [21.0, 21.0]
    assert run(add, 3, 10) == [33.0, 33.0, 33.0]
    assert run(fail_on, 2, 5, complain) == [0, 1]


def test_an_exception_comes_back_with_its_traceback():
    with pytest.raises(Failed, match="(?s)process 1 of 2: ValueError: no good.*in complain"):
        run(fail_on, 2, 1, complain)
    first, second = outcomes(fail_on, 2, 1, complain)
    assert first == 0 and isinstance(second, ValueError)


def die_or_sleep():
    if dist.get_rank() == 0:
        os._exit(3)
    time.sleep(60)


def test_who_does_not_answer_is_ended_and_the_next_begin_anew(monkeypatch):
    monkeypatch.setattr(job, "_GRACE", 0.2)  # nothing is lost by not waiting for who sleeps
    assert [type(outcome) for outcome in outcomes(die_or_sleep, 2, timeout=20)] == [ConnectionError, TimeoutError]
    assert run(add, 2, 1) == [3.0, 3.0]
