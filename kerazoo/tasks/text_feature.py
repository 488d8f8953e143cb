"""Text as a feature: token ids of one or several columns."""

import collections
import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Ragged
from kerazoo.data.corpus import sample_rows
from kerazoo.data.ragged import positions_in_rows
from kerazoo.tasks.feature import Converted, Feature

if TYPE_CHECKING:
    import keras

    from kerazoo.text import Tokenizer

SAMPLE_SIZE = 1 << 25  # characters of text that a vocabulary is fitted to, at most
ROWS_AT_ONCE = 65536  # strings that are tokenised at once, which bounds the memory of the tensors
FIRST_WORDS = 12  # of a source that are a baseline of its summary
SENTENCE_ENDS = (b".", b"?", b"!", "。".encode(), "！".encode(), "？".encode(), "।".encode(), "؟".encode())
MAX_TAGS = 1000  # a column with more different values holds no tags
MAX_NAMED = 10  # tags in an error
MAX_CHARACTERS = 40  # of a text in a summary
OPTIONAL = ("normalization", "stop_words")  # arguments of `Tokenizer.fit` that are passed only where they are set
DEFAULT_SIZES = {"characters": 8000, "subwords": 8000, "wordpiece": 8000, "words": 32000,
                 "words_and_punctuation": 32000}  # fmt: skip


class Vocabulary:
    """A tokenizer that is fitted to strings; features that share one vocabulary share this object.

    Args:
        tokens: string. The name of a tokenizer of `kerazoo.text`. Defaults to `"characters"`.
        size: int. The largest number of ids, the special ones included. Defaults to the tokenizer's own bound.
        case: string. `"lower"` or `"upper"` folds text, `"auto"` folds it where all strings have one case, `None`
            never. Defaults to `None`.
        normalization: string. `"nfkc"` or `None`. Defaults to `None`.
        stop_words: tuple of strings. Words that are left out of texts, for tokenizers of words. Defaults to none.
        fixed: function without arguments that returns a tokenizer which needs no fitting. Defaults to `None`.
        file: string. The file that `fixed` reads, whose content tells prepared data apart. Defaults to `None`.
    """

    def __init__(
        self,
        tokens: str = "characters",
        size: int | None = None,
        case: str | None = None,
        normalization: str | None = None,
        stop_words: tuple[str, ...] = (),
        fixed: "Callable[[], Tokenizer] | None" = None,
        file: str | os.PathLike | None = None,
    ):
        self.config: dict[str, Any] = {"tokens": tokens, "size": size, "case": case, "normalization": normalization}
        if stop_words:
            self.config["stop_words"] = list(stop_words)
        if file is not None:
            self.config["file"] = _hash(file)
        self.fixed = fixed
        self.tokenizer: Any = None  # a `kerazoo.text.Tokenizer` once the vocabulary is fitted
        self._sample = Sample(SAMPLE_SIZE)
        self._tags: set[str] = set()

    def use(self, tokenizer: "Tokenizer") -> None:
        """Takes a fitted tokenizer, such as that of another run, in place of fitting one."""
        self.tokenizer = tokenizer

    def update(self, strings: Sequence[str]) -> None:
        """Adds strings to the sample that the tokenizer is fitted to."""
        self._sample.add(strings)

    def update_tags(self, strings: Sequence[str]) -> None:
        """Adds strings to the tags, each of which becomes a special token of the tokenizer."""
        self._tags.update(strings)

    def finish(self) -> "Tokenizer":
        """Returns the tokenizer, fitted to the sample at the first call."""
        from kerazoo import text

        if self.tokenizer is None:
            if self.fixed is not None:
                fixed = self.fixed()
                self.tokenizer = fixed.add_tags(sorted(self._tags.difference(fixed.tags)))
                return self.tokenizer
            strings, tokens = self._sample.strings, self.config["tokens"]
            case = text.common_case(strings) if self.config["case"] == "auto" else self.config["case"]
            options = {name: value for name, value in self.config.items() if name in OPTIONAL and value}
            size = self.config["size"] or DEFAULT_SIZES.get(tokens)
            self.tokenizer = text.get(tokens).fit(strings, size, case=case, **options).add_tags(sorted(self._tags))
            self._sample = Sample(SAMPLE_SIZE)
        return self.tokenizer


