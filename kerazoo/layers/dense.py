"""Dense encoders and decoders: multi-layer perceptrons for vectors, sequences and images."""

import math
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.activations import get_activation, one_per_layer, serialize_activation
from kerazoo.layers.dropout import Dropout
from kerazoo.layers.initializers import clone_initializer
from kerazoo.layers.masking import encoded_mask, first_mask, masked_mean
from kerazoo.layers.products import Dense


class _DenseStack(keras.layers.Layer):
    """A stack of dense layers with dropout after each: the base of the encoder and the decoder."""

    def __init__(
        self,
        units: int | list[int] | tuple[int, ...] = (128,),
        activation: Any = "relu",
        *,
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        activity_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = _checks.positive_ints(owner, "units", units)
        activations = one_per_layer(owner, "activation", activation, len(self.units))
        self.activation = activation
        self.dropout = _checks.rate(owner, "dropout", dropout)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        # Keras would apply an attribute named `activity_regularizer` to all outputs, and the mask is one of them.
        self.output_regularizer = keras.regularizers.get(activity_regularizer)
        self.dense_layers = [
            Dense(
                width,
                activation=get_activation(owner, each),
                kernel_initializer=clone_initializer(self.kernel_initializer),
                bias_initializer=clone_initializer(self.bias_initializer),
                kernel_regularizer=self.kernel_regularizer,
                activity_regularizer=self.output_regularizer,
                dtype=self.dtype_policy,
                name=f"dense_{index}",
            )
            for index, (width, each) in enumerate(zip(self.units, activations))
        ]
        self.dropout_layer = Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")
        self.supports_masking = True

    def _build_stack(self, width: int):
        for dense, input_width in zip(self.dense_layers, (width, *self.units)):
            dense.build((None, input_width))

    def _transform(self, x: Any, training: bool | None = None) -> Any:
        for dense in self.dense_layers:
            x = self.dropout_layer(dense(x), training=training)
        return x

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": list(self.units),
            "activation": serialize_activation(self.activation),
            "dropout": self.dropout,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "activity_regularizer": keras.regularizers.serialize(self.output_regularizer),
        }


