"""Byte-pair merges inside the graph: all pieces at once, one merge each in every turn of a loop."""

import numpy as np
import tensorflow as tf

PLACE_BITS = 40  # the rank of a merge and the place of a pair share one number of 64 bits
NEVER = np.int64(2**62)


class Merges:
    """Applies learnt merges of pairs of ids, the earliest learnt first, the leftmost first among equals.

    That is the order of the byte-pair encoding of Sennrich et al. (2016), arXiv 1508.07909. Every piece is merged by
    itself. With dropout each possible merge is left out with a probability in every turn, and a piece is done when none
    is left, as in Provilkov et al. (2020), arXiv 1910.13267.

    Args:
        pairs: Integers `[M, 2]`: the ids that are merged, in the order in which they were learnt.
        merged: Integers `[M]`: the id that each pair becomes.
        size: Number of ids.
    """

    def __init__(self, pairs, merged, size):
        pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
        keys = pairs[:, 0] * size + pairs[:, 1]
        order = np.argsort(keys)
        self.size = size
        # A sorted list is looked up as fast as a table and needs none. Behind it stands a key that no pair has.
        self.keys = tf.constant(np.append(keys[order], size * size), tf.int64)
        self.ranks = tf.constant(np.append(order, 0), tf.int64)
        self.merged = tf.constant(np.append(np.asarray(merged, np.int32), 0), tf.int32)

    def __call__(self, ids, starts, dropout=None, seed=None):
        """Merges the pieces that lie one behind the other in `ids`.

        Args:
            ids: int32 `[N]`.
            starts: bool `[N]`: whether a piece begins here.
            dropout: Probability that a merge is left out, a float32 scalar; None for none.
            seed: int32 `[2]` that the dropout follows from.

        Returns:
            int32 `[N]`: the merged ids in the places where they begin, -1 in the others.
        """
        piece = tf.cumsum(tf.cast(starts, tf.int32)) - 1  # [N]
        pieces = tf.reduce_sum(tf.cast(starts, tf.int32))
        place = tf.range(tf.size(ids))

        def turn(number, ids, piece, place, order, result):
            possible = order
            if dropout is not None:
                numbers = tf.random.stateless_uniform(tf.shape(order), seed + [0, number], alg="philox")
                possible = tf.where(numbers < dropout, NEVER, order)
            best = tf.gather(tf.math.unsorted_segment_min(possible, piece, pieces), piece)
            hit = (possible == best) & (possible < NEVER)
            gone = tf.concat([[False], hit[:-1]], 0)
            ids = tf.where(hit, tf.gather(self.merged, _rank(order)), ids)
            changed = tf.where(hit | gone)
            values = tf.gather_nd(tf.where(gone, -1, ids), changed)
            result = tf.tensor_scatter_nd_update(result, tf.gather_nd(place, changed)[:, None], values)
            left = tf.where(~gone & (best < NEVER))  # a piece without a merge is done
            hit, ids, piece, place, order = (tf.gather_nd(each, left) for each in (hit, ids, piece, place, order))
            touched = tf.where(hit | tf.concat([hit[1:], [False]], 0)[: tf.size(hit)])
            order = tf.tensor_scatter_nd_update(order, touched, self._orders(ids, piece, place, touched[:, 0]))
            return number + 1, ids, piece, place, order, result

        every = self._orders(ids, piece, place, tf.range(tf.size(ids, tf.int64)))
        unknown = tf.TensorShape([None])
        *_, result = tf.while_loop(
            lambda number, ids, *_: tf.size(ids) > 0,
            turn,
            (tf.constant(0), ids, piece, place, every, ids),
            (tf.TensorShape([]), *[unknown] * 5),
        )
        return result

    def _orders(self, ids, piece, place, at):
        """Returns when the pairs that begin `at` are merged: smaller is earlier, `NEVER` where there is no merge."""
        behind = tf.minimum(at + 1, tf.size(ids, tf.int64) - 1)
        first, second = tf.gather(ids, at), tf.gather(ids, behind)
        key = tf.cast(first, tf.int64) * self.size + tf.cast(second, tf.int64)
        where = tf.searchsorted(self.keys, key)
        may = (tf.gather(self.keys, where) == key) & (tf.gather(piece, at) == tf.gather(piece, behind)) & (behind > at)
        order = tf.bitwise.left_shift(tf.gather(self.ranks, where), PLACE_BITS)
        return tf.where(may, order + tf.cast(tf.gather(place, at), tf.int64), NEVER)


def _rank(order):
    return tf.where(order < NEVER, tf.bitwise.right_shift(order, PLACE_BITS), 0)
