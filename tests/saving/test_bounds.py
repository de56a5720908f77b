"""What drawing from a file may take."""

import pytest
import torch
from torch import nn

from torchkeras_fn.saving.bounds import bounded


@pytest.mark.parametrize(
    "work",
    [
        lambda: torch.zeros(10**6, 10**6),
        lambda: torch.ones(2, 3).repeat(10**5, 10**5),
        lambda: torch.arange(10**10),
        lambda: torch.eye(10**6),
        lambda: nn.Embedding(10**9, 100),
        lambda: torch.zeros(1).expand(10**10).clone(),
        lambda: torch.repeat_interleave(torch.ones(1), torch.tensor([10**10])),
        lambda: torch.bincount(torch.tensor([10**10])),
        lambda: torch.zeros(1).resize_(10**10),
        lambda: torch.zeros(10**7, dtype=torch.int8).unbind(),
        lambda: torch.zeros(10**7, dtype=torch.int8).split(2),
        lambda: torch.zeros(10**7, dtype=torch.int8).chunk(10**6),
        lambda: [torch.zeros(10**6) for _ in range(100)],
        lambda: [torch.zeros(1) for _ in range(10**5)],
        lambda: torch.diff(torch.zeros(10**4), 5000),
        lambda: torch.zeros(10**4).diff(n=5000),
        lambda: torch.tensor_split(torch.zeros(10**5), 20_000),
    ],
)
def test_what_the_weights_give_no_reason_for_is_stopped(work):
    with pytest.raises(ValueError, match="it asks for|it cuts|cannot be told"), bounded(1000, 10):
        work()


def test_what_they_give_reason_for_is_not():
    with bounded(4 * 10**6, 10):
        layer = nn.Linear(1000, 1000)
        nn.init.orthogonal_(layer.weight)
        nn.LSTM(100, 100)(torch.ones(3, 0, 100))
        assert torch.ones(3).sum().item() == 3
        torch.tensor([True, False]).nonzero()


def test_random_numbers_go_on_as_before():
    before = torch.get_rng_state()
    with bounded(0, 0):
        torch.rand(3)
    assert torch.equal(before, torch.get_rng_state())
