"""How the pixels of images reach a model: as parts of 1, or standardised by the training images."""

import numpy as np

from kerazoo.tasks import preprocessing

TOP = 255.0  # images are stored as bytes and scaled to [0, 1] inside the compiled program


def option(owner, kind, preprocess, restored):
    """Returns the option `preprocess` of a task of images: None or `"scale"` to [0, 1], or `"standardise"` after it.

    `"standardise"` brings every channel to mean 0 and deviation 1 by the numbers of the training images alone.
    """
    name, _ = preprocessing.chosen(owner, "images", preprocess, restored)
    if name == "standardise" and kind == "autoencoder":
        raise ValueError(
            f"{owner}: an autoencoder gives pixels in [0, 1] back, and standardised ones are not; got "
            "preprocess='standardise'. Leave the option out, or set preprocess=scale."
        )
    return preprocess and str(preprocess)


def standard(chunks):
    """Returns the facts of training images that are standardised, from counts of the 256 values of each channel."""
    counts = 0
    for chunk in chunks:
        shape, names = list(chunk.columns["image"].shape[1:]), list(chunk.columns["names"])
        channels = np.reshape(chunk.columns["image"], (-1, shape[-1])).T
        counts = counts + np.stack([np.bincount(channel, minlength=256) for channel in channels])  # [C, 256]
    values, shares = np.arange(256) / TOP, counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    deviation = np.sqrt(np.sum(shares * (values - mean[:, None]) ** 2, axis=1))
    fitted = {"mean": mean.tolist(), "deviation": np.where(deviation > 0, deviation, 1.0).tolist()}
    return {"shape": shape, "names": names, "preprocess": "standardise", **fitted}
