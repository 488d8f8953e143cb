"""Exponential moving averages of the weights, which an optimizer with `use_ema` keeps: their part in evaluation."""

from typing import Any

import keras
import numpy as np


def moving_averages(optimizer: Any) -> list[tuple[keras.Variable, keras.Variable]]:
    """Returns each trained variable of a built optimizer with its moving average, nothing without `use_ema`."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    if not getattr(optimizer, "use_ema", False) or not optimizer.built:
        return []
    pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)
    return [(variable, average) for variable, average in pairs if average is not None]


def finalize(model: keras.Model) -> None:
    """Ends the training of a model: its optimizer puts moving averages into the weights, if it has some.

    Keras matches averages and weights by their order, so they are all those that the optimizer has, and not those alone
    that are trained now.

    Args:
        model: `keras.Model`. One with an optimizer.
    """
    optimizer = model.optimizer
    optimizer.finalize_variable_values(optimizer._trainable_variables if optimizer.built else model.trainable_weights)


class EvaluateAverages(keras.callbacks.Callback):
    """Evaluates the moving averages of the weights in place of the weights, for an optimizer with `use_ema`.

    Weights and averages are exchanged while the model is validated. It does what `keras.callbacks.SwapEMAWeights` does,
    to the bit: on TensorFlow that one exchanges them by sums, which round. Variables that are not trained, such as the
    statistics of batch normalization, have no averages.

    Example:

    ```python
    import keras

    import kerazoo as kz

    optimizer = keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.999)
    callbacks = [kz.training.EvaluateAverages()]
    ```

    Reference:
        Polyak, Juditsky (1992), Acceleration of Stochastic Approximation by Averaging; Izmailov et al. (2018),
        Averaging Weights Leads to Wider Optima and Better Generalization, arXiv:1803.05407.
    """

    def on_test_begin(self, logs: dict | None = None):
        """Puts the averages into the model."""
        self._exchange()

    def on_test_end(self, logs: dict | None = None):
        """Puts the weights back."""
        self._exchange()

    def _exchange(self):
        for variable, average in moving_averages(self.model.optimizer):
            kept = np.array(keras.ops.convert_to_numpy(variable.value))
            variable.assign(average.value)
            average.assign(kept)
