"""Sequence to sequence: text to text."""

import contextlib
import dataclasses
import functools

import numpy as np

from kerazoo import _checks
from kerazoo.tasks import drawing, texts
from kerazoo.tasks.base import Known, Task


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceTask(Task):
    """Learns to write the target text of a source text.

    The corpus has the ragged features `source` and `targets`; `end_id` stands behind every target and nothing is put
    around a source. Targets are not shifted: the model does that. Columns: `source` and `target`, lists of strings;
    lines with the same source are one example with several accepted answers.

    Args:
        make_tokenizers: Function from the lists of training sources and targets to the two tokenizers.
        source_limit: Most tokens of a source; what is longer is cut off.
        target_limit: Most tokens of a target, `end_id` included; what is longer is cut off.
        watch: The name and direction of the dev metric that tells a better model.
    """

    make_tokenizers: texts.Maker = None
    source_limit: int = 512
    target_limit: int = 512
    watch: tuple = ("val_loss", "min")

    length_names = ("source", "targets")

    @property
    def monitor(self):
        """Name and direction of the dev metric that tells a better model."""
        return self.watch

    @property
    def max_length(self):
        """Most tokens of an answer, the end included."""
        return self.facts["longest_targets"]

    def _learn(self):
        train = self.sample()
        source, target = self.make_tokenizers(train["source"], train["target"])
        tokenizers = {"source": source, "target": target}
        if self.streamed:  # nobody knows yet how long the longest will be
            return Known({"longest_source": self.source_limit, "longest_targets": self.target_limit}, tokenizers)
        for split in ("train", "dev", "test"):
            # Who asks for a part that has no examples is told so then.
            with contextlib.suppress(_checks.NoExamplesError):
                self._corpora[split] = self._corpus(split, tokenizers)
        longest = {
            f"longest_{name}": max(int(corpus.lengths(name).max()) for corpus in self._corpora.values())
            for name in self.length_names
        }
        if dropout := self.options.get("subword_dropout"):
            drawn = drawing.longest(source, train["source"], dropout), drawing.longest(target, train["target"], dropout)
            bounds = self.source_limit, self.target_limit
            for name, most, bound in zip(longest, (drawn[0], drawn[1] + 1), bounds):
                longest[name] = min(max(longest[name], most), bound)
        return Known(longest, tokenizers)

    def load(self, split):
        """Returns the `Corpus` of a split."""
        tokenizers = self.tokenizers  # makes the corpora too, where nothing is known yet
        if split not in self._corpora:
            self._corpora[split] = self._corpus(split, tokenizers)
        return self._corpora[split]

    def drawn(self, seed):
        """Returns the `Drawn` training corpus where subwords are left to chance, else None."""
        dropout = self.options.get("subword_dropout")
        if not dropout:
            return None

        def draw(columns, numbers):
            source, target = self.tokenizers["source"], self.tokenizers["target"]
            targets = texts.ragged(target, columns["target"], dropout, (*numbers, 1)).append(target.end_id)
            return {"source": texts.ragged(source, columns["source"], dropout, (*numbers, 0)), "targets": targets}

        longest = {name: self.facts[f"longest_{name}"] for name in self.length_names}
        return drawing.Drawn(self.load("train"), lambda: self.chunks("train"), draw, longest, seed)

    def sizes(self):
        """Returns the constructor arguments of a model that the data dictates."""
        source, target = self.tokenizers["source"], self.tokenizers["target"]
        return {
            "source_vocabulary_size": source.vocabulary_size,
            "target_vocabulary_size": target.vocabulary_size,
            "max_length": max(self.facts["longest_source"], self.facts["longest_targets"]),
            # Two vocabularies may well be equally large and mean different things.
            "share_embeddings": type(source) is type(target) and source.vocabulary == target.vocabulary,
            **texts.special_ids(target),
        }

    def batch(self, features, valid):
        """Returns `(inputs, targets, weights)` of a padded batch, of one pair a row or of several that share it.

        What the decoder reads may differ from the targets that it learns: `targets_read` then holds it.
        """
        from keras import ops

        source = ops.cast(features["source"], "int32")  # [B, S]
        targets = ops.cast(features["targets"], "int32")  # [B, T]
        inputs = {"source": source, "targets": ops.cast(features.get("targets_read", targets), "int32")}
        segments = {name: features[name] for name in ("source_segments", "targets_segments") if name in features}
        return {**inputs, **segments}, targets, texts.token_weights(targets, valid)

    def loss(self, label_smoothing=0.0):
        """Returns the cross-entropy over real tokens."""
        from kerazoo.training.losses import SparseCrossentropy

        return SparseCrossentropy(label_smoothing=label_smoothing)

    def metrics(self):
        """Returns the metrics for `weighted_metrics`: accuracy of tokens and of whole sequences."""
        from kerazoo.training.metrics import SequenceAccuracy, TokenAccuracy

        return [TokenAccuracy(name="token_accuracy"), SequenceAccuracy()]

    def examples(self, split, limit=None):
        """Returns the distinct sources and, for each, the list of accepted targets, folded as the model writes them."""
        columns = self.columns(split)
        accepted = {}
        for source, target in zip(columns["source"], self.tokenizers["target"].standardize(columns["target"])):
            accepted.setdefault(source, []).append(target)
        sources = list(accepted)[:limit]
        return sources, [list(dict.fromkeys(accepted[source])) for source in sources]

    def graph_encode(self, strings):
        """Returns the model's inputs for a string tensor `[B]`, inside a graph or outside."""
        return {"source": self.tokenizers["source"].encode(strings, self.source_limit)}

    def graph_decode(self, tokens):
        """Returns the strings `[B]` of generated ids `[B, T]`."""
        return self.tokenizers["target"].detokenize(tokens)

    def show(self, prediction):
        """Returns the strings of generated ids, rows `[T]` of any length."""
        return texts.show(self.tokenizers["target"], prediction)

    def measure(self, answers, references):
        """Returns `token_error_rate` and `sequence_error_rate` of strings against lists of accepted strings."""
        from kerazoo.training import error_rates

        split = self.tokenizers["target"].split
        return {
            "token_error_rate": error_rates.token_error_rate(answers, references, split=split),
            "sequence_error_rate": error_rates.sequence_error_rate(answers, references, split=split),
        }

    @functools.cached_property
    def _corpora(self):
        return {}

    def _corpus(self, split, tokenizers):
        limits = {"source": self.source_limit, "targets": self.target_limit}

        def convert(chunk):
            source = texts.ragged(tokenizers["source"], chunk.columns["source"])
            targets = texts.ragged(tokenizers["target"], chunk.columns["target"]).append(tokenizers["target"].end_id)
            features = {"source": source, "targets": targets}
            long = {name: features[name].lengths > limit for name, limit in limits.items()}
            clipped = {name: features[name].clip(limits[name]) if long[name].any() else features[name] for name in long}
            return clipped, {"clipped": int(np.count_nonzero(long["source"] | long["targets"]))}

        return self.prepared(split, convert, [*(tokenizers[role].hash for role in ("source", "target")), limits])
