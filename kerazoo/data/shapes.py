"""Choose the few static shapes that batches are padded to."""

import dataclasses

import numpy as np

GRID = 2000  # most candidate shapes; the search is quadratic in it
GAIN = 0.01  # a further shape must save this share of the cells, for each one is compiled on its own


@dataclasses.dataclass(frozen=True)
class Shape:
    """One static batch shape.

    Args:
        rows: Number of examples, fillers included.
        lengths: Dictionary of ragged feature to the length that all its rows are padded to; empty for dense data.
        segments: Most examples that share a row; 0 where each has a row of its own.
    """

    rows: int
    lengths: dict
    segments: int = 0

    @property
    def cells(self):
        """Token positions of one row, over all ragged features; 1 for dense data."""
        return sum(self.lengths.values()) or 1


def choose(lengths, rows_for, max_shapes):
    """Returns the shapes that hold every example with the fewest padded cells.

    The shapes form a chain: each is at least as long as the one before in every feature, so examples of one may always
    fill up a batch of the next. An example belongs to the first shape that holds it. Among all chains over a grid
    of quantiles of the lengths, dynamic programming finds the one with the fewest cells; a chain with fewer shapes is
    preferred where it costs hardly more.

    Args:
        lengths: Dictionary of feature to int array `[N]`, each at least 1.
        rows_for: Function from a dictionary of lengths to the rows of a batch of that shape.
        max_shapes: Most shapes.

    Returns:
        List of `Shape`, shortest first.
    """
    names = list(lengths)
    if not names:
        return [Shape(rows_for({}), {})]
    grids = [_candidates(lengths[name], max(2, int(GRID ** (1 / len(names))))) for name in names]
    fitting = _count_fitting(lengths, names, grids)
    points = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, len(names))  # [P, F]
    rows = np.array([rows_for(dict(zip(names, point))) for point in points.tolist()])
    chain = _cheapest_chain(points, fitting.reshape(-1), rows, max_shapes)
    return [Shape(int(rows[p]), dict(zip(names, points[p].tolist()))) for p in chain]


def assign(lengths, shapes):
    """Returns the index of the first shape that holds each example, int64 `[N]`, for one or more features."""
    holds = [
        np.all([lengths[name] <= length for name, length in shape.lengths.items()], axis=0) for shape in shapes
    ]  # [shapes, N]
    return np.argmax(holds, axis=0)


def _candidates(lengths, count):
    """Returns at most `count` of the lengths that occur, the longest among them."""
    occurring = np.unique(lengths)
    if len(occurring) <= count:
        return occurring
    half = count // 2
    crowded = np.quantile(lengths, np.linspace(0, 1, half), method="higher")
    spread = occurring[np.linspace(0, len(occurring) - 1, half).astype(int)]  # the long tail has few examples
    return np.unique(np.concatenate([crowded, spread]))


def _count_fitting(lengths, names, grids):
    """Returns how many examples fit into each point of the grid, `[G1, G2, ...]`."""
    sizes = [len(grid) for grid in grids]
    cells = np.ravel_multi_index([np.searchsorted(grid, lengths[name]) for name, grid in zip(names, grids)], sizes)
    counts = np.bincount(cells, minlength=int(np.prod(sizes))).reshape(sizes)
    for axis in range(len(sizes)):
        counts = np.cumsum(counts, axis=axis)
    return counts


def _cheapest_chain(points, fitting, rows, max_shapes):
    """Returns the indices of the points of the cheapest chain that ends in the last point."""
    cells = points.sum(axis=1)
    follows = np.all(points[:, None] >= points[None], axis=-1)  # [P, Q]: P may come after Q
    # What comes new into P, and the half batch on average that joins it from Q and is padded to P's length.
    step = (fitting[:, None] - fitting[None]) * cells[:, None] + (rows[:, None] // 2) * (cells[:, None] - cells[None])
    step = np.where(follows, step, np.inf)
    np.fill_diagonal(step, np.inf)
    cost = fitting * cells.astype(float)  # [P]: everything so far in one shape
    chains = [(cost[-1], [len(points) - 1])]
    origins = []
    for _ in range(max_shapes - 1):
        total = step + cost[None]
        origins.append(np.argmin(total, axis=1))
        cost = total.min(axis=1)
        chain = [len(points) - 1]
        for origin in reversed(origins):
            chain.append(int(origin[chain[-1]]))
        chains.append((cost[-1], chain[::-1]))
    best = chains[0]
    for candidate in chains[1:]:
        if candidate[0] < best[0] * (1 - GAIN):
            best = candidate
    return best[1]
