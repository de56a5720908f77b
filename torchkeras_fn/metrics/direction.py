"""Which way a figure gets better: told by the metric, or by a name that leaves no doubt."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from torchkeras_fn import losses

_UP = """
    acc accuracy auc auroc roc_auc pr_auc average_precision precision recall sensitivity specificity
    precision_at_recall recall_at_precision sensitivity_at_specificity specificity_at_sensitivity
    f1 f1_score f1score f_score f_beta fbeta fbeta_score iou io_u miou jaccard jaccard_index dice_coef dice_coefficient dice_score
    r2 r2_score explained_variance cosine_similarity correlation corr_coef psnr ssim bleu ndcg
    true_positives true_negatives true_positive_rate true_negative_rate
"""
_DOWN = """
    loss error error_rate mse mae mape msle rmse crossentropy cross_entropy bce nll negative_log_likelihood
    hinge kld kl_divergence kullback_leibler_divergence poisson logcosh log_cosh huber perplexity
    false_positives false_negatives false_positive_rate false_negative_rate
"""
_KNOWN: dict[str, bool] = {name: True for name in _UP.split()} | {name: False for name in _DOWN.split()}
_REVERSING = {"neg", "negative", "minus", "inverse"}


def is_higher_better(figure: Any, metrics: Mapping[str, Any] | None = None) -> bool | None:
    """Return whether more of a figure is better, `None` where that cannot be told: nothing is guessed.

    `figure` is a metric or a loss, or the name of a figure in the logs, with any prefix (`val_`, the name of an output) and
    number (`auc_1`). `metrics` holds the compiled metrics by their names in the logs: what they say comes first.
    A metric says it by its `direction`, `'up'` or `'down'` (or Keras' `_direction`, or torchmetrics' `higher_is_better`).

    >>> is_higher_better("val_digit_auc_1"), is_higher_better("val_loss"), is_higher_better("temperature")
    (True, False, None)
    >>> warm = type("Warm", (), {"direction": "up"})()
    >>> is_higher_better("val_temperature", {"temperature": warm})
    True
    """
    if not isinstance(figure, str):
        return _told_by(figure)
    metrics = metrics or {}
    plain = figure.removeprefix("val_")
    for name in (figure, plain):
        found = _told_by(metrics[name]) if name in metrics else None
        if found is not None:
            return found
    return _told_by_name(plain)


def _told_by(metric: Any) -> bool | None:
    """What a metric or loss says of itself, or else its name."""
    if isinstance(metric, losses.Loss) or (inspect.isfunction(metric) and metric in losses.FUNCTIONS):
        return False
    word = getattr(metric, "direction", None) or getattr(metric, "_direction", None)
    if word in ("up", "down"):
        return bool(word == "up")
    better = getattr(metric, "higher_is_better", None)
    if isinstance(better, bool):
        return better
    name = metric if isinstance(metric, str) else getattr(metric, "name", None) or getattr(metric, "__name__", None)
    return _told_by_name(name) if isinstance(name, str) else None


def _told_by_name(name: str) -> bool | None:
    """What the longest known end of a name says, with a number behind it or without."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name).lower()
    for spelled in (words, re.sub(r"_\d+$", "", words)):
        parts = spelled.split("_")
        for start in range(len(parts)):
            end = "_".join(parts[start:])
            if end in _KNOWN:
                return None if _REVERSING & set(parts[:start]) else _KNOWN[end]
    return None