@keras.saving.register_keras_serializable(package="kerazoo")
class DenseEncoder(_DenseStack):
    """Encodes a vector, a flattened image or each position of a sequence by a multi-layer perceptron.

    The defaults are the two layers of 128 units of the dense autoencoder. A vector or an image becomes a sequence of
    length one, so that every decoder and classifier can read it.

    Args:
        units: int or list of ints, each above 0. Widths of the dense layers. Defaults to `(128, 128)`.
        activation: Name, callable or None for none; or a list with one for each layer. Defaults to `"relu"`.
        dropout: float in `[0, 1)`. Dropout rate after each layer. Defaults to `0.0`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of the biases. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernels, such as `"l1"` or `"l2"`. Defaults to `None`.
        activity_regularizer: Regularizer of the outputs of the layers, for sparse codes. Defaults to `None`.
        flatten: bool. Whether a sequence is flattened as an image is, so that its positions are read together. Its
            length must then be fixed. Defaults to `False`.
        return_dict: bool. Whether to return a dict, which decoders and models read; False returns its "sequence" alone,
            for other layers of Keras. Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor. Vectors `[B, F]`, sequences `[B, S, F]`, or images `[B, H, W, C]` of known size.
        padding_mask: bool tensor `[B, S]` for sequences, True = valid position. Defaults to `None`.
        training: bool. Whether to apply dropout.
        mask: The Keras mask of `inputs`, used where `padding_mask` is None. Keras fills it in.

    Returns:
        A dict with "sequence", `[B, S, units[-1]]` in the compute dtype (S = 1 for what is flattened), and "mask",
        bool `[B, S]`. With `return_dict=False` a tensor, `[B, S, units[-1]]` for sequences, else `[B, units[-1]]`.

    Masking:
        Each position is computed separately, so padding has no effect. The mask is passed on. With `flatten` there is
        none, and all positions count.

    Raises:
        ValueError: if `inputs` have another number of axes, an image's size is unknown, or `activation` is a list of
            another length than `units`.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.DenseEncoder(units=(50, 50), activation=("relu", None), kernel_regularizer="l2")
    assert encoder(np.ones((2, 100), "float32"))["sequence"].shape == (2, 1, 50)
    ```

    Reference:
        Rumelhart, Hinton and Williams, 1986, Learning representations by back-propagating errors.
    """

    def __init__(
        self,
        units: int | list[int] | tuple[int, ...] = (128, 128),
        activation: Any = "relu",
        *,
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        activity_regularizer: Any = None,
        flatten: bool = False,
        return_dict: bool = True,
        **kwargs: Any,
    ):
        super().__init__(
            units,
            activation,
            dropout=dropout,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.flatten = bool(flatten)
        self.return_dict = bool(return_dict)

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("DenseEncoder", "inputs", inputs_shape, (2, 3, 4))
        features = inputs_shape[1:] if self._is_flattened(inputs_shape) else inputs_shape[-1:]
        if None in features:
            raise ValueError(
                f"DenseEncoder: `inputs` must have known features; got shape {tuple(inputs_shape)}. "
                "Resize images to one size, or use ConvEncoder."
            )
        width = 1
        for size in features:
            width *= size
        self._build_stack(width)

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None, mask: Any = None) -> Any:
        x, valid = inputs, first_mask(padding_mask, mask)
        if self._is_flattened(inputs.shape):
            x = ops.reshape(x, (-1, math.prod(inputs.shape[1:])))  # [B, F]
        x = self._transform(x, training)
        if not self.return_dict:
            return x
        if len(x.shape) != 3:
            x, valid = x[:, None], None  # [B, 1, U]
        if valid is None:
            valid = ops.ones(ops.shape(x)[:2], dtype="bool")  # [B, S]
        return {"sequence": x, "mask": valid}

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        mask = previous_mask if len(inputs.shape) == 3 and not self.flatten else None
        return encoded_mask(mask) if self.return_dict else mask

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "flatten": self.flatten, "return_dict": self.return_dict}

    def _is_flattened(self, shape):
        return len(shape) == 4 or (self.flatten and len(shape) == 3)


