"""Single-head attention to an encoded sequence with the additive or the multiplicative score."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.masking import attention_weights, first_mask

SCORES = ("additive", "multiplicative")


@keras.saving.register_keras_serializable(package="kerazoo")
class AlignmentAttention(keras.layers.Layer):
    """Computes for each query the average of a sequence, weighted by a score of query and position.

    The additive score of a query q and a position s is v . tanh(Wq q + Wk s), the multiplicative one q . (Wk s). A
    softmax in float32 over the valid positions turns scores into weights. Unlike in multi-head attention the values
    are the sequence itself, without a projection. The projected positions do not depend on the query: `memory` computes
    them once for many calls of `attend`.

    Args:
        units: int, above 0. Width U of the space in which queries and positions are compared; for the multiplicative
            score it must be the width of the queries.
        score: `"additive"` or `"multiplicative"`. Defaults to `"multiplicative"`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        queries: float tensor `[B, T, Q]`.
        sequence: float tensor `[B, S, D]`.
        padding_mask: bool tensor `[B, S]`, True = valid position of `sequence`. Defaults to `None`.
        sequence_mask: The Keras mask of `sequence`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A pair of the averages `[B, T, D]` in the compute dtype and the weights `[B, T, S]` in float32, which sum to one
        over S.

    Masking:
        Padding of the sequence has weight zero; a sequence without valid positions has equal weights.

    Raises:
        ValueError: if `score` is unknown, or the queries of the multiplicative score are not `units` wide.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    attention = kz.layers.AlignmentAttention(units=5, score="additive")
    context, weights = attention(np.ones((2, 3, 5), "float32"), np.ones((2, 7, 11), "float32"))
    assert context.shape == (2, 3, 11) and weights.shape == (2, 3, 7)
    ```

    Reference:
        Bahdanau, Cho and Bengio, 2014, Neural Machine Translation by Jointly Learning to Align and Translate,
        arXiv:1409.0473 (additive);
        Luong, Pham and Manning, 2015, Effective Approaches to Attention-based Neural Machine Translation,
        arXiv:1508.04025 (multiplicative; their score "general").
    """

    def __init__(
        self,
        units: int,
        score: str = "multiplicative",
        *,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = _checks.positive_int("AlignmentAttention", "units", units)
        self.score = _checks.one_of("AlignmentAttention", "score", score, SCORES)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True
        self.key_dense = self._dense(self.units, "key", use_bias=False)
        if self.score == "additive":
            self.query_dense = self._dense(self.units, "query")
            self.energy_dense = self._dense(1, "energy", use_bias=False)

    def _dense(self, units: int, name: str, use_bias: bool = True) -> keras.layers.Dense:
        return keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer=clone_initializer(self.kernel_initializer),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, queries_shape: Any, sequence_shape: Any) -> None:
        _checks.rank("AlignmentAttention", "queries", queries_shape, (3,))
        _checks.rank("AlignmentAttention", "sequence", sequence_shape, (3,))
        self.key_dense.build(sequence_shape)
        if self.score == "additive":
            self.query_dense.build(queries_shape)
            self.energy_dense.build((None, None, None, self.units))
        elif queries_shape[-1] != self.units:
            raise ValueError(
                "AlignmentAttention: `units` must be the width of the queries for the multiplicative score; got "
                f"units={self.units}, queries of width {queries_shape[-1]}. Try units={queries_shape[-1]}."
            )

    def call(self, queries: Any, sequence: Any, padding_mask: Any = None, sequence_mask: Any = None) -> Any:
        return self.attend(queries, self.memory(sequence, first_mask(padding_mask, sequence_mask)))

    def memory(self, sequence: Any, padding_mask: Any = None) -> dict[str, Any]:
        """Returns what `attend` needs of a sequence: a dict with "keys" `[B, S, U]`, "values" `[B, S, D]` and "mask".

        Args:
            sequence: float tensor `[B, S, D]`.
            padding_mask: bool tensor `[B, S]`, True = valid position. Defaults to `None`.
        """
        if padding_mask is None:
            padding_mask = ops.ones(ops.shape(sequence)[:2], dtype="bool")
        values = ops.cast(sequence, self.compute_dtype)
        return {"keys": self.key_dense(values), "values": values, "mask": padding_mask}

    def attend(self, queries: Any, memory: dict[str, Any]) -> tuple[Any, Any]:
        """Returns the averages `[B, T, D]` and the weights `[B, T, S]`.

        Args:
            queries: float tensor `[B, T, Q]`.
            memory: dict, the result of `memory`.
        """
        keys, values = memory["keys"], memory["values"]
        if self.score == "additive":
            pairs = self.query_dense(queries)[:, :, None] + keys[:, None]  # [B, T, S, U]
            scores = ops.squeeze(self.energy_dense(ops.tanh(pairs)), axis=-1)  # [B, T, S]
        else:
            scores = ops.matmul(queries, ops.transpose(keys, (0, 2, 1)))  # [B, T, S]
        scores = ops.where(memory["mask"][:, None], ops.cast(scores, "float32"), -1e9)
        weights = attention_weights(scores)
        return ops.matmul(ops.cast(weights, self.compute_dtype), values), weights  # [B, T, D], [B, T, S]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "score": self.score,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
