"""Images as a target that is generated pixel by pixel, each of them a token out of a few levels of brightness."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Ragged
from kerazoo.data.corpus import sample_rows
from kerazoo.tasks.feature import Feature
from kerazoo.tasks.image_feature import IMAGES_AT_ONCE, ImageFeature

if TYPE_CHECKING:
    import keras

SPECIAL = 3  # the ids of padding, start and end, before those of the levels
PAD_ID, START_ID, END_ID = range(SPECIAL)


class PixelsFeature(ImageFeature):
    """An image as a sequence of tokens, one for each pixel and channel, row by row.

    A value of 0 to 255 becomes one of `levels` of equal width, which is predicted as the value `255 * level / (levels -
    1)`. A model reads the pixels before each pixel, and a search generates them one after the other. All images have
    `height * width * channels` tokens, so that a sequence has no end token and a search may not choose it.

    In a task without inputs the images are those of a language model of pixels; its prompt is the first rows of an
    image, none of them for an image from nothing.

    Args:
        column: string. The name of the raw column, as for `ImageFeature`. Defaults to `"image"`.
        levels: int, 2 to 256. The number of levels of brightness. Defaults to `16`.
        height: int. The height in pixels that images are resized to. Defaults to that of the first training image.
        width: int. The width in pixels. Defaults to that of the first training image.
        channels: int, 1 for grey or 3 for colour, to which files are converted. Defaults to `3`.

    Reference:
        van den Oord, Kalchbrenner and Kavukcuoglu (2016), Pixel Recurrent Neural Networks, arXiv:1601.06759.
    """

    modality = "pixels"
    kinds = ("seq2seq", "language_model")
    generated = True
    evaluated_by_loss = True
    monitor = ("val_loss", "min")
    measures = ("bits_per_dimension",)
    outputs = ("image", "score")

    def __init__(
        self,
        column: str = "image",
        levels: int = 16,
        height: int | None = None,
        width: int | None = None,
        channels: int = 3,
    ):
        super().__init__(column, height, width, channels)
        self.levels = _checks.not_above(self.owner, "levels", _checks.positive_int(self.owner, "levels", levels), 256)
        if levels < 2:
            raise ValueError(f"{self.owner}: `levels` must be at least 2; got levels={levels}.")

    @property
    def config(self) -> dict:
        return {**super().config, "levels": self.levels}

    @property
    def max_tokens(self) -> int:
        """The number of pixels times channels of an image."""
        return int(np.prod(self.shape))

    def finish(self) -> bool:
        again = super().finish()
        self.state["levels"] = self.levels
        return again

    def restore(self, state: Mapping) -> None:
        self._same_option("levels", state.get("levels"), self.levels)
        super().restore(state)

    # From pixels to token ids and back.

    def target_tokens(self, raw: Sequence) -> Ragged:
        rows = [self._ids(image).reshape(-1) for image in self._checked(raw)]
        return Ragged.from_rows(rows)

    def inputs(self, values: Any) -> Any:
        from keras import ops

        levels = ops.cast(values, "int32") * self.levels // 256
        return ops.reshape(levels, (-1, self.max_tokens)) + SPECIAL  # [B, T]

    targets = inputs

    def references(self, values: Sequence) -> list:
        """Returns the images with the values of their levels, uint8."""
        return [self._image(self._ids(image)) for image in values]

    def decode(self, outputs: Any) -> list:
        """Returns images of token ids, uint8; pixels that were not generated are 0."""
        return [self._image(self._padded(np.asarray(row, np.int32))) for row in outputs]

    def decode_in_graph(self, outputs: Any) -> dict:
        import tensorflow as tf

        levels = tf.clip_by_value(outputs[:, : self.max_tokens] - SPECIAL, 0, self.levels - 1)
        return {"image": tf.reshape(tf.gather(tf.constant(self._values), levels), [-1, *self.shape])}

    @property
    def _values(self):
        """The value of each level, uint8 [levels]."""
        return np.rint(np.arange(self.levels) * 255 / (self.levels - 1)).astype(np.uint8)

    def _ids(self, image):
        return np.asarray(image, np.int32) * self.levels // 256 + SPECIAL

    def _padded(self, ids):
        return np.pad(ids[: self.max_tokens], (0, max(0, self.max_tokens - len(ids))))

    def _image(self, ids):
        return self._values[np.clip(ids - SPECIAL, 0, self.levels - 1)].reshape(self.shape)

    # As a target.

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        """Returns what each level of each pixel costs in bits by its share of the training images.

        Each level is counted once more than it occurs.
        """
        if values is None or not len(values):
            return {}
        counts = self._count_levels(values) + 1
        return {"histogram of each pixel": np.round(-np.log2(counts / counts.sum(1, keepdims=True)), 4).tolist()}

    def evaluate_baseline(self, fitted: Any, values: Any) -> dict[str, float]:
        counts = self._count_levels(values)
        return {"bits_per_dimension": float(np.sum(counts * np.array(fitted)) / max(counts.sum(), 1))}

    def _count_levels(self, values):
        """Returns how many images have each level at each pixel, int64 [T, levels]."""
        counts = np.zeros(self.max_tokens * self.levels, np.int64)
        for start in range(0, len(values), IMAGES_AT_ONCE):
            levels = self._ids(values[start : start + IMAGES_AT_ONCE]).reshape(-1, self.max_tokens) - SPECIAL  # [N, T]
            cells = levels + self.levels * np.arange(self.max_tokens)
            counts += np.bincount(cells.reshape(-1), minlength=len(counts))
        return counts.reshape(self.max_tokens, self.levels)

    def target_sizes(self) -> dict:
        size = self.levels + SPECIAL
        ids = {"pad_id": PAD_ID, "start_id": START_ID, "end_id": END_ID}
        names = {"vocabulary_size": size, "target_vocabulary_size": size}  # of a language model, of a seq2seq model
        return {**names, "max_length": self.max_tokens, "image_shape": self.shape, **ids}

    def weights(self, targets: Any, valid: Any) -> Any:
        """Returns float32 `[B, T]`: 1 for the pixels of valid examples."""
        from keras import ops

        return ops.broadcast_to(ops.cast(ops.expand_dims(valid, -1), "float32"), ops.shape(targets))

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        from kerazoo.training.losses import SparseCrossentropy

        return SparseCrossentropy(label_smoothing=label_smoothing)

    def metrics(self) -> list:
        from kerazoo.training.metrics import BitsPerDimension

        return [BitsPerDimension()]

    def search_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the options with sampling as the default search, and without the token that ends a sequence.

        Raises:
            ValueError: for options of a text.
        """
        for name in ("stop_strings", "prefix"):
            if options.get(name) is not None:
                raise ValueError(f"{self.owner}: `{name}` is for text; got {name}={options[name]!r}. Leave it out.")
        return {"search": "sample", **options, "forbidden": (END_ID,)}

    # As the target of a model without inputs.

    def prompts(self, values: Any, limit: int | None = None) -> tuple[list, list]:
        """Returns the upper halves of images, and the images with the values of their levels."""
        images = self.references(list(values if limit is None else values[sample_rows(len(values), limit)]))
        return [image[: len(image) // 2] for image in images], images

    def pack(self, values: Sequence) -> Any:
        images = self._checked(values)
        heights = {len(image) for image in images}
        if len(heights) > 1:
            raise ValueError(
                f"{self.owner}: the prompts of one batch must have the same number of rows; got {sorted(heights)}."
            )
        return np.stack(images) if images else np.zeros((0, 0, *self.shape[1:]), np.uint8)

    def encode(self, *packed: Any) -> Any:
        import tensorflow as tf

        (images,) = packed
        levels = tf.cast(images, tf.int32) * self.levels // 256
        size = tf.shape(images)[1] * self.shape[1] * self.shape[2]
        return tf.reshape(levels, [tf.shape(images)[0], size]) + SPECIAL

    def signature(self) -> list[tuple[list, str]]:
        return [([None, *self.shape[1:]], "uint8")]

    def read(self, text: str) -> Any:
        """Returns the upper half of the image in a file."""
        image = super().read(text)
        return image[: len(image) // 2]

    def _checked(self, values):
        """Returns images uint8 `[h, W, C]` of up to H rows."""
        images = [np.asarray(image) for image in values]
        for image in images:
            if image.ndim != 3 or image.shape[1:] != self.shape[1:] or len(image) > self.shape[0]:
                raise ValueError(
                    f"{self.owner}: an image must have shape {self.shape}, or fewer rows; got {image.shape}."
                )
            if image.dtype != np.uint8:
                raise TypeError(f"{self.owner}: pixels must be uint8, 0 to 255; got {image.dtype}.")
        return images