class Sample:
    """Evenly spaced strings of a longer sequence, with at most about `size` characters."""

    def __init__(self, size: int):
        self.size = size
        self.strings: list[str] = []
        self._characters, self._step, self._position = 0, 1, 0

    def add(self, strings: Sequence[str]) -> None:
        """Adds the next strings of the sequence."""
        rows = range(-self._position % self._step, len(strings), self._step)
        self.strings.extend(strings[row] for row in rows)
        self._characters += sum(len(strings[row]) for row in rows)
        self._position += len(strings)
        while self._characters > self.size and len(self.strings) > 1:
            self.strings = self.strings[::2]
            self._characters, self._step = sum(map(len, self.strings)), 2 * self._step


class TextFeature(Feature):
    """Text as token ids.

    Several columns become one sequence, in which `end_id` separates them. `end_id` ends every target; nothing is added
    to an input of one column. Targets are not shifted here; the model shifts them. The value of a column of tags, such
    as the language to translate into, is one special token that no text contains.

    In a task without inputs the feature is that of a language model: the text is cut into windows of `window` tokens,
    and a model continues it.

    Args:
        *columns: strings. The names of the raw columns, whose values are strings.
        vocabulary: `Vocabulary`. Fitted to the training part; shared with another feature by passing the same object.
            Defaults to `Vocabulary()`.
        max_length: int. The largest number of tokens of an example, `end_id` included; longer ones are truncated.
            Defaults to `512`.
        truncate: string. Which part of a longer input is left out, its `"end"` or its `"start"`; tags are kept.
            Defaults to `"end"`.
        tags: int. How many of the columns, counted from the first, hold tags. Defaults to `0`.
        dropout: float in [0, 1). The share of subword merges that is left out at random in training (BPE-dropout).
            Defaults to `0.0`.
        vectors: string. A file of word vectors that the embedding starts from. Defaults to `None`.
        window: int. The tokens of a window of a language model. Defaults to `None`: not a language model.
        stride: int. The tokens from the start of one training window to the next. Defaults to `window`.
        monitor: tuple of name and `"min"` or `"max"`. The validation metric that selects the best model. Defaults
            to `("val_loss", "min")`.
        refuse_unknown: bool. Whether `read` refuses a text that is empty, or has tokens that the training text lacks.
            Not with tags. Defaults to `False`.
    """

    modality = "text"
    kinds = ("seq2seq",)
    generated = True
    measures = ("token_error_rate", "sequence_error_rate")
    outputs = ("answer", "score")

    def __init__(
        self,
        *columns: str,
        vocabulary: Vocabulary | None = None,
        max_length: int = 512,
        truncate: str = "end",
        tags: int = 0,
        dropout: float = 0.0,
        vectors: str | None = None,
        window: int | None = None,
        stride: int | None = None,
        monitor: tuple[str, str] = ("val_loss", "min"),
        refuse_unknown: bool = False,
    ):
        super().__init__(*(columns or ("text",)))
        self.vocabulary = vocabulary or Vocabulary()
        self.max_length = _checks.positive_int(self.owner, "max_length", max_length)
        self.truncate = _checks.one_of(self.owner, "truncate", truncate, ("end", "start"))
        self.tags = _checks.non_negative_int(self.owner, "tags", tags)
        if tags >= min(len(self.columns), self.max_length):
            raise ValueError(
                f"{self.owner}: `tags` must leave a column of text and a position for it; got tags={tags}, "
                f"{len(self.columns)} columns, max_length={max_length}."
            )
        self.dropout = _checks.rate(self.owner, "dropout", dropout)
        self.vectors = vectors
        self.window = window
        self.stride = stride or window
        self.monitor = monitor
        self.refuse_unknown = bool(refuse_unknown)
        if window is not None:
            self.kinds, self.outputs, self.measures = ("language_model",), ("text", "score"), ("nats",)
            self.evaluated_by_loss = True

    @property
    def config(self) -> dict:
        limit = {} if self.window else {"max_length": self.max_length}
        chosen = {"truncate": self.truncate, "tags": self.tags} if self.tags or self.truncate != "end" else {}
        return {**super().config, **self.vocabulary.config, **limit, **chosen, "target": self.is_target}

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, once the feature is fitted."""
        return self.vocabulary.tokenizer

    @property
    def sentence_ends(self) -> list[int]:
        """The tokens that end a sentence: those whose text ends in a full stop, `?` or `!`, and `end_id`."""
        pieces = enumerate(self.tokenizer.token_bytes)
        return [self.tokenizer.end_id, *(number for number, text in pieces if text.rstrip().endswith(SENTENCE_ENDS))]

    @property
    def max_tokens(self) -> int:
        """The number of tokens of the longest example of the data, or of a window."""
        return self.window or self.state["longest"]

    @property
    def needs_fit(self) -> bool:
        return (self.vocabulary.fixed is None and self.vocabulary.tokenizer is None) or self.tags > 0

    def update(self, columns: Mapping[str, Sequence]) -> bool:
        for name in self.columns[: self.tags]:
            self.vocabulary.update_tags(columns[name])
        for name in self.columns[self.tags :]:
            self.vocabulary.update(columns[name])
        return True

    def finish(self) -> bool:
        tags = self.vocabulary.finish().tags
        if self._encloses and self.max_length < self.tags + 3:
            raise ValueError(
                f"{self.owner}: `max_length` must leave a position between the tokens that begin and end an input; got "
                f"max_length={self.max_length}."
            )
        if len(tags) > MAX_TAGS:
            raise _checks.DataError(
                f"{self.owner}: the tags in the column {', '.join(self.columns[: self.tags])} must be at most "
                f"{MAX_TAGS:,} different ones; got {len(tags):,}, such as {tags[0]!r:.60}. Read the column as text."
            )
        self.state = {"longest": self.max_length}
        return False

    def restore_tokenizer(self, tokenizer: "Tokenizer") -> None:
        """Takes over the tokenizer of a saved task."""
        self.vocabulary.tokenizer = tokenizer

    def convert(self, columns: Mapping[str, Sequence], continues: bool = False) -> Converted:
        rows = self.tokens([columns[name] for name in self.columns])
        if self.window:
            if continues:  # the end of the last text is in a later chunk
                rows = Ragged(rows.values[:-1], np.append(rows.offsets[:-1], len(rows.values) - 1))
            return Converted(rows)
        faults = {}
        for name in self.columns[: self.tags]:
            faults |= {row: self._unknown_tag(tag) for row, tag in enumerate(columns[name]) if not self._has_tag(tag)}
        clipped = rows.lengths > self.max_length
        return Converted(self._clipped(rows) if clipped.any() else rows, clipped, faults)

    def _has_tag(self, tag):
        return tag in self.tokenizer.tags

    def _unknown_tag(self, tag):
        tags = self.tokenizer.tags
        listed = ", ".join([*tags[:MAX_NAMED], *["..."] * (len(tags) > MAX_NAMED)])
        return f"no tag {tag!r:.60}; the training data has: {listed}.{_checks.hint(str(tag), tags)}"

    @property
    def _encloses(self):
        """Whether the text has a token before it and one after it, which are never left out."""
        return self.tokenizer.encloses_inputs and not self.is_target

    def _clipped(self, rows):
        """Returns the rows without what is beyond `max_length` tokens."""
        if self.truncate == "end" and not self._encloses:
            return rows.clip(self.max_length)
        beyond = np.maximum(rows.lengths - self.max_length, 0)
        within = positions_in_rows(rows.lengths)
        first = self.tags + self._encloses  # position that is left out
        if self.truncate == "end":
            first = np.repeat(rows.lengths - beyond - self._encloses, rows.lengths)
        kept = (within < first) | (within >= first + np.repeat(beyond, rows.lengths))
        return Ragged.from_lengths(rows.values[kept], rows.lengths - beyond)

    def tokens(self, strings: Sequence[Sequence[str]], seed: Sequence[int] | None = None) -> Ragged:
        """Returns the token ids of examples, given as one list of strings for each column.

        Args:
            strings: list of lists of strings, one list for each column.
            seed: sequence of ints. With it, subwords are sampled anew (BPE-dropout). Defaults to `None`.
        """
        end = self.tokenizer.end_id
        parts = []
        for index, column in enumerate(strings):
            if index < self.tags:
                parts.append(Ragged.from_lengths(self.tokenizer.tag_ids(column).numpy(), np.ones(len(column), int)))
                continue
            part = tokenize(self.tokenizer, column, self.dropout if seed is not None else 0.0, (*(seed or ()), index))
            ends = self.is_target or self._encloses or index + 1 < len(strings)
            parts.append(part.append(end) if ends else part)
        if self._encloses:
            starts = np.full(len(strings[0]), self.tokenizer.start_id, np.int32)
            parts.insert(self.tags, Ragged.from_lengths(starts, np.ones(len(starts), int)))
        return parts[0] if len(parts) == 1 else concatenated_rows(parts)

    def target_tokens(self, raw: Sequence) -> Ragged:
        return self.tokens([self.pack(raw)])

    @property
    def scored_names(self) -> tuple[str, ...]:
        return ("text",) if self.window else ("target",)

    def scored_tokens(self, *packed: Any) -> tuple[Any, Any]:
        ids = self.tokenizer.tokenize(packed[0])
        return self._scored(ids if self.window else self._ended(ids), 0)

    def _ended(self, ids):
        """Returns ragged ids with `end_id` after each row."""
        import tensorflow as tf

        return tf.concat([ids, tf.fill([ids.nrows(), 1], tf.constant(self.tokenizer.end_id, ids.dtype))], axis=1)

    def _scored(self, ids, unscored):
        """Returns ragged ids as a dense tensor of at least one column, and which of them come after `unscored`."""
        import tensorflow as tf

        dense = ids.to_tensor(self.tokenizer.pad_id)  # [B, T]
        missing = tf.maximum(1 - tf.shape(dense)[1], 0)
        dense = tf.pad(dense, [[0, 0], [0, missing]], constant_values=self.tokenizer.pad_id)
        positions, ends = tf.range(tf.shape(dense)[1])[None], tf.cast(ids.row_lengths(), tf.int32)[:, None]
        return dense, (positions >= tf.reshape(unscored, [-1, 1])) & (positions < ends)

    def windows(self, values: Any, training: bool) -> Any:
        """Returns the windows of a language model over the token ids of texts."""
        if self.window is None or self.stride is None:
            raise ValueError(f"{self.owner}: a text without a `window` has no windows; got window=None.")
        return cut_windows(values, self.window, self.stride if training else self.window)

    def prompts(self, values: Any, limit: int | None = None) -> tuple[list, list]:
        """Returns the first halves of windows, and the windows, as text."""
        rows = [values[row] for row in range(len(values)) if len(values[row]) > 1]
        rows = rows if limit is None else [rows[row] for row in sample_rows(len(rows), limit)]
        return self.decode([row[: len(row) // 2] for row in rows]), self.decode(rows)

    def without_prompt(self, prompt: Any, whole: Any) -> Any:
        return whole[len(prompt) :]

    def unchanged_prompt(self, prompt: Any, tokens: Any) -> Any:
        return prompt

    def loss_measures(self, results: Mapping[str, float], values: Any) -> dict[str, float]:
        """Returns the results, and `nats`: the cross-entropy of a text divided by its characters, not by its tokens."""
        if not self.window:
            return dict(results)
        total = int(self.count_characters(values.values).sum())
        return {**results, "nats": float(np.log(results["perplexity"])) * len(values.values) / max(total, 1)}

    def count_characters(self, tokens: Any) -> np.ndarray:
        """Returns how many characters each of some token ids begins."""
        return np.take(self.tokenizer.character_counts, tokens)

    def search_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the options with token ids in place of texts, and objects in place of stop strings and of a file.

        Texts are `prefix`, `allowed` and `forbidden`, the file is that of a `shortlist`. Called once for all batches,
        because the table of pieces is large.
        """
        options = dict(options)
        for name in ("prefix", "allowed", "forbidden"):
            if isinstance(options.get(name), str):
                options[name] = self.tokenizer.tokenize(self.pack([options[name]])).to_list()[0]
        stop = options.get("stop_strings")
        if stop is not None and not hasattr(stop, "cut"):
            from kerazoo import decoding

            options["stop_strings"] = decoding.StopStrings(stop, self.tokenizer.token_bytes)
        if options.get("shortlist") is not None:
            options["shortlist"] = self._shortlist(options["shortlist"])
        return options

    def _shortlist(self, given):
        """Returns a shortlist that is given by its file, or as an object."""
        from kerazoo import decoding

        found = decoding.Shortlist.load(given) if isinstance(given, str | os.PathLike) else given
        if getattr(found, "tokenizer_hash", "") not in ("", self.tokenizer.hash):
            raise ValueError(
                f"{self.owner}: `shortlist` must be of the tokens of the targets; got {given!s:.200}, which is of "
                "other ones. Make it from this run: python -m experiments.shortlist --run_dir=RUN."
            )
        return found

    def inputs(self, values: Any) -> Any:
        from keras import ops

        return ops.cast(values, "int32")  # [B, S]

    targets = inputs

    def pack(self, values: Sequence) -> Any:
        for value in values:
            if not isinstance(value, str):
                raise TypeError(f"{self.owner}: a text must be a string; got {value!r}.")
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueError(
                    f"{self.owner}: a text must be valid Unicode; got {value[:40]!r} with half of a surrogate pair at "
                    f"position {error.start + 1}. Read the text with its right encoding."
                ) from error
        return list(values)

    def pack_column(self, column: str, values: Sequence) -> Any:
        packed = self.pack(values)
        for tag in packed if column in self.columns[: self.tags] else ():
            if not self._has_tag(tag):
                raise ValueError(f"{self.owner}: {self._unknown_tag(tag)}")
        return packed

    def read(self, text: str) -> Any:
        if self.refuse_unknown and not self.tags:  # whose values are read by the same method
            (text,) = self.pack([text])
            self._check_tokens(text)
        return text

    def _check_tokens(self, text):
        """Raises a DataError if a text has no tokens, or tokens that are not in the vocabulary."""
        if not self.tokenizer.tokenize([text]).values.shape[0]:
            raise _checks.DataError(f"{self.owner}: an input must be a text that is not empty; got {text!r}.")
        parts = list(dict.fromkeys(map(str, self.tokenizer.split(text))))
        unknown = (self.tokenizer.tokenize(parts) == self.tokenizer.unknown_id).to_list()
        named = [part for part, ids in zip(parts, unknown) if any(ids)]
        if named:
            raise _checks.DataError(
                f"{self.owner}: the texts of the training data have no {', '.join(map(repr, named[:MAX_NAMED]))}; got "
                f"{text!r:.60}. Write it as those texts are written."
            )

    def encode(self, *packed: Any) -> Any:
        import tensorflow as tf

        encloses = self._encloses
        if len(packed) == 1 and self.truncate == "end" and not encloses:
            return self.tokenizer.encode(packed[0], None if self.window else self.max_length)
        rows, end = [], self.tokenizer.end_id
        for index, strings in enumerate(packed[self.tags :], start=self.tags):
            ids = self.tokenizer.tokenize(strings)
            if index + 1 < len(packed):
                ends = tf.fill([tf.shape(strings)[0], 1], tf.constant(end, ids.dtype))
                ids = tf.concat([ids, ends], axis=1)
            rows.append(ids)
        ids = rows[0] if len(rows) == 1 else tf.concat(rows, axis=1)
        length = self.max_length - self.tags - 2 * encloses
        ids = ids[:, -length:] if self.truncate == "start" else ids[:, :length]
        if encloses:
            count = [tf.shape(packed[0])[0], 1]
            ends = (tf.fill(count, tf.constant(each, ids.dtype)) for each in (self.tokenizer.start_id, end))
            ids = tf.concat([next(ends), ids, next(ends)], axis=1)
        dense = ids.to_tensor(self.tokenizer.pad_id)
        tags = [self.tokenizer.tag_ids(strings)[:, None] for strings in packed[: self.tags]]
        dense = tf.concat([*tags, dense], axis=1)
        missing = tf.maximum(1 - tf.shape(dense)[1], 0)
        return tf.pad(dense, [[0, 0], [0, missing]], constant_values=self.tokenizer.pad_id)

    def cut(self, *packed: Any) -> np.ndarray:
        """Returns a bool array `[B]`: whether `encode` cuts an example to `max_length` tokens."""
        return self.tokens(packed).lengths > self.max_length

    def signature(self) -> list[tuple[list, str]]:
        return [([], "string")] * len(self.columns)

    def input_sizes(self) -> dict:
        return {
            "source_vocabulary_size": self.tokenizer.vocabulary_size,
            "max_length": self.max_length,  # where `encode` cuts, whatever the data at hand is
            "pad_id": self.tokenizer.pad_id,
        }

    def target_sizes(self) -> dict:
        name = "vocabulary_size" if self.window else "target_vocabulary_size"
        ids = {name: getattr(self.tokenizer, name) for name in ("pad_id", "start_id", "end_id")}
        return {name: self.tokenizer.vocabulary_size, "max_length": self.window or self.max_length, **ids}

    def weights(self, targets: Any, valid: Any) -> Any:
        """Returns float32 `[B, T]`: 1 for the tokens of valid examples."""
        from keras import ops

        tokens = ops.not_equal(targets, self.tokenizer.pad_id)
        return ops.cast(ops.logical_and(tokens, ops.expand_dims(valid, -1)), "float32")

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        from kerazoo.training.losses import SparseCrossentropy

        return SparseCrossentropy(label_smoothing=label_smoothing)

    def metrics(self) -> list:
        from kerazoo.training.metrics import Perplexity, SequenceAccuracy, TokenAccuracy

        whole = Perplexity() if self.window else SequenceAccuracy(self.tokenizer.end_id)
        return [TokenAccuracy(name="token_accuracy"), whole]

    def summary(self, values: Any) -> str:
        """Returns the shortest and the longest text with their numbers of tokens."""
        if not len(values):
            return ""
        rows = [values[int(values.lengths.argmin())], values[int(values.lengths.argmax())]]
        counts = [f"{len(row):,}" for row in rows]
        if not self.window:
            texts = [
                text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..." for text in self.decode(rows)
            ]
            counts = [f"{count} ({text!r})" for count, text in zip(counts, texts)]
        return f"texts of {' to '.join(counts)} tokens"

    def references(self, values: Sequence) -> list:
        return self.tokenizer.standardize(list(values))

    def baselines(self, values: Any, inputs: Sequence[Feature]) -> dict[str, Any]:
        """Returns the most frequent answer, and for a text as the only input its copy and its beginning."""
        if self.window:
            return {"frequencies of the training tokens": self._token_nats(values)} if values is not None else {}
        found = {}
        if len(inputs) == 1 and inputs[0].modality == "text" and len(inputs[0].columns) == 1:
            found = {"copy of the source": None, f"first {FIRST_WORDS} words of the source": FIRST_WORDS}
        if values is not None and len(values):
            rows = collections.Counter(values[row].tobytes() for row in range(len(values)))
            tokens = np.frombuffer(rows.most_common(1)[0][0], values.values.dtype)
            found["most frequent answer"] = self.decode([tokens])[0]
        return found

    def _token_nats(self, rows):
        """Returns the negative log-probability of each token by its share of the training tokens, each counted once
        more."""
        counts = np.bincount(rows.values, minlength=self.tokenizer.vocabulary_size) + 1
        return np.round(np.log(counts.sum()) - np.log(counts), 4).tolist()

    def evaluate_baseline(self, fitted: Any, values: Any) -> dict[str, float]:
        characters = int(self.count_characters(values.values).sum())
        return {"nats": float(np.take(fitted, values.values).sum()) / max(characters, 1)}

    def predict_baseline(self, name: str, fitted: Any, raw: Sequence) -> list:
        if name == "most frequent answer":
            return [fitted] * len(raw)
        texts = raw if fitted is None else [" ".join(text.split()[:fitted]) for text in raw]
        return self.references(texts)

    def decode(self, outputs: Any) -> list:
        rows = [np.asarray(row, np.int32) for row in outputs]
        if not rows:
            return []
        padded = Ragged.from_rows(rows).padded(pad=self.tokenizer.pad_id)
        return [text.decode("utf-8", errors="replace") for text in self.tokenizer.detokenize(padded).numpy()]

    def decode_in_graph(self, outputs: Any) -> dict:
        return {self.outputs[0]: self.tokenizer.detokenize(outputs)}

    @property
    def compared_as(self) -> str:
        return "language model" if self.window else "text"

    def measure_options(self, name: str) -> dict[str, Any]:
        return {"split": self.tokenizer.split} if name in ("token_error_rate", "sequence_error_rate") else {}


