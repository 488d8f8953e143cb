"""Two text-to-text models: LSTM with LSTM, Transformer with Transformer."""

from collections.abc import Sequence
from typing import Any

import keras

from kerazoo import _checks
from kerazoo.layers import (
    LSTMDecoder,
    LSTMEncoder,
    SentenceEmbedding,
    TokenEmbedding,
    TransformerDecoder,
    TransformerEncoder,
)
from kerazoo.models.encoder_decoder import EncoderDecoder


@keras.saving.register_keras_serializable(package="kerazoo")
class LSTMSeq2Seq(EncoderDecoder):
    """An LSTM encoder of token ids and an LSTM decoder that starts from its state.

    Args:
        source_vocabulary_size: integer, above 0. Size of the source vocabulary. Defaults to `1000`.
        target_vocabulary_size: integer, above 0. Size V of the target vocabulary. Defaults to `1000`.
        embedding_dim: integer, above 0. Width of the token vectors on both sides. Defaults to `256`.
        units: integer, above 0. Units of every LSTM layer; a bidirectional encoder has as many in each direction.
            Defaults to `128`.
        num_layers: integer, above 0. LSTM layers of the encoder and of the decoder. Defaults to `1`.
        bidirectional: boolean. Whether the encoder reads in both directions. Defaults to `False`.
        attention: None, `"additive"` (Bahdanau) or `"multiplicative"` (Luong). Defaults to `None`.
        dropout: float, in [0, 1). Rate on the inputs of every layer and on the outputs. Defaults to `0.0`.
        recurrent_dropout: float, in [0, 1). Rate inside the recurrences. Defaults to `0.0`.
        encoder_units: integer, above 0. Units of the encoder's layers, in each direction. Defaults to `units`.
        copy: boolean. Whether tokens of the source may be copied, which needs one vocabulary for both sides, see
            `kerazoo.models.EncoderDecoder`. Defaults to `False`.
        pad_id: integer. The padding token. Defaults to `0`.
        start_id: integer. The token before the first one. Defaults to `1`.
        end_id: integer. The token that ends a sequence. Defaults to `2`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"`, token ids `[B, S]`, and `"targets"`, token ids `[B, T]`, not shifted.
        training: boolean. Whether dropout is applied.

    Returns:
        Logits, float32 tensor `[B, T, V]`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.LSTMSeq2Seq(11, 13, embedding_dim=6, units=8, bidirectional=True, attention="multiplicative")
    assert model({"source": np.array([[5, 6, 7]]), "targets": np.array([[8, 9]])}).shape == (1, 2, 13)
    assert model.generate([[5, 6, 7], [8]], max_length=9).best().shape == (2, 9)
    ```

    Reference:
        Sutskever, Vinyals and Le (2014), Sequence to Sequence Learning with Neural Networks, arXiv:1409.3215;
        Luong, Pham and Manning (2015), Effective Approaches to Attention-based Neural Machine Translation,
        arXiv:1508.04025.
    """

    def __init__(
        self,
        source_vocabulary_size: int = 1000,
        target_vocabulary_size: int = 1000,
        *,
        embedding_dim: int = 256,
        units: int = 128,
        num_layers: int = 1,
        bidirectional: bool = False,
        attention: str | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        encoder_units: int | None = None,
        copy: bool = False,
        pad_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        **kwargs: Any,
    ):
        dtype = kwargs.get("dtype")
        source_embedding, target_embedding = (
            TokenEmbedding(size, embedding_dim, pad_id=pad_id, name=f"{side}_embedding", dtype=dtype)
            for side, size in (("source", source_vocabulary_size), ("target", target_vocabulary_size))
        )
        shared = {
            "num_layers": num_layers,
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
            "dtype": dtype,
        }
        super().__init__(
            LSTMEncoder(encoder_units or units, bidirectional=bidirectional, name="encoder", **shared),
            LSTMDecoder(units, attention=attention, name="decoder", **shared),
            source_embedding=source_embedding,
            target_embedding=target_embedding,
            pad_id=pad_id,
            start_id=start_id,
            end_id=end_id,
            copy=copy,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerSeq2Seq(EncoderDecoder):
    """A Transformer encoder of token ids and a Transformer decoder.

    The defaults are the base model of the paper with one vocabulary for both sides.

    Args:
        source_vocabulary_size: integer, above 0. Size of the source vocabulary. Defaults to `37000`.
        target_vocabulary_size: integer, above 0. Size V of the target vocabulary. Defaults to `37000`.
        num_encoder_layers: integer, above 0. Blocks of the encoder. Defaults to `6`.
        num_decoder_layers: integer, above 0. Blocks of the decoder. Defaults to `6`.
        hidden_dim: integer, above 0. Width of the model. Defaults to `512`.
        num_heads: integer, above 0. Heads of every attention; divides `hidden_dim`. Defaults to `8`.
        intermediate_dim: integer, above 0. Width inside the feed-forward layers. Defaults to `2048`.
        dropout: float, in [0, 1). Rate on embeddings, attention weights and outputs. Defaults to `0.1`.
        activation: string or callable. Activation of the feed-forward layers, such as `"relu"`, `"gelu"` or
            `"swiglu"`. Defaults to `"relu"`.
        norm: `"post"` as in the paper, or `"pre"`. Whether normalization is after or before each part of a block.
            Defaults to `"post"`.
        normalization: `"layer"` or `"rms"`. Defaults to `"layer"`.
        epsilon: float, above 0. Added to the variance or the mean square. Defaults to `1e-5`.
        num_key_value_heads: integer, above 0. Heads of keys and values. Defaults to `num_heads`.
        head_dim: integer, above 0. Width of each head. Defaults to `hidden_dim / num_heads`.
        positions: `"sinusoidal"`, `"learned"` or `"rotary"`; only learned ones have a limit. Defaults to
            `"sinusoidal"`.
        max_length: integer, above 0. Maximum number of tokens of source and targets where positions are learned.
            Defaults to `None`.
        share_embeddings: boolean. Whether both sides use one table, which needs one vocabulary. Defaults to whether
            both vocabularies have the same size, as with the joint vocabulary of the paper. Positions that are
            learned and a normalization of the embeddings are those of each side all the same.
        scale_embeddings: boolean. Whether token vectors are multiplied by the square root of `hidden_dim`. Defaults to
            `True`.
        embedding_normalization: boolean. Whether the sum of a token vector and its position is normalized, as in BART.
            Defaults to `False`.
        tie_output: boolean. Whether the logits use the table of the target embedding. Defaults to `True`.
        output_bias: boolean. Whether these logits have a bias, as in BART. Defaults to `False`.
        copy: boolean. Whether tokens of the source may be copied, which needs one vocabulary for both sides, see
            `kerazoo.models.EncoderDecoder`. Defaults to `False`.
        share_encoder_layers: boolean. Whether all blocks of the encoder have the same weights. Defaults to `False`.
        max_position_gap: float, at least 1. The largest random distance of neighbouring positions of the source in
            training, see `kerazoo.layers.TransformerEncoder`. Defaults to `1`: positions are consecutive.
        sentences: boolean. Whether the encoder reads one vector for each sentence of the source in place of one for
            each token, see `kerazoo.layers.SentenceEmbedding`. Defaults to `False`.
        sentence_ends: sequence of integers. The source tokens that end a sentence, where `sentences` is set. Defaults
            to `()`.
        pad_id: integer. The padding token. Defaults to `0`.
        start_id: integer. The token before the first one. Defaults to `1`.
        end_id: integer. The token that ends a sequence. Defaults to `2`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"`, token ids `[B, S]`, and `"targets"`, token ids `[B, T]`, not shifted.
        training: boolean. Whether dropout is applied.

    Returns:
        Logits, float32 tensor `[B, T, V]`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.TransformerSeq2Seq(
        source_vocabulary_size=11, target_vocabulary_size=13, num_encoder_layers=1, num_decoder_layers=2,
        hidden_dim=16, num_heads=2, intermediate_dim=32,
    )
    assert model({"source": np.array([[5, 6, 7]]), "targets": np.array([[8, 9]])}).shape == (1, 2, 13)
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, arXiv:1706.03762.
    """

    def __init__(
        self,
        source_vocabulary_size: int = 37000,
        target_vocabulary_size: int = 37000,
        *,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        hidden_dim: int = 512,
        num_heads: int = 8,
        intermediate_dim: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        norm: str = "post",
        normalization: str = "layer",
        epsilon: float = 1e-5,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        positions: str = "sinusoidal",
        max_length: int | None = None,
        share_embeddings: bool | None = None,
        scale_embeddings: bool = True,
        embedding_normalization: bool = False,
        tie_output: bool = True,
        output_bias: bool = False,
        copy: bool = False,
        share_encoder_layers: bool = False,
        max_position_gap: float = 1,
        sentences: bool = False,
        sentence_ends: Sequence[int] = (),
        pad_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        **kwargs: Any,
    ):
        _checks.one_of("TransformerSeq2Seq", "positions", positions, ("sinusoidal", "learned", "rotary"))
        if share_embeddings is None:
            share_embeddings = source_vocabulary_size == target_vocabulary_size
        if share_embeddings and source_vocabulary_size != target_vocabulary_size:
            raise ValueError(
                "TransformerSeq2Seq: `share_embeddings` needs one vocabulary for both sides; "
                f"got source_vocabulary_size={source_vocabulary_size}, "
                f"target_vocabulary_size={target_vocabulary_size}. Try share_embeddings=False."
            )
        dtype = kwargs.get("dtype")

        def embedding(size, name, cls=TokenEmbedding, **options):
            return cls(
                size,
                hidden_dim,
                scale=scale_embeddings,
                positions=None if positions == "rotary" else positions,
                max_length=max_length,
                normalization=normalization if embedding_normalization else None,
                epsilon=epsilon,
                dropout=dropout,
                pad_id=pad_id,
                name=name,
                dtype=dtype,
                **options,
            )

        one_embedding = share_embeddings and positions != "learned" and not embedding_normalization
        one_table = share_embeddings and not one_embedding
        if sentences and copy:
            raise ValueError(
                "TransformerSeq2Seq: `copy` needs an encoder that reads each token; got copy=True with sentences=True."
            )
        if sentences:
            source = embedding(
                source_vocabulary_size, "source_embedding", SentenceEmbedding, sentence_ends=sentence_ends
            )
        else:
            source = embedding(source_vocabulary_size, "embedding" if one_embedding else "source_embedding")
        target: Any = "source"
        if not one_embedding:
            table = {"shared_table": source.table} if one_table else {}
            target = embedding(target_vocabulary_size, "target_embedding", **table)
        blocks = {
            "hidden_dim": hidden_dim,
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
            "dropout": dropout,
            "activation": activation,
            "norm": norm,
            "normalization": normalization,
            "epsilon": epsilon,
            "num_key_value_heads": num_key_value_heads,
            "head_dim": head_dim,
            "positions": "rotary" if positions == "rotary" else None,
            "dtype": dtype,
        }
        super().__init__(
            TransformerEncoder(
                num_encoder_layers,
                share_layers=share_encoder_layers,
                max_position_gap=max_position_gap,
                name="encoder",
                **blocks,
            ),
            TransformerDecoder(num_decoder_layers, name="decoder", **blocks),
            source_embedding=source,
            target_embedding=target,
            pad_id=pad_id,
            start_id=start_id,
            end_id=end_id,
            copy=copy,
            tie_output=tie_output,
            output_bias=output_bias,
            **kwargs,
        )
