"""The LSTM recurrence: all inputs are multiplied at once, the loop over time keeps one small product."""

import keras
from keras import ops

from kerazoo import _checks


@keras.saving.register_keras_serializable(package="kerazoo")
class LSTM(keras.layers.Layer):
    """Long short-term memory over a sequence, for training speed on small machines and cuDNN on large ones.

    The inputs of all positions meet the kernel in one matrix product before the loop, so a step of the loop only
    multiplies the previous output. Weights are those of `keras.layers.LSTM` (gates in the order input, forget,
    candidate, output; bias of the forget gate starts at one), so `set_weights` takes them from one to the other.
    On a GPU the recurrence is left to Keras wherever Keras has a fused (cuDNN) kernel: with TensorFlow for
    right-padded masks or none, with JAX and PyTorch for inputs without a mask.

    Args:
        units: Width U of the state and of the outputs, at least 1.
        recurrent_dropout: Rate in [0, 1) at which units of the previous output are dropped; one draw serves all
            positions of a sequence. Default 0. Above 0 the fused kernel is not used.
        reverse: If True, the sequence is read from its last position to its first; outputs still stand at the
            positions of their inputs. Default False.
        use_cudnn: `"auto"` (default) or False: never use the fused kernel. On a TensorFlow GPU that kernel refuses
            XLA and masks that are not right-padded, and a model exported with it needs a GPU; the attribute may be
            set to False before exporting.
        seed: Seed of the recurrent dropout, or None (default).
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Float tensor [B, T, D].
        initial_state: Tuple (h, c) of float tensors [B, U]; zeros if None.
        padding_mask: Bool tensor [B, T], True = real position, or None.
        training: Whether to apply dropout.

    Returns:
        Outputs [B, T, U] and the final state (h, c), each [B, U], all in the compute dtype.

    Masking:
        A padded position leaves the state as it was and outputs zeros. Padding may stand anywhere. A reversed
        recurrence of right-padded sequences therefore starts at the last real position.

    Raises:
        ValueError: If `inputs` do not have 3 axes, or an argument is out of range.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    lstm = kz.layers.LSTM(units=7)
    outputs, (h, c) = lstm(np.ones((2, 5, 3), "float32"))
    assert outputs.shape == (2, 5, 7) and h.shape == (2, 7)
    assert np.allclose(outputs[:, -1], h)
    ```

    Reference:
        Hochreiter and Schmidhuber, 1997, Long Short-Term Memory. Gal and Ghahramani, 2016, A Theoretically
        Grounded Application of Dropout in Recurrent Neural Networks, arXiv:1512.05287 (recurrent dropout).
    """

    def __init__(self, units, recurrent_dropout=0.0, reverse=False, use_cudnn="auto", seed=None, **kwargs):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("LSTM", "units", units)
        self.recurrent_dropout = _checks.rate("LSTM", "recurrent_dropout", recurrent_dropout)
        self.reverse = bool(reverse)
        self.use_cudnn = _checks.one_of("LSTM", "use_cudnn", use_cudnn, ("auto", False))
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        # Holds the weights, and runs the recurrence where Keras has a fused kernel.
        self.keras_lstm = keras.layers.LSTM(
            self.units,
            return_sequences=True,
            return_state=True,
            go_backwards=self.reverse,
            use_cudnn=self.use_cudnn,
            dtype=self.dtype_policy,
            name="lstm",
        )

    def build(self, inputs_shape):
        _checks.rank("LSTM", "inputs", inputs_shape, (3,))
        self.keras_lstm.build(inputs_shape)

    def call(self, inputs, initial_state=None, padding_mask=None, training=None):
        state = self.zero_state(ops.shape(inputs)[0]) if initial_state is None else initial_state
        dropping = bool(training) and self.recurrent_dropout > 0
        if not dropping and self.use_cudnn and _keras_fuses(masked=padding_mask is not None):
            outputs, state = self._fused(inputs, state, padding_mask)
        else:
            outputs, state = self._loop(inputs, state, padding_mask, dropping)
        return (ops.flip(outputs, axis=1) if self.reverse else outputs), state

    def step(self, inputs, state):
        """Returns the outputs [B, U] and the next state for `inputs` [B, D] of one position (no dropout)."""
        outputs, state = self._cell()(self._project(inputs), state)
        return outputs, tuple(state)

    def zero_state(self, batch_size):
        """Returns the state (h, c) of zeros, each [batch_size, U]."""
        return tuple(ops.zeros((batch_size, self.units), dtype=self.compute_dtype) for _ in "hc")

    def _project(self, inputs):
        # Cast by hand: `step` runs outside of `__call__`, where Keras does not cast weights.
        cell = self.keras_lstm.cell
        kernel, bias = (ops.cast(w, self.compute_dtype) for w in (cell.kernel, cell.bias))
        return ops.matmul(ops.cast(inputs, self.compute_dtype), kernel) + bias  # [..., 4U]

    def _cell(self, keep=None):
        return _Cell(ops.cast(self.keras_lstm.cell.recurrent_kernel, self.compute_dtype), keep, self.compute_dtype)

    def _loop(self, inputs, state, padding_mask, dropping):
        keep = None
        if dropping:
            ones = ops.ones_like(state[0])
            keep = keras.random.dropout(ones, self.recurrent_dropout, seed=self.seed_generator)
        # Of the loops in Keras only the one in `RNN` is differentiable under XLA and takes an unknown length.
        loop = keras.layers.RNN(
            self._cell(keep),
            return_sequences=True,
            return_state=True,
            go_backwards=self.reverse,
            zero_output_for_mask=True,
            dtype=self.dtype_policy,
            name="loop",
        )
        outputs, h, c = loop.call(self._project(inputs), initial_state=list(state), mask=padding_mask)
        return outputs, (h, c)

    def _fused(self, inputs, state, padding_mask):
        if padding_mask is None:
            outputs, h, c = self.keras_lstm(inputs, initial_state=list(state))
            return outputs, (h, c)
        # cuDNN refuses a sequence without any real position (a row that fills up a batch): lend it one.
        first = ops.arange(ops.shape(padding_mask)[1]) == 0
        lent = ops.logical_or(padding_mask, first[None])
        outputs, h, c = self.keras_lstm(inputs, initial_state=list(state), mask=lent)
        real = ops.flip(padding_mask, axis=1) if self.reverse else padding_mask
        outputs = ops.where(real[:, :, None], outputs, ops.zeros_like(outputs))
        some = ops.any(padding_mask, axis=1, keepdims=True)  # [B, 1]
        return outputs, tuple(ops.where(some, new, old) for new, old in zip((h, c), state))

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "recurrent_dropout": self.recurrent_dropout,
            "reverse": self.reverse,
            "use_cudnn": self.use_cudnn,
            "seed": self.seed,
        }


class _Cell:
    """One position of the recurrence, in the form in which `keras.layers.RNN` asks for it."""

    def __init__(self, recurrent_kernel, keep, dtype):
        units = recurrent_kernel.shape[0]
        self.state_size, self.output_size, self.compute_dtype = [units, units], units, dtype
        self.recurrent_kernel, self.keep = recurrent_kernel, keep

    def __call__(self, projected, state):
        return self.call(projected, state)

    def call(self, projected, state):
        h, c = state
        if self.keep is not None:
            h = h * self.keep
        gates = projected + ops.matmul(h, self.recurrent_kernel)  # [B, 4U]
        enter, forget, candidate, leave = ops.split(gates, 4, axis=-1)
        c = ops.sigmoid(forget) * c + ops.sigmoid(enter) * ops.tanh(candidate)
        h = ops.sigmoid(leave) * ops.tanh(c)
        return h, [h, c]


def _keras_fuses(masked):
    """Whether Keras runs its LSTM as one fused kernel on this machine and backend."""
    if keras.backend.backend() == "torch":
        return not masked
    if not any(device.startswith("gpu") for device in keras.distribution.list_devices()):
        return False
    return keras.backend.backend() == "tensorflow" or not masked
