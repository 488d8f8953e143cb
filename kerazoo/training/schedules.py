"""Learning rates that rise over the first steps and then follow a curve.

Step numbers count from zero, and the first step already moves: in step `s` of a warm-up over `w` steps the rate is
`peak * (s + 1) / w`.
"""

import math

import keras
from keras import ops

from kerazoo import _checks

_Schedule = keras.optimizers.schedules.LearningRateSchedule


class _Warmup(_Schedule):
    """A linear rise to `peak`, then whatever `_after` says; subclasses add their own arguments to the config."""

    def __init__(self, peak, warmup_steps):
        owner = type(self).__name__
        self.peak = _checks.number(owner, "peak", peak, low=0, low_open=True)
        self.warmup_steps = _checks.non_negative_int(owner, "warmup_steps", warmup_steps)

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rising = self.peak * (step + 1.0) / max(self.warmup_steps, 1)
        return ops.where(step < self.warmup_steps, rising, self._after(step))

    def _after(self, step):
        return ops.full_like(step, self.peak)

    def get_config(self):
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}


@keras.saving.register_keras_serializable(package="kerazoo")
class WarmupConstant(_Warmup):
    """Rises to `peak` over `warmup_steps` steps and stays there.

    Args:
        peak: The highest learning rate, above 0.
        warmup_steps: Steps of the rise, 0 for none.

    Example:

    ```python
    import kerazoo as kz

    print(float(kz.training.WarmupConstant(1e-3, warmup_steps=10)(4)))
    ```
    """


class _WarmupDecay(_Warmup):
    """A rise to `peak`, then a fall to `floor`, which is reached in step `total_steps`."""

    def __init__(self, peak, warmup_steps, total_steps, floor=0.0):
        super().__init__(peak, warmup_steps)
        owner = type(self).__name__
        self.total_steps = _checks.positive_int(owner, "total_steps", total_steps)
        self.floor = _checks.number(owner, "floor", floor, low=0, high=self.peak)
        if self.total_steps <= self.warmup_steps:
            raise ValueError(
                f"{owner}: `total_steps` must be above `warmup_steps`; "
                f"got total_steps={total_steps}, warmup_steps={warmup_steps}."
            )

    def _after(self, step):
        done = (step - self.warmup_steps) / (self.total_steps - self.warmup_steps)
        return self.floor + (self.peak - self.floor) * self._share(ops.clip(done, 0.0, 1.0))

    def get_config(self):
        return {**super().get_config(), "total_steps": self.total_steps, "floor": self.floor}


@keras.saving.register_keras_serializable(package="kerazoo")
class WarmupCosine(_WarmupDecay):
    """Rises to `peak`, then falls to `floor` along half a cosine wave and stays there.

    Args:
        peak: The highest learning rate, above 0.
        warmup_steps: Steps of the rise, 0 for none.
        total_steps: The step in which `floor` is reached, the warm-up included.
        floor: The last learning rate, from 0 (the default) to `peak`.

    Raises:
        ValueError: `total_steps` is not above `warmup_steps`, or a rate is out of its range.

    Example:

    ```python
    import kerazoo as kz

    schedule = kz.training.WarmupCosine(1e-3, warmup_steps=10, total_steps=100)
    print([float(schedule(step)) for step in (0, 9, 55, 100)])
    ```

    Reference: Loshchilov, Hutter 2016, SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv 1608.03983.
    """

    def _share(self, done):
        return 0.5 * (1.0 + ops.cos(math.pi * done))


@keras.saving.register_keras_serializable(package="kerazoo")
class WarmupLinear(_WarmupDecay):
    """Rises to `peak`, then falls to `floor` along a straight line and stays there.

    Args:
        peak: The highest learning rate, above 0.
        warmup_steps: Steps of the rise, 0 for none.
        total_steps: The step in which `floor` is reached, the warm-up included.
        floor: The last learning rate, from 0 (the default) to `peak`.

    Raises:
        ValueError: `total_steps` is not above `warmup_steps`, or a rate is out of its range.

    Example:

    ```python
    import kerazoo as kz

    print(float(kz.training.WarmupLinear(1e-3, warmup_steps=10, total_steps=100)(55)))
    ```
    """

    def _share(self, done):
        return 1.0 - done


@keras.saving.register_keras_serializable(package="kerazoo")
class InverseSquareRoot(_Warmup):
    """Rises to `peak`, then falls with the inverse square root of the step number.

    After `w` steps of warm-up, step `s` has the rate `peak * sqrt(w / (s + 1))`. `for_width` gives the peak that the
    Transformer's paper computes from the width of the model.

    Args:
        peak: The highest learning rate, above 0.
        warmup_steps: Steps of the rise, above 0.

    Raises:
        ValueError: `warmup_steps` is 0, or `peak` is not above 0.

    Example:

    ```python
    import kerazoo as kz

    schedule = kz.training.InverseSquareRoot.for_width(512, warmup_steps=4000)
    print(schedule.peak)
    ```

    Reference: Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin 2017, Attention Is All You Need,
    section 5.3, arXiv 1706.03762.
    """

    def __init__(self, peak, warmup_steps):
        _checks.positive_int("InverseSquareRoot", "warmup_steps", warmup_steps)
        super().__init__(peak, warmup_steps)

    @classmethod
    def for_width(cls, hidden_dim, warmup_steps=4000):
        """Returns the paper's schedule of a model `hidden_dim` wide: peak (hidden_dim * warmup_steps) ** -0.5."""
        _checks.positive_int(cls.__name__, "hidden_dim", hidden_dim)
        _checks.positive_int(cls.__name__, "warmup_steps", warmup_steps)
        return cls((hidden_dim * warmup_steps) ** -0.5, warmup_steps)

    def _after(self, step):
        return self.peak * ops.sqrt(self.warmup_steps / (step + 1.0))
