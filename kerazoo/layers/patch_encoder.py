"""Patches of images as a sequence, and the Transformer that encodes them."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.activations import serialize_activation
from kerazoo.layers.conv_blocks import ConvBlock
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.masking import encoded_mask
from kerazoo.layers.positions import LearnedPositions, SinusoidalPositions2D
from kerazoo.layers.transformer_encoder import TransformerEncoder

POSITIONS = ("learned", "sinusoidal")


@keras.saving.register_keras_serializable(package="kerazoo")
class PatchEmbedding(keras.layers.Layer):
    """Divides images into patches, projects each patch to a vector and adds its position.

    The patches do not overlap and are read row by row. Sides that `patch_size` does not divide are padded with zeros,
    half on either side.

    Args:
        patch_size: int or pair of ints, above 0. Sides of a patch in pixels, or its height and width.
        hidden_dim: int, above 0. Width D of the vectors.
        positions: `"learned"`, a vector for each patch, which needs the size of the images; or `"sinusoidal"`, see
            `SinusoidalPositions2D`. Defaults to `"learned"`.
        dropout: float in `[0, 1)`. Dropout rate after the positions. Defaults to `0.0`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, H, W, C]`.
        training: bool. Whether to apply dropout.

    Returns:
        A float tensor `[B, S, D]` in the compute dtype, of S = ceil(H / patch_size) x ceil(W / patch_size) patches.

    Raises:
        ValueError: if an argument is out of range, `inputs` do not have 4 axes, or `positions` are learned and the size
            of the images is unknown.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    patches = kz.layers.PatchEmbedding(patch_size=4, hidden_dim=16)
    assert patches(np.ones((2, 28, 28, 1), "float32")).shape == (2, 49, 16)
    ```

    Reference:
        Dosovitskiy et al., 2021, An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale,
        arXiv:2010.11929.
    """

    def __init__(
        self,
        patch_size: int | tuple[int, int],
        hidden_dim: int,
        *,
        positions: str = "learned",
        dropout: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.patch_size = _patch_size("PatchEmbedding", patch_size)
        self.hidden_dim = _checks.positive_int("PatchEmbedding", "hidden_dim", hidden_dim)
        self.positions = _checks.one_of("PatchEmbedding", "positions", positions, POSITIONS)
        self.rate = _checks.rate("PatchEmbedding", "dropout", dropout)
        self.projection = keras.layers.Conv2D(
            self.hidden_dim,
            self.patch_size,
            strides=self.patch_size,
            padding="same",
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="projection",
        )
        self.dropout = Dropout(self.rate, dtype=self.dtype_policy, name="dropout")

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("PatchEmbedding", "inputs", inputs_shape, (4,))
        self.projection.build(inputs_shape)
        shape = self.projection.compute_output_shape(inputs_shape)
        if self.positions == "sinusoidal":
            self.add_positions: Any = SinusoidalPositions2D(dtype=self.dtype_policy, name="positions")
            self.add_positions.build(shape)
            return
        if None in shape[1:3]:
            raise ValueError(
                "PatchEmbedding: `inputs` must have a known size where positions are learned; got shape "
                f"{tuple(inputs_shape)}. Try positions='sinusoidal'."
            )
        self.add_positions = LearnedPositions(shape[1] * shape[2], dtype=self.dtype_policy, name="positions")
        self.add_positions.build((shape[0], shape[1] * shape[2], shape[3]))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        # Keras casts floats only, and TensorFlow's convolutions refuse integers.
        x = self.projection(ops.cast(inputs, self.compute_dtype))  # [B, H', W', D]
        if self.positions == "sinusoidal":
            x = self.add_positions(x)
        _, height, width, _ = ops.shape(x)
        x = ops.reshape(x, (-1, height * width, self.hidden_dim))  # [B, S, D]
        if self.positions == "learned":
            x = self.add_positions(x)
        return self.dropout(x, training=training)

    def compute_output_shape(self, inputs_shape: Any) -> Any:
        batch, height, width, _ = self.projection.compute_output_shape(inputs_shape)
        return batch, None if None in (height, width) else height * width, self.hidden_dim

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "patch_size": list(self.patch_size),
            "hidden_dim": self.hidden_dim,
            "positions": self.positions,
            "dropout": self.rate,
        }


@keras.saving.register_keras_serializable(package="kerazoo")
class PatchEncoder(keras.layers.Layer):
    """Encodes images as sequences of patches by a `TransformerEncoder`: the encoder of the Vision Transformer.

    There is no class token: classifiers pool the patches, and decoders attend to them. With `stem_filters`,
    convolutional blocks come first, and the patches are those of their feature map: the hybrid of the paper, which
    needs less data. Their layer normalization keeps the images of a batch independent of each other.

    Args:
        num_layers: int, above 0. Number of blocks.
        hidden_dim: int, above 0. Width D of the vectors; divisible by `num_heads`.
        num_heads: int, above 0. Heads of the attention.
        intermediate_dim: int, above 0. Width inside the feed-forward layers.
        patch_size: int or pair of ints, above 0. Sides of a patch in pixels, or its height and width. Defaults to `4`.
        stem_filters: int or list of ints, each above 0. Channels of convolutional blocks in front of the patches, each
            of which halves both sides of the image; an empty list for none. Defaults to `()`.
        dropout: float in `[0, 1)`. Dropout rate of the embedded patches, the attention weights and the output of each
            sublayer. Defaults to `0.1`.
        activation: Name or callable of the feed-forward layers. Defaults to `"gelu"`.
        positions: `"learned"` or `"sinusoidal"`, see `PatchEmbedding`. Defaults to `"learned"`.
        return_dict: bool. Whether to return a dict, which decoders and models read; False returns its "sequence" alone,
            for other layers of Keras. Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, H, W, C]`.
        padding_mask: None; images have no padding. Defaults to `None`.
        training: bool. Whether to apply dropout.

    Returns:
        A dict with "sequence", float `[B, S, D]` in the compute dtype, and "mask", bool `[B, S]`, all True. With
        `return_dict=False` the sequence alone.

    Raises:
        ValueError: if an argument is out of range, sizes do not divide, or `inputs` do not have 4 axes.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.PatchEncoder(num_layers=1, hidden_dim=12, num_heads=3, intermediate_dim=20, patch_size=7)
    assert encoder(np.ones((2, 28, 28, 1), "float32"))["sequence"].shape == (2, 16, 12)
    ```

    Reference:
        Dosovitskiy et al., 2021, An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale,
        arXiv:2010.11929;
        Beyer, Zhai and Kolesnikov, 2022, Better plain ViT baselines for ImageNet-1k, arXiv:2205.01580 (pooling in place
        of a class token).
    """

    def __init__(
        self,
        num_layers: int,
        hidden_dim: int,
        *,
        num_heads: int,
        intermediate_dim: int,
        patch_size: int | tuple[int, int] = 4,
        stem_filters: int | list[int] | tuple[int, ...] = (),
        dropout: float = 0.1,
        activation: Any = "gelu",
        positions: str = "learned",
        return_dict: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.patch_size = _patch_size("PatchEncoder", patch_size)
        self.hidden_dim = _checks.positive_int("PatchEncoder", "hidden_dim", hidden_dim)
        self.options = {
            "num_layers": num_layers,
            "num_heads": num_heads,
            "intermediate_dim": intermediate_dim,
            "dropout": _checks.rate("PatchEncoder", "dropout", dropout),
        }
        self.activation = activation
        self.positions = _checks.one_of("PatchEncoder", "positions", positions, POSITIONS)
        self.return_dict = bool(return_dict)
        self.stem_filters = ()
        if not isinstance(stem_filters, list | tuple) or stem_filters:
            self.stem_filters = _checks.positive_ints("PatchEncoder", "stem_filters", stem_filters)
        self.stem = [
            ConvBlock(filters, strides=2, normalization="layer", dtype=self.dtype_policy, name=f"stem_{index}")
            for index, filters in enumerate(self.stem_filters)
        ]
        self.embedding = PatchEmbedding(
            self.patch_size,
            self.hidden_dim,
            positions=positions,
            dropout=dropout,
            dtype=self.dtype_policy,
            name="embedding",
        )
        self.transformer = TransformerEncoder(
            hidden_dim=self.hidden_dim,
            **self.options,
            activation=activation,
            return_dict=return_dict,
            dtype=self.dtype_policy,
            name="transformer",
        )

    def build(self, inputs_shape: Any) -> None:
        shape = tuple(inputs_shape)
        _checks.rank("PatchEncoder", "inputs", shape, (4,))
        for block in self.stem:
            block.build(shape)
            sides = [None if side is None else -(-side // 2) for side in shape[1:3]]
            shape = (shape[0], *sides, block.filters)
        self.embedding.build(shape)
        self.transformer.build(self.embedding.compute_output_shape(shape))

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        if padding_mask is not None:
            raise ValueError("PatchEncoder: images have no padding, so `padding_mask` must be None.")
        x = inputs
        for block in self.stem:
            x = block(x, training=training)
        return self.transformer(self.embedding(x, training=training), training=training)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return encoded_mask(None) if self.return_dict else None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **self.options,
            "hidden_dim": self.hidden_dim,
            "patch_size": list(self.patch_size),
            "stem_filters": list(self.stem_filters),
            "activation": serialize_activation(self.activation),
            "positions": self.positions,
            "return_dict": self.return_dict,
        }


def _patch_size(owner: str, value: Any) -> tuple[int, int]:
    """Returns height and width of a patch."""
    height, *others = _checks.positive_ints(owner, "patch_size", value)
    if len(others) > 1:
        raise ValueError(
            f"{owner}: `patch_size` must be an integer above 0, or a pair for height and width; got "
            f"patch_size={value!r}."
        )
    return height, others[0] if others else height
