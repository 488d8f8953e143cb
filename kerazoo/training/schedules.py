"""Learning rate schedules with a linear warm-up.

Steps are counted from zero, and the rate of the first step is above zero: step `s` of a warm-up over `w` steps has the
rate `peak * (s + 1) / w`.
"""

import math
from typing import Any

import keras
from keras import ops

from kerazoo import _checks

_Schedule = keras.optimizers.schedules.LearningRateSchedule


class _Warmup(_Schedule):
    """A linear warm-up to `peak`, followed by the rates of `_after`, which subclasses define."""

    def __init__(self, peak: float, warmup_steps: int):
        owner = type(self).__name__
        self.peak = _checks.number(owner, "peak", peak, low=0, low_open=True)
        self.warmup_steps = _checks.non_negative_int(owner, "warmup_steps", warmup_steps)

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float32")
        return ops.where(step < self.warmup_steps, self._rising(step), self._after(step))

    def _rising(self, step):
        return self.peak * (step + 1.0) / max(self.warmup_steps, 1)

    def _after(self, step):
        return ops.full_like(step, self.peak)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup_steps": self.warmup_steps}


@keras.saving.register_keras_serializable(package="kerazoo")
class WarmupConstant(_Warmup):
    """Increases the learning rate to `peak` over `warmup_steps` steps and keeps it there.

    Args:
        peak: float, above 0. The highest learning rate.
        warmup_steps: int. Steps of the warm-up, 0 for none.

    Example:

    ```python
    import kerazoo as kz

    print(float(kz.training.WarmupConstant(1e-3, warmup_steps=10)(4)))
    ```
    """


class _WarmupDecay(_Warmup):
    """A warm-up to `peak`, then a decay to `floor`, which is reached in step `total_steps`."""

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, floor: float = 0.0):
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

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "total_steps": self.total_steps, "floor": self.floor}


@keras.saving.register_keras_serializable(package="kerazoo")
class WarmupCosine(_WarmupDecay):
    """Increases the learning rate to `peak`, then decays it to `floor` along half a cosine wave.

    Args:
        peak: float, above 0. The highest learning rate.
        warmup_steps: int. Steps of the warm-up, 0 for none.
        total_steps: int, above `warmup_steps`. The step that reaches `floor`, counted with the warm-up.
        floor: float in `[0, peak]`. The final learning rate. Defaults to `0.0`.

    Raises:
        ValueError: if `total_steps` is not above `warmup_steps`, or a rate is out of its range.

    Example:

    ```python
    import kerazoo as kz

    schedule = kz.training.WarmupCosine(1e-3, warmup_steps=10, total_steps=100)
    print([float(schedule(step)) for step in (0, 9, 55, 100)])
    ```

    Reference: Loshchilov, Hutter 2016, SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv:1608.03983.
    """

    def _share(self, done):
        return 0.5 * (1.0 + ops.cos(math.pi * done))


@keras.saving.register_keras_serializable(package="kerazoo")
class WarmupLinear(_WarmupDecay):
    """Increases the learning rate to `peak`, then decays it linearly to `floor`.

    Args:
        peak: float, above 0. The highest learning rate.
        warmup_steps: int. Steps of the warm-up, 0 for none.
        total_steps: int, above `warmup_steps`. The step that reaches `floor`, counted with the warm-up.
        floor: float in `[0, peak]`. The final learning rate. Defaults to `0.0`.

    Raises:
        ValueError: if `total_steps` is not above `warmup_steps`, or a rate is out of its range.

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
    """Increases the learning rate to `peak`, then decays it with the inverse square root of the step.

    After `w` steps of warm-up, step `s` has the rate `peak * sqrt(w / (s + 1))`. `for_width` computes the peak from the
    width of the model as in the paper.

    Args:
        peak: float, above 0. The highest learning rate.
        warmup_steps: int, above 0. Steps of the warm-up.

    Raises:
        ValueError: if `warmup_steps` or `peak` is not above 0.

    Example:

    ```python
    import kerazoo as kz

    schedule = kz.training.InverseSquareRoot.for_width(512, warmup_steps=4000)
    print(schedule.peak)
    ```

    Reference: Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin 2017, Attention Is All You Need,
    section 5.3, arXiv:1706.03762.
    """

    def __init__(self, peak: float, warmup_steps: int):
        _checks.positive_int("InverseSquareRoot", "warmup_steps", warmup_steps)
        super().__init__(peak, warmup_steps)

    @classmethod
    def for_width(cls, hidden_dim: int, warmup_steps: int = 4000) -> "InverseSquareRoot":
        """Returns the schedule of the paper, whose peak is `(hidden_dim * warmup_steps) ** -0.5`."""
        _checks.positive_int(cls.__name__, "hidden_dim", hidden_dim)
        _checks.positive_int(cls.__name__, "warmup_steps", warmup_steps)
        return cls((hidden_dim * warmup_steps) ** -0.5, warmup_steps)

    def _after(self, step):
        return self.peak * ops.sqrt(self.warmup_steps / (step + 1.0))


@keras.saving.register_keras_serializable(package="kerazoo")
class OneCycle(WarmupCosine):
    """Increases the learning rate from a 25th of `peak` to `peak`, then decays it, both along half a cosine wave.

    The last rate is a ten thousandth of the first one. The momentum stays as it is, unlike in the paper.

    Args:
        peak: float, above 0. The highest learning rate.
        warmup_steps: int. Steps of the rise; about 0.3 of all is usual.
        total_steps: int, above `warmup_steps`. Steps of the cycle.

    Raises:
        ValueError: if `total_steps` is not above `warmup_steps`, or `peak` is not above 0.

    Example:

    ```python
    import kerazoo as kz

    schedule = kz.training.OneCycle(1e-3, warmup_steps=30, total_steps=100)
    print([float(schedule(step)) for step in (0, 29, 100)])
    ```

    Reference: Smith, Topin 2017, Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates,
    arXiv:1708.07120.
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int):
        super().__init__(peak, warmup_steps, total_steps, floor=peak / 25 / 1e4)

    def _rising(self, step):
        share = (step + 1.0) / max(self.warmup_steps, 1)
        first = self.peak / 25
        return first + (self.peak - first) * 0.5 * (1.0 - ops.cos(math.pi * share))

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "total_steps": self.total_steps}


