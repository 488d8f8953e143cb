"""The LSTM decoder, which starts from what was encoded and may attend to it."""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.alignment import SCORES, AlignmentAttention
from kerazoo.layers.lstm import LSTM
from kerazoo.layers.sequences import masked_mean


@keras.saving.register_keras_serializable(package="kerazoo")
class LSTMDecoder(keras.layers.Layer):
    """A stack of LSTM layers that starts from what was encoded and may attend to it.

    With attention the outputs h of the recurrence are the queries, for all positions at once, and the decoder returns
    tanh(W [h; context]). The context is not fed back into the recurrence, as it is in both papers: training needs no
    loop over the attention.

    The first state of layer l is that of the encoder's layer at the same distance from the top (its lowest layer
    serves those for which it has none), through a dense layer where widths differ; without encoder states it is made
    by a dense layer from the mean of the encoded sequence; without an encoder it is zeros.

    Args:
        units: Width U of each recurrence and of the outputs, at least 1.
        num_layers: Layers of the stack. Default 1.
        attention: None (default), `"additive"` or `"multiplicative"`.
        dropout: Rate in [0, 1) on the inputs of every layer and on the outputs of the decoder. Default 0.
        recurrent_dropout: Rate in [0, 1) inside the recurrence. Default 0.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Float tensor [B, T, D], embedded and already shifted: position t must not hold its own target.
        encoded: The dict of any encoder, or None.
        padding_mask: Bool tensor [B, T], True = real position, or None.
        return_attention_scores: Also return the attention weights. Default False.
        training: Whether to apply dropout.

    Returns:
        Float tensor [B, T, U] in the compute dtype; with `return_attention_scores`, a pair with the weights, float32
        [B, T, S], or None without attention.

    Masking:
        Padded positions of `inputs` leave the states as they were; what stands there in the result means nothing.
        Padded positions of the encoded sequence are never attended to.

    Raises:
        ValueError: If attention has nothing to attend to, or `encoded` differs in kind from that of the first call.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoded = kz.layers.LSTMEncoder(units=5)(np.ones((2, 3, 7), "float32"))
    decoder = kz.layers.LSTMDecoder(units=5, attention="multiplicative")
    outputs = decoder(np.ones((2, 4, 7), "float32"), encoded)
    assert outputs.shape == (2, 4, 5)

    cache = decoder.start(batch_size=2, max_length=4, encoded=encoded)
    first, cache = decoder.step(np.ones((2, 7), "float32"), cache, index=0)
    assert np.allclose(first, outputs[:, 0], atol=1e-5)
    ```

    Reference:
        Bahdanau, Cho and Bengio, 2014, arXiv:1409.0473 (additive). Luong, Pham and Manning, 2015, arXiv:1508.04025
        (multiplicative, and attention after the recurrence; without their input feeding).
    """

    # The members of the decoding protocol, see `EncoderDecoder`.
    supports_parallel_decoding = False
    prefers_jit = False

    def __init__(self, units, num_layers=1, attention=None, dropout=0.0, recurrent_dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("LSTMDecoder", "units", units)
        self.num_layers = _checks.positive_int("LSTMDecoder", "num_layers", num_layers)
        self.attention = _checks.one_of("LSTMDecoder", "attention", attention, (None, *SCORES))
        self.dropout = _checks.rate("LSTMDecoder", "dropout", dropout)
        self.recurrent_dropout = _checks.rate("LSTMDecoder", "recurrent_dropout", recurrent_dropout)
        self.recurrences = [
            LSTM(self.units, recurrent_dropout=self.recurrent_dropout, dtype=self.dtype_policy, name=f"lstm_{index}")
            for index in range(self.num_layers)
        ]
        self.bridges = []
        self.dropout_layer = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        if self.attention:
            self.alignment = AlignmentAttention(self.units, self.attention, dtype=self.dtype_policy, name="attention")
            self.output_dense = keras.layers.Dense(
                self.units, activation="tanh", dtype=self.dtype_policy, name="output"
            )

    @property
    def cross_attention(self):
        """Whether the decoder attends to the encoded sequence."""
        return self.attention is not None

    def build(self, inputs_shape, encoded_shape=None):
        _checks.rank("LSTMDecoder", "inputs", inputs_shape, (3,))
        hidden_shape = (*inputs_shape[:2], self.units)
        for index, recurrence in enumerate(self.recurrences):
            recurrence.build(hidden_shape if index else inputs_shape)
        self.state_from = _state_source(encoded_shape)
        self._build_bridges(encoded_shape)
        if self.attention:
            self._require(encoded_shape)
            self.alignment.build(hidden_shape, encoded_shape["sequence"])
            self.output_dense.build((*inputs_shape[:2], self.units + encoded_shape["sequence"][-1]))

    def _build_bridges(self, encoded_shape):
        """Makes the dense layers that turn an encoded state or mean into (h, c), where one is needed."""
        for index in range(self.num_layers):
            if self.state_from == "state":
                h_shape, c_shape = self._matching(encoded_shape["state"], index)
                width = h_shape[-1] + c_shape[-1]
                needed = h_shape[-1] != self.units
            else:
                needed = self.state_from == "sequence"
                width = encoded_shape["sequence"][-1] if needed else None
            bridge = keras.layers.Dense(2 * self.units, dtype=self.dtype_policy, name=f"bridge_{index}")
            if needed:
                bridge.build((None, width))
            self.bridges.append(bridge if needed else None)

    def _matching(self, states, index):
        return states[max(0, len(states) - self.num_layers + index)]

    def _require(self, encoded):
        if encoded is None and self.attention:
            raise ValueError(
                f"LSTMDecoder: `encoded` is needed for attention={self.attention!r}; got encoded=None. "
                "Pass an encoder's output or build the decoder with attention=None."
            )

    def _first_state(self, encoded, batch_size):
        """Returns the tuple of (h, c) of every layer before the first position."""
        source = _state_source(encoded)
        if source is None:
            return tuple(recurrence.zero_state(batch_size) for recurrence in self.recurrences)
        if source != self.state_from:
            raise ValueError(
                f"LSTMDecoder: `encoded` must be of the kind the decoder was built with; it was built for the state "
                f"from {self.state_from!r}, got {source!r}. Make a new decoder for this encoder."
            )
        states, mean = [], None if source == "state" else masked_mean(encoded["sequence"], encoded["mask"])
        for index, bridge in enumerate(self.bridges):
            state = self._matching(encoded["state"], index) if mean is None else (mean,)
            if bridge is not None:
                h, c = ops.split(bridge(ops.concatenate(state, axis=-1)), 2, axis=-1)  # [B, U] each
                state = (ops.tanh(h), c)
            states.append(tuple(ops.cast(part, self.compute_dtype) for part in state))
        return tuple(states)

    def call(self, inputs, encoded=None, padding_mask=None, return_attention_scores=False, training=None):
        self._require(encoded)
        x = inputs
        for recurrence, state in zip(self.recurrences, self._first_state(encoded, ops.shape(inputs)[0])):
            x = self.dropout_layer(x, training=training)
            x, _ = recurrence(x, initial_state=state, padding_mask=padding_mask, training=training)
        weights = None
        if self.attention:
            context, weights = self.alignment(x, encoded["sequence"], encoded["mask"])
            x = self.output_dense(ops.concatenate([x, context], axis=-1))  # [B, T, U]
        x = self.dropout_layer(x, training=training)
        return (x, weights) if return_attention_scores else x

    def start(self, batch_size, max_length, encoded=None, num_beams=1):
        """Returns the cache before the first position; a recurrence depends on no `max_length` and no `num_beams`."""
        self._require(encoded)
        memory = self.alignment.memory(encoded["sequence"], encoded["mask"]) if self.attention else {}
        return {"state": self._first_state(encoded, batch_size), "memory": memory}

    def step(self, inputs, cache, index):
        """Returns the outputs [B, U] for `inputs` [B, D] at one position, and the cache after it.

        With attention the cache shows the weights of this position, float32 [B, S], under "attention".
        """
        x, memory, states, shown = inputs, cache["memory"], [], {}
        for recurrence, state in zip(self.recurrences, cache["state"]):
            x, state = recurrence.step(x, state)
            states.append(state)
        if self.attention:
            # Several beams of one source stand together and attend like several positions: nothing is copied.
            queries = ops.reshape(x, (ops.shape(memory["mask"])[0], -1, self.units))  # [B, W, U]
            context, weights = self.alignment.attend(queries, memory)
            shown["attention"] = ops.reshape(weights, (-1, ops.shape(weights)[-1]))  # [B*W, S]
            context = ops.reshape(context, (-1, context.shape[-1]))  # [B*W, D]
            x = self.output_dense(ops.concatenate([x, context], axis=-1))
        return x, {"state": tuple(states), "memory": memory, **shown}

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "num_layers": self.num_layers,
            "attention": self.attention,
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
        }


def _state_source(encoded):
    if encoded is None:
        return None
    return "state" if encoded.get("state") is not None else "sequence"
