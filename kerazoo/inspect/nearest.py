"""The nearest of some vectors to others, by the cosine."""

from typing import Any

import numpy as np

from kerazoo import _checks


def nearest(vectors: Any, queries: Any, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors with the largest cosine to each query, the nearest first.

    Args:
        vectors: float array `[N, D]`.
        queries: float array `[Q, D]`.
        count: integer, above 0. How many are returned, at most N. Defaults to `5`.

    Returns:
        A pair of their rows, int64 `[Q, count]`, and their cosines, float32 `[Q, count]`.

    Raises:
        ValueError: if the widths differ.

    Example:

    ```python
    import kerazoo as kz
    import numpy as np

    rows, cosines = kz.inspect.nearest(np.eye(3), np.array([[0.0, 2.0, 1.0]]), count=2)
    assert rows.tolist() == [[1, 2]]
    ```
    """
    vectors, queries = (np.asarray(each, np.float32) for each in (vectors, queries))
    _checks.positive_int("nearest", "count", count)
    if vectors.ndim != 2 or queries.ndim != 2 or vectors.shape[1] != queries.shape[1]:
        raise ValueError(
            f"nearest: `queries` must have the width of `vectors`; got shapes {queries.shape} and {vectors.shape}."
        )
    cosines = _normalized(queries) @ _normalized(vectors).T  # [Q, N]
    rows = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return rows, np.take_along_axis(cosines, rows, axis=1)


def _normalized(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
