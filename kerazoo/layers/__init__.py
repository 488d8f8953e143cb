"""Building blocks: each is useful with nothing else from kerazoo."""

from kerazoo.layers.sequences import causal_mask, last_real, masked_mean, padding_mask, roll, shift_right

__all__ = [
    "causal_mask",
    "last_real",
    "masked_mean",
    "padding_mask",
    "roll",
    "shift_right",
]
