"""The options of a model in a run: those that its task determines, and those that Keras refuses."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from kerazoo import _checks
from kerazoo.layers import backbone_encoder

DETERMINED = (
    "pad_id", "start_id", "end_id", "num_classes", "output_size", "input_shape", "output_length", "num_values",
    "quantiles", "stop",
)  # fmt: skip


def check(owner: str, sizes: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Refuses options that contradict the data, or that no run can have.

    Args:
        owner: string. The task that error messages name.
        sizes: mapping. The arguments of the model that the task determines.
        overrides: mapping. The options that were given.

    Raises:
        ValueError: for the first such option.
    """
    for name, value in overrides.items():
        size = sizes.get(name)
        if name in DETERMINED and size is not None and _plain(value) != _plain(size):
            raise ValueError(f"{owner}: its data determines `{name}`={size!r}; got {name}={value!r}. Leave it out.")
        if name.endswith("vocabulary_size") and isinstance(size, int) and isinstance(value, int) and value < size:
            raise ValueError(f"{owner}: `{name}` must be at least {size}, as the data has; got {name}={value!r}.")
        if name.endswith("_layers") and isinstance(value, int):
            _checks.not_above(owner, name, value, _checks.MAX_LAYERS)
        if name == "copy" and value and not sizes.get("share_embeddings"):
            raise ValueError(
                f"{owner}: `copy` needs one vocabulary for source and targets; got copy={value!r}. Set "
                "share_vocabulary=True."
            )
        if name == "head_activation" and value not in (None, "linear"):
            raise ValueError(
                f"{owner}: `head_activation` must be None in a run, whose losses and predictions take logits; got "
                f"head_activation={value!r}. Leave it out."
            )


def check_images(owner: str, encoder: str, image: Any) -> None:
    """Refuses images that a network of `keras.applications` cannot read.

    Args:
        owner: string. The task that error messages name.
        encoder: string. The name of the encoder in a composed model.
        image: `kerazoo.tasks.ImageFeature` that it reads.

    Raises:
        ValueError: if they are too small, or not in [0, 1].
    """
    if encoder != "backbone":
        return
    if image.preprocess == "standardise":
        raise ValueError(
            f"{owner}: `preprocess` must be 'scale' for the encoder backbone, which brings images in [0, 1] to the "
            f"values of its network; got preprocess={image.preprocess!r}. Leave it out."
        )
    height, width, _ = image.shape
    if min(height, width) < backbone_encoder.MIN_SIZE:
        raise ValueError(
            f"{owner}: `height` and `width` must be at least {backbone_encoder.MIN_SIZE} for the encoder backbone; got "
            f"images of {height} x {width} pixels. Set height=64 and set width=64."
        )


@contextlib.contextmanager
def refused_by_keras(name: str, overrides: Mapping[str, Any]) -> Iterator[None]:
    """Turns an error that Keras raises for the given options into one that names them.

    Args:
        name: string. The name of the model.
        overrides: mapping. The options that were given; without any, an error is not theirs.

    Raises:
        ValueError: if Keras refuses the options.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        if not overrides or not _raised_in(error, "keras"):
            raise
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"{name}: cannot be built with the options {dict(overrides)}: {reason}") from error


def _raised_in(error, package):
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "").split(".")[0] == package


def _plain(value):
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value
