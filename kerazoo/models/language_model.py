"""A decoder alone: the model of a text."""

import keras

from kerazoo import _checks
from kerazoo.decoding import Decodable, Generated, Scored, score
from kerazoo.layers import TokenEmbedding, TransformerDecoder
from kerazoo.models.configured import ConfiguredModel
from kerazoo.models.generative import Writer


@keras.saving.register_keras_serializable(package="kerazoo")
class LanguageModel(Writer, ConfiguredModel, Decodable):
    """Predicts every token of a text from those before it, with any decoder.

    Args:
        decoder: A layer with `call`, `start` and `step` that needs no encoded side.
        embedding: Turns token ids into vectors, a `TokenEmbedding`; None to make one that fits the decoder.
        vocabulary_size: Size V of the vocabulary, that of `embedding` by default.
        pad_id: The token that fills up short rows.
        start_id: The token before the first one.
        end_id: The token that ends a text.
        tie_output: Whether the logits use the table of the embedding.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: A dictionary with `"targets"`, token ids [B, T], not shifted; or these token ids. Where texts share
            rows, `"targets_segments"` counts them from 1, integers [B, T], 0 for padding.
        training: Whether dropout acts.

    Returns:
        Logits float32 [B, T, V]; those of position t depend on the targets before t.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.LanguageModel(kz.layers.LSTMDecoder(units=16), vocabulary_size=11)
    assert model({"targets": np.array([[5, 6, 7]])}).shape == (1, 3, 11)
    assert model.generate(prompt=[[5, 6]], search="sample", top_k=3, max_length=9).best().shape == (1, 9)
    ```

    Reference:
        Mikolov et al. (2010), Recurrent neural network based language model, Interspeech.
    """

    def __init__(
        self,
        decoder,
        embedding=None,
        vocabulary_size=None,
        pad_id=0,
        start_id=1,
        end_id=2,
        tie_output=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._make_writer(decoder, embedding, vocabulary_size, pad_id, start_id, end_id, tie_output)

    def call(self, inputs, training=None):
        return self._teach(inputs, None, training)

    def generate(self, prompt=None, search="greedy", max_length: int | None = None, **options) -> Generated:
        """Returns how the model goes on after each prompt, see `kerazoo.decoding.generate`.

        Args:
            prompt: First tokens of each text, padded or ragged lists; None for one text from nothing.
            search: `"greedy"`, `"sample"`, `"beam"` or a search object.
            max_length: Most tokens of a text, its prompt included.
            **options: Options of the search by name (`temperature=0.8`), and those of `kerazoo.decoding.generate`.
        """
        return self._generate(None, prompt, search, max_length, options)

    def score(self, targets, **options) -> Scored:
        """Returns the log-probabilities of given texts, see `kerazoo.decoding.score`.

        Args:
            targets: Token ids, ragged lists or an array padded with `pad_id`; with the end token where it counts.
            **options: `batch_size` and `jit` of `kerazoo.decoding.score`.
        """
        return score(self, None, targets, **options)

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict:
        """Returns zeros for `"targets"`."""
        return {"targets": self._build_targets(batch_size, length)}


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerLM(LanguageModel):
    """A Transformer decoder as the model of a text; the defaults are the small variant of GPT-2.

    Args:
        vocabulary_size: Size V of the vocabulary.
        num_layers: Number of blocks.
        hidden_dim: Width of the model.
        num_heads: Heads of the attention; divides `hidden_dim`.
        intermediate_dim: Width inside the feed-forward layers, 4 times `hidden_dim` by default.
        max_length: Most tokens of a text where positions are learned.
        dropout: Rate on embeddings, attention weights and outputs, in [0, 1).
        activation: Of the feed-forward layers: `"relu"`, `"gelu"`, `"silu"`, `"swiglu"`, `"geglu"`.
        norm: Where the normalisation stands, `"pre"` or `"post"`.
        normalization: `"layer"` or `"rms"`.
        num_key_value_heads: Heads of keys and values; `num_heads` by default.
        positions: `"learned"`, `"sinusoidal"` or `"rotary"`; only learned ones have a limit.
        tie_output: Whether the logits use the table of the embedding.
        pad_id: The token that fills up short rows.
        start_id: The token before the first one.
        end_id: The token that ends a text.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import kerazoo as kz

    model = kz.models.TransformerLM(vocabulary_size=11, num_layers=2, hidden_dim=16, num_heads=2, max_length=32)
    assert model.generate(prompt=[[5, 6], [7]], max_length=9).best().shape == (2, 9)
    ```

    Reference:
        Radford et al. (2019), Language Models are Unsupervised Multitask Learners.
    """

    def __init__(
        self,
        vocabulary_size,
        num_layers=12,
        hidden_dim=768,
        num_heads=12,
        intermediate_dim=None,
        max_length=1024,
        dropout=0.1,
        activation="gelu",
        norm="pre",
        normalization="layer",
        num_key_value_heads=None,
        positions="learned",
        tie_output=True,
        pad_id=0,
        start_id=1,
        end_id=2,
        **kwargs,
    ):
        dtype = kwargs.get("dtype")
        _checks.one_of("TransformerLM", "positions", positions, ("learned", "sinusoidal", "rotary"))
        embedding = TokenEmbedding(
            vocabulary_size,
            hidden_dim,
            positions=None if positions == "rotary" else positions,
            max_length=max_length,
            dropout=dropout,
            pad_id=pad_id,
            name="embedding",
            dtype=dtype,
        )
        decoder = TransformerDecoder(
            num_layers,
            hidden_dim,
            num_heads,
            intermediate_dim or 4 * hidden_dim,
            dropout=dropout,
            activation=activation,
            norm=norm,
            normalization=normalization,
            num_key_value_heads=num_key_value_heads,
            cross_attention=False,
            positions="rotary" if positions == "rotary" else None,
            name="decoder",
            dtype=dtype,
        )
        super().__init__(decoder, embedding, None, pad_id, start_id, end_id, tie_output, **kwargs)
