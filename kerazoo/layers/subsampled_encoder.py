"""Encoders of long sequences of vectors, such as frames of sound: a subsampler, then a stack of layers."""

from typing import Any

import keras

from kerazoo import _checks
from kerazoo.layers.conv_subsampler import ConvSubsampler
from kerazoo.layers.lstm_encoder import LSTMEncoder
from kerazoo.layers.masking import encoded_mask, first_mask
from kerazoo.layers.positions import SinusoidalPositions
from kerazoo.layers.transformer_encoder import TransformerEncoder


class SubsampledEncoder(keras.layers.Layer):
    """The base of the encoders that shorten their input: the subsampler, and the masks before and after it.

    Args:
        subsampler: `ConvSubsampler`.
        encoder: Layer that returns the encoded sequence as a dict.
        return_dict: bool. Whether to return the dict, or its "sequence" alone.
    """

    # The arguments that are those of the encoder.
    encoder_arguments: tuple[str, ...] = ()

    def _init_parts(self, subsampler, encoder, return_dict):
        self.subsampler = subsampler
        self.encoder = encoder
        self.return_dict = bool(return_dict)
        self.supports_masking = True

    def build(self, inputs_shape: Any) -> None:
        _checks.rank(type(self).__name__, "inputs", inputs_shape, (3,))
        self.subsampler.build(inputs_shape)
        self.encoder.build((inputs_shape[0], None, self._encoder_width()))

    def _encoder_width(self):
        return self.subsampler.filters[-1]

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        valid = first_mask(padding_mask, mask)
        x = self.subsampler(inputs, padding_mask=valid, training=training)  # [B, S', C]
        valid = None if valid is None else self.subsampler.subsample_mask(valid)
        encoded = self.encoder(self._between(x, training), padding_mask=valid, training=training)
        return encoded if self.return_dict else encoded["sequence"]

    def _between(self, x, training):
        """Returns what the encoder reads of the output of the subsampler."""
        return x

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        mask = None if previous_mask is None else self.subsampler.subsample_mask(previous_mask)
        return encoded_mask(mask) if self.return_dict else mask

    def get_config(self) -> dict[str, Any]:
        encoder, subsampler = self.encoder.get_config(), self.subsampler.get_config()
        return {
            **super().get_config(),
            **{name: encoder[name] for name in self.encoder_arguments},
            **{name: subsampler[name] for name in ("filters", "kernel_size", "strides")},
            "return_dict": self.return_dict,
        }


