"""What each named augmentation does to the features of a batch, given seeds; loaded when one is used.

A maker takes the options of the command line and a `Site`, and returns a function of `(features, seeds)` that returns
the changed features. Most of them are Keras' own layers; what XLA cannot compile on TensorFlow (their affine moves, and
the draws of `MixUp`) or JAX (`RandomCrop`, which cuts at drawn places) is made of `keras.ops` here.
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from kerazoo import _checks, layers

TOP = 255.0  # images are bytes; they are scaled to [0, 1] behind this
GRID = 512  # points of the inverse distribution that mix-up draws from


@dataclasses.dataclass(frozen=True)
class Site:
    """Where an augmentation works.

    Args:
        corpus: The training corpus.
        features: Names of the features of the kind that it changes.
        packed: Whether several sequences share a row.
    """

    corpus: object
    features: tuple
    packed: bool = False


def flip(site, mode="horizontal"):
    """Mirrors every other image: `"horizontal"` left and right, `"vertical"`, or `"horizontal_and_vertical"`."""
    return _images(site, keras.layers.RandomFlip(mode))


def shift_images(site, max_shift=2, fill="zero"):
    """Moves images by up to `max_shift` pixels along both axes; `fill` is `"zero"`, `"edge"` or `"wrap"`."""
    layer = layers.RandomShift((max_shift, max_shift), axes=(1, 2), fill=fill)
    return _each(site, lambda image, seeds: layer.transform(image, seeds))


def crop(site, share=0.85):
    """Cuts out of each image a part that has `share` of each side, and scales it up again."""
    share = _checks.number("augment crop", "share", share, low=0, high=1, low_open=True)
    height, width = site.corpus.features[site.features[0]].shape[1:3]

    def some(x, axis, size, seeds):
        """Takes `size` places in a row along `axis` of x [B, ...], from another one on for each image."""
        room = x.shape[axis] - size
        begins = keras.random.randint((ops.shape(x)[0],), 0, room + 1, seed=seeds)
        places = begins[:, None] + ops.arange(size, dtype="int32")  # [B, size]
        return ops.take_along_axis(x, ops.reshape(places, (-1, *(size if a == axis else 1 for a in (1, 2, 3)))), axis)

    def change(images, seeds):
        images = some(ops.cast(images, "float32"), 1, max(1, round(share * height)), seeds)
        images = some(images, 2, max(1, round(share * width)), seeds)
        return ops.image.resize(images, (height, width))

    return _each(site, change)


def cutout(site, rate=0.5, share=0.15):
    """Blackens a rectangle of up to `share` of the area of an image, with probability `rate`."""
    share = _checks.number("augment cutout", "share", share, low=0, high=1, low_open=True, high_open=True)
    rate = _checks.number("augment cutout", "rate", rate, low=0, high=1)
    layer = keras.layers.RandomErasing(rate, scale=(share / 5, share), fill_value=0.0, value_range=(0, TOP))
    return _images(site, layer)


def contrast(site, factor=0.2):
    """Changes the contrast by a factor between `1 - factor` and `1 + factor`."""
    return _images(site, keras.layers.RandomContrast(factor, value_range=(0, TOP)))


def brightness(site, factor=0.2):
    """Makes images lighter or darker by up to `factor` of the whole range."""
    return _images(site, keras.layers.RandomBrightness(factor, value_range=(0, TOP)))


def mixup(site, alpha=0.2):
    """Mixes each image with another of the batch, the share drawn from Beta(alpha, alpha).

    The class is drawn from the two with the shares as odds. Cross-entropy is linear in the target, so the expected loss
    is that of mixed classes, and the loss need not know of them.
    """
    alpha = _checks.number("augment mixup", "alpha", alpha, low=0, low_open=True)
    shares = _beta_quantiles(alpha)
    (image,) = site.features

    def transform(features, seeds):
        count = ops.shape(features[image])[0]
        place = keras.random.uniform((count,), 0.0, len(shares) - 1.0, seed=seeds)
        low = ops.floor(place)
        at = ops.cast(low, "int32")
        table = ops.convert_to_tensor(shares)
        mix = ops.take(table, at) + (place - low) * (ops.take(table, at + 1) - ops.take(table, at))  # [B]
        # Everyone meets the one that stands a random number of places further on.
        others = ops.mod(ops.arange(count, dtype="int32") + keras.random.randint((), 1, 1 << 30, seed=seeds), count)
        kept = keras.random.uniform((count,), seed=seeds) < mix
        changed = {}
        for name, value in features.items():
            other = ops.take(value, others, axis=0)
            if name == image:
                weight = _along(mix, value)
                changed[name] = weight * ops.cast(value, "float32") + (1 - weight) * ops.cast(other, "float32")
            else:
                changed[name] = ops.where(_along(kept, value), value, other)
        return changed

    return transform


def word_dropout(site, rate=0.1, on=None):
    """Leaves out tokens with probability `rate`; the others close the gap."""
    return _tokens("word_dropout", site, layers.WordDropout(rate), on, moves=True)


def permutation(site, distance=3, on=None):
    """Lets tokens change places, none by more than `distance`."""
    return _tokens("permutation", site, layers.WordPermutation(distance), on, moves=True)


def replacement(site, rate=0.1, by="unknown", on=None):
    """Replaces tokens with probability `rate` by the unknown token, or with `by="random"` by any of the vocabulary.

    With `on="targets"` it changes what a decoder or language model reads, not what it learns to write.
    """
    _checks.one_of("augment replacement", "by", by, ("unknown", "random"))
    if by == "unknown":
        return _tokens("replacement", site, layers.WordReplacement(rate), on)
    values = site.corpus.features[_chosen("replacement", site, on)].values
    size = int(values.max(initial=0)) + 1
    layer = layers.WordReplacement(rate, None, vocabulary_size=max(size, 5), first_id=4)
    return _tokens("replacement", site, layer, on)


def rotation(site, max_shift=2, on=None):
    """Rotates sequences by up to `max_shift` places: what falls out at one end comes in at the other."""
    if site.packed:
        raise ValueError("augment rotation: sequences that share a row cannot rotate; got packing=True.")
    name, layer = _chosen("rotation", site, on, moves=True), layers.RandomShift(max_shift)

    def transform(features, seeds):
        tokens = features[name]
        return {**features, name: layer.transform(tokens, seeds, padding_mask=ops.not_equal(tokens, 0))}

    return transform


def shift_series(site, max_shift=2, fill="edge"):
    """Slides series and waveforms in time by up to `max_shift` steps; `fill` is `"edge"`, `"zero"` or `"wrap"`."""
    layer = layers.RandomShift(max_shift, fill=fill)
    name = "source" if "source" in site.features else site.features[0]  # what is to be foretold stays where it is
    return lambda features, seeds: {**features, name: layer.transform(features[name], seeds)}


def amplitude(site, factor=0.1):
    """Multiplies all series or waveforms of an example by one number between `1 - factor` and `1 + factor`."""
    factor = _checks.number("augment amplitude", "factor", factor, low=0, high=1, low_open=True)

    def transform(features, seeds):
        count = ops.shape(features[site.features[0]])[0]
        drawn = keras.random.uniform((count,), 1 - factor, 1 + factor, seed=seeds)
        return {**features, **{name: features[name] * _along(drawn, features[name]) for name in site.features}}

    return transform


def _each(site, change):
    def transform(features, seeds):
        return {**features, **{name: change(features[name], seeds) for name in site.features}}

    return transform


def _images(site, layer):
    return _each(site, _keras(layer))


def _keras(layer):
    """One of Keras' layers for images as a function of `(images, seeds)`."""

    def change(images, seeds):
        images = ops.cast(images, "float32")
        if not layer.built:
            layer.build(images.shape)
        drawn = layer.get_random_transformation(images, training=True, seed=seeds)
        return ops.cast(layer.transform_images(images, drawn, training=True), "float32")

    return change


