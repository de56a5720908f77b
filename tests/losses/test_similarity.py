"""Circle loss: pairs of a batch, references, the samples that count, shapes."""

import pytest
import torch
import torch.nn.functional as F

from torchkeras_fn import losses

EMBEDDINGS = F.normalize(torch.tensor([[1.0, 0.2], [0.9, 0.4], [-0.3, 1.0], [0.1, 1.0]]), dim=1)
LABELS = torch.tensor([0, 0, 1, 1])


def by_hand(row, gamma, margin):
    """The loss of a sample, pair by pair, as in the paper."""
    near, far = [], []
    for other, (embedding, label) in enumerate(zip(EMBEDDINGS, LABELS, strict=True)):
        distance = max(0.0, 1 - float(EMBEDDINGS[row] @ embedding))
        if label == LABELS[row] and other != row:
            near.append(-gamma * (margin + distance) * (margin - distance))
        elif label != LABELS[row]:
            far.append(gamma * max(0.0, 1 + margin - distance) * (1 - margin - distance))
    return F.softplus(torch.tensor(near).logsumexp(0) + torch.tensor(far).logsumexp(0)).item()


@pytest.mark.parametrize(("gamma", "margin"), [(1.0, 0.4), (4.0, 0.25)])
@pytest.mark.parametrize("labels", [LABELS, LABELS.unsqueeze(1), LABELS.float()], ids=["vector", "column", "floats"])
def test_values(gamma, margin, labels):
    found = losses.Circle(gamma, margin, reduction="none")(labels, EMBEDDINGS)
    torch.testing.assert_close(found, torch.tensor([by_hand(row, gamma, margin) for row in range(4)]))


def test_a_mean_is_over_the_samples_that_have_a_loss():
    labels = torch.tensor([0, 0, 1, 2])  # the last two have no other of their class
    values = losses.Circle(1.0, reduction="none")(labels, EMBEDDINGS)
    assert values[2:].tolist() == [0.0, 0.0]
    torch.testing.assert_close(losses.Circle(1.0)(labels, EMBEDDINGS), values[:2].mean())


def test_samples_without_a_pair_have_no_gradient_and_hurt_no_other():
    embeddings = EMBEDDINGS.clone().requires_grad_()
    losses.Circle(1.0)(torch.tensor([0, 1, 2, 3]), embeddings).backward()
    assert torch.isfinite(embeddings.grad).all()


def test_a_batch_may_be_compared_with_references():
    every = losses.circle(LABELS, EMBEDDINGS, LABELS, EMBEDDINGS, gamma=2)
    torch.testing.assert_close(every, losses.Circle(2.0, reduction="none")(LABELS, EMBEDDINGS))
    found = losses.circle(LABELS[:1], EMBEDDINGS[:1], LABELS[1:], EMBEDDINGS[1:], remove_diagonal=False, gamma=2)
    torch.testing.assert_close(found, every[:1])


@pytest.mark.parametrize(("labels", "embeddings"), [((4,), (4, 2, 2)), ((4, 2), (4, 2)), ((3,), (4, 2))])
def test_other_shapes_are_an_error(labels, embeddings):
    with pytest.raises(ValueError, match="Circle loss takes labels"):
        losses.Circle()(torch.zeros(labels), torch.zeros(embeddings))
