"""Language modelling: text to its own next token."""

import dataclasses
import functools

import numpy as np

from kerazoo.data import Corpus, Ragged
from kerazoo.tasks import texts
from kerazoo.tasks.base import Known, Task


@dataclasses.dataclass(frozen=True, eq=False)
class LanguageTask(Task):
    """Learns to go on with a text.

    Texts are cut into windows. The corpus has the ragged feature `targets`, in which all windows but the last of a text
    have `length` tokens; `end_id` stands behind every text. Targets are not shifted: the model does that, and reads
    `start_id` before each window. Column: `text`, a list of strings.

    Args:
        make_tokenizer: Function from the list of training texts to the tokenizer.
        length: Tokens of a window.
        stride: Tokens from the start of one training window to the next; dev and test windows never overlap.
    """

    make_tokenizer: texts.Maker = None
    length: int = 128
    stride: int = 128

    length_names = ("targets",)
    measured_by_loss = True

    @property
    def max_length(self):
        """Most tokens that are generated, the prompt included."""
        return self.length

    @property
    def tokenizer(self):
        """The tokenizer of the text."""
        return self.tokenizers["target"]

    def _learn(self):
        return Known({}, {"target": self.make_tokenizer(self.columns("train")["text"])})

    def load(self, split):
        """Returns the `Corpus` of a split."""
        if split not in self._corpora:
            ids = texts.ragged(self.tokenizer, self.columns(split)["text"]).append(self.tokenizer.end_id)
            self._corpora[split] = Corpus({"targets": windows(ids, self.length, self._stride(split))})
        return self._corpora[split]

    def sizes(self):
        """Returns the constructor arguments of a model that the data dictates."""
        return {
            "vocabulary_size": self.tokenizer.vocabulary_size,
            "max_length": self.length,
            **texts.special_ids(self.tokenizer),
        }

    def batch(self, features, valid):
        """Returns `(inputs, targets, weights)` of a padded batch."""
        from keras import ops

        targets = ops.cast(features["targets"], "int32")  # [B, T]
        return {"targets": targets}, targets, texts.token_weights(targets, valid)

    def loss(self, label_smoothing=0.0):
        """Returns the cross-entropy over real tokens: nats per token, which is per character for characters."""
        from kerazoo.training.losses import SparseCrossentropy

        return SparseCrossentropy(label_smoothing=label_smoothing)

    def metrics(self):
        """Returns the metrics for `weighted_metrics`: accuracy of tokens and perplexity."""
        from kerazoo.training.metrics import Perplexity, TokenAccuracy

        return [TokenAccuracy(name="token_accuracy"), Perplexity()]

    def examples(self, split, limit=None):
        """Returns prompts, the first halves of windows, and for each the whole window as the one reference."""
        rows = self.load(split).features["targets"]
        rows = [rows[row] for row in range(len(rows)) if len(rows[row]) > 1][:limit]
        wholes = texts.show(self.tokenizer, rows)
        return texts.show(self.tokenizer, [row[: len(row) // 2] for row in rows]), [[whole] for whole in wholes]

    def graph_encode(self, strings):
        """Returns the prompts for a string tensor `[B]`, inside a graph or outside."""
        return {"prompt": self.tokenizer.encode(strings)}

    def graph_decode(self, tokens):
        """Returns the strings `[B]` of generated ids `[B, T]`."""
        return self.tokenizer.detokenize(tokens)

    def show(self, prediction):
        """Returns the strings of generated ids, rows `[T]` of any length."""
        return texts.show(self.tokenizer, prediction)

    def measure(self, answers, references):
        """Returns nothing: many answers go on well, so a language model is measured by its loss."""
        return {}

    def _stride(self, split):
        return self.stride if split == "train" else self.length

    @functools.cached_property
    def _corpora(self):
        return {}


def windows(rows, length, stride):
    """Returns the windows of `length` entries that begin every `stride` entries of each row.

    A row ends with the first window that reaches its end, which may be shorter; an empty row has none.
    """
    lengths = rows.lengths
    counts = np.where(lengths > 0, 1 + np.maximum(0, -(-(lengths - length) // stride)), 0)
    row = np.repeat(np.arange(len(rows)), counts)
    first = np.cumsum(counts) - counts  # number of a row's first window
    starts = (np.arange(len(row)) - first[row]) * stride
    sizes = np.minimum(length, lengths[row] - starts)
    if stride == length:  # nothing overlaps, so the values stay where they are
        return Ragged.from_lengths(rows.values, sizes)
    begins = np.repeat(rows.offsets[row] + starts, sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Ragged.from_lengths(rows.values[begins + within], sizes)
