"""The state of a training as one file for several processes: who takes up what of it."""

import pytest

from torchkeras_fn.engine.distributed.shared_state import count_of, taken_apart


def state_of(processes, batch=0, start=None):
    own = [{"random": rank, "positions": {"training data": {"start": start}}} for rank in range(processes)]
    return {"epoch": 2, "batch": batch, "weights": "alike", "processes": own}


@pytest.mark.parametrize(("made_by", "count", "random"), [(2, 2, [0, 1]), (2, 1, [0]), (2, 3, [0, 1, 0])])
def test_each_takes_up_its_own_part_or_that_of_another_in_turn(made_by, count, random):
    found = [taken_apart(state_of(made_by), rank, count) for rank in range(count)]
    assert [state["random"] for state in found] == random
    assert all(state["weights"] == "alike" and "processes" not in state for state in found)


def test_the_state_of_a_single_process_is_taken_up_by_all():
    alone = {"epoch": 2, "batch": 0, "random": 5, "positions": {"training data": {"start": None}}}
    assert count_of(alone) == 1
    assert [taken_apart(alone, rank, 2) for rank in (0, 1)] == [alone, alone]
    assert taken_apart({**alone, "batch": 3}, 0, 1) == {**alone, "batch": 3}


@pytest.mark.parametrize("there", [{"batch": 3}, {"start": {"shared": {}}}], ids=["epoch", "pass"])
def test_a_place_in_the_data_is_for_as_many_processes_as_were_there(there):
    assert taken_apart(state_of(2, **there), 1, 2)["random"] == 1
    with pytest.raises(ValueError, match="made by 2 processes in the middle of epoch 3 or of a pass over the data, and there are 1 now"):
        taken_apart(state_of(2, **there), 0, 1)
