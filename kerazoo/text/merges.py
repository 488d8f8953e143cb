"""Byte-pair merges: fitted to text with the library `tokenizers`, applied inside the TensorFlow graph."""

import json
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from kerazoo import _checks
from kerazoo.text import pre_tokenization

MIN_FREQUENCY = 2  # occurrences of a pair that becomes a merge
POSITION_BITS = 40  # the rank of a merge and the position of a pair share one number of 64 bits
NEVER = np.int64(2**62)


def _alphabet() -> str:
    """Returns the 256 characters that stand for the bytes in GPT-2: a visible letter stands for its own byte."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return "".join(chr(value) if value in visible else chr(next(others)) for value in range(256))


ALPHABET = _alphabet()


def fit_merges(strings: Iterable[str], max_merges: int) -> list[str]:
    """Returns the merges `"LEFT RIGHT"` that byte-pair encoding finds in text, in the order of their application.

    Args:
        strings: iterable of strings. The text.
        max_merges: positive integer. Maximum number of merges.

    Raises:
        SetupError: if the package `tokenizers` is not installed.
    """
    library = _import_tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library_pre_tokenizer()
    options = {"vocab_size": len(ALPHABET) + max_merges, "min_frequency": MIN_FREQUENCY}
    trainer = library.trainers.BpeTrainer(initial_alphabet=list(ALPHABET), show_progress=False, **options)
    tokenizer.train_from_iterator(strings, trainer)
    return [" ".join(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]


def library_pre_tokenizer():
    """Returns the library's pre-tokenizer that splits text as `kerazoo.text.pre_tokenization` does."""
    library = _import_tokenizers()
    split, regex = library.pre_tokenizers.Split, library.Regex
    return library.pre_tokenizers.Sequence(
        [
            split(regex(pre_tokenization.WORDS), "isolated"),
            split(regex(pre_tokenization.PATTERN), "isolated"),
            library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            split(regex(f".{{1,{pre_tokenization.MAX_BYTES}}}"), "isolated"),  # one character is one byte here
        ]
    )


def _import_tokenizers():
    try:
        import tokenizers
    except ImportError as error:
        raise _checks.SetupError(
            "BytePairTokenizer.fit: the package tokenizers is not installed. "
            'Install it with: pip install "kerazoo[subwords]"'
        ) from error
    return tokenizers


class BytePairMerges:
    """Merges pairs of ids in every pre-token: the pair of lowest rank first, the leftmost first among equals.

    All pre-tokens are processed together, one merge of each in every step of a loop. With dropout each possible merge
    is dropped with a probability in every step, and a pre-token is finished when no merge is left.

    Args:
        pairs: integer array `[M, 2]`. The pairs of ids in the order of their rank.
        merged: integer array `[M]`. The id that replaces each pair.
        vocabulary_size: integer. Number of ids.

    Reference:
        - Sennrich, Haddow and Birch (2016), Neural Machine Translation of Rare Words with Subword Units,
          arXiv:1508.07909.
        - Provilkov, Emelianenko and Voita (2020), BPE-Dropout: Simple and Effective Subword Regularization,
          arXiv:1910.13267.
    """

    def __init__(self, pairs, merged, vocabulary_size: int):
        pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
        keys = pairs[:, 0] * vocabulary_size + pairs[:, 1]
        order = np.argsort(keys)
        self.vocabulary_size = vocabulary_size
        # Binary search in a sorted constant is as fast as a lookup table. The last key belongs to no pair.
        self.keys = tf.constant(np.append(keys[order], vocabulary_size * vocabulary_size), tf.int64)
        self.ranks = tf.constant(np.append(order, 0), tf.int64)
        self.merged = tf.constant(np.append(np.asarray(merged, np.int32), 0), tf.int32)

    def __call__(self, ids, starts, dropout=None, seed=None) -> tf.Tensor:
        """Returns the merged ids at the positions where they begin, and -1 at the others.

        Args:
            ids: int32 tensor `[N]`. The bytes of all pre-tokens.
            starts: boolean tensor `[N]`. Whether a pre-token begins here.
            dropout: float32 scalar. Probability that a merge is dropped; `None` for none. Defaults to `None`.
            seed: int32 tensor `[2]`. Seed of the dropout. Defaults to `None`.

        Returns:
            int32 tensor `[N]`.
        """
        token = tf.cumsum(tf.cast(starts, tf.int32)) - 1  # [N], number of the pre-token
        count = tf.reduce_sum(tf.cast(starts, tf.int32))
        position = tf.range(tf.size(ids))

        def merge_once(step, ids, token, position, priority, result):
            possible = priority
            if dropout is not None:
                noise = tf.random.stateless_uniform(tf.shape(priority), tf.add(seed, [0, step]), alg="philox")
                possible = tf.where(noise < dropout, NEVER, priority)
            best = tf.gather(tf.math.unsorted_segment_min(possible, token, count), token)
            first = (possible == best) & (possible < NEVER)
            second = tf.concat([[False], first[:-1]], 0)
            ids = tf.where(first, tf.gather(self.merged, _rank(priority)), ids)
            changed = tf.where(first | second)
            values = tf.gather_nd(tf.where(second, -1, ids), changed)
            result = tf.tensor_scatter_nd_update(result, tf.gather_nd(position, changed)[:, None], values)
            kept = tf.where(~second & (best < NEVER))  # a pre-token without a merge is finished
            first, ids, token, position, priority = (
                tf.gather_nd(each, kept) for each in (first, ids, token, position, priority)
            )
            touched = tf.where(first | tf.concat([first[1:], [False]], 0)[: tf.size(first)])
            updates = self._priorities(ids, token, position, touched[:, 0])
            priority = tf.tensor_scatter_nd_update(priority, touched, updates)
            return step + 1, ids, token, position, priority, result

        priority = self._priorities(ids, token, position, tf.range(tf.size(ids, tf.int64)))
        vector = tf.TensorShape([None])
        *_, result = tf.while_loop(
            lambda step, ids, *_: tf.size(ids) > 0,
            merge_once,
            (tf.constant(0), ids, token, position, priority, ids),
            (tf.TensorShape([]), *[vector] * 5),
        )
        return result

    def _priorities(self, ids, token, position, at):
        """Returns the priority of the pairs that begin `at`: the smallest is merged first, `NEVER` is no merge."""
        after = tf.minimum(at + 1, tf.size(ids, tf.int64) - 1)
        first, second = tf.gather(ids, at), tf.gather(ids, after)
        key = tf.cast(first, tf.int64) * self.vocabulary_size + tf.cast(second, tf.int64)
        index = tf.searchsorted(self.keys, key)
        same_token = (tf.gather(token, at) == tf.gather(token, after)) & (after > at)
        rank = tf.bitwise.left_shift(tf.gather(self.ranks, index), POSITION_BITS)
        priority = rank + tf.cast(tf.gather(position, at), tf.int64)
        return tf.where((tf.gather(self.keys, index) == key) & same_token, priority, NEVER)


def _rank(priority):
    return tf.where(priority < NEVER, tf.bitwise.right_shift(priority, POSITION_BITS), 0)
