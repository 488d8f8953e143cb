"""An image encoder made of a network of `keras.applications`, with the preprocessing of its family."""

import inspect
from typing import Any

import keras
from keras import ops

from kerazoo import _checks
from kerazoo.layers.masking import encoded_mask
from kerazoo.layers.positions import SinusoidalPositions2D

MIN_SIZE = 32  # pixels, below which the networks have no positions left


@keras.saving.register_keras_serializable(package="kerazoo")
class BackboneEncoder(keras.layers.Layer):
    """Encodes images by a network of `keras.applications` without its classifier.

    The feature map becomes a sequence of its positions, row by row. The layer takes images in [0, 1] and brings them to
    the values that the network was published with, so the model and its exports take plain images. Grey images are read
    as colour. The weights are random: `kerazoo.transfer.load_weights` loads them from a file, such as the published
    ones without a classifier (`..._notop.h5`). Set `trainable = False` or freeze `encoder.backbone` to keep them; batch
    normalization then uses its saved statistics in training as well.

    Args:
        backbone: string. The name of a function of `keras.applications`, such as `"MobileNetV3Small"`,
            `"EfficientNetB0"` or `"ResNet50"`.
        alpha: float, above 0. The factor of all widths, of the MobileNets alone. Defaults to `None`, that of the
            network.
        positions: `"sinusoidal"` or None. Positions that are added to the outputs, see `SinusoidalPositions2D`.
            Defaults to `None`.
        return_dict: bool. Whether to return a dict, which decoders and models read; False returns its "sequence" alone,
            for other layers of Keras. Defaults to `True`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor `[B, H, W, C]`, images in [0, 1] of at least 32 pixels on a side; C is 1 or 3.
        padding_mask: None. Images have no padding.
        training: bool. Whether to apply dropout, and whether batch normalization uses the statistics of the batch.

    Returns:
        A dict with "sequence", `[B, H'W', D]` in the compute dtype, of about `H / 32` times `W / 32` positions, and
        "mask", bool `[B, H'W']`. With `return_dict=False` the sequence alone.

    Raises:
        ValueError: if there is no such network, it takes no `alpha`, or the images have another shape.

    Example:

    ```python
    import numpy as np
    import kerazoo as kz

    encoder = kz.layers.BackboneEncoder("MobileNet", alpha=0.25)
    assert encoder(np.ones((2, 64, 32, 3), "float32"))["sequence"].shape == (2, 2, 256)
    ```

    Reference:
        Howard et al., 2017, MobileNets, arXiv:1704.04861; Kornblith, Shlens and Le, 2019, Do Better ImageNet Models
        Transfer Better?, arXiv:1805.08974.
    """

    def __init__(
        self,
        backbone: str,
        *,
        alpha: float | None = None,
        positions: str | None = None,
        return_dict: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        families = _families()
        if backbone not in families:
            raise _checks.unknown("backbone of keras.applications", backbone, families, ", ".join(families))
        self.backbone_name = backbone
        if alpha is not None:
            alpha = _checks.number("BackboneEncoder", "alpha", alpha, low=0, low_open=True)
        self.alpha = alpha
        self.positions = _checks.one_of("BackboneEncoder", "positions", positions, ("sinusoidal", None))
        self.return_dict = bool(return_dict)
        self.preprocess = families[backbone].preprocess_input
        self.backbone = self._made(getattr(keras.applications, backbone))
        self.add_positions = None
        if self.positions is not None:
            self.add_positions = SinusoidalPositions2D(name="positions", dtype=self.dtype_policy)

    def _made(self, function: Any) -> keras.Model:
        if self.alpha is not None and "MobileNet" not in self.backbone_name:
            raise ValueError(
                f"BackboneEncoder: `alpha` is of the MobileNets; got alpha={self.alpha} for {self.backbone_name}. "
                "Leave it out."
            )
        width = {} if self.alpha is None else {"alpha": self.alpha}
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.dtype_policy)  # which the functions have no argument for
        try:
            return function(include_top=False, weights=None, input_shape=(None, None, 3), name="backbone", **width)
        finally:
            keras.config.set_dtype_policy(before)

    def build(self, inputs_shape: Any) -> None:
        _checks.rank("BackboneEncoder", "inputs", inputs_shape, (4,))
        _, height, width, channels = inputs_shape
        if channels not in (1, 3) or min(height or MIN_SIZE, width or MIN_SIZE) < MIN_SIZE:
            raise ValueError(
                f"BackboneEncoder: `inputs` must be images of 1 or 3 channels and at least {MIN_SIZE} pixels on a "
                f"side; got shape {tuple(inputs_shape)}. Resize them: height=224, width=224."
            )
        if self.add_positions is not None:
            self.add_positions.build(self.backbone.compute_output_shape((*inputs_shape[:-1], 3)))

    def call(self, inputs: Any, padding_mask: Any = None, training: bool | None = None) -> Any:
        if padding_mask is not None:
            raise ValueError("BackboneEncoder: images have no padding, so `padding_mask` must be None.")
        x = ops.cast(inputs, "float32") * 255.0
        x = ops.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x
        x = self.preprocess(x)  # as the family was trained
        x = self.backbone(ops.cast(x, self.compute_dtype), training=training)  # [B, H', W', D]
        if self.add_positions is not None:
            x = self.add_positions(x)
        _, height, width, features = ops.shape(x)
        x = ops.reshape(x, (-1, height * width, features))  # [B, S, D]
        if not self.return_dict:
            return x
        return {"sequence": x, "mask": ops.ones(ops.shape(x)[:2], dtype="bool")}

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return encoded_mask(None) if self.return_dict else None

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "backbone": self.backbone_name,
            "alpha": self.alpha,
            "positions": self.positions,
            "return_dict": self.return_dict,
        }


def _families() -> dict[str, Any]:
    """Returns the module of each network of `keras.applications`, by the name of its function."""
    modules = {
        name: inspect.getmodule(function)
        for name, function in vars(keras.applications).items()
        if name[0].isupper() and inspect.isfunction(function)
    }
    return {name: module for name, module in modules.items() if hasattr(module, "preprocess_input")}
