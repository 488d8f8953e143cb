"""The ranges of what layers read, observed on examples: calibration of a quantization of activations."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _backend, _checks
from kerazoo.compress.input_rounding import MULTIPLYING, is_embedding, with_changed_inputs
from kerazoo.compress.quantization import weights_of
from kerazoo.layers.computed_weight import MultipliedWeight
from kerazoo.models.replaced_calls import replaced_calls

PARTS = 32  # intervals between a power of two and the next one
SMALLEST = -20  # the exponent of two below which values count as zero
BINS = 60 * PARTS


def calibrate(
    model: keras.Model, batches: Iterable[Any], percentile: float = 100.0
) -> list[tuple[float, float] | None]:
    """Returns the range of what each kernel of a model multiplies on some batches, for `quantize`.

    The model is called on the batches without compiling it. Some hundred examples are enough. Observed are dense
    layers, convolutions that are not separable, logits of an embedding, and LSTMs of kerazoo; the inputs of other
    layers are not quantized.

    Args:
        model: a built `keras.Model`.
        batches: iterable of inputs of the model.
        percentile: float in (50, 100]. The percentage of the values that are not above the range, and of those that are
            not below; 100 for the smallest and the largest value. A smaller one is more precise for most values, and
            clips the largest. Defaults to `100.0`.

    Returns:
        list of two floats for each kernel and embedding of at least 256 values, in the order of the layers; `None`
        where the inputs are not quantized, or are all zero.

    Raises:
        ValueError: if there is no batch, or an argument is out of its range.

    Example:

    ```python
    import keras
    import numpy as np

    import kerazoo as kz

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32)])
    x = np.random.default_rng(0).normal(size=(96, 64)).astype("float32")
    ranges = kz.compress.calibrate(model, [x[:48], x[48:]], percentile=99.9)
    kz.compress.quantize(model, "int8", input_ranges=ranges)
    ```

    Reference:
        Nagel et al. (2021), A White Paper on Neural Network Quantization, arXiv:2106.08295.
    """
    _checks.number("calibrate", "percentile", percentile, low=50, high=100, low_open=True)
    return [values.range(percentile) for values in observe(model, batches)]


def observe(model: keras.Model, batches: Iterable[Any]) -> list["InputValues"]:
    """Returns the distribution of what each kernel multiplies.

    Args:
        model: a built `keras.Model`.
        batches: iterable of inputs of the model.

    Raises:
        ValueError: if there is no batch.
    """
    found: list[InputValues] = []
    count = 0
    with contextlib.ExitStack() as stack:
        for layer, variable in weights_of(model, "calibrate"):
            found.append(InputValues())
            if observed := _observed(layer, variable, found[-1]):
                stack.enter_context(observed)
        stack.enter_context(_backend.operation_by_operation())
        for count, batch in enumerate(batches, 1):  # noqa: B007 (the count of all)
            model(batch, training=False)
    if not count:
        raise ValueError("calibrate: `batches` must hold at least one batch; got none.")
    return found


def _observed(layer, variable, values):
    """Returns a context in which what is multiplied by a weight is observed, `None` where that cannot be seen."""
    if isinstance(layer, keras.layers.LSTMCell):
        return _observed_products(layer, variable, values)
    name = "kernel" if isinstance(layer, MULTIPLYING) else ""
    if is_embedding(layer):
        name = "embeddings" if layer.tie_weights else "reverse_embeddings"
    if variable.name.removesuffix("_left") != name:
        return None
    return replaced_calls([(layer, with_changed_inputs(layer, values.add))])


@contextlib.contextmanager
def _observed_products(layer: keras.layers.Layer, variable: Any, values: "InputValues") -> Iterator[None]:
    names = [name for name, value in vars(layer).items() if value is variable]
    vars(layer).update(dict.fromkeys(names, _Observed(variable, values)))
    try:
        yield
    finally:
        vars(layer).update(dict.fromkeys(names, variable))


class _Observed(MultipliedWeight):
    """A weight that keeps what it is multiplied by."""

    def __init__(self, variable: Any, values: "InputValues"):
        super().__init__(variable)
        self.variable, self.values = variable, values

    def compute(self) -> Any:
        return ops.convert_to_tensor(self.variable)

    def multiply(self, x: Any) -> Any:
        return ops.matmul(self.values.add(x), ops.cast(self.variable, x.dtype))


class InputValues:
    """The distribution of the values of tensors: the smallest, the largest, and counts in intervals of equal ratio."""

    def __init__(self):
        self.low = self.high = 0.0
        self.counts = np.zeros(2 * BINS + 1, np.int64)  # of negative values, of zero, of positive ones

    @property
    def count(self) -> int:
        """The number of values."""
        return int(self.counts.sum())

    def add(self, x: Any) -> Any:
        """Adds the values of a tensor, and returns the tensor."""
        values = np.ravel(ops.convert_to_numpy(x)).astype(np.float32)
        values = values[np.isfinite(values)]
        self.low, self.high = min(self.low, values.min(initial=0)), max(self.high, values.max(initial=0))
        powers = np.log2(np.maximum(np.abs(values), 2.0**SMALLEST)) - SMALLEST
        bins = np.minimum(np.ceil(powers * PARTS), BINS).astype(np.int64) * np.sign(values).astype(np.int64)
        self.counts += np.bincount(bins + BINS, minlength=len(self.counts))
        return x

    def range(self, percentile: float) -> tuple[float, float] | None:
        """Returns the lowest and the highest value without the rarest ones, with zero between; `None` for zero alone.

        Args:
            percentile: float in (50, 100]. As in `calibrate`.
        """
        shares = np.cumsum(self.counts) / max(1, self.count)
        low, high = float(self.low), float(self.high)
        if percentile < 100:
            share = percentile / 100
            low = max(low, min(0.0, _edge(int(np.searchsorted(shares, 1 - share)))))
            high = min(high, max(0.0, _edge(int(np.searchsorted(shares, share)))))
        return (low, high) if high > low else None


def _edge(index):
    """Returns the value of an interval that is farthest from zero."""
    number = index - BINS
    return float(np.sign(number) * 2.0 ** (abs(number) / PARTS + SMALLEST))
