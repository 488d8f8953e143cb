"""Looks inside a model: does any logit see the token that it has to predict?"""

import numpy as np
from keras import ops

from kerazoo import _checks


def check_shift(model, inputs=None, length=7, batch_size=2, seed=0, tolerance=1e-4):
    """Proves that no logit of a model sees its own target or a later one.

    Each target is changed in turn; the logits up to and including its position must stay what they were, because a
    model shifts its targets by one before it reads them. That the next logit does change is checked too: a model that
    reads no targets at all would pass the first test for the wrong reason.

    Args:
        model: A model whose inputs are a dictionary with `"targets"`, int `[B, T]`.
        inputs: Inputs to try, with their own targets; the model's `build_inputs()` with random targets by default.
        length: Targets that are tried, at least 2.
        batch_size: Rows that are tried.
        seed: Seed of the random targets.
        tolerance: Largest difference of two logits that counts as equal.

    Returns:
        A dictionary with `"leak"`, the largest change where none may be, and `"reach"`, the smallest change of the
        following logit.

    Raises:
        ValueError: a logit sees its own target or a later one, or no target reaches the next logit; the message names
            the position.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("lstm_seq2seq", source_vocabulary_size=11, target_vocabulary_size=13)
    assert kz.inspect.check_shift(model)["leak"] < 1e-4
    ```
    """
    _checks.positive_int("check_shift", "length", length)
    rng = np.random.default_rng(seed)
    if inputs is None:
        inputs = model.build_inputs(batch_size=batch_size, length=length)
        vocabulary = ops.shape(model(inputs, training=False))[-1]
        inputs = _random_tokens(inputs, rng, vocabulary)
    targets = np.array(inputs["targets"])
    base = ops.convert_to_numpy(model(inputs, training=False))  # [B, T, V]
    leak, reach = 0.0, np.inf
    for position in range(targets.shape[1]):
        changed = targets.copy()
        changed[:, position] = np.where(targets[:, position] == base.shape[-1] - 1, base.shape[-1] - 2,
                                        base.shape[-1] - 1)
        logits = ops.convert_to_numpy(model({**inputs, "targets": changed}, training=False))
        difference = np.abs(logits - base).max(axis=(0, 2))  # [T]
        leak = max(leak, float(difference[: position + 1].max()))
        if leak > tolerance:
            seen = int(difference[: position + 1].argmax())
            raise ValueError(
                f"{type(model).__name__}: the logit at position {seen} sees the target at position {position}: it "
                f"changed by {leak:.3g}. Shift the targets by one (kerazoo.layers.shift_right) and mask the future."
            )
        if position + 1 < targets.shape[1]:
            reach = min(reach, float(difference[position + 1]))
    if reach <= 0:
        raise ValueError(f"{type(model).__name__}: a target does not reach the logit after it: it is not read at all.")
    return {"leak": leak, "reach": reach}


def _random_tokens(inputs, rng, vocabulary):
    # Special tokens have the lowest numbers; the rest is what real targets are made of.
    targets = rng.integers(min(4, vocabulary - 2), vocabulary, np.shape(inputs["targets"])).astype("int32")
    return {**inputs, "targets": targets}