@keras.saving.register_keras_serializable(package="kerazoo")
class SubsampledLSTMEncoder(SubsampledEncoder):
    """Encodes frames of sound: strided convolutions that shorten the sequence, then a stack of LSTM layers.

    Args:
        units: int, above 0. Width U of each LSTM layer.
        num_layers: int, above 0. LSTM layers of the stack. Defaults to `1`.
        bidirectional: bool. Whether each LSTM layer also reads the sequence backwards, which doubles its width.
            Defaults to `False`.
        filters: int or list of ints, each above 0. Channels of each convolution. Defaults to `(128, 128)`.
        kernel_size: int, above 0. Positions that an output of a convolution reads. Defaults to `3`.
        strides: int, above 0. Factor by which each convolution shortens the sequence. Defaults to `2`.
        dropout: float in `[0, 1)`. Dropout rate after each convolution and on the inputs of every LSTM layer. Defaults
            to `0.0`.
        recurrent_dropout: float in `[0, 1)`. Dropout rate inside the recurrence. Defaults to `0.0`.
        return_dict: bool. Whether to return a dict, which decoders and models read; False returns its "sequence" alone,
            for other layers of Keras. Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, S, C]`.
        padding_mask: bool tensor `[B, S]`, True = valid position. Defaults to `None`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A dict with "sequence" `[B, S', U or 2U]` in the compute dtype, "mask" bool `[B, S']`, and "state", a tuple with
        (h, c) of every LSTM layer, each `[B, U or 2U]`. With `return_dict=False` the sequence alone.

    Masking:
        Padding never changes a valid position, and leaves the states unchanged.

    Raises:
        ValueError: if `inputs` do not have 3 axes, or an argument is out of range.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.SubsampledLSTMEncoder(units=5, bidirectional=True, filters=(8, 8))
    assert encoder(np.ones((2, 13, 7), "float32"))["sequence"].shape == (2, 4, 10)
    ```

    Reference:
        Chan, Jaitly, Le and Vinyals, 2015, Listen, Attend and Spell, arXiv:1508.01211 (with a pyramid of LSTM layers
        in place of the convolutions).
    """

    encoder_arguments = ("units", "num_layers", "bidirectional", "dropout", "recurrent_dropout")

    def __init__(
        self,
        units: int,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        filters: int | list[int] | tuple[int, ...] = (128, 128),
        kernel_size: int = 3,
        strides: int = 2,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_dict: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        subsampler = ConvSubsampler(
            filters, kernel_size, strides=strides, dropout=dropout, dtype=self.dtype_policy, name="subsampler"
        )
        encoder = LSTMEncoder(
            units,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            dtype=self.dtype_policy,
            name="encoder",
        )
        self._init_parts(subsampler, encoder, return_dict)


@keras.saving.register_keras_serializable(package="kerazoo")
class SubsampledTransformerEncoder(SubsampledEncoder):
    """Encodes frames of sound: strided convolutions that shorten the sequence, then a stack of Transformer blocks.

    A dense layer brings the channels of the convolutions to the width of the blocks, and positions are added to the
    shortened sequence.

    Args:
        num_layers: int, above 0. Blocks of the stack.
        hidden_dim: int, above 0. Width D of the blocks; divisible by `num_heads`.
        num_heads: int, above 0. Heads of the attention.
        intermediate_dim: int, above 0. Width inside the feed-forward layers.
        filters: int or list of ints, each above 0. Channels of each convolution. Defaults to `(128, 128)`.
        kernel_size: int, above 0. Positions that an output of a convolution reads. Defaults to `3`.
        strides: int, above 0. Factor by which each convolution shortens the sequence. Defaults to `2`.
        dropout: float in `[0, 1)`. Dropout rate after each convolution and in the blocks. Defaults to `0.1`.
        activation: Name or callable of the feed-forward layers. `"swiglu"` and `"geglu"` are gated. Defaults to
            `"relu"`.
        positions: `"sinusoidal"` or `"rotary"`. Defaults to `"sinusoidal"`.
        return_dict: bool. Whether to return a dict, which decoders and models read; False returns its "sequence" alone,
            for other layers of Keras. Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, S, C]`.
        padding_mask: bool tensor `[B, S]`, True = valid position. Defaults to `None`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A dict with "sequence" `[B, S', D]` in the compute dtype and "mask" bool `[B, S']`. With `return_dict=False`
        the sequence alone.

    Masking:
        Padding never changes a valid position.

    Raises:
        ValueError: if `inputs` do not have 3 axes, or an argument is out of range.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.SubsampledTransformerEncoder(
        num_layers=1, hidden_dim=12, num_heads=3, intermediate_dim=20, filters=(8, 8)
    )
    assert encoder(np.ones((2, 13, 7), "float32"))["sequence"].shape == (2, 4, 12)
    ```

    Reference:
        Dong, Xu and Xu, 2018, Speech-Transformer: A No-Recurrence Sequence-to-Sequence Model for Speech Recognition;
        Vaswani et al., 2017, Attention Is All You Need, arXiv:1706.03762.
    """

    encoder_arguments = ("num_layers", "hidden_dim", "num_heads", "intermediate_dim", "dropout", "activation")

    def __init__(
        self,
        num_layers: int,
        hidden_dim: int,
        num_heads: int,
        intermediate_dim: int,
        *,
        filters: int | list[int] | tuple[int, ...] = (128, 128),
        kernel_size: int = 3,
        strides: int = 2,
        dropout: float = 0.1,
        activation: Any = "relu",
        positions: str = "sinusoidal",
        return_dict: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.positions = _checks.one_of(
            "SubsampledTransformerEncoder", "positions", positions, ("sinusoidal", "rotary")
        )
        subsampler = ConvSubsampler(
            filters, kernel_size, strides=strides, dropout=dropout, dtype=self.dtype_policy, name="subsampler"
        )
        encoder = TransformerEncoder(
            num_layers,
            hidden_dim,
            num_heads=num_heads,
            intermediate_dim=intermediate_dim,
            dropout=dropout,
            activation=activation,
            positions="rotary" if positions == "rotary" else None,
            dtype=self.dtype_policy,
            name="encoder",
        )
        self._init_parts(subsampler, encoder, return_dict)
        self.projection = keras.layers.Dense(hidden_dim, dtype=self.dtype_policy, name="projection")
        self.add_positions = SinusoidalPositions(dtype=self.dtype_policy, name="positions")

    def build(self, inputs_shape: Any) -> None:
        super().build(inputs_shape)
        self.projection.build((inputs_shape[0], None, self.subsampler.filters[-1]))

    def _encoder_width(self):
        return self.projection.units

    def _between(self, x, training):
        x = self.projection(x)  # [B, S', D]
        return self.add_positions(x) if self.positions == "sinusoidal" else x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "positions": self.positions}
