"""LanguageModel: any decoder without an encoder."""

from typing import Any

import keras

from kerazoo import _checks
from kerazoo.decoding import Decodable, Generated, Scored, generate, score
from kerazoo.layers import LSTMDecoder, TokenEmbedding, TransformerDecoder
from kerazoo.models.base_model import BaseModel
from kerazoo.models.token_decoder import TokenDecoderMixin


@keras.saving.register_keras_serializable(package="kerazoo")
class LanguageModel(TokenDecoderMixin, BaseModel, Decodable):
    """Predicts every token of a text from the tokens before it, with any decoder.

    Args:
        decoder: a layer with `call`, `start` and `step` that needs no encoded source, such as
            `kerazoo.layers.TransformerDecoder(cross_attention=False, ...)`.
        embedding: a `kerazoo.layers.TokenEmbedding`. Defaults to a new one that fits the decoder, which needs
            `vocabulary_size`.
        vocabulary_size: integer, above 0. Size V of the vocabulary. Defaults to that of `embedding`.
        pad_id: integer. The padding token. Defaults to `0`.
        start_id: integer. The token before the first one. Defaults to `1`.
        end_id: integer. The token that ends a text. Defaults to `2`.
        tie_output: boolean. Whether the logits use the table of the embedding. Defaults to `False`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"targets"`, token ids `[B, T]`, not shifted; or these token ids. Where texts share
            rows, `"targets_segments"`, integers `[B, T]`, numbers them from 1, with 0 for padding.
        training: boolean. Whether dropout is applied.

    Returns:
        Logits, float32 tensor `[B, T, V]`; those of position t depend on the targets before t.

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
        decoder: Any,
        embedding: Any = None,
        *,
        vocabulary_size: int | None = None,
        pad_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        tie_output: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._init_token_decoder(decoder, embedding, vocabulary_size, pad_id, start_id, end_id, tie_output)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self._target_logits(inputs, None, training)

    def generate(
        self, prompt: Any = None, *, search: Any = "greedy", max_length: int | None = None, **options: Any
    ) -> Generated:
        """Returns the continuation of each prompt, see `kerazoo.decoding.generate`.

        Args:
            prompt: first tokens of each text, padded or ragged lists. Defaults to one text from nothing.
            search: `"greedy"`, `"sample"`, `"beam"` or a search object. Defaults to `"greedy"`.
            max_length: integer, above 0. Maximum number of tokens of a text, its prompt included. Defaults to 64 after
                the prompt.
            **options: options of the search by name, and those of `kerazoo.decoding.generate`.
        """
        return generate(self, None, prompt, search, max_length, **options)

    def score(self, targets: Any, **options: Any) -> Scored:
        """Returns the log-probabilities of given texts, see `kerazoo.decoding.score`.

        Args:
            targets: token ids, ragged lists or an array padded with `pad_id`; with the end token where it counts.
            **options: options of `kerazoo.decoding.score`.
        """
        return score(self, None, targets, **options)

    def build_inputs(self, batch_size: int = 1, length: int = 3) -> dict[str, Any]:
        """Returns zeros for `"targets"`."""
        return {"targets": self._build_targets(batch_size, length)}


@keras.saving.register_keras_serializable(package="kerazoo")
class TransformerLM(LanguageModel):
    """A Transformer decoder as a language model; the defaults are the small variant of GPT-2.

    Args:
        vocabulary_size: integer, above 0. Size V of the vocabulary.
        num_layers: integer, above 0. Number of blocks. Defaults to `12`.
        hidden_dim: integer, above 0. Width of the model. Defaults to `768`.
        num_heads: integer, above 0. Heads of the attention; divides `hidden_dim`. Defaults to `12`.
        intermediate_dim: integer, above 0. Width inside the feed-forward layers. Defaults to 4 times `hidden_dim`.
        max_length: integer, above 0. Maximum number of tokens of a text where positions are learned. Defaults to
            `1024`.
        dropout: float, in [0, 1). Rate on embeddings, attention weights and outputs. Defaults to `0.1`.
        activation: string or callable. Activation of the feed-forward layers, such as `"relu"`, `"gelu"` or
            `"swiglu"`. Defaults to `"gelu"`.
        norm: `"pre"` or `"post"`. Whether normalization is before or after each part of a block. Defaults to `"pre"`.
        normalization: `"layer"` or `"rms"`. Defaults to `"layer"`.
        epsilon: float, above 0. Added to the variance or the mean square. Defaults to `1e-5`.
        num_key_value_heads: integer, above 0. Heads of keys and values. Defaults to `num_heads`.
        head_dim: integer, above 0. Width of each head. Defaults to `hidden_dim / num_heads`.
        positions: `"learned"`, `"sinusoidal"` or `"rotary"`; only learned ones have a limit. Defaults to `"learned"`.
        tie_output: boolean. Whether the logits use the table of the embedding. Defaults to `True`.
        pad_id: integer. The padding token. Defaults to `0`.
        start_id: integer. The token before the first one. Defaults to `1`.
        end_id: integer. The token that ends a text. Defaults to `2`.
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
        vocabulary_size: int,
        num_layers: int = 12,
        *,
        hidden_dim: int = 768,
        num_heads: int = 12,
        intermediate_dim: int | None = None,
        max_length: int = 1024,
        dropout: float = 0.1,
        activation: Any = "gelu",
        norm: str = "pre",
        normalization: str = "layer",
        epsilon: float = 1e-5,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        positions: str = "learned",
        tie_output: bool = True,
        pad_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        **kwargs: Any,
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
            num_heads=num_heads,
            intermediate_dim=intermediate_dim or 4 * hidden_dim,
            dropout=dropout,
            activation=activation,
            norm=norm,
            normalization=normalization,
            epsilon=epsilon,
            num_key_value_heads=num_key_value_heads,
            head_dim=head_dim,
            cross_attention=False,
            positions="rotary" if positions == "rotary" else None,
            name="decoder",
            dtype=dtype,
        )
        super().__init__(
            decoder, embedding, pad_id=pad_id, start_id=start_id, end_id=end_id, tie_output=tie_output, **kwargs
        )


