"""Text to its class."""

import dataclasses

import numpy as np

from kerazoo import _checks
from kerazoo.tasks import classes, drawing, texts
from kerazoo.tasks.base import Known, Task
from kerazoo.tasks.splits import SPLITS


@dataclasses.dataclass(frozen=True, eq=False)
class LabelTask(Task):
    """Learns the class of a text.

    The corpus has the ragged feature `source` and the feature `label`, int32 `[N]`. The classes are those of the
    training lines, in alphabetical order. Columns: `source` and `label`, lists of strings, and maybe `where`, a list of
    strings that tell where a line stands.

    Args:
        make_tokenizer: Function from the list of training sources to the tokenizer.
        limit: Most tokens of a source; what is longer is cut off.
    """

    make_tokenizer: texts.Maker = None
    limit: int = 512

    monitor = ("val_accuracy", "max")
    length_names = ("source",)

    def _learn(self):
        sample = self.sample()
        tokenizer = self.make_tokenizer(sample["source"])
        if self.streamed:  # nobody knows yet how long the longest will be
            return Known({"names": sorted(set(sample["label"])), "longest_source": self.limit}, {"source": tokenizer})
        names = sorted(set().union(*(chunk.columns["label"] for chunk in self.chunks("train"))))
        longest = max(int(self._corpus(split, tokenizer, names).lengths("source").max()) for split in SPLITS)
        if dropout := self.options.get("subword_dropout"):
            longest = min(max(longest, drawing.longest(tokenizer, sample["source"], dropout)), self.limit)
        return Known({"names": names, "longest_source": longest}, {"source": tokenizer})

    def load(self, split):
        """Returns the `Corpus` of a split."""
        return self._corpus(split, self.tokenizers["source"], self.facts["names"])

    def _corpus(self, split, tokenizer, names):
        place = {name: index for index, name in enumerate(names)}

        def convert(chunk):
            columns = chunk.columns
            for row, label in enumerate(columns["label"]):
                if label not in place:
                    where = columns["where"][row] if "where" in columns else f"task {self.name}, {split}"
                    raise _checks.DataError(
                        f"{where}: the class {label!r} is not in the training data.{_checks.hint(label, place)}"
                    )
            source = texts.ragged(tokenizer, columns["source"])
            clipped = int(np.count_nonzero(source.lengths > self.limit))
            label = np.array([place[label] for label in columns["label"]], np.int32)
            return {"source": source.clip(self.limit) if clipped else source, "label": label}, {"clipped": clipped}

        return self.prepared(split, convert, [tokenizer.hash, names, self.limit])

    def drawn(self, seed):
        """Returns the `Drawn` training corpus where subwords are left to chance, else None."""
        dropout = self.options.get("subword_dropout")
        if not dropout:
            return None

        def draw(columns, numbers):
            return {"source": texts.ragged(self.tokenizers["source"], columns["source"], dropout, numbers)}

        longest = {"source": self.facts["longest_source"]}
        return drawing.Drawn(self.load("train"), lambda: self.chunks("train"), draw, longest, seed)

    def sizes(self):
        """Returns the constructor arguments of a model that the data dictates."""
        return {
            "source_vocabulary_size": self.tokenizers["source"].vocabulary_size,
            "vocabulary_size": self.tokenizers["source"].vocabulary_size,
            "num_classes": len(self.facts["names"]),
            "max_length": self.facts["longest_source"],
            "pad_id": self.tokenizers["source"].pad_id,
        }

    def batch(self, features, valid):
        """Returns `(inputs, targets, weights)` of a padded batch."""
        from keras import ops

        source, label = ops.cast(features["source"], "int32"), ops.cast(features["label"], "int32")  # [B, S], [B]
        return {"source": source}, label, ops.cast(valid, "float32")

    def loss(self, label_smoothing=0.0):
        """Returns the cross-entropy of the classes."""
        from kerazoo.training.losses import SparseCrossentropy

        return SparseCrossentropy(label_smoothing=label_smoothing)

    def metrics(self):
        """Returns the metrics for `weighted_metrics`: accuracy and F1 averaged over the classes."""
        return classes.metrics(len(self.facts["names"]))

    def examples(self, split, limit=None):
        """Returns the texts, and the class of each as its one reference."""
        columns = self.columns(split)
        return list(columns["source"][:limit]), [[label] for label in columns["label"][:limit]]

    def graph_encode(self, strings):
        """Returns the model's inputs for a string tensor `[B]`, inside a graph or outside."""
        return {"source": self.tokenizers["source"].encode(strings, self.limit)}

    def graph_decode(self, logits):
        """Returns the names of the classes, strings `[B]`, of logits `[B, C]`."""
        import tensorflow as tf

        return tf.gather(tf.constant(self.facts["names"]), tf.argmax(logits, axis=-1))

    def show(self, prediction):
        """Returns the names of the classes of logits `[B, C]`."""
        return classes.show(self.facts["names"], prediction)

    def measure(self, answers, references):
        """Returns `accuracy` and `f1`, the mean over the classes, of names against lists of accepted names."""
        return classes.measure(f"task {self.name}", self.facts["names"], answers, references)
