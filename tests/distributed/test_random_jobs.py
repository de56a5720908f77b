"""Random jobs, of which one, two and three processes make the same."""

import random

from tests.distributed.test_exact import MODELS, check

KINDS = ["arrays", "lazy", "tensors", "sequence", "items", "loader", "shuffled loader"]


def job(draw: random.Random) -> dict:
    samples = draw.randint(1, 40)
    compiling = {"metrics": draw.sample(["accuracy", "mse", "AUC", "cosine_similarity", "hinge", "binary_crossentropy"], 3)}
    options = {"epochs": draw.randint(1, 3)}
    case = {"model": draw.choice(sorted(MODELS)), "kind": draw.choice(KINDS), "samples": samples, "seed": draw.randint(0, 99)}
    if draw.random() < 0.5:
        case["validation"] = draw.randint(1, 20)
    if draw.random() < 0.3:
        options["class_weight"] = {0: draw.random(), 1: 1 + draw.random()}
    if draw.random() < 0.3:
        options["steps_per_epoch"] = draw.randint(1, -(-samples // 6))
    if draw.random() < 0.3:
        compiling["steps_per_execution"] = draw.randint(1, 3)
    return {**case, "optimizer": draw.choice(["sgd", "adam", "rmsprop"]), "compiling": compiling, "options": options}


def test_random_jobs(seed):
    draw = random.Random(seed)
    check([job(draw) for _ in range(16)], tolerance=1e-4)
