"""What a model predicts of a corrupted text, as features: the masked tokens, the masked spans, or the whole text."""

import functools
import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Ragged
from kerazoo.data.corruption import (
    Seed,
    corrupt_spans,
    infill_spans,
    mask_tokens,
    num_masked,
    num_spans,
    permute_sentences,
)
from kerazoo.tasks.feature import Feature
from kerazoo.tasks.gapped_text_feature import mask_ids
from kerazoo.tasks.text_feature import TextFeature, Vocabulary, cut_windows

SPECIAL = 4  # the ids before those of the vocabulary


class CorruptedTextFeature(TextFeature):
    """The base of the targets that hide a part of a text, which is the only input.

    The corpus holds whole texts. They are cut into windows, and `corrupt` makes input and target of the windows, anew
    in each epoch. The vocabulary is that of the input, a `kerazoo.tasks.GappedTextFeature` of the same column.

    Args:
        column: string. The name of the raw column, whose values are strings.
        vocabulary: `Vocabulary`. That of the input.
        length: int. The tokens of a window.
        stride: int. The tokens from the start of one training window to the next. Defaults to `length`.
        rate: float in (0, 1). The share of the tokens of a window that is hidden. Defaults to `0.15`.
    """

    corrupts = True
    evaluated_by_loss = True
    measures = ("nats_per_token",)
    num_masks = 1

    def __init__(
        self, column: str, *, vocabulary: Vocabulary, length: int, stride: int | None = None, rate: float = 0.15
    ):
        super().__init__(column, vocabulary=vocabulary)
        self.length = _checks.positive_int(self.owner, "length", length)
        self.window_stride = length if stride is None else _checks.positive_int(self.owner, "stride", stride)
        self.rate = _checks.number(self.owner, "rate", rate, low=0, high=1, low_open=True, high_open=True)

    @property
    def config(self) -> dict:
        return {**super().config, "length": self.length, "rate": self.rate}

    @property
    def compared_as(self) -> str:
        return "corrupted text"

    @property
    def needs_fit(self) -> bool:
        return False  # the input has the same vocabulary

    @functools.cached_property
    def mask_ids(self) -> np.ndarray:
        """The token ids of the masks, int32, consecutive numbers."""
        return mask_ids(self.tokenizer, self.num_masks)

    def windows(self, values: Any, training: bool) -> Any:
        return cut_windows(values, self.length, self.window_stride if training else self.length)

    def metrics(self) -> list:
        from kerazoo.training.metrics import Perplexity, TokenAccuracy

        return [TokenAccuracy(name="token_accuracy"), Perplexity()]

    def loss_measures(self, results: Mapping[str, float], values: Any) -> dict[str, float]:
        """Returns the accuracies, and `nats_per_token`, the cross-entropy of a target token."""
        accuracies = {name: value for name, value in results.items() if name.endswith("accuracy")}
        return {"nats_per_token": float(np.log(results["perplexity"])), **accuracies}

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        """Returns the cost of each token by its share of the training targets, each token counted once more."""
        return {} if values is None else {"most frequent token, and shares of tokens": self._token_nats(values)}

    def evaluate_baseline(self, fitted: Any, values: Any) -> dict[str, float]:
        nats = np.take(fitted, values.values)
        accuracy = float(np.mean(values.values == int(np.argmin(fitted)))) if len(nats) else 0.0
        return {"nats_per_token": float(np.mean(nats)) if len(nats) else 0.0, "token_accuracy": accuracy}