@keras.saving.register_keras_serializable(package="kerazoo")
class LSTMLM(LanguageModel):
    """An LSTM as a language model: each token from the state after the tokens before it.

    Args:
        vocabulary_size: integer, above 0. Size V of the vocabulary.
        embedding_dim: integer, above 0. Width of the token vectors. Defaults to `128`.
        units: integer, above 0. Width of the state. Defaults to `512`.
        num_layers: integer, above 0. LSTMs above each other. Defaults to `1`.
        dropout: float, in [0, 1). Rate on the inputs of each layer and on the outputs. Defaults to `0.0`.
        recurrent_dropout: float, in [0, 1). Rate on the state. Defaults to `0.0`.
        pad_id: integer. The padding token. Defaults to `0`.
        start_id: integer. The token before the first one. Defaults to `1`.
        end_id: integer. The token that ends a text. Defaults to `2`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import kerazoo as kz

    model = kz.models.LSTMLM(vocabulary_size=11, embedding_dim=6, units=8)
    assert model.generate(prompt=[[5, 6], [7]], max_length=9).best().shape == (2, 9)
    ```

    Reference:
        Graves (2013), Generating Sequences With Recurrent Neural Networks, arXiv:1308.0850.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int = 128,
        *,
        units: int = 512,
        num_layers: int = 1,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        pad_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        **kwargs: Any,
    ):
        dtype = kwargs.get("dtype")
        rates = {"dropout": dropout, "recurrent_dropout": recurrent_dropout}
        super().__init__(
            LSTMDecoder(units, num_layers, **rates, name="decoder", dtype=dtype),
            TokenEmbedding(vocabulary_size, embedding_dim, pad_id=pad_id, name="embedding", dtype=dtype),
            pad_id=pad_id,
            start_id=start_id,
            end_id=end_id,
            **kwargs,
        )
