"""Dense encoders and decoders: multi-layer perceptrons for vectors, positions and images."""

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.sequences import masked_mean


class _DenseStack(keras.layers.Layer):
    """What both have in common: dense layers one after the other, with dropout after each."""

    def __init__(
        self,
        units=(128,),
        activation="relu",
        dropout=0.0,
        kernel_regularizer=None,
        activity_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.units = _checks.positive_ints(owner, "units", units)
        self.activation = keras.activations.get(activation)
        self.dropout = _checks.rate(owner, "dropout", dropout)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        # Not under the name of the argument: Keras would apply that to the outputs, and the mask is one of them.
        self.penalty = keras.regularizers.get(activity_regularizer)
        self.dense_layers = [
            keras.layers.Dense(
                width,
                activation=self.activation,
                kernel_regularizer=self.kernel_regularizer,
                activity_regularizer=self.penalty,
                dtype=self.dtype_policy,
                name=f"dense_{index}",
            )
            for index, width in enumerate(self.units)
        ]
        self.dropout_layer = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy, name="dropout")

    def _build_stack(self, width):
        for dense, below in zip(self.dense_layers, (width, *self.units)):
            dense.build((None, below))

    def _transform(self, x, training=None):
        for dense in self.dense_layers:
            x = self.dropout_layer(dense(x), training=training)
        return x

    def get_config(self):
        return {
            **super().get_config(),
            "units": list(self.units),
            "activation": keras.activations.serialize(self.activation),
            "dropout": self.dropout,
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "activity_regularizer": keras.regularizers.serialize(self.penalty),
        }


@keras.saving.register_keras_serializable(package="kerazoo")
class DenseEncoder(_DenseStack):
    """A multi-layer perceptron over a vector, over an image laid out flat, or over each position of a sequence.

    The defaults are the two layers of 128 units of the dense autoencoder. A vector or an image becomes a sequence of
    length one, so that every decoder and classifier can read it.

    Args:
        units: Widths of the dense layers, one integer or several. Default (128, 128).
        activation: Name or function, after every layer. Default "relu".
        dropout: Rate in [0, 1) after every layer. Default 0.
        kernel_regularizer: Penalty on the kernels, by name ("l1", "l2", "l1_l2") or as a Keras object. Default None.
        activity_regularizer: The same on the outputs of the layers, for sparse codes. Default None.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Float tensor: vectors [B, F], positions [B, S, F], or images [B, H, W, C] of known size.
        padding_mask: Bool tensor [B, S], True = real position, for inputs with positions; else None.
        training: Whether to apply dropout.

    Returns:
        A dict with "sequence" [B, S, units[-1]] in the compute dtype (S = 1 for vectors and images) and "mask", bool
        [B, S].

    Masking:
        Each position is computed by itself, so padding changes nothing; the mask is handed on.

    Raises:
        ValueError: If `inputs` have another number of axes, or an image's size is unknown.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.DenseEncoder(units=(100, 50, 50), kernel_regularizer="l2")
    assert encoder(np.ones((2, 784), "float32"))["sequence"].shape == (2, 1, 50)
    ```

    Reference:
        Rumelhart, Hinton and Williams, 1986, Learning representations by back-propagating errors.
    """

    def __init__(
        self,
        units=(128, 128),
        activation="relu",
        dropout=0.0,
        kernel_regularizer=None,
        activity_regularizer=None,
        **kwargs,
    ):
        super().__init__(units, activation, dropout, kernel_regularizer, activity_regularizer, **kwargs)

    def build(self, inputs_shape):
        _checks.rank("DenseEncoder", "inputs", inputs_shape, (2, 3, 4))
        features = inputs_shape[1:] if len(inputs_shape) == 4 else inputs_shape[-1:]
        if None in features:
            raise ValueError(
                f"DenseEncoder: `inputs` must have known features; got shape {tuple(inputs_shape)}. "
                "Resize images to one size, or use ConvEncoder."
            )
        width = 1
        for size in features:
            width *= size
        self._build_stack(width)

    def call(self, inputs, padding_mask=None, training=None):
        x = inputs
        if len(inputs.shape) == 4:
            x = ops.reshape(x, (-1, inputs.shape[1] * inputs.shape[2] * inputs.shape[3]))  # [B, F]
        if len(inputs.shape) != 3:
            x = x[:, None]  # [B, 1, F]
            padding_mask = None
        x = self._transform(x, training)
        if padding_mask is None:
            padding_mask = ops.ones(ops.shape(x)[:2], dtype="bool")
        return {"sequence": x, "mask": padding_mask}


