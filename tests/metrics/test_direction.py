"""Which way a figure gets better: never a wrong guess."""

import pytest
import torch

from torchkeras_fn import losses, metrics
from torchkeras_fn.metrics import is_higher_better

UP = [
    *("acc", "accuracy", "val_acc", "val_accuracy", "binary_accuracy", "digit_accuracy", "val_digit_top_k_categorical_accuracy"),
    *("auc", "AUC", "auc_1", "val_auc_12", "weighted_auc", "precision", "recall_2", "f1_score", "fbeta_score", "mean_io_u", "binary_io_u"),
    *("iou", "r2_score", "cosine_similarity", "val_out_cosine_similarity", "pearson_correlation", "concordance_correlation"),
    *("true_positives", "true_negatives_1", "sensitivity_at_specificity", "precision_at_recall", "MulticlassAccuracy", "dice_coef"),
]
DOWN = [
    *("loss", "val_loss", "digit_loss", "val_digit_loss", "mse", "MSE", "mean_squared_error", "val_out_mean_absolute_error", "mae"),
    *("root_mean_squared_error", "rmse", "mape", "msle", "logcosh", "log_cosh", "categorical_crossentropy", "bce", "hinge"),
    *("squared_hinge", "kl_divergence", "kullback_leibler_divergence", "poisson", "false_positives", "false_negatives_3"),
    *("weighted_mse", "perplexity", "negative_log_likelihood", "mean_absolute_percentage_error", "huber", "dice_loss"),
]
UNKNOWN = [
    *("mean", "sum", "temperature", "lr", "learning_rate", "val_", "", "neg_mean_squared_error", "minus_accuracy", "dice", "tversky"),
    *("inaccuracy", "lossless", "accuracy_gap", "loss_ratio", "val_gradient_norm", "f_1_x", "1_minus_accuracy"),
]


@pytest.mark.parametrize(("name", "better"), [*((n, True) for n in UP), *((n, False) for n in DOWN), *((n, None) for n in UNKNOWN)])
def test_names(name, better):
    assert is_higher_better(name) is better


LOWER = {"false_positives", "false_negatives", "root_mean_squared_error"}
NEITHER = {"mean", "sum", "mean_metric_wrapper"}


@pytest.mark.parametrize("name", metrics.lookup.CLASSES)
def test_every_class_says_it(name):
    made = metrics.lookup.CLASSES[name]
    lower = name in LOWER or issubclass(made, metrics.LossMetric)
    assert made.direction == (None if name in NEITHER else "down" if lower else "up")
    assert is_higher_better(made) is (None if name in NEITHER else not lower)
    assert name in NEITHER or is_higher_better(name) is not lower  # the name alone says the same


@pytest.mark.parametrize(
    "loss", [losses.CosineSimilarity(), losses.cosine_similarity, losses.Dice(), losses.mean_squared_error, losses.Huber(name="accuracy")]
)
def test_a_loss_is_better_when_it_is_lower(loss):
    assert is_higher_better(loss) is False
    assert is_higher_better(metrics.get(loss)) is False


def test_what_the_compiled_metrics_say_comes_before_the_name():
    upward = type("Upward", (metrics.Mean,), {"direction": "up"})(name="anything")
    keras_style = metrics.Mean(name="other")
    keras_style._direction = "down"
    torch_style = type("Theirs", (), {"higher_is_better": True})()
    undecided = type("Undecided", (), {"higher_is_better": None, "name": "mse"})()
    named = {
        "out_error": upward,
        "accuracy": keras_style,
        "theirs": torch_style,
        "mse": undecided,
        "cosine": metrics.get(losses.CosineSimilarity()),
    }
    answers = {"val_out_error": True, "out_error": True, "val_accuracy": False, "theirs": True, "mse": False, "val_cosine": False}
    assert {name: is_higher_better(name, named) for name in answers} == answers
    assert is_higher_better("val_loss", named) is False and is_higher_better("heat", named) is None


def test_a_function_of_ones_own_is_judged_by_its_name():
    def f1_score(y_true, y_pred):
        return torch.zeros(len(y_pred))

    def warmth(y_true, y_pred):
        return torch.zeros(len(y_pred))

    assert is_higher_better(metrics.get(f1_score)) is True and is_higher_better(metrics.get(warmth)) is None
