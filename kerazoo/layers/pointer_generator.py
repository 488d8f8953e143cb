"""A distribution over the vocabulary mixed with one over the tokens of the source."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.masking import first_mask

TINY = 1e-30  # in place of the probability zero of a token that is not in the source


@keras.saving.register_keras_serializable(package="kerazoo")
class PointerGenerator(keras.layers.Layer):
    """Mixes the distribution over a vocabulary with one over the tokens of the source, from which tokens are copied.

    Attention weights a over the source positions, a softmax of q . k / sqrt(units), give each token of the vocabulary
    the sum of the weights of the positions where it stands. With the generation probability g, a sigmoid of the hidden
    vector, the result is log(g * softmax(logits) + (1 - g) * copied). Unlike in the paper the attention is one of its
    own, g depends on the hidden vector alone, and source and target have one vocabulary, so a rare word is copied as
    its subwords.

    Args:
        units: int, above 0. Width of the space in which hidden vectors and source positions are compared.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        hidden: float tensor `[B, T, D]`, the vectors that the logits are computed from.
        logits: float tensor `[B, T, V]`.
        sequence: float tensor `[B, S, E]`, the encoded source.
        tokens: int tensor `[B, S]`, the tokens of the source, below V.
        padding_mask: bool tensor `[B, S]`, True = valid position of the source. Defaults to `None`.
        attention_mask: bool tensor `[B, T, S]`, True where a position may copy from the source position, for several
            pairs in one row. Defaults to `None`.
        sequence_mask: The Keras mask of `sequence`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        Log-probabilities, float32 tensor `[B, T, V]`, whose softmax are the probabilities.

    Masking:
        Padding of the source is never copied; where there is nothing to copy, the result is that of the logits.

    Raises:
        ValueError: if `units` is not above 0.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    layer = kz.layers.PointerGenerator(units=7)
    hidden, logits = np.ones((1, 2, 5), "float32"), np.zeros((1, 2, 11), "float32")
    mixed = layer(hidden, logits, np.ones((1, 3, 5), "float32"), np.array([[8, 9, 8]]))
    print(np.exp(mixed).sum(-1))  # [[1. 1.]]
    ```

    Reference:
        See, Liu and Manning, 2017, Get To The Point: Summarization with Pointer-Generator Networks, arXiv:1704.04368.
    """

    def __init__(self, units: int, *, kernel_initializer: Any = "glorot_uniform", **kwargs: Any):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("PointerGenerator", "units", units)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True
        self.query_dense = self._dense(self.units, "query")
        self.key_dense = self._dense(self.units, "key", use_bias=False)  # one would move all scores alike
        self.gate_dense = self._dense(1, "gate")

    def _dense(self, units, name, use_bias=True):
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=clone_initializer(self.kernel_initializer),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(
        self,
        hidden_shape: Any,
        logits_shape: Any = None,
        sequence_shape: Any = None,
        tokens_shape: Any = None,
        padding_mask_shape: Any = None,
        attention_mask_shape: Any = None,
    ) -> None:
        self.query_dense.build(hidden_shape)
        self.gate_dense.build(hidden_shape)
        self.key_dense.build(sequence_shape)

    def call(
        self,
        hidden: Any,
        logits: Any,
        sequence: Any,
        tokens: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        sequence_mask: Any = None,
    ) -> Any:
        memory = self.memory(sequence, tokens, first_mask(padding_mask, sequence_mask))
        return self.mix(hidden, logits, memory, attention_mask)

    def memory(self, sequence: Any, tokens: Any, padding_mask: Any = None) -> dict[str, Any]:
        """Returns what `mix` needs of a source: a dict with "keys" `[B, S, U]`, "tokens" `[B, S]` and "mask" `[B, S]`.

        Args:
            sequence: float tensor `[B, S, E]`.
            tokens: int tensor `[B, S]`.
            padding_mask: bool tensor `[B, S]`, True = valid position. Defaults to `None`.
        """
        if padding_mask is None:
            padding_mask = ops.ones(ops.shape(tokens), dtype="bool")
        keys = self.key_dense(ops.cast(sequence, self.compute_dtype))
        return {"keys": keys, "tokens": ops.cast(tokens, "int32"), "mask": padding_mask}

    def mix(self, hidden: Any, logits: Any, memory: dict[str, Any], attention_mask: Any = None) -> Any:
        """Returns the log-probabilities `[B, T, V]`.

        Args:
            hidden: float tensor `[B, T, D]`.
            logits: float tensor `[B, T, V]`.
            memory: dict, the result of `memory`.
            attention_mask: bool tensor `[B, T, S]`. Defaults to `None`.
        """
        mask = memory["mask"][:, None]  # [B, 1, S]
        if attention_mask is not None:
            mask = ops.logical_and(mask, attention_mask)  # [B, T, S]
        queries = self.query_dense(ops.cast(hidden, self.compute_dtype))
        scores = ops.matmul(queries, ops.transpose(memory["keys"], (0, 2, 1)))  # [B, T, S]
        scores = ops.where(mask, ops.cast(scores, "float32") * self.units**-0.5, -1e9)
        weights = ops.softmax(scores, axis=-1)
        copied = ops.log(_sums_by_token(weights, memory["tokens"], logits.shape[-1]) + TINY)  # [B, T, V]
        gate = ops.cast(self.gate_dense(ops.cast(hidden, self.compute_dtype)), "float32")  # [B, T, 1]
        some = ops.any(mask, axis=-1, keepdims=True)  # [B, 1 or T, 1]
        generate = ops.where(some, ops.log_sigmoid(gate), 0.0)
        copy = ops.where(some, ops.log_sigmoid(-gate), -1e9)
        return ops.logaddexp(generate + ops.log_softmax(ops.cast(logits, "float32"), axis=-1), copy + copied)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _sums_by_token(weights: Any, tokens: Any, vocabulary_size: int) -> Any:
    """Returns the sums of the weights `[B, T, S]` over the positions of each token, `[B, T, V]`.

    Adding them up at their places costs B T S additions; the product with one-hot tokens would cost V times as many.
    """
    batch, length, _ = ops.shape(weights)
    rows = ops.reshape(ops.arange(batch * length, dtype="int32"), (batch, length, 1))
    places = rows * vocabulary_size + tokens[:, None]  # [B, T, S]
    count = batch * length * vocabulary_size
    sums = ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(places, (-1,)), num_segments=count)
    return ops.reshape(sums, (batch, length, vocabulary_size))
