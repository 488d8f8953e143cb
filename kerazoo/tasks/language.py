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

    def __post_init__(self):
        if self.options.get("subword_dropout"):
            raise ValueError(
                f"task {self.name}: `subword_dropout` needs a model of kind seq2seq or classifier, whose examples stay "
                f"the same however they are cut; got subword_dropout={self.options['subword_dropout']}, "
                f"kind={self.kind!r}."
            )

    def _learn(self):
        return Known({}, {"target": self.make_tokenizer(self.sample()["text"])})

    def load(self, split):
        """Returns the `Corpus` of a split."""
        if split not in self._corpora:
            if self.streamed and split == "train":
                return self.prepared(split, self._windows)
            texts_of_split = self.prepared(split, self._convert, [self.tokenizer.hash])
            ids = texts_of_split.features["targets"]
            made = Corpus({"targets": windows(ids, self.length, self._stride(split))}, texts_of_split.notes)
            self._corpora[split] = made
        return self._corpora[split]

    def sizes(self):
        """Returns the constructor arguments of a model that the data dictates."""
        return {
            "vocabulary_size": self.tokenizer.vocabulary_size,
            "max_length": self.length,
            **texts.special_ids(self.tokenizer),
        }

    def batch(self, features, valid):
        """Returns `(inputs, targets, weights)` of a padded batch, of one window a row or of several that share it.

        What the model reads may differ from the targets that it learns: `targets_read` then holds it.
        """
        from keras import ops

        targets = ops.cast(features["targets"], "int32")  # [B, T]
        inputs = {"targets": ops.cast(features.get("targets_read", targets), "int32")}
        segments = {name: features[name] for name in ("targets_segments",) if name in features}
        return {**inputs, **segments}, targets, texts.token_weights(targets, valid)

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

    def _convert(self, chunk):
        ids = texts.ragged(self.tokenizer, chunk.columns["text"])
        ended = ids.append(self.tokenizer.end_id)
        if chunk.continues:  # the end of the last text is yet to come
            ended = Ragged(ended.values[:-1], np.append(ended.offsets[:-1], len(ended.values) - 1))
        return {"targets": ended}, {}

    def _windows(self, chunk):
        features, notes = self._convert(chunk)
        return {"targets": windows(features["targets"], self.length, self.stride)}, notes

    def _stride(self, split):
        return self.stride if split == "train" else self.length

    @functools.cached_property
    def _corpora(self):
        return {}


def windows(rows, length, stride):
    """Returns the windows of `length` entries that begin every `stride` entries of each row.

    A row ends with the first window that reaches its end, which may be shorter; an empty row has none.
    """
    if stride == length:  # nothing overlaps, so the values stay where they are, be they on disk
        counts = -(-rows.lengths // length)
        # Windows before a row count as if they were whole: the difference to where the row begins is the same in all.
        begins = np.repeat(rows.offsets[:-1] - (np.cumsum(counts) - counts) * length, counts)
        begins += np.arange(len(begins)) * length
        return Ragged(rows.values, np.append(begins, len(rows.values)))
    lengths = rows.lengths
    counts = np.where(lengths > 0, 1 + np.maximum(0, -(-(lengths - length) // stride)), 0)
    row = np.repeat(np.arange(len(rows)), counts)
    first = np.cumsum(counts) - counts  # number of a row's first window
    starts = (np.arange(len(row)) - first[row]) * stride
    sizes = np.minimum(length, lengths[row] - starts)
    begins = np.repeat(rows.offsets[row] + starts, sizes)
    within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Ragged.from_lengths(rows.values[begins + within], sizes)
