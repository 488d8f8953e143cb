"""The mean of the weights of several checkpoints of one run."""

from typing import Any

import keras
import numpy as np

from kerazoo import _checks
from kerazoo.training import CheckpointStore


def average_checkpoints(model: keras.Model, store: CheckpointStore, count: int) -> dict[str, Any]:
    """Loads the mean of the newest checkpoints from ends of epochs into a built model.

    Each weight is the arithmetic mean of its values after the last `count` epochs, or after all that the store kept.
    The weights that training moves around an optimum cancel out, which often gives a better model than each of them.
    Variables that are no floating-point numbers, such as seeds, are those of the newest checkpoint.

    Args:
        model: A built `keras.Model`.
        store: The `kerazoo.training.CheckpointStore` of its training, made with `keep_epochs`.
        count: int, above 0. How many checkpoints are averaged at most.

    Returns:
        The state of the newest of them, with their names as `checkpoints`.

    Raises:
        ValueError: if the model is not built.
        CheckpointError: if there is no checkpoint from the end of an epoch, or one is damaged or does not fit.

    Example:

    ```python
    import keras

    import kerazoo as kz

    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    store = kz.training.CheckpointStore("checkpoints", keep_epochs=2)
    for epoch in (1, 2):
        store.save(model, {"step": 7 * epoch, "epoch": epoch, "position": 0})
    print(kz.transfer.average_checkpoints(model, store, 2)["checkpoints"])
    ```

    Reference:
        Vaswani et al. (2017), Attention Is All You Need, section 6.1, arXiv:1706.03762.
    """
    _checks.positive_int("average_checkpoints", "count", count)
    if not model.built:
        raise ValueError(f"average_checkpoints: the model must be built first; got {model.name!r}.")
    names = store.epoch_ends()[-count:]
    if not names:
        raise _checks.CheckpointError(f"{store.directory}: there is no checkpoint of a whole epoch here yet.")
    values: list[np.ndarray] = []
    sums: list[np.ndarray] = []
    for name in names:
        values = store.values(name, model)
        sums = [a + b for a, b in zip(sums, map(_wide, values), strict=True)] if sums else [*map(_wide, values)]
    for variable, newest, total in zip(model.variables, values, sums, strict=True):
        variable.assign(newest if newest.dtype.kind in "biu" else total / len(names))
    return {**store.layout(names[-1])["state"], "checkpoints": names}


def _wide(value: np.ndarray) -> np.ndarray:
    """Returns a value in the precision of its sum."""
    return value.astype("float64")