@keras.saving.register_keras_serializable(package="kerazoo")
class WarmupStableDecay(_WarmupDecay):
    """Increases the learning rate to `peak`, keeps it there, and decays it linearly to `floor` in the last steps.

    As the rate is constant for most of the time, one long training serves several lengths: the decay can begin at any
    of its checkpoints.

    Args:
        peak: float, above 0. The highest learning rate.
        warmup_steps: int. Steps of the warm-up, 0 for none.
        total_steps: int, above `warmup_steps`. The step that reaches `floor`, counted with the warm-up.
        floor: float in `[0, peak]`. The final learning rate. Defaults to `0.0`.
        decay: float in `(0, 1]`. Share of the steps after the warm-up in which the rate decays. Defaults to `0.2`.

    Raises:
        ValueError: if `total_steps` is not above `warmup_steps`, or a rate or `decay` is out of its range.

    Example:

    ```python
    import kerazoo as kz

    print(float(kz.training.WarmupStableDecay(1e-3, warmup_steps=10, total_steps=110)(100)))
    ```

    Reference: Hu et al. 2024, MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training
    Strategies, arXiv:2404.06395.
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, floor: float = 0.0, decay: float = 0.2):
        super().__init__(peak, warmup_steps, total_steps, floor)
        self.decay = _checks.number(type(self).__name__, "decay", decay, low=0, high=1, low_open=True)

    def _share(self, done):
        return ops.minimum(1.0, (1.0 - done) / self.decay)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}


@keras.saving.register_keras_serializable(package="kerazoo")
class WarmupExponential(_WarmupDecay):
    """Increases the learning rate to `peak`, then decays it exponentially to `floor`.

    Args:
        peak: float, above 0. The highest learning rate.
        warmup_steps: int. Steps of the warm-up, 0 for none.
        total_steps: int, above `warmup_steps`. The step that reaches `floor`, counted with the warm-up.
        floor: float in `(0, peak]`, or `None`. The final learning rate. Defaults to `None`: a hundredth of `peak`.

    Raises:
        ValueError: if `total_steps` is not above `warmup_steps`, or a rate is out of its range.

    Example:

    ```python
    import kerazoo as kz

    print(float(kz.training.WarmupExponential(1e-3, warmup_steps=10, total_steps=110)(60)))
    ```
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, floor: float | None = None):
        super().__init__(peak, warmup_steps, total_steps, peak / 100 if floor is None else floor)
        _checks.number(type(self).__name__, "floor", self.floor, low=0, low_open=True)

    def _share(self, done):
        if self.floor == self.peak:
            return ops.ones_like(done)
        ratio = self.floor / self.peak
        return (ops.power(ratio, done) - ratio) / (1.0 - ratio)


@keras.saving.register_keras_serializable(package="kerazoo")
class WarmupPiecewise(_WarmupDecay):
    """Increases the learning rate to `peak`, and divides it by ten after half and after three quarters of the steps.

    Args:
        peak: float, above 0. The highest learning rate.
        warmup_steps: int. Steps of the warm-up, 0 for none.
        total_steps: int, above `warmup_steps`. Steps of the whole training, counted with the warm-up.
        boundaries: tuple of floats in `(0, 1)`, ascending. Shares of the steps after the warm-up at which the rate
            drops. Defaults to `(0.5, 0.75)`.
        factor: float in `(0, 1)`. What the rate is multiplied by at each of them. Defaults to `0.1`.

    Raises:
        ValueError: if `total_steps` is not above `warmup_steps`, or a number is out of its range.

    Example:

    ```python
    import kerazoo as kz

    print(float(kz.training.WarmupPiecewise(1e-1, warmup_steps=0, total_steps=100)(60)))
    ```

    Reference: He, Zhang, Ren, Sun 2015, Deep Residual Learning for Image Recognition, section 4.2, arXiv:1512.03385.
    """

    def __init__(
        self,
        peak: float,
        warmup_steps: int,
        total_steps: int,
        boundaries: tuple[float, ...] = (0.5, 0.75),
        factor: float = 0.1,
    ):
        super().__init__(peak, warmup_steps, total_steps)
        owner = type(self).__name__
        self.boundaries = _checks.quantiles(owner, "boundaries", boundaries)
        self.factor = _checks.number(owner, "factor", factor, low=0, high=1, low_open=True, high_open=True)

    def _share(self, done):
        drops = sum(ops.cast(done >= boundary, "float32") for boundary in self.boundaries)
        return ops.power(self.factor, drops)

    def get_config(self) -> dict[str, Any]:
        config = {name: value for name, value in super().get_config().items() if name != "floor"}
        return {**config, "boundaries": list(self.boundaries), "factor": self.factor}
