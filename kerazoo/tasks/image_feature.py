"""Images as a feature: a file, or pixels."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks
from kerazoo.tasks.feature import Converted, Feature
from kerazoo.tasks.preprocessing import parse_preprocess

if TYPE_CHECKING:
    import keras

MAX_SIZE = 1 << 14  # of the height and of the width that files are resized to
IMAGES_AT_ONCE = 256  # that are added up, which bounds the memory
MAX_PIXEL = 255.0  # images are stored as bytes and scaled to [0, 1] inside the compiled program


class ImageFeature(Feature):
    """An image, read from a file or given as pixels.

    All images have one size, that of the first training image unless it is given; files are resized to it. The corpus
    holds uint8 pixels, which are scaled to [0, 1] in the compiled program. As a target, which needs the same image as
    the input, the pixels are trained with binary cross-entropy and predicted in [0, 1].

    Args:
        column: string. The name of the raw column: names of files, their bytes, or arrays uint8 `[H, W, C]` of one
            size. Defaults to `"image"`.
        height: int, at most 16,384. The height in pixels that files are resized to. Defaults to that of the first
            training image.
        width: int, at most 16,384. The width in pixels. Defaults to that of the first training image.
        channels: int, 1 for grey or 3 for colour, to which files are converted. Defaults to `3`.
        preprocess: string. `"scale"` maps pixels to [0, 1]; `"standardise"` then brings each channel to mean 0 and
            standard deviation 1 by the training images. Defaults to `"scale"`.
    """

    modality = "image"
    stored_exactly = True
    reads_files = True
    kinds = ("autoencoder",)
    measures = ("binary_crossentropy", "mean_squared_error")
    outputs = ("reconstruction",)

    def __init__(
        self,
        column: str = "image",
        height: int | None = None,
        width: int | None = None,
        channels: int = 3,
        preprocess: str | None = None,
    ):
        super().__init__(column)
        for name, value in (("height", height), ("width", width)):
            if value is not None:
                _checks.not_above(self.owner, name, _checks.positive_int(self.owner, name, value), MAX_SIZE)
        _checks.one_of(self.owner, "channels", channels, (1, 3))
        self.size = (height, width, channels)
        self.preprocess, _ = parse_preprocess(self.owner, "images", preprocess)
        self._counts: Any = 0
        self._shape = None

    @property
    def config(self) -> dict:
        return {**super().config, "size": list(self.size)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return tuple(self.state["shape"])

    @property
    def needs_fit(self) -> bool:
        return None in self.size or self.preprocess == "standardise"

    def update(self, columns: Mapping[str, Sequence]) -> bool:
        images, _ = self._images(columns[self.columns[0]], first=self.preprocess != "standardise")
        if not len(images):
            return True
        if self.preprocess == "standardise":
            channels = np.reshape(images, (-1, images.shape[-1])).T
            self._counts = self._counts + np.stack([np.bincount(channel, minlength=256) for channel in channels])
        return self.preprocess == "standardise"

    def finish(self) -> bool:
        self.state = {"shape": list(self._shape or (self.size[0] or 1, self.size[1] or 1, self.size[2]))}
        if self.preprocess == "standardise":
            if not np.any(self._counts):
                raise _checks.NoExamplesError(f"{self.owner}, train: no image can be read to standardise by.")
            values = np.arange(256) / MAX_PIXEL
            shares = self._counts / self._counts.sum(axis=1, keepdims=True)  # [C, 256]
            mean = shares @ values
            deviation = np.sqrt(np.sum(shares * (values - mean[:, None]) ** 2, axis=1))
            self.state |= {
                "preprocess": "standardise",
                "mean": mean.tolist(),
                "deviation": np.where(deviation > 0, deviation, 1.0).tolist(),
            }
        return False

    def restore(self, state: Mapping) -> None:
        self._same_option("preprocess", state.get("preprocess", "scale"), self.preprocess)
        super().restore(state)

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        images, faults = self._images(columns[self.columns[0]])
        return Converted(images, faults=faults)

    def raw(self, values: Any) -> list:
        return list(values)

    def load(self, values: Sequence) -> tuple[list, dict[int, str]]:
        images, faults = self._images(values)
        return list(images), faults

    def inputs(self, values: Any) -> Any:
        from keras import ops

        return self._standardised(ops.cast(values, "float32") / MAX_PIXEL)  # [B, H, W, C]

    def pack(self, values: Sequence) -> Any:
        images = [np.asarray(image) for image in values]
        for image in images:
            if image.shape != self.shape:
                raise ValueError(f"{self.owner}: an image must have shape {self.shape}; got {image.shape}.")
        if all(image.dtype.kind in "iu" for image in images):
            return np.array(images, np.uint8).reshape(-1, *self.shape)
        return np.stack([_scaled(image) for image in images])

    def encode(self, *packed: Any) -> Any:
        from keras import ops

        (images,) = packed
        integers = "int" in str(getattr(images, "dtype", "float32"))
        images = ops.cast(ops.convert_to_tensor(images), "float32")
        return self._standardised(images / MAX_PIXEL if integers else images)

    def read(self, text: str) -> Any:
        from kerazoo.data.image_files import read_image

        return read_image(text, self.shape)

    def decode_files(self, files: Any) -> Any:
        from kerazoo.tasks.image_bytes import decode_images

        return decode_images(files, self.shape)

    def encode_files(self, values: Sequence) -> list[bytes]:
        import tensorflow as tf

        return [tf.io.encode_png(np.asarray(image, np.uint8)).numpy() for image in values]

    def signature(self) -> list[tuple[list, str]]:
        return [(list(self.shape), "uint8")]

    def input_sizes(self) -> dict:
        return {"input_shape": self.shape}

    def targets(self, values: Any) -> Any:
        from keras import ops

        images = ops.cast(values, "float32") / MAX_PIXEL
        return ops.reshape(images, (-1, int(np.prod(self.shape))))  # [B, H * W * C]

    def target_sizes(self) -> dict:
        return {"output_size": int(np.prod(self.shape))}

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        import keras

        self._no_label_smoothing("pixels", label_smoothing)
        return keras.losses.BinaryCrossentropy(from_logits=True, reduction="mean_with_sample_weight")

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        if values is None or not len(values):
            return {}
        sums = np.zeros(self.shape)
        for start in range(0, len(values), IMAGES_AT_ONCE):
            sums += np.asarray(values[start : start + IMAGES_AT_ONCE]).sum(axis=0, dtype=np.float64)
        return {"mean of the training images": np.round(sums / (MAX_PIXEL * len(values)), 4).tolist()}

    def predict_baseline(self, name: str, fitted: Any, raw: Sequence) -> list:
        return [np.asarray(fitted, np.float32)] * len(raw)

    def decode(self, outputs: Any) -> list:
        return [_sigmoid(row).reshape(self.shape) for row in outputs]

    def decode_in_graph(self, outputs: Any) -> dict:
        import tensorflow as tf

        return {"reconstruction": tf.reshape(tf.sigmoid(outputs), [-1, *self.shape])}

    def reconstruction_errors(self, outputs: Any, packed: Any) -> Any:
        from keras import ops

        pixels = self.targets(packed)
        return ops.mean(ops.square(ops.sigmoid(ops.cast(outputs, "float32")) - pixels), axis=1)

    def comparable(self, values: Sequence) -> list:
        """Returns images with pixels in [0, 1]."""
        return list(map(_scaled, values))

    def _images(self, values, first=False):
        """Returns the images uint8 `[N, H, W, C]` of files or pixels, or the first one alone, and faults by row."""
        if not isinstance(values, np.ndarray) and len(values) and not isinstance(values[0], str | os.PathLike | bytes):
            values = np.stack([np.asarray(value) for value in values])
        if isinstance(values, np.ndarray):
            height, width, _ = self.size
            found = values.shape[1:]
            self._shape = self._shape or (height or found[0], width or found[1], found[2])
            expected = self.shape if self.state else self._shape
            if len(values) and values.shape[1:] != expected:
                raise _checks.DataError(
                    f"{self.owner}: the images in column {self.columns[0]!r} must have shape {expected}, as in the "
                    f"training data; got {values.shape[1:]}. Files of images are scaled, arrays are not."
                )
            return values, {}
        images, faults = [], {}
        for row, path in enumerate(values):
            try:
                images.append(self._file(path))
            except _checks.DataError as error:
                faults[row] = str(error)
                images.append(None)
                continue
            if first:
                break
        shape = self.shape if self.state else self._shape or (1, 1, self.size[2])
        empty = np.zeros(shape, np.uint8)
        images = [empty if image is None else image for image in images]
        return np.stack(images) if images else np.zeros((0, *empty.shape), np.uint8), faults

    def _file(self, path):
        from kerazoo.data.image_files import read_image

        if self.state:
            return read_image(path, self.shape)
        if self._shape is None:
            height, width, channels = self.size
            found = read_image(path, (None, None, channels)).shape
            self._shape = (height or found[0], width or found[1], channels)
        return read_image(path, self._shape)

    def _standardised(self, images):
        if "deviation" not in self.state:
            return images
        mean, deviation = (np.array(self.state[name], np.float32) for name in ("mean", "deviation"))
        return (images - mean) / deviation


def _scaled(image):
    """Returns an image as float32 in [0, 1]: integers are divided by 255, floats are not changed."""
    image = np.asarray(image)
    return image.astype(np.float32) / (np.float32(MAX_PIXEL) if image.dtype.kind in "iu" else np.float32(1))


def _sigmoid(logits):
    return 1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float32), -80, 80)))
