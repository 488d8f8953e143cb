"""Padding masks: boolean, True where a position is valid, that is, no padding."""

from typing import Any


def first_mask(*masks: Any) -> Any:
    """Returns the first mask that is given, or None.

    A layer passes its `padding_mask` first and then the masks that Keras fills in: `mask` if the call has one tensor
    argument, `{argument}_mask` if it has several. So an explicit mask takes precedence.

    Args:
        *masks: bool tensors `[B, T]` or None.
    """
    return next((mask for mask in masks if mask is not None), None)


def encoded_mask(mask: Any) -> dict[str, Any]:
    """Returns the Keras masks of an encoder's output: only "sequence" has one.

    Without this Keras would attach the mask of the inputs to the first output in alphabetical order, "mask".

    Args:
        mask: bool tensor `[B, S]` or None, the Keras mask of the inputs.
    """
    return {"mask": None, "sequence": mask}
