"""`BaseLogger`: a name of Keras 2."""

from collections.abc import Iterable

from torchkeras_fn.callbacks.callback import Callback


class BaseLogger(Callback):
    """Does nothing: in Keras 2 it averages the figures of the batches over an epoch, which training here does by itself.

    `stateful_metrics` are names of metrics that are not to be averaged again; here each metric says itself what its figure is.

    >>> BaseLogger(stateful_metrics=["auc"]).stateful_metrics == {"auc"}
    True
    """

    def __init__(self, stateful_metrics: Iterable[str] | None = None):
        self.stateful_metrics = set(stateful_metrics or [])
