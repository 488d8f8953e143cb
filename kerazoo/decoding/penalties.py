"""What a hypothesis is ranked by: its log-probability over a function of its length."""

from keras import ops

LENGTH_PENALTIES = ("gnmt", "power", "none")


def length_divisor(kind, alpha, lengths):
    """Returns what the log-probability of a hypothesis is divided by.

    Args:
        kind: `"gnmt"` for ((5 + n) / 6) ** alpha of Wu et al. (2016, arXiv 1609.08144), `"power"` for n ** alpha,
            `"none"` for 1.
        alpha: Strength, at least 0.
        lengths: Tokens n of each hypothesis with its end token, at least 1, any shape.

    Returns:
        float32 of the shape of `lengths`.
    """
    lengths = ops.cast(lengths, "float32")
    if kind == "gnmt":
        return ops.power((5.0 + lengths) / 6.0, alpha)
    if kind == "power":
        return ops.power(lengths, alpha)
    return ops.ones_like(lengths)
