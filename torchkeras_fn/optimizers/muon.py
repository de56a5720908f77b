"""`Muon`: steps along an orthogonal momentum for matrices, and Adam's steps for the rest."""

import re
from collections.abc import Sequence
from typing import Any

import torch

from torchkeras_fn.arguments import number, positive_integer
from torchkeras_fn.optimizers import formulas
from torchkeras_fn.optimizers.base import Optimizer


class Muon(Optimizer):
    """Momentum made orthogonal, for matrices inside a network (Jordan et al., 2024); all else takes the steps of Adam.

    A matrix takes Adam's too where its name is found by one of the patterns `exclude_layers`, such as that of the output
    layer, and with `exclude_embeddings` where it is of an `Embedding`. A weight's name is both torch's, such as
    `output.weight`, and Keras', such as `kernel`. Matrices shrink by `weight_decay`, the others by `adam_weight_decay`.
    `momentum` and `nesterov` are as in `SGD`; `ns_steps` iterations with the coefficients `muon_a`, `muon_b`, `muon_c` make it
    orthogonal. Of `rms_rate` times the root of the longer side is the size of a step, to be like Adam's (Liu et al., 2025);
    `None` leaves it. `adam_beta_1`, `adam_beta_2`, `epsilon` and `adam_lr_ratio`, a share of the learning rate, are for Adam.

    https://github.com/KellerJordan/Muon, https://arxiv.org/abs/2502.16982

    >>> Muon(exclude_layers=["output"]).get_config()["momentum"]
    0.95
    """

    torch_class = formulas.Muon
    decaying_class = formulas.Muon
    decays_itself = True

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float | None = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **options: Any,
    ):
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **options,
        )
        self.adam_beta_1 = number(adam_beta_1, "adam_beta_1", minimum=0)
        self.adam_beta_2 = number(adam_beta_2, "adam_beta_2", minimum=0)
        self.adam_weight_decay = None if adam_weight_decay is None else number(adam_weight_decay, "adam_weight_decay", minimum=0)
        self.epsilon = 1e-7 if epsilon is None else number(epsilon, "epsilon", minimum=0)
        if isinstance(exclude_layers, str):
            raise TypeError(f"'exclude_layers' is a list of patterns, got the string {exclude_layers!r}.")
        self.exclude_layers = list(exclude_layers or ())
        self.exclude_embeddings = bool(exclude_embeddings)
        self.muon_a, self.muon_b, self.muon_c = (number(part, "muon_a, muon_b, muon_c") for part in (muon_a, muon_b, muon_c))
        self.adam_lr_ratio = number(adam_lr_ratio, "adam_lr_ratio", minimum=0)
        self.momentum = number(momentum, "momentum", minimum=0)
        self.ns_steps = positive_integer(ns_steps, "ns_steps")
        self.nesterov = bool(nesterov)
        self.rms_rate = None if rms_rate is None else number(rms_rate, "rms_rate", minimum=0)

    def make(self, parameters: Sequence[torch.Tensor], decaying: bool = False) -> torch.optim.Optimizer:
        """Return a new torch optimizer for these parameters."""
        names = self._names
        by_adam = [self._takes_adam(parameter, names.get(id(parameter), "")) for parameter in parameters]
        decays = [
            (self.adam_weight_decay if alone else self.weight_decay) or 0.0 if self._is_decayed(parameter, names) else 0.0
            for parameter, alone in zip(parameters, by_adam, strict=True)
        ]
        return formulas.Muon(
            parameters,
            lr=self._rate(),
            by_adam=by_adam,
            decays=decays,
            betas=(self.adam_beta_1, self.adam_beta_2),
            eps=self.epsilon,
            adam_ratio=self.adam_lr_ratio,
            coefficients=(self.muon_a, self.muon_b, self.muon_c),
            iterations=self.ns_steps,
            momentum=self.momentum,
            nesterov=self.nesterov,
            rms_rate=self.rms_rate,
        )

    def _takes_adam(self, parameter: torch.Tensor, name: str) -> bool:
        is_embedding = self.exclude_embeddings and "embedding" in name.lower()
        return parameter.dim() != 2 or is_embedding or any(re.search(pattern, name) for pattern in self.exclude_layers)