@keras.saving.register_keras_serializable(package="kerazoo")
class DenseDecoder(_DenseStack):
    """A multi-layer perceptron over the mean of what was encoded, and over each input where there are inputs.

    Without inputs it decodes one vector per example, as in an autoencoder. With inputs each position sees its own
    input and the mean of the encoded sequence and nothing else: on shifted targets, a neural bigram model.

    Args:
        units: Widths of the dense layers, one integer or several. Default (128,).
        activation: Name or function, after every layer. Default "relu".
        dropout: Rate in [0, 1) after every layer. Default 0.
        kernel_regularizer: Penalty on the kernels, by name ("l1", "l2", "l1_l2") or as a Keras object. Default None.
        activity_regularizer: The same on the outputs of the layers. Default None.
        **kwargs: `name`, `dtype` and whatever else every Keras layer takes.

    Call arguments:
        inputs: Float tensor [B, T, D], embedded and already shifted, or None.
        encoded: The dict of any encoder, or None; one of the two is needed, and always the same ones.
        padding_mask: Taken so that all decoders are called alike; positions do not meet here.
        training: Whether to apply dropout.

    Returns:
        Float tensor [B, T, units[-1]] in the compute dtype; [B, units[-1]] without inputs.

    Masking:
        The mean is that of the real positions of the encoded sequence; zeros where there are none.

    Raises:
        ValueError: If neither `inputs` nor `encoded` is given, or not those of the first call.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoded = kz.layers.DenseEncoder()(np.ones((2, 784), "float32"))
    assert kz.layers.DenseDecoder()(None, encoded).shape == (2, 128)
    assert kz.layers.DenseDecoder(units=7)(np.ones((2, 3, 5), "float32"), encoded).shape == (2, 3, 7)
    ```

    Reference:
        Hinton and Salakhutdinov, 2006, Reducing the Dimensionality of Data with Neural Networks (autoencoders).
        Bengio, Ducharme, Vincent and Jauvin, 2003, A Neural Probabilistic Language Model.
    """

    cross_attention = False
    # The members of the decoding protocol, see `EncoderDecoder`.
    supports_parallel_decoding = False
    prefers_jit = False

    def build(self, inputs_shape=None, encoded_shape=None):
        if inputs_shape is not None:
            _checks.rank("DenseDecoder", "inputs", inputs_shape, (3,))
        self.parts = _parts(inputs_shape, encoded_shape)
        self._shapes = {"inputs_shape": inputs_shape, "encoded_shape": encoded_shape}
        width = (inputs_shape[-1] if inputs_shape else 0) + (encoded_shape["sequence"][-1] if encoded_shape else 0)
        if not self.parts:
            raise ValueError("DenseDecoder: `inputs` or `encoded` is needed; got inputs=None, encoded=None.")
        self._build_stack(width)

    def get_build_config(self):
        # Keras remembers a single shape without the name of its argument, which may be either here.
        return self._shapes

    def build_from_config(self, config):
        self.build(**config)

    def call(self, inputs=None, encoded=None, padding_mask=None, training=None):
        if _parts(inputs, encoded) != self.parts:
            raise ValueError(
                f"DenseDecoder: `inputs` and `encoded` must be given as in the first call, which had {self.parts}; "
                f"got {_parts(inputs, encoded)}. Make a new decoder for another use."
            )
        context = None if encoded is None else masked_mean(encoded["sequence"], encoded["mask"])  # [B, D]
        return self._transform(context if inputs is None else _join(inputs, context), training)

    def start(self, batch_size, max_length, encoded=None, num_beams=1):
        """Returns the cache, which holds the mean of what was encoded and no state."""
        if encoded is None:
            return {"state": {}, "memory": {}}
        context = masked_mean(encoded["sequence"], encoded["mask"])
        return {"state": {}, "memory": {"context": ops.cast(context, self.compute_dtype)}}

    def step(self, inputs, cache, index):
        """Returns the outputs [B, units[-1]] for `inputs` [B, D] at one position, and the cache."""
        context = cache["memory"].get("context")
        if context is None:
            return self._transform(inputs), cache
        # Beams of one source stand together: they are to its one context what positions are in `call`.
        x = ops.reshape(inputs, (ops.shape(context)[0], -1, inputs.shape[-1]))  # [B, W, D]
        x = self._transform(_join(x, context))
        return ops.reshape(x, (-1, self.units[-1])), cache  # [B*W, U]


def _parts(inputs, encoded):
    return [name for name, value in (("inputs", inputs), ("encoded", encoded)) if value is not None]


def _join(inputs, context):
    """Puts the context [B, C] beside every input [B, T, D]."""
    if context is None:
        return inputs
    context = ops.cast(context, inputs.dtype)
    shape = (*ops.shape(inputs)[:2], context.shape[-1])
    return ops.concatenate([inputs, ops.broadcast_to(context[:, None], shape)], axis=-1)  # [B, T, D + C]
