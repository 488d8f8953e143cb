"""Random numbers that follow from a seed and the number of a step, so that a checkpoint has no state to hold."""

import keras
from keras import ops

_STEP, _DRAW = 0x9E3779B1, 0x85EBCA77  # odd, far apart: neighbouring seeds and draws share nothing


class StepSeeds(keras.random.SeedGenerator):
    """Gives out seeds that are a pure function of a seed, the number of a step, and how many were given out before.

    It goes wherever Keras takes a `SeedGenerator`. It keeps no variable, so a run that goes on from step N draws what
    a run without interruption draws there, and the number of the step may be a tensor of a compiled program. Make one
    for every step.

    Args:
        seed: Integer of at least 0.
        step: Number of the step, an integer or a scalar integer tensor.

    Example:

    ```python
    import keras
    import numpy as np

    from kerazoo.layers.seeds import StepSeeds

    draws = [keras.random.uniform((3,), seed=StepSeeds(seed=5, step=step)) for step in (7, 7, 8)]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[1], draws[2])
    ```
    """

    def __init__(self, seed, step):
        # Without the constructor of the base class, which makes the variable.
        self._start, self._step, self._drawn = int(seed), step, 0

    def next(self, ordered=True):
        """Returns the next seed, uint32 [2]."""
        self._drawn += 1
        word = (self._start * _STEP + self._drawn * _DRAW) % (1 << 32)
        return ops.stack([ops.convert_to_tensor(word, "uint32"), ops.cast(self._step, "uint32")])
