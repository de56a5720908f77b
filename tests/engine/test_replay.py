"""`compiled`: a graph as one function, which changes in place what the graph changes; recorded and replayed on CUDA."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torchkeras_fn.engine.replay import compiled


def step(x, total):
    total.add_(x.sum())
    return [x * 2]


def test_a_compiled_function_returns_and_changes_what_the_graph_does():
    x, total = torch.randn(3), torch.zeros(())
    run = compiled(make_fx(step)(x, total), [x, total], 1)
    total.zero_()
    for values in (torch.ones(3), torch.full((3,), 2.0)):
        (doubled,) = run([values, total])
        assert torch.equal(doubled, values * 2)
    assert total == 9


def test_what_is_changed_shares_no_memory_with_another_tensor():
    total = torch.zeros(2)
    inputs = [torch.ones(3), total[0], total[:1]]
    graph = make_fx(lambda x, first, second: (first.add_(x.sum()), second * 2)[1])(*inputs)
    with pytest.raises(Exception, match="share"):
        compiled(graph, inputs, 1)


@pytest.mark.cuda
def test_on_cuda_a_function_is_recorded_and_replayed():
    x, total = torch.randn(3, device="cuda"), torch.zeros((), device="cuda")
    run = compiled(make_fx(step)(x, total), [x, total], 1)
    total.zero_()
    for number in range(1, 7):
        (doubled,) = run([torch.full((3,), float(number), device="cuda"), total])
        assert doubled.tolist() == [2.0 * number] * 3
    assert run._graph is not None
    assert total == 3 * sum(range(1, 7))