def tokenize(tokenizer: Any, strings: Sequence[str], dropout: float = 0.0, seed: Sequence[int] = ()) -> Ragged:
    """Returns the ids of strings as a `Ragged` of int32.

    Args:
        tokenizer: `kerazoo.text.Tokenizer`.
        strings: list of strings.
        dropout: float in [0, 1). The share of subword merges that is left out; only for subwords. Defaults to
            `0.0`.
        seed: sequence of ints. The seed of the dropout. Defaults to `()`.
    """
    values, lengths = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    for start in range(0, len(strings), ROWS_AT_ONCE):
        part = strings[start : start + ROWS_AT_ONCE]
        if dropout:
            ids = tokenizer.tokenize_with_dropout(part, dropout, (*seed, start))
        else:
            ids = tokenizer.tokenize(part)
        values.append(ids.flat_values.numpy())
        lengths.append(ids.row_lengths().numpy())
    return Ragged.from_lengths(np.concatenate(values), np.concatenate(lengths))


def concatenated_rows(parts: Sequence[Ragged]) -> Ragged:
    """Returns rows that concatenate the rows of several `Ragged`."""
    lengths = np.stack([part.lengths for part in parts], axis=1)  # [N, P]
    ends = np.cumsum(lengths.reshape(-1)).reshape(lengths.shape)
    values = np.empty(int(lengths.sum()), parts[0].values.dtype)
    for index, part in enumerate(parts):
        shift = np.repeat(ends[:, index] - lengths[:, index] - part.offsets[:-1], part.lengths)
        values[np.arange(len(shift)) + part.offsets[0] + shift] = part.values[part.offsets[0] : part.offsets[-1]]
    return Ragged.from_lengths(values, lengths.sum(axis=1))