def _tokens(name, site, layer, on, moves=False):
    feature = _chosen(name, site, on, moves)

    def transform(features, seeds):
        segments = features.get(f"{feature}_segments")
        read = "targets_read" if feature == "targets" else feature  # what is learnt stays as it is
        tokens, moved = layer.transform(features.get(read, features[feature]), seeds, segments)
        return {**features, read: tokens, **({} if segments is None else {f"{feature}_segments": moved})}

    return transform


def _chosen(name, site, on, moves=False):
    """The feature of tokens that is changed: the source where there is one."""
    feature = on or ("source" if "source" in site.features else site.features[0])
    _checks.one_of(f"augment {name}", "on", feature, site.features)
    if moves and feature == "targets":
        raise ValueError(
            f"augment {name}: what is read must stay beside what is learnt, so it works on sources only; got "
            f"on={feature!r}. Take replacement:on=targets."
        )
    return feature


def _along(values, x):
    """Gives `values` [B] as many axes as `x` has."""
    return ops.reshape(values, (-1,) + (1,) * (len(x.shape) - 1))


def _beta_quantiles(alpha):
    """The quantiles of Beta(alpha, alpha) at even steps, float32 `[GRID]`: a uniform draw looks its share up in it."""
    # The density has poles at both ends for alpha < 1: substituting x = sin^2(t) leaves none that matter.
    t = (np.arange(1 << 16) + 0.5) / (1 << 16) * (np.pi / 2)
    mass = (np.sin(t) * np.cos(t)) ** (2 * alpha - 1)
    total = np.cumsum(mass) / mass.sum()
    return np.interp(np.linspace(0, 1, GRID), total, np.sin(t) ** 2).astype("float32")


IMAGES = {
    "flip": flip,
    "shift": shift_images,
    "crop": crop,
    "cutout": cutout,
    "contrast": contrast,
    "brightness": brightness,
    "mixup": mixup,
}
TOKENS = {"word_dropout": word_dropout, "replacement": replacement, "permutation": permutation, "rotation": rotation}
SERIES = {"shift": shift_series, "amplitude": amplitude}
MAKERS = {"images": IMAGES, "tokens": TOKENS, "series": SERIES}
