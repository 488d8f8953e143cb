"""Whether a logit of a model depends on the token that it predicts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from kerazoo import _checks


def check_shift(
    model: Any,
    inputs: Mapping[str, Any] | None = None,
    *,
    length: int = 7,
    batch_size: int = 2,
    seed: int = 0,
    tolerance: float = 1e-4,
) -> dict[str, float]:
    """Checks that no logit of a model depends on its own target or a later one.

    Each target is changed, one after another. The logits up to and including its position must not change, because a
    model shifts its targets by one. The next logit must change: a model that ignores its targets has no leak, but
    predicts nothing from them either.

    Args:
        model: a model whose inputs are a dictionary with `"targets"`, an integer tensor `[B, T]`.
        inputs: dictionary. The inputs of the check, `None` for `model.build_inputs()` with random targets. Defaults to
            `None`.
        length: integer, at least 2. Number of targets without `inputs`. Defaults to `7`.
        batch_size: positive integer. Number of rows without `inputs`. Defaults to `2`.
        seed: non-negative integer. Seed of the random targets. Defaults to `0`.
        tolerance: non-negative float. Maximum difference of two equal logits. Defaults to `1e-4`.

    Returns:
        A dictionary with `"leak"`, the largest change of a logit that must not change, and `"reach"`, the smallest
        change of the next logit.

    Raises:
        ValueError: if a logit depends on its own target or a later one, or if no target changes the next logit; the
            message names the position.

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
        changed[:, position] = np.where(
            targets[:, position] == base.shape[-1] - 1, base.shape[-1] - 2, base.shape[-1] - 1
        )
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
