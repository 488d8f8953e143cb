"""The Transformer decoder, for training on whole sequences and for writing token by token."""

import keras
from keras import ops

from kerazoo.layers.heads import kv_cache_mask
from kerazoo.layers.transformer import Stack
from kerazoo.layers.transformer_decoder_block import TransformerDecoderBlock, check_encoded


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerDecoder(Stack):
    """Turns what was written so far, and an encoded source, into what comes next: a stack of decoder blocks.

    With norm="pre" the sum of the stack is normalised at its end. It adds no positions of its own unless
    positions="rotary". With cross_attention=False it is the body of a language model. `start` and `step` write token by
    token and give what `call` gives.

    Args:
        num_layers: Number of blocks, above 0.
        hidden_dim: Width D of inputs and outputs; divisible by `num_heads`.
        num_heads: Heads of the attentions, above 0.
        intermediate_dim: Width inside the feed-forward layers, above 0.
        dropout: Rate on the attention weights and on the output of each part of a block, in [0, 1). Default 0.1.
        activation: Of the feed-forward layers: "relu", "gelu", "silu", "swiglu", "geglu". Default "relu".
        norm: Where the normalisation stands, "pre" or "post". Default "pre".
        normalization: "layer" (mean and variance) or "rms" (root mean square). Default "layer".
        num_key_value_heads: Heads of keys and values; divides `num_heads`. Default: as many as `num_heads`.
        cross_attention: Whether there is a source to look at. Default True.
        positions: None, or "rotary" to rotate queries and keys of self-attention by their position. Default None.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Vectors of the tokens before those to predict (shifted already), floats [B, T, D].
        encoded: {"sequence": [B, S, any width], "mask": [B, S]} of an encoder; None without cross-attention.
        padding_mask: Booleans [B, T], True where the target is real; padding on the right needs none.
        attention_mask: Booleans [T, T] or [B, T, T], True where the row may attend to the column, if it stands no
            earlier. Default: all may.
        cross_attention_mask: Booleans [T, S] or [B, T, S], True where the target may attend to the source. Default:
            all may.
        positions: Where each input stands, integers [B, T], for the rotation. Default: one behind the other.
        return_attention_scores: Also return the attention weights. Default False.
        training: Whether dropout acts.

    Returns:
        Floats [B, T, D] in the compute dtype; with `return_attention_scores`, a pair with the weights of all blocks,
        {"self": float32 [B, num_layers, H, T, T], "cross": float32 [B, num_layers, H, T, S]}, the second only with
        cross-attention: it aligns each target position to the source.

    Masking:
        A position sees itself and what came before; padding of the source is never attended to.

    Raises:
        ValueError: for an unknown option, sizes that do not divide, inputs that are not `hidden_dim` wide, or when
            `encoded` is missing or not expected.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    decoder = kz.layers.TransformerDecoder(2, hidden_dim=12, num_heads=3, intermediate_dim=20, cross_attention=False)
    x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")
    whole = decoder(x)
    cache = decoder.start(batch_size=2, max_length=5)
    for t in range(5):
        y, cache = decoder.step(x[:, t], cache, t)
    assert np.allclose(y, whole[:, 4], atol=1e-5)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762.
    """

    # The members of the decoding protocol, see `EncoderDecoder`.
    supports_parallel_decoding = True
    prefers_jit = True

    def __init__(
        self,
        num_layers: int,
        hidden_dim: int,
        num_heads: int,
        intermediate_dim: int,
        dropout: float = 0.1,
        activation: str = "relu",
        norm: str = "pre",
        normalization: str = "layer",
        num_key_value_heads: int | None = None,
        cross_attention: bool = True,
        positions: str | None = None,
        **kwargs,
    ):
        options = {
            "hidden_dim": hidden_dim,
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
            "dropout": dropout,
            "activation": activation,
            "norm": norm,
            "normalization": normalization,
            "num_key_value_heads": num_key_value_heads,
            "cross_attention": cross_attention,
            "positions": positions,
        }
        super().__init__(TransformerDecoderBlock, num_layers, options, **kwargs)
        self.cross_attention = bool(cross_attention)

    def build(self, inputs_shape, encoded_shape=None):
        check_encoded("TransformerDecoder", self.cross_attention, encoded_shape)
        self._build_final_norm(inputs_shape)
        for block in self.blocks:
            block.build(inputs_shape, encoded_shape)

    def call(
        self,
        inputs,
        encoded=None,
        padding_mask=None,
        attention_mask=None,
        cross_attention_mask=None,
        positions=None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ):
        check_encoded("TransformerDecoder", self.cross_attention, encoded)
        x, scores = inputs, []
        for block in self.blocks:
            x, weights = block(
                x,
                encoded=encoded,
                padding_mask=padding_mask,
                attention_mask=attention_mask,
                cross_attention_mask=cross_attention_mask,
                positions=positions,
                return_attention_scores=True,
                training=training,
            )
            if return_attention_scores:
                scores.append(weights)
        x = self._finish(x)
        if not return_attention_scores:
            return x
        return x, {kind: ops.stack([weights[kind] for weights in scores], axis=1) for kind in scores[0]}

    def start(self, batch_size, max_length: int, encoded=None, num_beams: int = 1) -> dict:
        """Returns the cache of `num_beams` hypotheses for each source, of at most `max_length` tokens.

        Returns {"state": (), "kv_cache": empty keys and values of each block, "memory": the mask of the source and its
        keys and values for each block, {} without cross-attention}. Only the key/value cache changes at a step.
        """
        check_encoded("TransformerDecoder", self.cross_attention, encoded)
        kv_cache = tuple(block.start(batch_size, max_length, num_beams) for block in self.blocks)
        memory = {}
        if self.cross_attention:
            memory = {"mask": encoded["mask"], "blocks": tuple(block.memory(encoded) for block in self.blocks)}
        return {"state": (), "kv_cache": kv_cache, "memory": memory}

    def step_many(self, inputs, cache, index):
        """Reads the vectors of T tokens, floats [B * W, T, D], from position `index`, a scalar integer, on.

        Row b * W + w is hypothesis w of source b. With more than one beam the cache holds `"beam_ancestry"`, int32
        [B, W, L]: the beam that holds each position of each hypothesis. Returns the outputs [B * W, T, D] and the
        cache, which then holds `"attention"`, float32 [B * W, T, S]: to the source, averaged over the heads of the last
        block but one, where it aligns best (Garg et al., 2019, arXiv 1909.02074).
        """
        memory, kv_cache, attentions = cache["memory"], [], []
        beam_ancestry, length = cache.get("beam_ancestry"), ops.shape(inputs)[1]
        num_beams = 1 if beam_ancestry is None else beam_ancestry.shape[1]
        positions = ops.shape(cache["kv_cache"][0]["key"])[1] // num_beams
        mask = kv_cache_mask(ops.cast(index, "int32"), length, positions, beam_ancestry)
        memories = memory["blocks"] if memory else (None,) * self.num_layers
        x = inputs
        for block, block_cache, block_memory in zip(self.blocks, cache["kv_cache"], memories):
            x, block_cache, attention = block.step_many(
                x, block_cache, index, mask, block_memory, memory["mask"] if memory else None
            )
            kv_cache.append(block_cache)
            attentions.append(attention)
        cache = {**cache, "kv_cache": tuple(kv_cache)}
        return self._finish(x), cache if not memory else {**cache, "attention": attentions[-2:][0]}

    def step(self, inputs, cache, index):
        """Does what `step_many` does for one token: inputs [B * W, D] to outputs [B * W, D], attention [B * W, S]."""
        outputs, cache = self.step_many(inputs[:, None], cache, index)
        if "attention" in cache:
            cache = {**cache, "attention": ops.squeeze(cache["attention"], axis=1)}
        return ops.squeeze(outputs, axis=1), cache
