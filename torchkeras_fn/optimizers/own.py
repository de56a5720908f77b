"""What is asked of an optimizer of the user's own that is derived from `Optimizer`: torch takes the steps, not Keras."""

_STEPS_OF_KERAS = ("get_updates", "update_step", "_resource_apply_dense")


def check_own(kind: type, makes_its_own: bool = False) -> None:
    """Raise `TypeError` for a class whose steps nobody would take: one written for Keras, or without a torch optimizer of any kind.

    One that `makes_its_own` names none.

    >>> class Descent:
    ...     def update_step(self, gradient, variable, learning_rate): ...
    >>> check_own(Descent)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    TypeError: Descent computes its steps in update_step(), which only Keras calls. ...
    """
    reason = next((f"computes its steps in {name}(), which only Keras calls" for name in _STEPS_OF_KERAS if hasattr(kind, name)), None)
    if reason is None and not makes_its_own and not hasattr(kind, "torch_class"):
        reason = "names no torch_class, which would take the steps"
    if reason is not None:
        raise TypeError(
            f"{kind.__name__} {reason}. An optimizer of your own is a torch.optim.Optimizer class with a step(), which compile takes as it "
            "is, or in a functools.partial. To have Keras' options around it, derive a class from Optimizer with torch_class = it."
        )
