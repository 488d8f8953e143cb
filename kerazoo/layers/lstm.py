"""The LSTM recurrence: one matrix product for the inputs of all positions, then a loop over the recurrent product."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.activations import get_activation, serialize_activation
from kerazoo.layers.computed_weight import FactorizedWeight, MultipliedWeight
from kerazoo.layers.dropout import dropout
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.masking import first_mask
from kerazoo.layers.products import product


@keras.saving.register_keras_serializable(package="kerazoo")
class LSTM(keras.layers.Layer):
    """Applies long short-term memory to a sequence, fast on a CPU, and with cuDNN on a GPU where Keras supports it.

    The inputs of all positions are multiplied by the kernel at once before the loop, so that a step of the loop only
    multiplies the previous output. The weights are those of `keras.layers.LSTM` (gates in the order input, forget,
    candidate, output; the bias of the forget gate starts at one), so `set_weights` exchanges them. On a GPU Keras
    computes the recurrence where it has a fused (cuDNN) kernel: with TensorFlow for right-padded masks or none, with
    JAX and PyTorch for inputs without a mask. `LSTMEncoder` is a stack of these layers in one or both directions;
    `keras.layers.Bidirectional` does not take a layer that returns its state beside its outputs.

    Args:
        units: int, above 0. Width U of the state and of the outputs.
        activation: Name or callable. Activation of the candidate and of the output. Defaults to `"tanh"`.
        recurrent_activation: Name or callable. Activation of the gates. Defaults to `"sigmoid"`.
        kernel_initializer: Initializer of the kernel. Defaults to `"glorot_uniform"`.
        recurrent_initializer: Initializer of the recurrent kernel. Defaults to `"orthogonal"`.
        recurrent_dropout: float in `[0, 1)`. Rate at which units of the previous output are dropped, with one mask for
            all positions of a sequence. Above 0 the fused kernel is not used. Defaults to `0.0`.
        reverse: bool. Whether to read the sequence from its last position to its first; outputs stay at the positions
            of their inputs. Defaults to `False`.
        use_cudnn: `"auto"` or False, which never uses the fused kernel. On a TensorFlow GPU that kernel refuses XLA and
            masks that are not right-padded, and a model exported with it needs a GPU; the attribute may be set to
            False before exporting. Defaults to `"auto"`.
        seed: int or None. Seed of the recurrent dropout. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, D]`.
        initial_state: tuple (h, c) of float tensors `[B, U]`; None for zeros. Defaults to `None`.
        padding_mask: bool tensor `[B, T]`, True = valid position. Defaults to `None`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.
        inputs_mask: The same, where Keras fills it in under this name.

    Returns:
        A pair of the outputs `[B, T, U]` and the final state (h, c), each `[B, U]`, all in the compute dtype.

    Masking:
        A padding position leaves the state unchanged and outputs zeros, and so does a sequence of length 0, which
        a TensorFlow graph must know to be empty. Padding may be anywhere. A reversed recurrence
        of right-padded sequences therefore starts at the last valid position.

    Raises:
        ValueError: if `inputs` do not have 3 axes, an argument is out of range, or `keras.layers.Bidirectional` wraps
            the layer.

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
        Hochreiter and Schmidhuber, 1997, Long Short-Term Memory;
        Gal and Ghahramani, 2016, A Theoretically Grounded Application of Dropout in Recurrent Neural Networks,
        arXiv:1512.05287 (recurrent dropout).
    """

    def __init__(
        self,
        units: int,
        *,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        recurrent_dropout: float = 0.0,
        reverse: bool = False,
        use_cudnn: str | bool = "auto",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("LSTM", "units", units)
        self.activation = get_activation("LSTM", activation)
        self.recurrent_activation = get_activation("LSTM", recurrent_activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.recurrent_dropout = _checks.rate("LSTM", "recurrent_dropout", recurrent_dropout)
        self.reverse = bool(reverse)
        self.use_cudnn = _checks.one_of("LSTM", "use_cudnn", use_cudnn, ("auto", False))
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True
        # Has the weights, and computes the recurrence where Keras has a fused kernel.
        self.keras_lstm = keras.layers.LSTM(
            self.units,
            activation=self.activation,
            recurrent_activation=self.recurrent_activation,
            kernel_initializer=clone_initializer(self.kernel_initializer),
            recurrent_initializer=clone_initializer(self.recurrent_initializer),
            return_sequences=True,
            return_state=True,
            go_backwards=self.reverse,
            use_cudnn=self.use_cudnn,
            dtype=self.dtype_policy,
            name="lstm",
        )

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("LSTM", "inputs", inputs_shape, (3,))
        self.keras_lstm.build(inputs_shape)

    def call(
        self,
        inputs: Any,
        initial_state: Any = None,
        padding_mask: Any = None,
        training: bool | None = None,
        mask: Any = None,
        inputs_mask: Any = None,
    ) -> Any:
        valid = first_mask(padding_mask, mask, inputs_mask)
        state = self.zero_state(ops.shape(inputs)[0]) if initial_state is None else initial_state
        if inputs.shape[1] == 0:  # which neither loop of Keras accepts
            return ops.zeros((ops.shape(inputs)[0], 0, self.units), dtype=self.compute_dtype), tuple(state)
        drops = bool(training) and self.recurrent_dropout > 0
        if not drops and self._uses_fused_kernel(masked=valid is not None):
            outputs, state = self._fused(inputs, state, valid)
        else:
            outputs, state = self._loop(inputs, state, valid, drops)
        return (ops.flip(outputs, axis=1) if self.reverse else outputs), state

    def step(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Returns the outputs `[B, U]` and the next state for one position, without dropout.

        Args:
            inputs: float tensor `[B, D]`.
            state: tuple (h, c) of float tensors `[B, U]`.
        """
        outputs, state = self._cell()(self._project(inputs), state)
        return outputs, tuple(state)

    def gates(self, inputs: Any, state: Any) -> tuple[dict[str, Any], tuple[Any, Any]]:
        """Returns the gates of one position, and the next state (h, c), each `[B, U]`, without dropout.

        Args:
            inputs: float tensor `[B, D]`.
            state: tuple (h, c) of float tensors `[B, U]`.

        Returns:
            A pair of a dict with "input", "forget", "candidate" and "output", and the next state.
        """
        gates, state = self._cell().gates(self._project(inputs), state)
        return dict(zip(("input", "forget", "candidate", "output"), gates)), state

    def zero_state(self, batch_size: Any) -> tuple[Any, Any]:
        """Returns the state (h, c) of zeros, each `[batch_size, U]`.

        Args:
            batch_size: int or int scalar.
        """
        shape = (batch_size, self.units)
        return ops.zeros(shape, dtype=self.compute_dtype), ops.zeros(shape, dtype=self.compute_dtype)

    def _project(self, inputs: Any) -> Any:
        # An explicit cast: `step` runs outside of `__call__`, where Keras does not cast weights.
        cell = self.keras_lstm.cell
        kernel, bias = (self._cast(weight) for weight in (cell.kernel, cell.bias))
        return product(ops.cast(inputs, self.compute_dtype), kernel) + bias  # [..., 4U]

    def _cast(self, weight: Any) -> Any:
        return weight if isinstance(weight, MultipliedWeight) else ops.cast(weight, self.compute_dtype)

    def _cell(self, keep: Any = None) -> "_Cell":
        kernel = self._cast(self.keras_lstm.cell.recurrent_kernel)
        return _Cell(kernel, keep, self.compute_dtype, self.activation, self.recurrent_activation)

    def _uses_fused_kernel(self, masked: bool) -> bool:
        usual = (keras.activations.tanh, keras.activations.sigmoid)
        kernel = self.keras_lstm.cell.kernel
        tensor = isinstance(kernel, FactorizedWeight) or not isinstance(kernel, MultipliedWeight)
        fits = tensor and (self.activation, self.recurrent_activation) == usual
        return fits and bool(self.use_cudnn) and _keras_has_fused_kernel(masked)

    def _loop(self, inputs: Any, state: Any, mask: Any, drops: bool) -> tuple[Any, Any]:
        keep = None
        if drops:
            keep = dropout(ops.ones_like(state[0]), self.recurrent_dropout, self.seed_generator)
        # Of the loops in Keras only the one in `RNN` is differentiable under XLA and accepts an unknown length.
        loop = keras.layers.RNN(
            self._cell(keep),
            return_sequences=True,
            return_state=True,
            go_backwards=self.reverse,
            zero_output_for_mask=True,
            dtype=self.dtype_policy,
            name="loop",
        )
        outputs, h, c = loop.call(self._project(inputs), initial_state=list(state), mask=mask)
        return outputs, (h, c)

    def _fused(self, inputs: Any, state: Any, mask: Any) -> tuple[Any, Any]:
        if mask is None:
            outputs, h, c = self.keras_lstm(inputs, initial_state=list(state))
            return outputs, (h, c)
        # cuDNN refuses a sequence without any valid position (a padding row of a batch): compute its first one.
        first = ops.arange(ops.shape(mask)[1]) == 0
        outputs, h, c = self.keras_lstm(inputs, initial_state=list(state), mask=ops.logical_or(mask, first[None]))
        valid = ops.flip(mask, axis=1) if self.reverse else mask
        outputs = ops.where(valid[:, :, None], outputs, ops.zeros_like(outputs))  # [B, T, U]
        any_valid = ops.any(mask, axis=1, keepdims=True)  # [B, 1]
        return outputs, tuple(ops.where(any_valid, new, old) for new, old in zip((h, c), state))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": serialize_activation(self.activation),
            "recurrent_activation": serialize_activation(self.recurrent_activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
            "recurrent_dropout": self.recurrent_dropout,
            "reverse": self.reverse,
            "use_cudnn": self.use_cudnn,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LSTM":
        if "go_backwards" in config:  # `keras.layers.Bidirectional` adds it
            raise ValueError(
                "LSTM: keras.layers.Bidirectional wraps keras.layers.LSTM only; got kerazoo.layers.LSTM. For both "
                f"directions use kerazoo.layers.LSTMEncoder({config['units']}, bidirectional=True, return_dict=False)."
            )
        return super().from_config(config)


class _Cell:
    """One position of the recurrence, with the interface of a cell of `keras.layers.RNN`."""

    def __init__(self, recurrent_kernel: Any, keep: Any, dtype: str, activation: Any, recurrent_activation: Any):
        units = recurrent_kernel.shape[0]
        self.state_size, self.output_size, self.compute_dtype = [units, units], units, dtype
        self.recurrent_kernel, self.keep = recurrent_kernel, keep
        self.activation, self.recurrent_activation = activation, recurrent_activation

    def __call__(self, projected: Any, state: Any) -> tuple[Any, list]:
        return self.call(projected, state)

    def call(self, projected: Any, state: Any) -> tuple[Any, list]:
        _, (h, c) = self.gates(projected, state)
        return h, [h, c]

    def gates(self, projected: Any, state: Any) -> tuple[tuple, tuple[Any, Any]]:
        """Returns the input gate, the forget gate, the candidate and the output gate, and the next state."""
        h, c = state
        if self.keep is not None:
            h = h * self.keep
        kernel = self.recurrent_kernel
        multiplies = isinstance(kernel, MultipliedWeight)
        gates = projected + (kernel.multiply(h) if multiplies else ops.matmul(h, kernel))  # [B, 4U]
        input_gate, forget_gate, candidate, output_gate = ops.split(gates, 4, axis=-1)  # [B, U] each
        input_gate, candidate = self.recurrent_activation(input_gate), self.activation(candidate)
        forget_gate, output_gate = self.recurrent_activation(forget_gate), self.recurrent_activation(output_gate)
        c = forget_gate * c + input_gate * candidate
        h = output_gate * self.activation(c)
        return (input_gate, forget_gate, candidate, output_gate), (h, c)


def _keras_has_fused_kernel(masked: bool) -> bool:
    """Returns whether Keras computes its LSTM with one fused kernel on this machine and backend."""
    if keras.backend.backend() == "torch":
        return not masked
    if not any(device.startswith("gpu") for device in keras.distribution.list_devices()):
        return False
    return keras.backend.backend() == "tensorflow" or not masked
