"""The LSTM decoder, which starts from the encoded sequence and may attend to it."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.activations import get_activation, serialize_activation
from kerazoo.layers.alignment_attention import SCORES, AlignmentAttention
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.lstm import LSTM
from kerazoo.layers.masking import first_mask, masked_mean


@keras.saving.register_keras_serializable(package="kerazoo")
class LSTMDecoder(keras.layers.Layer):
    """Decodes by a stack of LSTM layers that starts from the encoded sequence and may attend to it.

    With attention the outputs h of the recurrence are the queries, for all positions at once, and the decoder returns
    tanh(W [h; context]). Unlike in both papers the context is not an input of the recurrence, so training needs no loop
    over the attention.

    The initial state of layer l is that of the encoder's layer at the same distance from the top (its lowest layer
    serves those below), through a dense layer where widths differ. Without encoder states a dense layer computes it
    from the mean of the encoded sequence; without an encoder it is zero.

    Args:
        units: int, above 0. Width U of each LSTM layer and of the outputs.
        num_layers: int, above 0. Layers of the stack. Defaults to `1`.
        attention: None, `"additive"` or `"multiplicative"`. Defaults to `None`.
        activation: Name or callable. Activation of the candidates and outputs. Defaults to `"tanh"`.
        recurrent_activation: Name or callable. Activation of the gates. Defaults to `"sigmoid"`.
        dropout: float in `[0, 1)`. Dropout rate on the inputs of every layer and on the outputs. Defaults to `0.0`.
        recurrent_dropout: float in `[0, 1)`. Dropout rate inside the recurrence. Defaults to `0.0`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        recurrent_initializer: Initializer of the recurrent kernels. Defaults to `"orthogonal"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, D]`, embedded and shifted: position t must not contain its own target.
        encoded: dict of any encoder, or None. Defaults to `None`.
        padding_mask: bool tensor `[B, T]`, True = valid position of `inputs`. Defaults to `None`.
        return_attention_scores: bool. Whether to return the attention weights too. Defaults to `False`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.
        inputs_mask: The same, where Keras fills it in under this name.

    Returns:
        A float tensor `[B, T, U]` in the compute dtype. With `return_attention_scores`, a pair with the weights,
        float32 `[B, T, S]`, or None without attention.

    Masking:
        Padding of `inputs` leaves the states unchanged; its outputs are meaningless. Padding of the encoded sequence,
        as given by its "mask", has no weight in the attention.

    Raises:
        ValueError: if `attention` is not None and `encoded` is, or `encoded` has a state in one call and none in
            another.

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
        Bahdanau, Cho and Bengio, 2014, arXiv:1409.0473 (additive);
        Luong, Pham and Manning, 2015, arXiv:1508.04025 (multiplicative, and attention after the recurrence; without
        their input feeding).
    """

    # The members of the decoding protocol, see `EncoderDecoder`.
    supports_parallel_decoding = False
    prefers_jit = False

    def __init__(
        self,
        units: int,
        num_layers: int = 1,
        *,
        attention: str | None = None,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("LSTMDecoder", "units", units)
        self.num_layers = _checks.num_layers("LSTMDecoder", "num_layers", num_layers)
        self.attention = _checks.one_of("LSTMDecoder", "attention", attention, (None, *SCORES))
        self.activation = get_activation("LSTMDecoder", activation)
        self.recurrent_activation = get_activation("LSTMDecoder", recurrent_activation)
        self.dropout = _checks.rate("LSTMDecoder", "dropout", dropout)
        self.recurrent_dropout = _checks.rate("LSTMDecoder", "recurrent_dropout", recurrent_dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(recurrent_initializer)
        self.recurrences = [
            LSTM(
                self.units,
                activation=self.activation,
                recurrent_activation=self.recurrent_activation,
                kernel_initializer=clone_initializer(self.kernel_initializer),
                recurrent_initializer=clone_initializer(self.recurrent_initializer),
                recurrent_dropout=self.recurrent_dropout,
                dtype=self.dtype_policy,
                name=f"lstm_{index}",
            )
            for index in range(self.num_layers)
        ]
        self.bridges = []
        self.dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy)
        self.supports_masking = True
        if self.attention:
            self.alignment = AlignmentAttention(
                self.units,
                self.attention,
                kernel_initializer=clone_initializer(self.kernel_initializer),
                dtype=self.dtype_policy,
                name="attention",
            )
            self.output_dense = self._dense(self.units, "output", activation="tanh")

    def _dense(self, units: int, name: str, activation: str | None = None) -> keras.layers.Dense:
        initializer = clone_initializer(self.kernel_initializer)
        return keras.layers.Dense(
            units, activation=activation, kernel_initializer=initializer, dtype=self.dtype_policy, name=name
        )

    @property
    def cross_attention(self) -> bool:
        """Whether the decoder attends to the encoded sequence."""
        return self.attention is not None

    def build(self, inputs_shape: Any, encoded_shape: Any = None) -> None:
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

    def _build_bridges(self, encoded_shape: Any) -> None:
        """Makes the dense layers that turn an encoded state or mean into (h, c), where one is needed."""
        for index in range(self.num_layers):
            if self.state_from == "state":
                h_shape, c_shape = self._matching(encoded_shape["state"], index)
                width = h_shape[-1] + c_shape[-1]
                needed = h_shape[-1] != self.units
            else:
                needed = self.state_from == "sequence"
                width = encoded_shape["sequence"][-1] if needed else None
            bridge = self._dense(2 * self.units, f"bridge_{index}")
            if needed:
                bridge.build((None, width))
            self.bridges.append(bridge if needed else None)

    def _matching(self, states: Any, index: int) -> Any:
        """Returns the encoder's entry for layer `index`: the one at the same distance from the top."""
        return states[max(0, len(states) - self.num_layers + index)]

    def _require(self, encoded: Any) -> None:
        if encoded is None and self.attention:
            raise ValueError(
                f"LSTMDecoder: `encoded` is needed for attention={self.attention!r}; got encoded=None. "
                "Pass an encoder's output or build the decoder with attention=None."
            )

    def _initial_state(self, encoded: Any, batch_size: Any) -> tuple:
        """Returns (h, c) of every layer before the first position."""
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

    def call(
        self,
        inputs: Any,
        encoded: Any = None,
        padding_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        mask: Any = None,
        inputs_mask: Any = None,
    ) -> Any:
        self._require(encoded)
        x, valid = inputs, first_mask(padding_mask, mask, inputs_mask)
        for recurrence, state in zip(self.recurrences, self._initial_state(encoded, ops.shape(inputs)[0])):
            x = self.dropout_layer(x, training=training)
            x, _ = recurrence(x, initial_state=state, padding_mask=valid, training=training)  # [B, T, U]
        weights = None
        if self.attention:
            context, weights = self.alignment(x, encoded["sequence"], encoded["mask"])
            x = self.output_dense(ops.concatenate([x, context], axis=-1))  # [B, T, U]
        x = self.dropout_layer(x, training=training)
        return (x, weights) if return_attention_scores else x

    def start(self, batch_size: Any, max_length: int, encoded: Any = None, num_beams: int = 1) -> dict[str, Any]:
        """Returns the cache before the first position.

        Args:
            batch_size: int or int scalar. Number of sources.
            max_length: int. Not used.
            encoded: dict of an encoder, or None. Defaults to `None`.
            num_beams: int. Not used. Defaults to `1`.
        """
        self._require(encoded)
        memory = self.alignment.memory(encoded["sequence"], encoded["mask"]) if self.attention else {}
        return {"state": self._initial_state(encoded, batch_size), "memory": memory}

    def step(self, inputs: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the outputs `[B, U]` of one position, and the cache after it.

        With attention the cache holds the weights of this position, float32 `[B, S]`, under "attention".

        Args:
            inputs: float tensor `[B, D]`.
            cache: dict, the result of `start` or of the step before.
            index: int scalar, the position. Not used.
        """
        x, memory, states, attention = inputs, cache["memory"], [], {}
        for recurrence, state in zip(self.recurrences, cache["state"]):
            x, state = recurrence.step(x, state)
            states.append(state)
        if self.attention:
            # The hypotheses of one source attend like the positions of a sequence, so nothing is copied.
            queries = ops.reshape(x, (ops.shape(memory["mask"])[0], -1, self.units))  # [B, W, U]
            context, weights = self.alignment.attend(queries, memory)
            attention["attention"] = ops.reshape(weights, (-1, ops.shape(weights)[-1]))  # [B*W, S]
            context = ops.reshape(context, (-1, context.shape[-1]))  # [B*W, D]
            x = self.output_dense(ops.concatenate([x, context], axis=-1))  # [B*W, U]
        return x, {"state": tuple(states), "memory": memory, **attention}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "num_layers": self.num_layers,
            "attention": self.attention,
            "activation": serialize_activation(self.activation),
            "recurrent_activation": serialize_activation(self.recurrent_activation),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": keras.initializers.serialize(self.recurrent_initializer),
        }


def _state_source(encoded: Any) -> str | None:
    """Returns which part of `encoded` gives the initial state: "state", "sequence", or None without an encoder."""
    if encoded is None:
        return None
    return "state" if encoded.get("state") is not None else "sequence"
