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


def coverage_score(coverage, source_mask=None):
    """Returns how evenly a source was attended to: the sum over its positions of log(min(coverage, 1)).

    Args:
        coverage: Attention that each position got from all tokens of a hypothesis, float32 [..., S].
        source_mask: Which positions are real, booleans [B, S] for coverage [B, K, S]; all by default.

    Returns:
        float32 [...], at most 0. A position without attention counts log(1e-9), so that one more of them is worse.

    Reference:
        Wu et al. (2016), Google's Neural Machine Translation System, arXiv 1609.08144.
    """
    each = ops.log(ops.clip(coverage, 1e-9, 1.0))
    if source_mask is not None:
        each = ops.where(source_mask[:, None, :], each, 0.0)
    return ops.sum(each, axis=-1)
