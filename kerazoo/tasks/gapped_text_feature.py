"""Text with gaps as a feature: token ids in which masks stand for what is to be filled in."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo.tasks.feature import Converted
from kerazoo.tasks.text_feature import TextFeature, Vocabulary

MASK = "<mask>"  # what stands for a gap in a text


class GappedTextFeature(TextFeature):
    """Text as token ids, in which each `<mask>` of a raw text is a gap: one special token that no text contains.

    In training the gaps are made by the target, which hides a part of the text; the corpus holds whole texts, of any
    length. A blank before `<mask>` belongs to the gap, for most tokens begin with their blank.

    Args:
        column: string. The name of the raw column, whose values are strings.
        vocabulary: `Vocabulary`. It gets the masks as special tokens.
        max_length: int. The largest number of tokens of an input; longer ones are truncated.
        num_masks: int above 0. How many different masks there are. With one, all gaps have the same; with more, the
            gaps of a text are numbered. Defaults to `1`.
    """

    def __init__(self, column: str, *, vocabulary: Vocabulary, max_length: int, num_masks: int = 1):
        super().__init__(column, vocabulary=vocabulary, max_length=max_length)
        self.masks = mask_names(num_masks)
        vocabulary.update_tags(self.masks)

    @property
    def config(self) -> dict:
        return {**super().config, "masks": len(self.masks)}

    @functools.cached_property
    def mask_ids(self) -> np.ndarray:
        """The token ids of the masks, int32, consecutive numbers."""
        return mask_ids(self.tokenizer, len(self.masks))

    def finish(self) -> bool:
        again = super().finish()
        missing = [name for name in self.masks if name not in self.tokenizer.tags]
        if missing:
            raise ValueError(
                f"{self.owner}: the vocabulary must have {len(self.masks)} masks for gaps; got one without "
                f"{missing[0]!r}, of another task. Fit a new vocabulary, or set the `length`, `rate` and `mean_span` "
                "of that task."
            )
        return again

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        del continues
        return Converted(self.tokens([columns[self.columns[0]]]))  # whole: the target cuts them into windows

    def pack(self, values: Sequence) -> Any:
        packed = super().pack(values)
        for text in packed if len(self.masks) > 1 else ():
            if text.count(MASK) > len(self.masks):
                raise ValueError(
                    f"{self.owner}: a text must have at most {len(self.masks)} {MASK}; got {text.count(MASK)} in "
                    f"{text!r:.60}."
                )
        return packed

    def encode(self, *packed: Any) -> Any:
        dense = self._ids(packed[0]).to_tensor(self.tokenizer.pad_id)[:, : self.max_length]  # [B, S]
        return _not_empty(dense, self.tokenizer.pad_id)

    def _ids(self, texts):
        """Returns the ragged ids of texts in which `<mask>` stands for gaps."""
        import tensorflow as tf

        parts = tf.strings.split(tf.strings.regex_replace(texts, f" ?{MASK}", MASK), MASK)  # [B, (P)]
        ids = self.tokenizer.tokenize(parts.flat_values)  # [P of all, (T)]
        number = tf.ragged.range(parts.row_lengths()).flat_values - 1  # of the gap before each part, -1 for none
        masks = tf.gather(tf.constant(self.mask_ids), tf.clip_by_value(number, 0, len(self.masks) - 1))
        gaps = tf.RaggedTensor.from_row_lengths(masks[number >= 0], tf.cast(number >= 0, tf.int64), validate=False)
        joined = tf.concat([gaps, ids], axis=1)
        splits = tf.gather(joined.row_splits, parts.row_splits)
        return tf.RaggedTensor.from_row_splits(joined.flat_values, splits, validate=False)

    def cut(self, *packed: Any) -> np.ndarray:
        """Returns a bool array `[B]`: whether `encode` cuts an example to `max_length` tokens."""
        return self._ids(packed[0]).row_lengths().numpy() > self.max_length

    def decode(self, outputs: Any) -> list:
        """Returns texts of token ids, with `<mask>` for each gap."""
        starts = [text[:1] == b" " for text in self.tokenizer.token_bytes]
        return [self._with_gaps(np.asarray(row, np.int64), starts) for row in outputs]

    def _with_gaps(self, ids, starts):
        """Returns the text of a row of ids; `starts` tells whether a token begins with a blank."""
        gaps = np.flatnonzero(np.isin(ids, self.mask_ids))
        parts = np.split(ids, np.sort(np.concatenate([gaps, gaps + 1])))[::2]  # between the gaps
        first, *texts = super().decode(parts)
        for part, text in zip(parts[1:], texts):
            blank = " " if first and not first[-1:].isspace() else ""
            lost = " " if len(part) and starts[part[0]] and not text.startswith(" ") else ""
            first = f"{first}{blank}{MASK}{lost}{text}"
        return first


def mask_names(count: int) -> tuple[str, ...]:
    """Returns the names of the special tokens that stand for gaps, in their alphabetical order.

    Args:
        count: int above 0.
    """
    width = len(str(count - 1))
    return ("mask",) if count == 1 else tuple(f"mask {number:0{width}}" for number in range(count))


def mask_ids(tokenizer: Any, count: int) -> np.ndarray:
    """Returns the token ids of masks, int32.

    Args:
        tokenizer: `kerazoo.text.Tokenizer` that has the masks as tags.
        count: int above 0. How many masks there are.
    """
    first = tokenizer.vocabulary_size - len(tokenizer.tags)
    return np.array([first + tokenizer.tags.index(name) for name in mask_names(count)], np.int32)


def _not_empty(dense, pad_id):
    import tensorflow as tf

    return tf.pad(dense, [[0, 0], [0, tf.maximum(1 - tf.shape(dense)[1], 0)]], constant_values=pad_id)