class MaskedTokensFeature(CorruptedTextFeature):
    """The masked tokens of a text, which an encoder with a head over the vocabulary predicts (BERT).

    Of the chosen tokens 80 % become the mask, 10 % a random token and 10 % stay as they are; the loss counts the chosen
    ones. A prediction is the text with its gaps filled, one token in each.

    Args:
        column: string. The name of the raw column, whose values are strings.
        **options: `vocabulary`, `length`, `stride` and `rate` of `CorruptedTextFeature`.

    Reference:
        Devlin, Chang, Lee and Toutanova (2018), BERT, arXiv:1810.04805.
    """

    kinds = ("masked_language_model",)
    generated = False
    fills = True
    outputs = ("text",)

    def __init__(self, column: str, **options: Any):
        super().__init__(column, **options)
        self.max_length = self.length

    def corrupt(self, rows: Ragged, seed: Seed) -> dict[str, Ragged]:
        end = SPECIAL + len(self.tokenizer.vocabulary)
        source, positions, tokens = mask_tokens(
            rows, seed, rate=self.rate, mask_id=int(self.mask_ids[0]), random_ids=(SPECIAL, end)
        )
        return {"source": source, "targets": tokens, "masked_positions": positions}

    def restored(self, corpus: Any) -> list[str]:
        source, tokens = corpus.features["source"], corpus.features["targets"]
        values = source.values.copy()
        starts = np.repeat(source.offsets[:-1], tokens.lengths)
        values[starts + corpus.features["masked_positions"].values] = tokens.values
        whole = Ragged(values, source.offsets)
        return self.decode([whole[row] for row in range(len(whole))])

    def model_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the inputs with the positions of the masks, ints `[B, M]`; those of rows with fewer come last."""
        import tensorflow as tf

        is_gap = tf.equal(inputs["source"], int(self.mask_ids[0]))  # [B, S]
        count = tf.maximum(tf.reduce_max(tf.reduce_sum(tf.cast(is_gap, tf.int32), axis=1)), 1)
        positions = tf.argsort(tf.cast(~is_gap, tf.int32), axis=1, stable=True)[:, :count]
        return {**inputs, "masked_positions": positions}

    def complete(self, outputs: Any, inputs: Mapping[str, Any]) -> Any:
        """Returns the tokens `[B, S]` of the input with the most probable token in each gap."""
        from keras import ops

        source = ops.cast(ops.convert_to_tensor(inputs["source"]), "int32")
        tokens = ops.cast(ops.argmax(self._words(outputs), axis=-1), "int32")  # [B, M]
        is_gap = ops.equal(source, int(self.mask_ids[0]))
        number = ops.clip(ops.cumsum(ops.cast(is_gap, "int32"), axis=1) - 1, 0, ops.shape(tokens)[1] - 1)
        return ops.where(is_gap, ops.take_along_axis(tokens, number, axis=1), source)

    def best_fills(self, outputs: Any, inputs: Mapping[str, Any], count: int) -> list[list[tuple[str, float]]]:
        logits = np.asarray(self._words(outputs), np.float64)
        log_probs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)  # [B, M, V]
        found = []
        for row, source in zip(log_probs, np.asarray(inputs["source"])):
            gaps, best = np.flatnonzero(source == self.mask_ids[0]), [(0.0, ())]
            for gap in row[: len(gaps)]:  # independent of each other
                tokens = np.argsort(-gap, kind="stable")[:count].tolist()
                extended = [(score + gap[token], (*before, token)) for score, before in best for token in tokens]
                best = heapq.nlargest(count, extended)
            filled = np.repeat(source[None], len(best), axis=0)
            filled[:, gaps] = [tokens for _, tokens in best]
            found.append(list(zip(self.decode(filled), [float(score) for score, _ in best])))
        return found

    def _words(self, logits):
        """Returns the logits without those of special tokens, which no text has."""
        from keras import ops

        ids = np.arange(self.tokenizer.vocabulary_size)
        fits = (ids >= SPECIAL) & (ids < SPECIAL + len(self.tokenizer.vocabulary))
        return ops.where(fits, ops.convert_to_tensor(logits), -np.inf)

    def target_sizes(self) -> dict:
        return {}


class MaskedSpansFeature(CorruptedTextFeature):
    """The masked spans of a text, each after its mask, which a decoder generates (T5).

    A prediction is the text with its gaps filled.

    Args:
        column: string. The name of the raw column, whose values are strings.
        mean_span: float of at least 1. The mean number of tokens of a span. Defaults to `3.0`.
        **options: `vocabulary`, `length`, `stride` and `rate` of `CorruptedTextFeature`.

    Reference:
        Raffel et al. (2019), Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer,
        arXiv:1910.10683.
    """

    fills = True

    def __init__(self, column: str, *, mean_span: float = 3.0, **options: Any):
        super().__init__(column, **options)
        self.mean_span = _checks.number(self.owner, "mean_span", mean_span, low=1)
        lengths = np.arange(1, self.length + 1)
        masked = num_masked(lengths, self.rate)
        spans = num_spans(lengths, masked, self.mean_span)
        self.num_masks = int(spans.max())
        self.max_length = int((masked + spans).max()) + 1

    @property
    def config(self) -> dict:
        return {**super().config, "mean_span": self.mean_span}

    def corrupt(self, rows: Ragged, seed: Seed) -> dict[str, Ragged]:
        source, targets = corrupt_spans(
            rows,
            seed,
            rate=self.rate,
            mean_span=self.mean_span,
            mask_ids=self.mask_ids.tolist(),
            end_id=self.tokenizer.end_id,
        )
        return {"source": source, "targets": targets}

    def restored(self, corpus: Any) -> list[str]:
        if not len(corpus):
            return []
        source, targets = (corpus.features[name].padded() for name in ("source", "targets"))
        return self.decode(self.complete(targets, {"source": source}))

    def complete(self, outputs: Any, inputs: Mapping[str, Any]) -> Any:
        """Returns the tokens `[B, S + T]` of the input with the generated span in place of each gap."""
        from keras import ops

        source = ops.cast(ops.convert_to_tensor(inputs["source"]), "int32")  # [B, S]
        tokens = ops.cast(ops.convert_to_tensor(outputs), "int32")  # [B, T]
        length, positions = ops.shape(tokens)[1], ops.arange(ops.shape(tokens)[1], dtype="int32")
        is_mask = self._is_mask(tokens)
        earlier = ops.logical_and(is_mask[:, None, :], positions <= positions[:, None])  # [B, T, T]
        last = ops.max(ops.where(earlier, positions, -1), axis=-1)  # the mask before each token, -1 for none
        mask = ops.take_along_axis(tokens, ops.maximum(last, 0), axis=1)  # [B, T]
        found = ops.equal(mask[:, :, None], source[:, None, :])  # [B, T, S]
        is_end = ops.equal(tokens, self.tokenizer.end_id)
        ended = ops.cumsum(ops.cast(is_end, "int32"), axis=1) > 0
        used = ops.logical_and(ops.logical_and(last >= 0, ops.any(found, axis=-1)), ops.logical_not(ended))
        used = ops.logical_and(used, ops.logical_not(ops.logical_or(is_mask, self._is_pad(tokens))))
        # Sorted by position in the input, then by position in the output.
        width = length + 1
        unused = (ops.shape(source)[1] + 1) * width
        first = ops.cast(ops.argmax(ops.cast(found, "int32"), axis=-1), "int32")
        keys = ops.where(used, first * width + 1 + positions, unused)
        kept = ops.logical_not(ops.logical_or(self._is_mask(source), self._is_pad(source)))
        read = ops.where(kept, ops.arange(ops.shape(source)[1], dtype="int32") * width, unused)
        keys = ops.concatenate([read, keys], axis=1)
        order = ops.argsort(keys, axis=1)
        merged = ops.take_along_axis(ops.concatenate([source, tokens], axis=1), order, axis=1)
        valid = ops.take_along_axis(keys, order, axis=1) < unused
        return ops.where(valid, merged, self.tokenizer.pad_id)

    def _is_mask(self, tokens):
        from keras import ops

        first = int(self.mask_ids[0])
        return ops.logical_and(tokens >= first, tokens < first + self.num_masks)

    def _is_pad(self, tokens):
        from keras import ops

        return ops.equal(tokens, self.tokenizer.pad_id)

    def metrics(self) -> list:
        from kerazoo.training.metrics import SpanAccuracy

        return [*super().metrics(), SpanAccuracy(int(self.mask_ids[0]), self.num_masks)]


class DenoisedTextFeature(CorruptedTextFeature):
    """The whole text, which a decoder generates from one with masked spans and its sentences in another order (BART).

    Args:
        column: string. The name of the raw column, whose values are strings.
        mean_span: float of at least 1. The mean number of tokens of a span. Defaults to `3.0`.
        permute: bool. Whether the sentences of a text are permuted. Defaults to `True`.
        **options: `vocabulary`, `length`, `stride` and `rate` of `CorruptedTextFeature`.

    Reference:
        Lewis et al. (2019), BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation,
        Translation, and Comprehension, arXiv:1910.13461.
    """

    def __init__(self, column: str, *, mean_span: float = 3.0, permute: bool = True, **options: Any):
        super().__init__(column, **options)
        self.mean_span = _checks.number(self.owner, "mean_span", mean_span, low=1)
        self.permute = bool(permute)
        self.max_length = self.length + 1

    @property
    def config(self) -> dict:
        return {**super().config, "mean_span": self.mean_span, "permute": self.permute}

    def corrupt(self, rows: Ragged, seed: Seed) -> dict[str, Ragged]:
        moved = permute_sentences(rows, (*seed, 2), self.sentence_ends) if self.permute else rows
        mask_id = int(self.mask_ids[0])
        source = infill_spans(moved, seed, rate=self.rate, mean_span=self.mean_span, mask_id=mask_id)
        return {"source": source, "targets": rows.append(self.tokenizer.end_id)}

    def restored(self, corpus: Any) -> list[str]:
        targets = corpus.features["targets"]
        return self.decode([targets[row] for row in range(len(targets))])

    def metrics(self) -> list:
        from kerazoo.training.metrics import SequenceAccuracy

        return [*super().metrics(), SequenceAccuracy(self.tokenizer.end_id)]
