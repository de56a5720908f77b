"""The methods that Keras 2 had for data which comes batch by batch; each only translates its arguments."""

from typing import Any

from torchkeras_fn.callbacks.history import History


class GeneratorMethods:
    """`fit_generator`, `evaluate_generator` and `predict_generator` over `fit`, `evaluate` and `predict`."""

    fit: Any
    evaluate: Any
    predict: Any

    def fit_generator(
        self,
        generator: Any,
        steps_per_epoch: int | None = None,
        epochs: int = 1,
        verbose: Any = 1,
        callbacks: Any = None,
        validation_data: Any = None,
        validation_steps: int | None = None,
        class_weight: Any = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        shuffle: Any = True,
        initial_epoch: int = 0,
        validation_freq: Any = 1,
    ) -> History:
        """Call `fit` on a generator, `Sequence`, data set or `DataLoader`."""
        history: History = self.fit(
            generator,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_freq=validation_freq,
            max_queue_size=max_queue_size,
            workers=workers,
            use_multiprocessing=use_multiprocessing,
        )
        return history

    def evaluate_generator(
        self,
        generator: Any,
        steps: int | None = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        verbose: Any = 0,
    ) -> Any:
        """Call `evaluate` on a generator, `Sequence`, data set or `DataLoader`."""
        return self.evaluate(
            generator, verbose=verbose, steps=steps, max_queue_size=max_queue_size, workers=workers, use_multiprocessing=use_multiprocessing
        )

    def predict_generator(
        self,
        generator: Any,
        steps: int | None = None,
        max_queue_size: int = 10,
        workers: int = 1,
        use_multiprocessing: bool = False,
        verbose: Any = 0,
    ) -> Any:
        """Call `predict` on a generator, `Sequence`, data set or `DataLoader`."""
        return self.predict(
            generator, verbose=verbose, steps=steps, max_queue_size=max_queue_size, workers=workers, use_multiprocessing=use_multiprocessing
        )
