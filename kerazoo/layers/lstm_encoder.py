"""The LSTM encoder: a stack of recurrences, forward or in both directions."""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.lstm import LSTM


@keras.saving.register_keras_serializable(package="kerazoo")
class LSTMEncoder(keras.layers.Layer):
    """A stack of LSTM layers over a sequence, forward or in both directions.

    Each layer reads the outputs of the layer below; in both directions, those of the two recurrences side by side.
    Dropout applies to the inputs of every layer, independently at each position, recurrent dropout to the previous
    output inside the recurrence, once for a sequence.

    Args:
        units: Width U of each recurrence, at least 1.
        num_layers: Layers of the stack. Default 1.
        bidirectional: If True, each layer also reads the sequence backwards and widths double. Default False.
        dropout: Rate in [0, 1) on the inputs of every layer. Default 0.
        recurrent_dropout: Rate in [0, 1) inside the recurrence. Default 0.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Float tensor [B, S, D], embedded already.
        padding_mask: Bool tensor [B, S], True = real position, or None.
        training: Whether to apply dropout.

    Returns:
        A dict with "sequence" [B, S, U or 2U] in the compute dtype, "mask" bool [B, S], and "state", a tuple with
        (h, c) of every layer, each [B, U or 2U].

    Masking:
        Padded positions leave the states as they were and output zeros. The backward recurrence begins at the last
        real position.

    Raises:
        ValueError: If `inputs` do not have 3 axes, or an argument is out of range.

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
        Sutskever, Vinyals and Le, 2014, Sequence to Sequence Learning with Neural Networks, arXiv:1409.3215.
        Zaremba, Sutskever and Vinyals, 2014, Recurrent Neural Network Regularization, arXiv:1409.2329 (dropout).
    """

    def __init__(self, units, num_layers=1, bidirectional=False, dropout=0.0, recurrent_dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("LSTMEncoder", "units", units)
        self.num_layers = _checks.positive_int("LSTMEncoder", "num_layers", num_layers)
        self.bidirectional = bool(bidirectional)
        self.dropout = _checks.rate("LSTMEncoder", "dropout", dropout)
        self.recurrent_dropout = _checks.rate("LSTMEncoder", "recurrent_dropout", recurrent_dropout)
        self.forward_layers = self._stack("forward", reverse=False)
        self.backward_layers = self._stack("backward", reverse=True) if self.bidirectional else []
        self.dropout_layer = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def _stack(self, direction, reverse):
        return [
            LSTM(
                self.units,
                recurrent_dropout=self.recurrent_dropout,
                reverse=reverse,
                dtype=self.dtype_policy,
                name=f"{direction}_{index}",
            )
            for index in range(self.num_layers)
        ]

    def build(self, inputs_shape):
        _checks.rank("LSTMEncoder", "inputs", inputs_shape, (3,))
        width = self.units * (2 if self.bidirectional else 1)
        for stack in (self.forward_layers, self.backward_layers):
            for index, layer in enumerate(stack):
                layer.build((*inputs_shape[:2], width) if index else inputs_shape)

    def call(self, inputs, padding_mask=None, training=None):
        x, states = inputs, []
        for index, forward in enumerate(self.forward_layers):
            x = self.dropout_layer(x, training=training)
            outputs, state = forward(x, padding_mask=padding_mask, training=training)
            if self.bidirectional:
                backward = self.backward_layers[index]
                others, other = backward(x, padding_mask=padding_mask, training=training)
                outputs = ops.concatenate([outputs, others], axis=-1)  # [B, S, 2U]
                state = tuple(ops.concatenate(pair, axis=-1) for pair in zip(state, other))
            x = outputs
            states.append(tuple(state))
        if padding_mask is None:
            padding_mask = ops.ones(ops.shape(inputs)[:2], dtype="bool")
        return {"sequence": x, "mask": padding_mask, "state": tuple(states)}

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "num_layers": self.num_layers,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
        }
