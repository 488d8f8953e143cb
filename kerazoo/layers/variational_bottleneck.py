"""The bottleneck of a variational autoencoder: a code that is sampled from a normal distribution."""

from typing import Any

import keras
from keras import ops

from kerazoo import _checks


@keras.saving.register_keras_serializable(package="kerazoo")
class VariationalBottleneck(keras.layers.Layer):
    """Maps vectors to the mean and the log variance of a normal distribution, and samples the code from it in training.

    The code is `mean + exp(log_variance / 2) * noise` with standard normal noise, so that gradients reach both. In
    inference it is the mean. `beta` times the Kullback-Leibler divergence from the standard normal distribution,
    averaged over the batch, is added to the losses of the model: `0.5 * sum(mean^2 + variance - 1 - log_variance)`. A
    dimension whose divergence, averaged over the batch, is below `free_bits` counts as `free_bits`, so that the model
    gains nothing from leaving it unused.

    Args:
        latent_dim: int, above 0. Dimensions D of the code.
        beta: float, at least 0. Factor of the divergence. Defaults to `1.0`.
        free_bits: float, at least 0. Nats of each dimension that cost nothing more. Defaults to `0.0`.
        seed: int or None. Seed of the noise. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[..., F]`.
        training: bool. Whether to sample the code and add the divergence to the losses.

    Returns:
        A float tensor `[..., D]` in the compute dtype.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    bottleneck = kz.layers.VariationalBottleneck(latent_dim=3, seed=5)
    x = np.ones((2, 7), "float32")
    assert np.array_equal(bottleneck(x), bottleneck(x)) and not bottleneck.losses
    code = bottleneck(x, training=True)
    assert bottleneck.losses and not np.array_equal(code, bottleneck(x))
    ```

    Reference:
        Kingma and Welling, 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114;
        Higgins et al., 2017, beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework;
        Kingma et al., 2016, Improving Variational Inference with Inverse Autoregressive Flow, arXiv:1606.04934 (free
        bits).
    """

    def __init__(
        self, latent_dim: int, *, beta: float = 1.0, free_bits: float = 0.0, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        owner = "VariationalBottleneck"
        self.latent_dim = _checks.positive_int(owner, "latent_dim", latent_dim)
        self.beta = _checks.number(owner, "beta", beta, low=0)
        self.free_bits = _checks.number(owner, "free_bits", free_bits, low=0)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.mean = keras.layers.Dense(self.latent_dim, name="mean", dtype=self.dtype_policy)
        # Begins with a variance of one, whatever the inputs are.
        self.log_variance = keras.layers.Dense(
            self.latent_dim, kernel_initializer="zeros", name="log_variance", dtype=self.dtype_policy
        )
        self.supports_masking = True

    def build(self, inputs_shape: Any) -> None:
        self.mean.build(inputs_shape)
        self.log_variance.build(inputs_shape)

    def posterior(self, inputs: Any) -> tuple[Any, Any]:
        """Returns the mean and the log variance of the code, float32 tensors `[..., D]`.

        Args:
            inputs: float tensor `[..., F]`.
        """
        return ops.cast(self.mean(inputs), "float32"), ops.cast(self.log_variance(inputs), "float32")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        mean, log_variance = self.posterior(inputs)
        if not training:
            return ops.cast(mean, self.compute_dtype)
        divergence = ops.reshape(normal_divergence(mean, log_variance), (-1, self.latent_dim))  # [N, D]
        self.add_loss(self.beta * ops.sum(ops.maximum(ops.mean(divergence, axis=0), self.free_bits)))
        return ops.cast(sample_normal(mean, log_variance, self.seed_generator), self.compute_dtype)

    def compute_output_shape(self, inputs_shape: Any) -> Any:
        return (*inputs_shape[:-1], self.latent_dim)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "latent_dim": self.latent_dim,
            "beta": self.beta,
            "free_bits": self.free_bits,
            "seed": self.seed,
        }


def normal_divergence(mean: Any, log_variance: Any) -> Any:
    """Returns the Kullback-Leibler divergence of normal distributions from the standard one, for each dimension.

    Args:
        mean: float tensor of any shape.
        log_variance: float tensor of the same shape.
    """
    return 0.5 * (ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance)


def sample_normal(mean: Any, log_variance: Any, seed: Any) -> Any:
    """Returns samples of normal distributions, of the shape of `mean`.

    Args:
        mean: float tensor of any shape.
        log_variance: float tensor of the same shape.
        seed: int or `keras.random.SeedGenerator`.
    """
    return mean + ops.exp(0.5 * log_variance) * keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=seed)
