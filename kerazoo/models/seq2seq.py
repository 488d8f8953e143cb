"""The two classic pairs for text to text: LSTM with LSTM, Transformer with Transformer."""

import keras

from kerazoo import _checks
from kerazoo.layers import LSTMDecoder, LSTMEncoder, TokenEmbedding, TransformerDecoder, TransformerEncoder
from kerazoo.models.encoder_decoder import EncoderDecoder


@keras.saving.register_keras_serializable(package="kerazoo")
class LSTMSeq2Seq(EncoderDecoder):
    """An LSTM that reads token ids and an LSTM that starts from its state and writes token ids.

    Args:
        source_vocabulary_size: Size of the source vocabulary.
        target_vocabulary_size: Size V of the target vocabulary.
        embedding_dim: Width of the token vectors on both sides.
        units: Units of every LSTM layer; a bidirectional encoder has as many in each direction.
        num_layers: LSTM layers of encoder and of decoder.
        bidirectional: Whether the encoder reads in both directions.
        attention: None, `"additive"` (Bahdanau) or `"multiplicative"` (Luong).
        dropout: Rate on the inputs of every layer and on the outputs, in [0, 1).
        recurrent_dropout: Rate inside the recurrences, in [0, 1).
        encoder_units: Units of the encoder's layers, in each direction, where they differ; `units` by default.
        pad_id: The token that fills up short rows.
        start_id: The token before the first one.
        end_id: The token that ends an answer.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: A dictionary: `"source"` token ids [B, S], `"targets"` token ids [B, T], not shifted.
        training: Whether dropout acts.

    Returns:
        Logits float32 [B, T, V].

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.LSTMSeq2Seq(11, 13, embedding_dim=6, units=8, bidirectional=True, attention="multiplicative")
    assert model({"source": np.array([[5, 6, 7]]), "targets": np.array([[8, 9]])}).shape == (1, 2, 13)
    assert model.generate([[5, 6, 7], [8]], max_length=9).best().shape == (2, 9)
    ```

    Reference:
        Sutskever, Vinyals and Le (2014), Sequence to Sequence Learning with Neural Networks, arXiv 1409.3215;
        Luong, Pham and Manning (2015), Effective Approaches to Attention-based Neural Machine Translation,
        arXiv 1508.04025.
    """

    def __init__(
        self,
        source_vocabulary_size=1000,
        target_vocabulary_size=1000,
        embedding_dim=256,
        units=128,
        num_layers=1,
        bidirectional=False,
        attention=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        encoder_units=None,
        pad_id=0,
        start_id=1,
        end_id=2,
        **kwargs,
    ):
        dtype = kwargs.get("dtype")
        source_embedding, target_embedding = (
            TokenEmbedding(size, embedding_dim, pad_id=pad_id, name=f"{side}_embedding", dtype=dtype)
            for side, size in (("source", source_vocabulary_size), ("target", target_vocabulary_size))
        )
        rates = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "dtype": dtype}
        super().__init__(
            LSTMEncoder(encoder_units or units, num_layers, bidirectional, name="encoder", **rates),
            LSTMDecoder(units, num_layers, attention, name="decoder", **rates),
            source_embedding,
            target_embedding,
            pad_id=pad_id,
            start_id=start_id,
            end_id=end_id,
            **kwargs,
        )


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerSeq2Seq(EncoderDecoder):
    """A Transformer encoder that reads token ids and a Transformer decoder that writes them.

    The defaults are the base model of the paper with one vocabulary for both sides.

    Args:
        source_vocabulary_size: Size of the source vocabulary.
        target_vocabulary_size: Size V of the target vocabulary.
        num_encoder_layers: Blocks of the encoder.
        num_decoder_layers: Blocks of the decoder.
        hidden_dim: Width of the model.
        num_heads: Heads of every attention; divides `hidden_dim`.
        intermediate_dim: Width inside the feed-forward layers.
        dropout: Rate on embeddings, attention weights and outputs, in [0, 1).
        activation: Of the feed-forward layers: `"relu"`, `"gelu"`, `"silu"`, `"swiglu"`, `"geglu"`.
        norm: Where the normalisation stands, `"post"` as in the paper or `"pre"`.
        normalization: `"layer"` or `"rms"`.
        num_key_value_heads: Heads of keys and values; `num_heads` by default.
        positions: `"sinusoidal"`, `"learned"` or `"rotary"`; only learned ones have a limit.
        max_length: Most tokens of source and targets where positions are learned.
        share_embeddings: Whether both sides use one table, which needs one vocabulary; None to share where both have
            the same size, as with the joint vocabulary of the paper.
        tie_output: Whether the logits use the table of the target embedding.
        pad_id: The token that fills up short rows.
        start_id: The token before the first one.
        end_id: The token that ends an answer.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: A dictionary: `"source"` token ids [B, S], `"targets"` token ids [B, T], not shifted.
        training: Whether dropout acts.

    Returns:
        Logits float32 [B, T, V].

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
        Vaswani et al. (2017), Attention Is All You Need, arXiv 1706.03762.
    """

    def __init__(
        self,
        source_vocabulary_size=37000,
        target_vocabulary_size=37000,
        num_encoder_layers=6,
        num_decoder_layers=6,
        hidden_dim=512,
        num_heads=8,
        intermediate_dim=2048,
        dropout=0.1,
        activation="relu",
        norm="post",
        normalization="layer",
        num_key_value_heads=None,
        positions="sinusoidal",
        max_length=None,
        share_embeddings=None,
        tie_output=True,
        pad_id=0,
        start_id=1,
        end_id=2,
        **kwargs,
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

        def embedding(size, name):
            return TokenEmbedding(
                size,
                hidden_dim,
                scale=True,
                positions=None if positions == "rotary" else positions,
                max_length=max_length,
                dropout=dropout,
                pad_id=pad_id,
                name=name,
                dtype=dtype,
            )

        blocks = {
            "hidden_dim": hidden_dim,
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
            "dropout": dropout,
            "activation": activation,
            "norm": norm,
            "normalization": normalization,
            "num_key_value_heads": num_key_value_heads,
            "positions": "rotary" if positions == "rotary" else None,
            "dtype": dtype,
        }
        super().__init__(
            TransformerEncoder(num_encoder_layers, name="encoder", **blocks),
            TransformerDecoder(num_decoder_layers, name="decoder", **blocks),
            embedding(source_vocabulary_size, "embedding" if share_embeddings else "source_embedding"),
            "source" if share_embeddings else embedding(target_vocabulary_size, "target_embedding"),
            pad_id=pad_id,
            start_id=start_id,
            end_id=end_id,
            tie_output=tie_output,
            **kwargs,
        )
