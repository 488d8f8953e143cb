"""Attention to another sequence, whose keys and values are computed once; shapes are explained in heads.py."""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.heads import Heads, spread_masks


@keras.saving.register_keras_serializable(package="kerazoo")
class CrossAttention(Heads):
    """Lets every position of a sequence look at another sequence, as a decoder looks at what the encoder made.

    Queries come from the inputs, keys and values from the other sequence through one kernel. `memory` computes these
    once and `step_many` uses them for every token. Where several hypotheses (beams) of one source are alive, it counts
    them as query positions of that source, so that the memory is never copied.

    Args:
        num_heads: Heads of the queries, above 0.
        hidden_dim: Width D of all heads together and of the output; divisible by `num_heads`.
        num_key_value_heads: Heads of keys and values; divides `num_heads`. Default: as many as `num_heads`.
        dropout: Rate of the dropout on the attention weights, in [0, 1). Default 0.
        use_bias: Whether the projections have biases. Default True.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Floats [B, T, any width].
        sequence: What is attended to, floats [B, S, any width].
        padding_mask: Booleans [B, S], True where `sequence` is real. Default: all are real.
        attention_mask: Booleans [T, S], [B, T, S] or [B, H, T, S], True where the row may attend to the column.
        return_attention_scores: Also return the attention weights before dropout. Default False.
        training: Whether dropout acts.

    Returns:
        Floats [B, T, D] in the compute dtype; with `return_attention_scores`, a pair with the weights, float32
        [B, H, T, S]: which source positions each target position was aligned to.

    Masking:
        Padding of `sequence` is never attended to; where nothing may be attended to, all weights are zero.

    Raises:
        ValueError: when the sizes do not divide, or a mask has another number of axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    layer = kz.layers.CrossAttention(num_heads=3, hidden_dim=12)
    x, source = np.ones((2, 5, 12), "float32"), np.ones((2, 7, 10), "float32")
    outputs, weights = layer(x, source, return_attention_scores=True)
    assert outputs.shape == (2, 5, 12) and weights.shape == (2, 3, 5, 7)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762.
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        num_key_value_heads: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        **kwargs,
    ):
        super().__init__(num_heads, hidden_dim, num_key_value_heads, dropout, use_bias, **kwargs)
        self.query_projection = self._dense(self.hidden_dim, "query")
        self.joint_projection = self._dense(2 * self.num_key_value_heads * self.head_dim, "key_value")

    def build(self, inputs_shape, sequence_shape):
        _checks.rank("CrossAttention", "inputs", inputs_shape, (3,))
        _checks.rank("CrossAttention", "sequence", sequence_shape, (3,))
        self.query_projection.build(inputs_shape)
        self.joint_projection.build(sequence_shape)
        self.output_projection.build((*inputs_shape[:-1], self.hidden_dim))

    def memory(self, sequence):
        """Keys [B * G, K, S] and values [B * G, S, K] of what is attended to, floats [B, S, any width]."""
        x = self.joint_projection(sequence)
        x = ops.reshape(x, (-1, ops.shape(sequence)[1], 2 * self.num_key_value_heads, self.head_dim))
        key, value = ops.split(x, 2, axis=2)  # [B, S, G, K]
        return {"key": self._keys(key), "value": self._values(value)}

    def _look(self, inputs, memory, mask, training=None):
        length = ops.shape(inputs)[1]
        query = ops.reshape(self.query_projection(inputs), (-1, length, self.num_heads, self.head_dim))
        return self._attend(self._queries(query), memory["key"], memory["value"], length, mask, training)

    def call(
        self,
        inputs,
        sequence,
        padding_mask=None,
        attention_mask=None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ):
        mask = spread_masks("CrossAttention", padding_mask, attention_mask)
        outputs, weights = self._look(inputs, self.memory(sequence), mask, training)
        return (outputs, weights) if return_attention_scores else outputs

    def step_many(self, inputs, memory, padding_mask):
        """Attends with inputs [B * W, T, D] to the `memory` of B sources, where row b * W + w belongs to source b.

        Returns the outputs [B * W, T, D] and the weights, float32 [B * W, T, S], averaged over the heads.
        `padding_mask` are booleans [B, S].
        """
        sources, length = ops.shape(padding_mask)[0], ops.shape(inputs)[1]
        x = ops.reshape(inputs, (sources, -1, inputs.shape[-1]))  # [B, W * T, D]: beams stand where time stands
        x, weights = self._look(x, memory, spread_masks("CrossAttention", padding_mask, None))
        weights = ops.reshape(ops.mean(weights, axis=1), (-1, length, ops.shape(padding_mask)[1]))
        return ops.reshape(x, (-1, length, self.hidden_dim)), weights
