"""The LSTM encoder: a stack of LSTM layers, forward or bidirectional."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.activations import get_activation, serialize_activation
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.lstm import LSTM
from kerazoo.layers.masking import encoded_mask, first_mask


@keras.saving.register_keras_serializable(package="kerazoo")
class LSTMEncoder(keras.layers.Layer):
    """Encodes a sequence by a stack of LSTM layers, forward or bidirectional.

    Each layer reads the outputs of the layer below, in a bidirectional stack the concatenation of both directions.
    Dropout applies to the inputs of every layer, independently at each position; recurrent dropout applies to the
    previous output inside the recurrence, with one mask for a sequence.

    Args:
        units: int, above 0. Width U of each LSTM layer.
        num_layers: int, above 0. Layers of the stack. Defaults to `1`.
        bidirectional: bool. Whether each layer also reads the sequence backwards, which doubles its width. Defaults to
            `False`.
        activation: Name or callable. Activation of the candidates and outputs. Defaults to `"tanh"`.
        recurrent_activation: Name or callable. Activation of the gates. Defaults to `"sigmoid"`.
        dropout: float in `[0, 1)`. Dropout rate on the inputs of every layer. Defaults to `0.0`.
        recurrent_dropout: float in `[0, 1)`. Dropout rate inside the recurrence. Defaults to `0.0`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        recurrent_initializer: Initializer of the recurrent kernels. Defaults to `"orthogonal"`.
        return_dict: bool. Whether to return a dict, which decoders and models read; False returns its "sequence" alone,
            for other layers of Keras. Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, S, D]`, embedded.
        padding_mask: bool tensor `[B, S]`, True = valid position. Defaults to `None`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A dict with "sequence" `[B, S, U or 2U]` in the compute dtype, "mask" bool `[B, S]`, and "state", a tuple with
        (h, c) of every layer, each `[B, U or 2U]`. With `return_dict=False` the sequence alone.

    Masking:
        Padding leaves the states unchanged and outputs zeros. The backward direction starts at the last valid position.

    Raises:
        ValueError: if `inputs` do not have 3 axes, or an argument is out of range.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.LSTMEncoder(units=5, num_layers=2, bidirectional=True)
    encoded = encoder(np.ones((2, 3, 7), "float32"))
    assert encoded["sequence"].shape == (2, 3, 10)
    assert len(encoded["state"]) == 2
    ```

    Reference:
        Sutskever, Vinyals and Le, 2014, Sequence to Sequence Learning with Neural Networks, arXiv:1409.3215;
        Zaremba, Sutskever and Vinyals, 2014, Recurrent Neural Network Regularization, arXiv:1409.2329 (dropout).
    """

    def __init__(
        self,
        units: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        return_dict: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("LSTMEncoder", "units", units)
        self.num_layers = _checks.num_layers("LSTMEncoder", "num_layers", num_layers)
        self.bidirectional = bool(bidirectional)
        self.activation = get_activation("LSTMEncoder", activation)
        self.recurrent_activation = get_activation("LSTMEncoder", recurrent_activation)
        self.dropout = _checks.rate("LSTMEncoder", "dropout", dropout)
        self.recurrent_dropout = _checks.rate("LSTMEncoder", "recurrent_dropout", recurrent_dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.return_dict = bool(return_dict)
        self.forward_layers = self._stack("forward", reverse=False)
        self.backward_layers = self._stack("backward", reverse=True) if self.bidirectional else []
        self.dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy)
        self.supports_masking = True

    def _stack(self, direction: str, reverse: bool) -> list[LSTM]:
        return [
            LSTM(
                self.units,
                activation=self.activation,
                recurrent_activation=self.recurrent_activation,
                kernel_initializer=clone_initializer(self.kernel_initializer),
                recurrent_initializer=clone_initializer(self.recurrent_initializer),
                recurrent_dropout=self.recurrent_dropout,
                reverse=reverse,
                dtype=self.dtype_policy,
                name=f"{direction}_{index}",
            )
            for index in range(self.num_layers)
        ]

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("LSTMEncoder", "inputs", inputs_shape, (3,))
        width = self.units * (2 if self.bidirectional else 1)
        for stack in (self.forward_layers, self.backward_layers):
            for index, layer in enumerate(stack):
                layer.build((*inputs_shape[:2], width) if index else inputs_shape)

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        x, states, valid = inputs, [], first_mask(padding_mask, mask)
        for index, forward in enumerate(self.forward_layers):
            x = self.dropout_layer(x, training=training)
            outputs, state = forward(x, padding_mask=valid, training=training)
            if self.bidirectional:
                backward = self.backward_layers[index]
                backward_outputs, backward_state = backward(x, padding_mask=valid, training=training)
                outputs = ops.concatenate([outputs, backward_outputs], axis=-1)  # [B, S, 2U]
                state = tuple(ops.concatenate(pair, axis=-1) for pair in zip(state, backward_state))
            x = outputs
            states.append(tuple(state))
        if not self.return_dict:
            return x
        if valid is None:
            valid = ops.ones(ops.shape(inputs)[:2], dtype="bool")  # [B, S]
        return {"sequence": x, "mask": valid, "state": tuple(states)}

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return encoded_mask(previous_mask) if self.return_dict else previous_mask

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "num_layers": self.num_layers,
            "bidirectional": self.bidirectional,
            "activation": serialize_activation(self.activation),
            "recurrent_activation": serialize_activation(self.recurrent_activation),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
            "return_dict": self.return_dict,
        }
