"""Models that generate images pixel by pixel: from nothing, or from a class."""

from typing import Any

import keras

from kerazoo.layers import DenseEncoder, PixelDecoder, TokenEmbedding
from kerazoo.models.encoder_decoder import EncoderDecoder
from kerazoo.models.language_model import LanguageModel


@keras.saving.register_keras_serializable(package="kerazoo")
class PixelLM(LanguageModel):
    """Predicts each pixel of an image from the pixels before it, row by row: a language model of images.

    Args:
        vocabulary_size: integer, above 0. Size V of the vocabulary: the levels of a pixel and three special tokens.
        image_shape: tuple of integers, above 0. Height, width and channels.
        decoder: `"lstm"` or `"transformer"`. What reads the pixels before each pixel. Defaults to `"lstm"`.
        hidden_dim: integer, above 0. Width of the decoder. Defaults to `128`.
        num_layers: integer, above 0. Layers of the decoder. Defaults to `1`.
        num_heads: integer, above 0. Heads of a Transformer; divides `hidden_dim`. Defaults to `4`.
        embedding_dim: integer, above 0. Width of the vector of a pixel. Defaults to `32`.
        distance: integer, above 0. Rows above and columns to either side whose pixels are read directly. Defaults to
            `2`.
        dropout: float, in [0, 1). Rate inside the decoder. Defaults to `0.0`.
        pad_id: integer. The padding token. Defaults to `0`.
        start_id: integer. The token before the first pixel. Defaults to `1`.
        end_id: integer. The token that ends a sequence, which no image has. Defaults to `2`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import kerazoo as kz

    model = kz.models.PixelLM(vocabulary_size=7, image_shape=(3, 5, 1), hidden_dim=8, embedding_dim=4)
    assert model.generate(search="sample", forbidden=2, max_length=15).best().shape == (1, 15)
    ```

    Reference:
        van den Oord, Kalchbrenner and Kavukcuoglu (2016), Pixel Recurrent Neural Networks, arXiv:1601.06759.
    """

    def __init__(
        self,
        vocabulary_size: int,
        image_shape: tuple[int, ...],
        *,
        decoder: str = "lstm",
        hidden_dim: int = 128,
        num_layers: int = 1,
        num_heads: int = 4,
        embedding_dim: int = 32,
        distance: int = 2,
        dropout: float = 0.0,
        pad_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        **kwargs: Any,
    ):
        dtype = kwargs.get("dtype")
        sizes = {"hidden_dim": hidden_dim, "num_layers": num_layers, "num_heads": num_heads, "dropout": dropout}
        super().__init__(
            PixelDecoder(image_shape, decoder, distance=distance, **sizes, name="decoder", dtype=dtype),
            TokenEmbedding(vocabulary_size, embedding_dim, pad_id=pad_id, name="embedding", dtype=dtype),
            pad_id=pad_id,
            start_id=start_id,
            end_id=end_id,
            **kwargs,
        )

    @property
    def max_length(self) -> int | None:
        """The number of pixels times channels of an image."""
        return self.decoder.num_positions


@keras.saving.register_keras_serializable(package="kerazoo")
class PixelSeq2Seq(EncoderDecoder):
    """Predicts each pixel of an image from a class, or from a few tokens, and the pixels before it, row by row.

    The tokens of the source are embedded and their mean is read at each position.

    Args:
        source_vocabulary_size: integer, above 0. Size of the source vocabulary: the classes and padding.
        target_vocabulary_size: integer, above 0. Size V of the target vocabulary: the levels of a pixel and three
            special tokens.
        image_shape: tuple of integers, above 0. Height, width and channels.
        decoder: `"lstm"` or `"transformer"`. What reads the pixels before each pixel. Defaults to `"lstm"`.
        hidden_dim: integer, above 0. Width of the decoder. Defaults to `128`.
        num_layers: integer, above 0. Layers of the decoder. Defaults to `1`.
        num_heads: integer, above 0. Heads of a Transformer; divides `hidden_dim`. Defaults to `4`.
        embedding_dim: integer, above 0. Width of the vectors of a pixel and of a class. Defaults to `32`.
        distance: integer, above 0. Rows above and columns to either side whose pixels are read directly. Defaults to
            `2`.
        dropout: float, in [0, 1). Rate inside the decoder. Defaults to `0.0`.
        pad_id: integer. The padding token. Defaults to `0`.
        start_id: integer. The token before the first pixel. Defaults to `1`.
        end_id: integer. The token that ends a sequence, which no image has. Defaults to `2`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import kerazoo as kz

    model = kz.models.PixelSeq2Seq(11, 7, image_shape=(3, 5, 1), hidden_dim=8, embedding_dim=4)
    assert model.generate([[3], [4]], search="sample", forbidden=2, max_length=15).best().shape == (2, 15)
    ```

    Reference:
        van den Oord et al. (2016), Conditional Image Generation with PixelCNN Decoders, arXiv:1606.05328.
    """

    def __init__(
        self,
        source_vocabulary_size: int,
        target_vocabulary_size: int,
        image_shape: tuple[int, ...],
        *,
        decoder: str = "lstm",
        hidden_dim: int = 128,
        num_layers: int = 1,
        num_heads: int = 4,
        embedding_dim: int = 32,
        distance: int = 2,
        dropout: float = 0.0,
        pad_id: int = 0,
        start_id: int = 1,
        end_id: int = 2,
        **kwargs: Any,
    ):
        dtype = kwargs.get("dtype")
        source, target = (
            TokenEmbedding(size, embedding_dim, pad_id=pad_id, name=f"{side}_embedding", dtype=dtype)
            for side, size in (("source", source_vocabulary_size), ("target", target_vocabulary_size))
        )
        sizes = {"hidden_dim": hidden_dim, "num_layers": num_layers, "num_heads": num_heads, "dropout": dropout}
        sizes |= {"distance": distance, "has_source": True}
        super().__init__(
            DenseEncoder((hidden_dim,), name="encoder", dtype=dtype),
            PixelDecoder(image_shape, decoder, **sizes, name="decoder", dtype=dtype),
            source_embedding=source,
            target_embedding=target,
            pad_id=pad_id,
            start_id=start_id,
            end_id=end_id,
            **kwargs,
        )

    @property
    def max_length(self) -> int | None:
        """The number of pixels times channels of an image."""
        return self.decoder.num_positions
