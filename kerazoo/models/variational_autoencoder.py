"""VariationalAutoencoder: an autoencoder whose code is a random variable, so that new examples can be sampled."""

import math
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers import (
    DenseDecoder,
    DenseEncoder,
    VariationalBottleneck,
    normal_divergence,
    sample_normal,
)
from kerazoo.models.autoencoder import Autoencoder


@keras.saving.register_keras_serializable(package="kerazoo")
class VariationalAutoencoder(Autoencoder):
    """Encodes a source into a normal distribution, and decodes one vector from a code that is sampled from it.

    The losses in use, such as `keras.losses.BinaryCrossentropy`, are means over the outputs, and so is the divergence
    that the model adds: with it the loss of training times the number of outputs is the negative evidence lower bound
    (ELBO) in nats. Outside of training the code is the mean of its distribution. `sample` makes new examples.

    Args:
        encoder: a layer that returns `{"sequence": [B, S, D], "mask": [B, S]}`, or a list of them, one for each source.
            The mean over the valid positions is what the code depends on.
        decoder: a layer that works without inputs, such as `kerazoo.layers.DenseDecoder`.
        output_size: integer, above 0. Size of the output, such as the number of pixels of the source.
        latent_dim: integer, above 0. Dimensions of the code. Defaults to `32`.
        beta: float, at least 0. Factor of the divergence; 1 for the bound. Defaults to `1.0`.
        free_bits: float, at least 0. Nats of each dimension of the code that cost nothing more. Defaults to `0.0`.
        source_embedding: a layer that turns token ids into vectors. None where the source is vectors or images.
            Defaults to `None`.
        head_activation: string or callable. Activation of the head; None for logits. Defaults to `None`.
        input_shape: tuple of integers. Shape of one source without the batch, where there is no embedding. Defaults to
            that of the first call.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Call arguments:
        inputs: dictionary with `"source"` (and `"source_2"`, ... for several encoders), or the only source itself.
        training: boolean. Whether the code is sampled and dropout is applied.

    Returns:
        Float32 tensor `[B, output_size]`: logits, or what `head_activation` makes of them. An image is flattened.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    model = kz.models.VariationalAutoencoder(
        kz.layers.DenseEncoder((16,)), kz.layers.DenseDecoder((16,)), output_size=64, latent_dim=3
    )
    images = np.ones((2, 8, 8, 1), "float32")
    assert model(images).shape == (2, 64) and model.codes(images).shape == (2, 3)
    assert model.sample(5, seed=0).shape == (5, 64)
    assert model.elbo(images, images.reshape(2, 64)).shape == (2,)
    ```

    Reference:
        Kingma and Welling (2014), Auto-Encoding Variational Bayes, arXiv:1312.6114.
    """

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        *,
        output_size: int,
        latent_dim: int = 32,
        beta: float = 1.0,
        free_bits: float = 0.0,
        source_embedding: Any = None,
        head_activation: Any = None,
        input_shape: Any = None,
        **kwargs: Any,
    ):
        super().__init__(
            encoder,
            decoder,
            output_size=output_size,
            source_embedding=source_embedding,
            head_activation=head_activation,
            input_shape=input_shape,
            **kwargs,
        )
        beta = _checks.number(type(self).__name__, "beta", beta, low=0)
        self.bottleneck = VariationalBottleneck(
            latent_dim, beta=beta / self.output_size, free_bits=free_bits, name="bottleneck", dtype=self.dtype_policy
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        encoded = self.encode(inputs, training=training)
        code = self.bottleneck(self.pool(encoded), training=training)
        return self.decode(code, training=training)

    def decode(self, codes: Any, training: bool | None = None) -> Any:
        """Returns the outputs of codes, float32 `[B, output_size]`.

        Args:
            codes: float tensor `[B, latent_dim]`.
            training: boolean. Whether dropout is applied. Defaults to `None`.
        """
        codes = ops.cast(codes, self.compute_dtype)[:, None]  # [B, 1, latent_dim]
        encoded = {"sequence": codes, "mask": ops.ones(ops.shape(codes)[:2], dtype="bool")}
        return self.apply_head(self.decoder(None, encoded=encoded, training=training))

    def posterior(self, inputs: Any) -> tuple[Any, Any]:
        """Returns the mean and the log variance of the code of each source, float32 `[B, latent_dim]`.

        Args:
            inputs: as in a call.
        """
        self._build_for(inputs)
        return self.bottleneck.posterior(self.pool(self.encode(inputs)))

    def codes(self, inputs: Any) -> Any:
        """Returns the mean of the code of each source, float32 `[B, latent_dim]`."""
        return self.posterior(inputs)[0]

    def sample(self, num_samples: int, seed: int | None = None) -> Any:
        """Returns the outputs of codes that are sampled from the standard normal distribution.

        Args:
            num_samples: integer, above 0. Number of new examples N.
            seed: integer. Equal seeds give equal samples. Defaults to `None`, a new one in each call.

        Returns:
            Float32 tensor `[N, output_size]`, as a call returns it.
        """
        _checks.positive_int(type(self).__name__, "num_samples", num_samples)
        self.build_from_inputs()
        return self.decode(keras.random.normal((num_samples, self.bottleneck.latent_dim), seed=seed))

    def elbo(self, inputs: Any, targets: Any, num_samples: int = 1, seed: int | None = 0) -> Any:
        """Returns an estimate of the evidence lower bound of each example in nats, float32 `[B]`.

        That is the log-probability of the targets, each of them a Bernoulli variable with the output as its logit, for
        a sampled code, less the divergence of the code.

        Args:
            inputs: as in a call.
            targets: float tensor `[B, output_size]` in [0, 1]. What lies between is the share of ones.
            num_samples: integer, above 0. Sampled codes of each example. Defaults to `1`.
            seed: integer. Seed of the codes. Defaults to `0`.
        """
        mean, log_variance = self.posterior(inputs)
        targets, total, seeds = ops.cast(targets, "float32"), 0.0, keras.random.SeedGenerator(seed)
        for _ in range(num_samples):
            logits = self.decode(sample_normal(mean, log_variance, seeds))
            total = total + ops.sum(targets * logits - ops.softplus(logits), axis=-1)  # [B]
        return total / num_samples - ops.sum(normal_divergence(mean, log_variance), axis=-1)


@keras.saving.register_keras_serializable(package="kerazoo")
class DenseVariationalAutoencoder(VariationalAutoencoder):
    """A variational autoencoder of dense layers for vectors, images and windows of series.

    Args:
        input_shape: tuple of integers. Shape of one source without the batch, such as `(784,)` or `(8, 8, 1)`. Defaults
            to `(784,)`.
        encoder_units: integer or tuple of integers, above 0. Units of the encoder's layers. Defaults to `(512, 512)`.
        latent_dim: integer, above 0. Dimensions of the code. Defaults to `32`.
        decoder_units: integer or tuple of integers, above 0. Units of the decoder's layers. Defaults to `(512, 512)`.
        output_size: integer, above 0. Size of the output. Defaults to the size of the source.
        beta: float, at least 0. Factor of the divergence; 1 for the bound. Defaults to `1.0`.
        free_bits: float, at least 0. Nats of each dimension of the code that cost nothing more. Defaults to `0.0`.
        activation: string or callable. Activation of the layers of encoder and decoder. Defaults to `"relu"`.
        dropout: float, in [0, 1). Rate after every layer. Defaults to `0.0`.
        head_activation: string or callable. Activation of the head; None for logits. Defaults to `None`.
        **kwargs: `name`, `dtype` and `trainable` of `keras.Model`.

    Example:

    ```python
    import keras
    import numpy as np
    import kerazoo as kz

    model = kz.models.DenseVariationalAutoencoder(input_shape=(8, 8, 1), encoder_units=(16,), decoder_units=(16,))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    images = np.ones((2, 8, 8, 1), "float32")
    model.train_on_batch({"source": images}, images.reshape(2, 64))
    ```

    Reference:
        Kingma and Welling (2014), Auto-Encoding Variational Bayes, arXiv:1312.6114.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...] = (784,),
        encoder_units: Any = (512, 512),
        *,
        latent_dim: int = 32,
        decoder_units: Any = (512, 512),
        output_size: int | None = None,
        beta: float = 1.0,
        free_bits: float = 0.0,
        activation: Any = "relu",
        dropout: float = 0.0,
        head_activation: Any = None,
        **kwargs: Any,
    ):
        options = {"activation": activation, "dropout": dropout, "dtype": kwargs.get("dtype")}
        super().__init__(
            DenseEncoder(encoder_units, flatten=True, name="encoder", **options),
            DenseDecoder(decoder_units, name="decoder", **options),
            output_size=math.prod(input_shape) if output_size is None else output_size,
            latent_dim=latent_dim,
            beta=beta,
            free_bits=free_bits,
            head_activation=head_activation,
            input_shape=input_shape,
            **kwargs,
        )
