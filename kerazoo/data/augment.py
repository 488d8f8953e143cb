"""Augmentation by name: training examples are changed at random, each time anew, inside the training program."""

import ast
import inspect

import numpy as np

from kerazoo import _checks
from kerazoo.data.ragged import Ragged

# The names, so that a wrong one is told before Keras is loaded; `augmentations.MAKERS` makes them.
NAMES = {
    "images": ("flip", "shift", "crop", "cutout", "contrast", "brightness", "mixup"),
    "tokens": ("word_dropout", "replacement", "permutation", "rotation"),
    "series": ("shift", "amplitude"),
}


class Augment:
    """Changes the features of training batches, as a pure function of a seed and the number of the step.

    Nothing of it is kept in a checkpoint: a run that goes on changes its batches as one without interruption would. It
    is written with `keras.ops`, so it runs inside the compiled training program on TensorFlow and on JAX. Dev and test
    data never come here.

    Args:
        items: List of strings `"NAME"` or `"NAME:OPTION=VALUE,OPTION=VALUE"`, applied in this order. For images
            (`uint8 [N, H, W, C]`): `flip` (mode), `shift` (max_shift, fill), `crop` (share), `cutout` (rate, share),
            `contrast` (factor), `brightness` (factor), `mixup` (alpha). For tokens: `word_dropout` (rate),
            `replacement` (rate, by, on), `permutation` (distance), `rotation` (max_shift). For series and waveforms
            (floats `[N, T]` or `[N, T, D]`): `shift` (max_shift, fill), `amplitude` (factor).
        corpus: The training `Corpus`, which tells what kind of data it is.
        seed: Non-negative integer.
        packed: Whether several sequences share a row.

    Call arguments:
        features: Dictionary of tensors, as `batch_fn` takes it.
        step: Number of the step among those of all epochs, an integer or a scalar tensor.

    Returns:
        The features; `targets_read` beside `targets` where what a model reads is not what it learns.

    Raises:
        ValueError: A name or option is unknown, or does not fit the data.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    corpus = kz.data.Corpus({"source": kz.data.Ragged.from_rows([[5, 6, 7], [8, 9]])})
    augment = kz.data.Augment(["word_dropout:rate=0.5", "permutation:distance=1"], corpus, seed=3)
    print(augment({"source": np.array([[5, 6, 7], [8, 9, 0]])}, step=0))
    ```
    """

    def __init__(self, items, corpus, seed=0, packed=False):
        from kerazoo.data import augmentations

        self.seed = _checks.non_negative_int("Augment", "seed", seed)
        found = kinds(corpus)
        self.transforms = []
        for item in items:
            name, options = parse(item)
            kind = next((kind for kind in found if name in NAMES[kind]), None)
            if kind is None:
                there = " and ".join(found) or "neither images, tokens nor series"
                fitting = ", ".join(name for kind in found for name in NAMES[kind]) or "none"
                raise ValueError(f"augment: {name!r} is not for this data, which holds {there}. Fitting: {fitting}.")
            maker = augmentations.MAKERS[kind][name]
            known = list(inspect.signature(maker).parameters)[1:]
            for option in options:
                if option not in known:
                    raise _checks.unknown(f"option of augment {name}:", option, known, ", ".join(known))
            site = augmentations.Site(corpus, found[kind], packed)
            self.transforms.append(maker(site, **options))

    def __call__(self, features, step):
        from kerazoo.layers.seeds import StepSeeds

        seeds = StepSeeds(self.seed, step)
        for transform in self.transforms:
            features = transform(features, seeds)
        return features


def parse(item):
    """Returns the name and the dictionary of options of `"NAME:OPTION=VALUE,..."`; values are Python literals or text.

    Raises:
        ValueError: There is no such augmentation, or the options are not written like that.
    """
    name, _, rest = item.partition(":")
    known = sorted(set().union(*NAMES.values()))
    if name not in known:
        raise _checks.unknown("augmentation", name, known, ", ".join(known))
    options = {}
    for part in filter(None, rest.split(",")):
        option, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"augment: must be NAME:OPTION=VALUE,OPTION=VALUE; got {item!r}.")
        try:
            options[option] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[option] = value
    return name, options


def kinds(corpus):
    """Returns the kinds of data in a corpus, as a dictionary of kind to the names of its features."""
    found = {}
    for name, feature in corpus.features.items():
        kind = _kind(feature)
        if kind:
            found[kind] = (*found.get(kind, ()), name)
    return found


def _kind(feature):
    if isinstance(feature, Ragged):
        return "tokens" if np.issubdtype(feature.values.dtype, np.integer) else None
    if feature.ndim == 4:
        return "images"
    return "series" if feature.ndim in (2, 3) and np.issubdtype(feature.dtype, np.floating) else None