def cut_windows(rows: Ragged, length: int, stride: int) -> Ragged:
    """Returns the windows of `length` entries that begin every `stride` entries of each row.

    A row ends with the first window that reaches its end, which may be shorter; an empty row has none.
    """
    if stride == length:  # nothing overlaps, so the values are not copied
        counts = -(-rows.lengths // length)
        # Counted as if all earlier windows were full, which shifts all windows of a row by the same difference.
        starts = np.repeat(rows.offsets[:-1] - (np.cumsum(counts) - counts) * length, counts)
        starts += np.arange(len(starts)) * length
        return Ragged(rows.values, np.append(starts, len(rows.values)))
    lengths = rows.lengths
    counts = np.where(lengths > 0, 1 + np.maximum(0, -(-(lengths - length) // stride)), 0)
    row = np.repeat(np.arange(len(rows)), counts)
    first = np.cumsum(counts) - counts  # number of a row's first window
    starts = (np.arange(len(row)) - first[row]) * stride
    sizes = np.minimum(length, lengths[row] - starts)
    offsets = np.repeat(rows.offsets[row] + starts, sizes)
    return Ragged.from_lengths(rows.values[offsets + positions_in_rows(sizes)], sizes)


def _hash(file: str | os.PathLike) -> str | None:
    """Returns the SHA-256 of a file, `None` if it cannot be read, which matters once it is used."""
    try:
        return hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()
    except OSError:
        return None
