"""Augmentation by name: training examples are changed at random inside the training program, differently each time.

Most augmentations are Keras' own layers. What XLA cannot compile on TensorFlow (affine transformations, and the random
numbers of `MixUp`) or JAX (`RandomCrop`, which slices at random positions) is written with `keras.ops` here. Keras is
imported when an augmentation is made, so that the names are known without it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data.corpus import Corpus
from kerazoo.data.ragged import Ragged
from kerazoo.registry import Registry, argument_names

MAX_PIXEL = 255.0  # images are bytes
QUANTILES = 512  # points of the inverse distribution that mix-up samples from
KINDS = ("images", "tokens", "series", "frames")

AUGMENTATIONS = Registry("augmentation")
"""The table of augmentations: name to a dictionary of kind of data to the function that makes it.

Such a function takes a `Context` and the options, and returns a function of `(features, seeds)` that returns the
changed features.
"""


@dataclasses.dataclass(frozen=True)
class Context:
    """The data that an augmentation changes.

    Args:
        corpus: the training `Corpus`.
        features: tuple of strings. Names of the features of the kind that it changes.
        packed: bool. Whether several sequences share a row. Defaults to `False`.
    """

    corpus: Corpus
    features: tuple[str, ...]
    packed: bool = False


class Augment:
    """Changes the features of training batches, as a pure function of a seed and the number of the step.

    It has no state, so a resumed run changes its batches as a run without interruption. It is written with `keras.ops`
    and runs inside the compiled training program on TensorFlow and JAX. Dev and test data are never augmented.

    The kind of data follows from the corpus: `uint8 [N, H, W, C]` are images, a `Ragged` of integers are tokens, floats
    `[N, T]` or `[N, T, D]` are series and waveforms, a `Ragged` of vectors of floats is frames of sound.

    Args:
        items: list of strings `"NAME"` or `"NAME:OPTION=VALUE,OPTION=VALUE"`, applied in this order. For images: `flip`
            (mode), `shift` (max_shift, fill), `crop` (fraction), `affine` (degrees, zoom, shear, fill), `cutout` (rate,
            fraction), `contrast` (factor), `brightness` (factor), `mixup` (alpha), `patch_mask` (rate, size). For
            tokens: `word_dropout` (rate), `replacement` (rate, by, on), `permutation` (distance), `rotation`
            (max_shift). For series: `shift` (max_shift, fill), `amplitude` (factor). For frames of sound: `shift`
            (max_shift, fill), `spec_augment` (num_time_masks, time_width, num_frequency_masks, frequency_width,
            time_fraction).
        corpus: the training `Corpus`.
        seed: integer of at least 0. Defaults to `0`.
        packed: bool. Whether several sequences share a row. Defaults to `False`.

    Call arguments:
        features: dictionary of tensors, as `batch_fn` receives it.
        step: integer or scalar tensor. Number of the step among those of all epochs.

    Returns:
        The features. They contain `targets_read`, the input of a decoder, if it differs from `targets`, and
        `source_read` if a source differs from what an autoencoder is to make of it.

    Raises:
        ValueError: if a name or option is unknown, or does not fit the data.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    corpus = kz.data.Corpus({"source": kz.data.Ragged.from_rows([[5, 6, 7], [8, 9]])})
    augment = kz.data.Augment(["word_dropout:rate=0.5", "permutation:distance=1"], corpus, seed=3)
    print(augment({"source": np.array([[5, 6, 7], [8, 9, 0]])}, step=0))
    ```
    """

    def __init__(self, items: Sequence[str], corpus: Corpus, *, seed: int = 0, packed: bool = False):
        self.seed = _checks.non_negative_int("Augment", "seed", seed)
        found = features_by_kind(corpus)
        self.transforms = []
        for item in items:
            name, options = AUGMENTATIONS.parse(item)
            makers = AUGMENTATIONS.get(name)
            kind = next((kind for kind in found if kind in makers), None)
            if kind is None:
                present = " and ".join(found) or "neither images, tokens, series nor frames"
                fitting = ", ".join(name for kind in found for name in names(kind)) or "none"
                raise ValueError(f"Augment: {name!r} is not for this data, which holds {present}. Fitting: {fitting}.")
            AUGMENTATIONS.check_options(name, options, argument_names(makers[kind])[1:])
            self.transforms.append(makers[kind](Context(corpus, found[kind], packed), **options))

    def __call__(self, features: Mapping[str, Any], step: Any) -> Mapping[str, Any]:
        from kerazoo.layers.seeds import StepSeeds

        seeds = StepSeeds(self.seed, step)
        for transform in self.transforms:
            features = transform(features, seeds)
        return features


def names(kind: str) -> list[str]:
    """Returns the names of the augmentations for a kind of data: `"images"`, `"tokens"`, `"series"` or `"frames"`."""
    return [name for name in AUGMENTATIONS if kind in AUGMENTATIONS.get(name)]


def features_by_kind(corpus: Corpus) -> dict[str, tuple[str, ...]]:
    """Returns the names of the features of each kind of data in a corpus.

    Targets are images or series only if a source is of the same kind and rank; otherwise they are numbers.
    """
    found: dict[str, tuple[str, ...]] = {}
    ranks: dict[str, set[int]] = {}
    for name, feature in sorted(corpus.features.items(), key=lambda pair: pair[0] == "targets"):
        kind, rank = _kind(feature), feature.values.ndim if isinstance(feature, Ragged) else feature.ndim
        if kind is None or (name == "targets" and kind != "tokens" and rank not in ranks.get(kind, ())):
            continue
        found[kind] = (*found.get(kind, ()), name)
        ranks.setdefault(kind, set()).add(rank)
    return found


def _kind(feature):
    if isinstance(feature, Ragged):
        if np.issubdtype(feature.values.dtype, np.integer):
            return "tokens"
        return "frames" if feature.values.ndim == 2 else None
    if feature.ndim == 4:
        return "images"
    return "series" if feature.ndim in (2, 3) and np.issubdtype(feature.dtype, np.floating) else None


def _register(name, kind):
    def decorate(maker):
        makers = AUGMENTATIONS.get(name) if name in AUGMENTATIONS else AUGMENTATIONS.add(name, {})
        makers[kind] = maker
        return maker

    return decorate


# Images ----------------------------------------------------------------------------------------------------------


@_register("flip", "images")
def flip(context: Context, mode: str = "horizontal") -> Callable:
    """Mirrors half of the images: `"horizontal"`, `"vertical"`, or `"horizontal_and_vertical"`."""
    import keras

    return _images(context, keras.layers.RandomFlip(mode))


@_register("shift", "images")
def shift_images(context: Context, max_shift: int = 2, fill: str = "zero") -> Callable:
    """Moves images by up to `max_shift` pixels along both axes; `fill` is `"zero"`, `"edge"` or `"wrap"`."""
    from kerazoo import layers

    layer = layers.RandomShift((max_shift, max_shift), axes=(1, 2), fill=fill)
    return _each(context, lambda image, seeds: layer.transform(image, seeds))


@_register("crop", "images")
def crop(context: Context, fraction: float = 0.85) -> Callable:
    """Cuts a random part with `fraction` of each side out of each image and scales it up to the whole size."""
    import keras
    from keras import ops

    fraction = _checks.number("augment crop", "fraction", fraction, low=0, high=1, low_open=True)
    height, width = context.corpus.features[context.features[0]].shape[1:3]

    def window(x, axis, size, seeds):
        """Takes `size` consecutive positions along `axis` of x [B, ...], from a random one on for each image."""
        begins = keras.random.randint((ops.shape(x)[0],), 0, x.shape[axis] - size + 1, seed=seeds)
        positions = begins[:, None] + ops.arange(size, dtype="int32")  # [B, size]
        shape = (-1, *(size if each == axis else 1 for each in (1, 2, 3)))
        return ops.take_along_axis(x, ops.reshape(positions, shape), axis)

    def change(images, seeds):
        images = window(ops.cast(images, "float32"), 1, max(1, round(fraction * height)), seeds)
        images = window(images, 2, max(1, round(fraction * width)), seeds)
        return ops.image.resize(images, (height, width))

    return _each(context, change)


@_register("affine", "images")
def affine(
    context: Context, degrees: float = 10.0, zoom: float = 0.1, shear: float = 0.0, fill: str = "zero"
) -> Callable:
    """Rotates each image about its center by up to `degrees`, zooms it by up to `zoom` in or out, and slants it.

    A row at distance d from the center moves sideways by up to `shear` times d. Pixels are interpolated linearly once
    for all three; those from outside the image are 0 with `fill="zero"`, and those of its edge with `"edge"`.
    """
    import keras
    from keras import ops

    degrees = _checks.number("augment affine", "degrees", degrees, low=0, high=180)
    zoom = _checks.number("augment affine", "zoom", zoom, low=0, high=1, high_open=True)
    shear = _checks.number("augment affine", "shear", shear, low=0, high=1)
    fill = _checks.one_of("augment affine", "fill", fill, ("zero", "edge"))

    def change(images, seeds):
        shape = (ops.shape(images)[0], 1, 1)
        angle = keras.random.uniform(shape, -degrees, degrees, seed=seeds) * (np.pi / 180)
        scale = keras.random.uniform(shape, 1 - zoom, 1 + zoom, seed=seeds)
        slant = keras.random.uniform(shape, -shear, shear, seed=seeds)
        height, width = images.shape[1:3]
        down = ops.arange(height, dtype="float32")[:, None] - (height - 1) / 2  # from the center
        right = ops.arange(width, dtype="float32") - (width - 1) / 2
        # Where each pixel of the new image is read from.
        rows = (ops.cos(angle) * down - ops.sin(angle) * right) / scale + (height - 1) / 2
        columns = (ops.sin(angle) * down + ops.cos(angle) * right + slant * down) / scale + (width - 1) / 2
        images = _interpolated(ops.cast(images, "float32"), rows, columns, outside=fill == "edge")
        return ops.minimum(images, MAX_PIXEL)  # which rounding may exceed

    return _each(context, change)


def _interpolated(images, rows, columns, outside):
    """Returns images [B, H, W, C] at fractional positions [B, H, W]; 0 where they are outside, or the edge there."""
    from keras import ops

    height, width, channels = images.shape[1:]
    pixels = ops.reshape(images, (-1, height * width, channels))
    top, left = ops.floor(rows), ops.floor(columns)
    total = 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        share = (1 - ops.abs(rows - row)) * (1 - ops.abs(columns - column))
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width) | outside
        index = ops.clip(row, 0, height - 1) * width + ops.clip(column, 0, width - 1)
        index = ops.reshape(ops.cast(index, "int32"), (-1, height * width, 1))
        found = ops.reshape(ops.take_along_axis(pixels, index, axis=1), ops.shape(images))
        total = total + ops.where(inside, share, 0.0)[..., None] * found
    return total


@_register("cutout", "images")
def cutout(context: Context, rate: float = 0.5, fraction: float = 0.15) -> Callable:
    """Sets a rectangle of up to `fraction` of the area of an image to black, with probability `rate`."""
    import keras

    fraction = _checks.number("augment cutout", "fraction", fraction, low=0, high=1, low_open=True, high_open=True)
    rate = _checks.number("augment cutout", "rate", rate, low=0, high=1)
    scale = (fraction / 5, fraction)
    return _images(context, keras.layers.RandomErasing(rate, scale=scale, fill_value=0.0, value_range=(0, MAX_PIXEL)))


@_register("contrast", "images")
def contrast(context: Context, factor: float = 0.2) -> Callable:
    """Changes the contrast by a factor between `1 - factor` and `1 + factor`."""
    import keras

    return _images(context, keras.layers.RandomContrast(factor, value_range=(0, MAX_PIXEL)))


@_register("brightness", "images")
def brightness(context: Context, factor: float = 0.2) -> Callable:
    """Makes images lighter or darker by up to `factor` of the whole range."""
    import keras

    return _images(context, keras.layers.RandomBrightness(factor, value_range=(0, MAX_PIXEL)))


@_register("patch_mask", "images")
def patch_mask(context: Context, rate: float = 0.5, size: int = 4) -> Callable:
    """Hides patches of `size` by `size` pixels, each with probability `rate`, which an autoencoder is to restore.

    The targets of the loss stay as they are, so the autoencoder learns to fill in the patches (He et al. 2021,
    arXiv:2111.06377). It comes after other augmentations.
    """
    import keras
    from keras import ops

    rate = _checks.number("augment patch_mask", "rate", rate, low=0, high=1, high_open=True)
    size = _checks.positive_int("augment patch_mask", "size", size)

    def transform(features, seeds):
        read = {}
        for name in context.features:
            images = features[name]
            height, width = images.shape[1:3]
            grid = (ops.shape(images)[0], -(-height // size), -(-width // size), 1)
            kept = keras.random.uniform(grid, seed=seeds) >= rate
            kept = ops.repeat(ops.repeat(kept, size, axis=1), size, axis=2)[:, :height, :width]
            read[f"{name}_read"] = ops.where(kept, images, ops.zeros_like(images))
        return {**features, **read}

    return transform


@_register("mixup", "images")
def mixup(context: Context, alpha: float = 0.2) -> Callable:
    """Mixes each image with another one of the batch, with a weight from Beta(alpha, alpha).

    The targets are those of one of the two, sampled with the weights as probabilities. Cross-entropy is linear in the
    target, so the expected loss is that of mixed targets, and the loss stays as it is.
    """
    import keras
    from keras import ops

    alpha = _checks.number("augment mixup", "alpha", alpha, low=0, low_open=True)
    quantiles = _beta_quantiles(alpha)

    def transform(features, seeds):
        count = ops.shape(features[context.features[0]])[0]
        position = keras.random.uniform((count,), 0.0, len(quantiles) - 1.0, seed=seeds)
        low = ops.floor(position)
        index = ops.cast(low, "int32")
        table = ops.convert_to_tensor(quantiles)
        below, above = ops.take(table, index), ops.take(table, index + 1)
        weight = below + (position - low) * (above - below)  # [B]
        # Each image is mixed with the one that is a random number of rows further on.
        others = ops.mod(ops.arange(count, dtype="int32") + keras.random.randint((), 1, 1 << 30, seed=seeds), count)
        kept = keras.random.uniform((count,), seed=seeds) < weight
        changed = {}
        for name, value in features.items():
            other = ops.take(value, others, axis=0)
            if name in context.features:
                first = _expand_as(weight, value)
                changed[name] = first * ops.cast(value, "float32") + (1 - first) * ops.cast(other, "float32")
            else:
                changed[name] = ops.where(_expand_as(kept, value), value, other)
        return changed

    return transform


def _beta_quantiles(alpha):
    """Returns the quantiles of Beta(alpha, alpha) at even steps, float32 `[QUANTILES]`, for inverse sampling."""
    # The density has poles at both ends for alpha < 1: substituting x = sin^2(t) leaves none that matter.
    t = (np.arange(1 << 16) + 0.5) / (1 << 16) * (np.pi / 2)
    mass = (np.sin(t) * np.cos(t)) ** (2 * alpha - 1)
    total = np.cumsum(mass) / mass.sum()
    return np.interp(np.linspace(0, 1, QUANTILES), total, np.sin(t) ** 2).astype("float32")


# Tokens ----------------------------------------------------------------------------------------------------------


@_register("word_dropout", "tokens")
def word_dropout(context: Context, rate: float = 0.1, on: str | None = None) -> Callable:
    """Leaves out tokens with probability `rate`; the others close the gap."""
    from kerazoo import layers

    return _tokens("word_dropout", context, layers.WordDropout(rate), on, moves=True)


@_register("permutation", "tokens")
def permutation(context: Context, distance: int = 3, on: str | None = None) -> Callable:
    """Permutes tokens, none by more than `distance` positions."""
    from kerazoo import layers

    return _tokens("permutation", context, layers.WordPermutation(distance), on, moves=True)


@_register("replacement", "tokens")
def replacement(context: Context, rate: float = 0.1, by: str = "unknown", on: str | None = None) -> Callable:
    """Replaces tokens with probability `rate` by the unknown token, or with `by="random"` by any of the vocabulary.

    With `on="targets"` it changes the input of a decoder or language model, not the targets of the loss.
    """
    from kerazoo import layers

    _checks.one_of("augment replacement", "by", by, ("unknown", "random"))
    if by == "unknown":
        return _tokens("replacement", context, layers.WordReplacement(rate), on)
    values = context.corpus.ragged(_chosen("replacement", context, on)).values
    size = int(values.max(initial=0)) + 1
    layer = layers.WordReplacement(rate, None, vocabulary_size=max(size, 5), first_id=4)
    return _tokens("replacement", context, layer, on)


@_register("rotation", "tokens")
def rotation(context: Context, max_shift: int = 2, on: str | None = None) -> Callable:
    """Rotates sequences by up to `max_shift` positions: tokens that leave at one end enter at the other."""
    from keras import ops

    from kerazoo import layers

    if context.packed:
        raise ValueError("augment rotation: sequences that share a row cannot rotate; got packing=True.")
    name, layer = _chosen("rotation", context, on, moves=True), layers.RandomShift(max_shift)

    def transform(features, seeds):
        tokens = features[name]
        return {**features, name: layer.transform(tokens, seeds, padding_mask=ops.not_equal(tokens, 0))}

    return transform


def _tokens(name, context, layer, on, moves=False):
    feature = _chosen(name, context, on, moves)

    def transform(features, seeds):
        segments = features.get(f"{feature}_segments")
        changed = "targets_read" if feature == "targets" else feature  # the targets of the loss stay as they are
        tokens, moved = layer.transform(features.get(changed, features[feature]), seeds, segments)
        return {**features, changed: tokens, **({} if segments is None else {f"{feature}_segments": moved})}

    return transform


def _chosen(name, context, on, moves=False):
    """Returns the feature of tokens that is changed: the source if there is one."""
    feature = on or ("source" if "source" in context.features else context.features[0])
    _checks.one_of(f"augment {name}", "on", feature, context.features)
    if moves and feature == "targets":
        raise ValueError(
            f"augment {name}: the input of a decoder must stay aligned with its targets, so this is for sources only; "
            f"got on={feature!r}. Take replacement:on=targets."
        )
    return feature


# Series ----------------------------------------------------------------------------------------------------------


@_register("shift", "series")
def shift_series(context: Context, max_shift: int = 2, fill: str = "edge") -> Callable:
    """Slides series and waveforms in time by up to `max_shift` steps; `fill` is `"edge"`, `"zero"` or `"wrap"`."""
    from kerazoo import layers

    layer = layers.RandomShift(max_shift, fill=fill)
    name = "source" if "source" in context.features else context.features[0]  # the future to predict is not shifted
    return lambda features, seeds: {**features, name: layer.transform(features[name], seeds)}


@_register("amplitude", "series")
def amplitude(context: Context, factor: float = 0.1) -> Callable:
    """Multiplies all series or waveforms of an example by one number between `1 - factor` and `1 + factor`."""
    import keras
    from keras import ops

    factor = _checks.number("augment amplitude", "factor", factor, low=0, high=1, low_open=True)

    def transform(features, seeds):
        count = ops.shape(features[context.features[0]])[0]
        scale = keras.random.uniform((count,), 1 - factor, 1 + factor, seed=seeds)
        changed = {name: features[name] * _expand_as(scale, features[name]) for name in context.features}
        return {**features, **changed}

    return transform


# Frames of sound -------------------------------------------------------------------------------------------------


@_register("shift", "frames")
def shift_frames(context: Context, max_shift: int = 10, fill: str = "edge") -> Callable:
    """Slides the frames of a sound by up to `max_shift` frames; `fill` is `"edge"`, `"zero"` or `"wrap"`."""
    from kerazoo import layers

    return _frames(context, layers.RandomShift(max_shift, fill=fill))


@_register("spec_augment", "frames")
def spec_augment(
    context: Context,
    num_time_masks: int = 2,
    time_width: int = 20,
    num_frequency_masks: int = 2,
    frequency_width: int = 8,
    time_fraction: float = 0.2,
) -> Callable:
    """Sets stretches of time and bands of frequencies to their mean (SpecAugment, arXiv:1904.08779)."""
    from kerazoo import layers

    sizes = (num_time_masks, time_width, num_frequency_masks, frequency_width)
    return _frames(context, layers.SpecAugment(*sizes, time_fraction=time_fraction))


def _frames(context, layer):
    """Applies a layer to the frames of inputs; those of a target stay as they are."""
    names = [name for name in context.features if name != "targets"]

    def transform(features, seeds):
        changed = {name: layer.transform(features[name], seeds, features.get(f"{name}_mask")) for name in names}
        return {**features, **changed}

    return transform


def _each(context, change):
    def transform(features, seeds):
        return {**features, **{name: change(features[name], seeds) for name in context.features}}

    return transform


def _images(context, layer):
    """Applies one of Keras' layers to images."""
    from keras import ops

    def change(images, seeds):
        images = ops.cast(images, "float32")
        if not layer.built:
            layer.build(images.shape)
        transformation = layer.get_random_transformation(images, training=True, seed=seeds)
        return ops.cast(layer.transform_images(images, transformation, training=True), "float32")

    return _each(context, change)


def _expand_as(values, x):
    """Gives `values` [B] as many axes as `x` has."""
    from keras import ops

    return ops.reshape(values, (-1,) + (1,) * (len(x.shape) - 1))
