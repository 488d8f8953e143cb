"""Random seeds computed from a base seed and a step number, so that a checkpoint needs no random state."""

from typing import Any

import keras
from keras import ops

_STEP, _CALL = 0x9E3779B1, 0x85EBCA77  # odd and far apart, so that neighbouring seeds and calls share no values


class StepSeeds(keras.random.SeedGenerator):
    """Generates seeds that are a pure function of a base seed, the step number and the number of earlier calls.

    It may be used wherever Keras accepts a `SeedGenerator`. It has no variable, so a run that resumes at step N samples
    what an uninterrupted run samples there, and the step number may be a tensor of a compiled program. Make a new one
    for every step.

    Args:
        seed: int, at least 0. The base seed.
        step: int or int scalar. The step number.

    Example:

    ```python
    import keras
    import numpy as np

    from kerazoo.layers.seeds import StepSeeds

    samples = [keras.random.uniform((3,), seed=StepSeeds(seed=5, step=step)) for step in (7, 7, 8)]
    assert np.array_equal(samples[0], samples[1]) and not np.array_equal(samples[1], samples[2])
    ```
    """

    def __init__(self, seed: int, step: Any):
        # Without the constructor of the base class, which makes the variable.
        self._base, self._step, self._calls = int(seed), step, 0

    def next(self, ordered: bool = True) -> Any:
        """Returns the next seed, uint32 `[2]`.

        Args:
            ordered: bool. Not used. Defaults to `True`.
        """
        self._calls += 1
        word = (self._base * _STEP + self._calls * _CALL) % (1 << 32)
        return ops.stack([ops.convert_to_tensor(word, "uint32"), ops.cast(self._step, "uint32")])