@keras.saving.register_keras_serializable(package="kerazoo")
class DenseDecoder(_DenseStack):
    """Decodes the mean of the encoded sequence by a multi-layer perceptron, with the inputs where there are any.

    Without inputs it decodes one vector for each example, as in an autoencoder. With inputs each position depends on
    its own input and on the mean of the encoded sequence only: with shifted targets, a neural bigram model.

    Args:
        units: int or list of ints, each above 0. Widths of the dense layers. Defaults to `(128,)`.
        activation: Name, callable or None for none; or a list with one for each layer. Defaults to `"relu"`.
        dropout: float in `[0, 1)`. Dropout rate after each layer. Defaults to `0.0`.
        kernel_initializer: Initializer of the kernels. Defaults to `"glorot_uniform"`.
        bias_initializer: Initializer of the biases. Defaults to `"zeros"`.
        kernel_regularizer: Regularizer of the kernels, such as `"l1"` or `"l2"`. Defaults to `None`.
        activity_regularizer: Regularizer of the outputs of the layers. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, T, D]`, embedded and shifted, or None.
        encoded: dict of any encoder, or None. At least one of the two is needed, and the same ones in each call.
        padding_mask: Accepted so that all decoders are called alike. It has no effect.
        training: bool. Whether to apply dropout.

    Returns:
        A float tensor `[B, T, units[-1]]` in the compute dtype; `[B, units[-1]]` without inputs.

    Masking:
        The mean is taken over the valid positions of the encoded sequence; it is zero where there are none.

    Raises:
        ValueError: if neither `inputs` nor `encoded` is given, or not those of the first call.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoded = kz.layers.DenseEncoder()(np.ones((2, 784), "float32"))
    assert kz.layers.DenseDecoder()(None, encoded).shape == (2, 128)
    assert kz.layers.DenseDecoder(units=7)(np.ones((2, 3, 5), "float32"), encoded).shape == (2, 3, 7)
    ```

    Reference:
        Hinton and Salakhutdinov, 2006, Reducing the Dimensionality of Data with Neural Networks (autoencoders);
        Bengio, Ducharme, Vincent and Jauvin, 2003, A Neural Probabilistic Language Model.
    """

    cross_attention = False
    # The members of the decoding protocol, see `EncoderDecoder`.
    supports_parallel_decoding = False
    prefers_jit = False

    _shapes: dict[str, Any] | None = None  # of the arguments of `build`, once it has been called

    def build(self, inputs_shape: Any = None, encoded_shape: Any = None) -> None:
        if inputs_shape is not None:
            _checks.rank("DenseDecoder", "inputs", inputs_shape, (3,))
        self.given = _given(inputs_shape, encoded_shape)
        self._shapes = {"inputs_shape": inputs_shape, "encoded_shape": encoded_shape}
        width = (inputs_shape[-1] if inputs_shape else 0) + (encoded_shape["sequence"][-1] if encoded_shape else 0)
        if not self.given:
            raise ValueError("DenseDecoder: `inputs` or `encoded` is needed; got inputs=None, encoded=None.")
        self._build_stack(width)

    def get_build_config(self) -> dict[str, Any] | None:
        # Keras saves a single shape without the name of its argument, which may be either here.
        return self._shapes

    def build_from_config(self, config: dict[str, Any]) -> None:
        self.build(**config)

    def call(
        self, inputs: Any = None, encoded: Any = None, padding_mask: Any = None, training: bool | None = None
    ) -> Any:
        if _given(inputs, encoded) != self.given:
            raise ValueError(
                f"DenseDecoder: `inputs` and `encoded` must be given as in the first call, which had {self.given}; "
                f"got {_given(inputs, encoded)}. Make a new decoder for another use."
            )
        context = None if encoded is None else masked_mean(encoded["sequence"], encoded["mask"])  # [B, D]
        return self._transform(context if inputs is None else _with_context(inputs, context), training)

    def start(self, batch_size: Any, max_length: int, encoded: Any = None, num_beams: int = 1) -> dict[str, Any]:
        """Returns the cache: the mean of the encoded sequence, and no state.

        Args:
            batch_size: int or int scalar. Number of sources.
            max_length: int. Not used.
            encoded: dict of an encoder, or None. Defaults to `None`.
            num_beams: int. Not used. Defaults to `1`.
        """
        if encoded is None:
            return {"state": {}, "memory": {}}
        context = masked_mean(encoded["sequence"], encoded["mask"])
        return {"state": {}, "memory": {"context": ops.cast(context, self.compute_dtype)}}

    def step(self, inputs: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the outputs `[B, units[-1]]` of one position, and the cache.

        Args:
            inputs: float tensor `[B, D]`.
            cache: dict, the result of `start` or of the step before.
            index: int scalar, the position. Not used.
        """
        context = cache["memory"].get("context")
        if context is None:
            return self._transform(inputs), cache
        # The hypotheses of one source share its context, as the positions of a sequence do in `call`.
        x = ops.reshape(inputs, (ops.shape(context)[0], -1, inputs.shape[-1]))  # [B, W, D]
        x = self._transform(_with_context(x, context))
        return ops.reshape(x, (-1, self.units[-1])), cache  # [B*W, U]


def _given(inputs: Any, encoded: Any) -> list[str]:
    return [name for name, value in (("inputs", inputs), ("encoded", encoded)) if value is not None]


def _with_context(inputs: Any, context: Any) -> Any:
    """Appends the context [B, C] to the features of each input [B, T, D]."""
    if context is None:
        return inputs
    context = ops.cast(context, inputs.dtype)
    shape = (*ops.shape(inputs)[:2], context.shape[-1])
    return ops.concatenate([inputs, ops.broadcast_to(context[:, None], shape)], axis=-1)  # [B, T, D + C]
