"""The task: a source of examples, input features and a target feature."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np

from kerazoo import _checks
from kerazoo.data import Chunk, Corpus, DataSource, Stream, TableSource, cache, prepare
from kerazoo.data.corruption import CorruptedCorpus, corrupted
from kerazoo.data.preparing import Progress, no_examples
from kerazoo.tasks import examples, saved_task
from kerazoo.tasks.conversion import Converter
from kerazoo.tasks.feature import Feature, MaskedSequence
from kerazoo.tasks.subword_dropout import ResampledCorpus, max_sampled_tokens
from kerazoo.tasks.text_feature import SAMPLE_SIZE, TextFeature

if TYPE_CHECKING:
    import keras

SPLITS = ("train", "dev", "test")
# What a model reads in addition to its sources and targets, where a corpus or packing has it.
MARKS = ("source_segments", "targets_segments", "masked_positions", "masked_positions_segments")


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A source of examples, input features and a target feature.

    The features decide which kind of model a task trains, how its batches, loss and metrics are made, and what a
    prediction is; a task with no inputs is a language model's. Nothing is read before it is needed, and a restored task
    needs no data before `load` or `examples` is called.

    Args:
        source: `kerazoo.data.DataSource`. The raw examples by split.
        inputs: tuple of `Feature`. What the model reads; empty for a language model.
        targets: `Feature`. What the model predicts; an autoencoder's is the same object as its input.
        name: string. The name in error messages and records. Defaults to `"task"`.
        kind: string. The kind of model that it trains. Defaults to the first kind of `targets` that has inputs as the
            task has.
        options: dict of plain values. What creates the task again by its name. Defaults to `{}`.
        bad_lines: string. `"stop"` raises at an example that cannot be read, `"skip"` leaves it out and counts it.
            Defaults to `"stop"`.
        streamed: bool. Whether training examples are read anew in each epoch, so that `load("train")` is a
            `kerazoo.data.Stream` and the features are fitted to the first of them. Defaults to `False`.

    Raises:
        ValueError: if `kind` is no kind of model that predicts `targets`.

    Example:

    ```python
    import kerazoo as kz

    words = {"train": ["a", "b", "ab"], "dev": ["ba"], "test": ["bb"]}
    source = kz.data.MemorySource(lambda split: {"word": words[split], "twice": [2 * word for word in words[split]]})
    task = kz.tasks.Task(source, (kz.tasks.TextFeature("word"),), kz.tasks.TextFeature("twice"))
    print(task.kind, task.sizes(), task.examples("dev"))
    ```
    """

    source: DataSource = dataclasses.field(repr=False)
    inputs: tuple[Feature, ...]
    targets: Feature
    name: str = "task"
    kind: str = ""
    options: dict = dataclasses.field(default_factory=dict)
    bad_lines: str = "stop"
    streamed: bool = False

    def __post_init__(self):
        object.__setattr__(self, "inputs", tuple(self.inputs))
        _checks.one_of(self.owner, "bad_lines", self.bad_lines, ("stop", "skip"))
        kinds = [kind for kind in self.targets.kinds if (kind == "language_model") != bool(self.inputs)]
        if not kinds and not self.inputs:
            raise ValueError(
                f"{self.owner}: without inputs the target must be a text with a `window`, or pixels; got "
                f"{self.targets.modality}."
            )
        object.__setattr__(self, "kind", self.kind or (kinds or self.targets.kinds)[0])
        if self.kind not in (kinds or self.targets.kinds):
            raise ValueError(
                f"{self.owner}: a {self.targets.modality} is predicted by models of kind "
                f"{', '.join(kinds or self.targets.kinds)}; got kind={self.kind!r}."
            )
        for feature in self.features:
            feature.bind(self.owner)
        self.targets.is_target = True
        labels = [feature for feature in (self.targets, *self.inputs) if feature.modality == "label"]
        if labels:
            columns = tuple(dict.fromkeys(column for feature in labels for column in feature.columns))
            object.__setattr__(self, "source", self.source.with_label_columns(columns))

    # What the features are.

    @property
    def owner(self) -> str:
        """The task as error messages name it."""
        return f"task {self.name}"

    @property
    def features(self) -> tuple[Feature, ...]:
        """All features, the inputs first, each of them once."""
        return tuple(dict.fromkeys([*self.inputs, self.targets]))

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs in a corpus and in a model: `source`, `source_2`, and so on."""
        return tuple("source" if index == 0 else f"source_{index + 1}" for index in range(len(self.inputs)))

    @property
    def is_autoencoder(self) -> bool:
        """Whether the target is the only input."""
        return self.inputs == (self.targets,)

    @property
    def arrays(self) -> dict[str, Feature]:
        """The features by their names in a corpus; a target that is an input is stored once."""
        arrays = dict(zip(self.input_names, self.inputs))
        return arrays if self.targets in self.inputs else {**arrays, "targets": self.targets}

    @property
    def is_language_model(self) -> bool:
        """Whether the target has no input, so that a prompt is continued."""
        return not self.inputs

    @property
    def monitor(self) -> tuple[str, str]:
        """The name and the direction of the validation metric that selects the best model."""
        return self.targets.monitor

    @property
    def max_length(self) -> int | None:
        """The largest number of tokens of a prediction, `end_id` included; `None` where none are generated."""
        self.fit()
        return self.targets.max_tokens if self.targets.generated else None

    # What is fitted to the training data.

    def fit(self) -> "Task":
        """Fits the features to the training data, once, and returns the task."""
        if any(feature.state is None for feature in self.features):
            # Tokenizers of another run, which are not fitted.
            given = [feature.tokenizer.hash for feature in self.features if _text(feature) and feature.tokenizer]
            depends = [[feature.config for feature in self.features], self.kind, self.streamed, *given]
            key = self._key(SPLITS, "fitted", *depends)
            if key is None:
                self._fit()
            else:
                cache.entry(key, self._fit_into, lambda folder: saved_task.read_state(folder, self))
        return self

    def _fit_into(self, folder):
        self._fit()
        saved_task.write_state(folder, self)

    def _fit(self):
        for feature in self.features:
            feature.declare(self.source)
        unfitted = [feature for feature in self.features if feature.needs_fit]
        while unfitted:
            self._fit_pass(unfitted)
            unfitted = [feature for feature in unfitted if feature.finish()]
        for feature in self.features:
            if feature.state is None:
                feature.finish()
        self._find_max_tokens()

    def _fit_pass(self, features):
        """Updates the features with the training chunks, until none of them needs more data."""
        chunks, read, size, rows, skipped = self.chunks("train"), [], 0, 0, 0
        with Progress(f"what {self.owner} is fitted to") as progress:
            for chunk in chunks if self.streamed else progress.over(chunks):
                rows, skipped = rows + chunk.num_rows, skipped + chunk.skipped
                needed = [feature.update(chunk.columns) for feature in features]
                read.append(chunk) if self.streamed else None
                size += sum(map(_characters, chunk.columns.values()))
                if not any(needed) or (self.streamed and size >= SAMPLE_SIZE):
                    break
        if not rows:
            raise no_examples(f"{self.owner}, train", {"skipped": skipped})
        if self.streamed:  # standard input, for one, cannot be read again
            self._cache["read chunks"] = itertools.chain(read, chunks)

    def _find_max_tokens(self):
        """Stores the largest number of tokens in the data, which bounds positions and predictions."""
        texts = {name: feature for name, feature in self.arrays.items() if _bounded(feature)}
        if not texts or self.streamed or self.targets.corrupts:  # which cuts texts into windows
            return
        for split in SPLITS:
            # A split without examples raises when it is loaded.
            with contextlib.suppress(_checks.NoExamplesError):
                self._cache[f"corpus {split}"] = self._prepared(split)
        corpora = [self._cache[key] for key in self._cache if key.startswith("corpus ")]
        for name, feature in texts.items():
            max_tokens = max((int(corpus.lengths(name).max()) for corpus in corpora), default=1)
            if feature.dropout:
                sampled = max_sampled_tokens(feature, next(self.chunks("train")).columns)
                max_tokens = min(max(max_tokens, sampled), feature.max_length)
            feature.state["longest"] = max_tokens

    @property
    def state(self) -> dict[str, dict]:
        """The fitted state of each feature, plain values by the name of its array."""
        self.fit()
        return {name: feature.state for name, feature in self.arrays.items()}

    @property
    def tokenizers(self) -> dict:
        """The tokenizers by role, `"source"` and `"target"`; empty for a task without text."""
        self.fit()
        texts = {name: feature for name, feature in self.arrays.items() if _text(feature)}
        return {name.replace("targets", "target"): feature.tokenizer for name, feature in texts.items()}

    @property
    def vocabularies(self) -> dict:
        """The fingerprints of the vocabularies by role."""
        return {role: tokenizer.fingerprint for role, tokenizer in self.tokenizers.items()}

    @property
    def hash(self) -> str:
        """Hash of all that was fitted: models of two tasks with one hash read and predict the same."""
        parts = [self.kind, self.state, {role: tokenizer.hash for role, tokenizer in self.tokenizers.items()}]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def vectors(self) -> dict[str, str]:
        """The files of word vectors that embeddings start from, by role."""
        texts = {name.replace("targets", "target"): feature for name, feature in self.arrays.items()}
        return {role: feature.vectors for role, feature in texts.items() if _text(feature) and feature.vectors}

    # Raw examples and the corpus.

    def check(self) -> None:
        """Raises an error if the data is missing."""
        self.source.check()

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Returns an iterator of the raw examples of `split`, as `kerazoo.data.Chunk`s."""
        _checks.one_of(self.owner, "split", split, SPLITS)
        if split == "train" and "read chunks" in self._cache:
            return self._cache.pop("read chunks")
        return iter(self.source.chunks(split))

    def columns(self, split: str) -> dict:
        """Returns the raw columns of `split`, all in memory, read once.

        Raises:
            NoExamplesError: if there are no examples.
        """
        key = f"columns {split}"
        if key not in self._cache:
            locations: list[str] = []
            columns = _joined(self.chunks(split), locations)
            if not columns or not len(next(iter(columns.values()))):
                raise no_examples(f"{self.owner}, {split}", {})
            self._cache[key], self._cache[f"locations {split}"] = columns, locations
        return self._cache[key]

    def locations(self, split: str) -> list[str]:
        """Returns where each example of `columns` comes from, file and line, nothing where that is not known."""
        self.columns(split)
        return self._cache[f"locations {split}"]

    def load(self, split: str) -> Corpus | Stream:
        """Returns the examples of `split` as a `kerazoo.data.Corpus`; a streamed training part as a `Stream`."""
        _checks.one_of(self.owner, "split", split, SPLITS)
        self.fit()
        key = f"corpus {split}"
        if key not in self._cache:
            self._cache[key] = self._prepared(split)
        if isinstance(self._cache[key], Stream) or not self._reads_windows:
            return self._cache[key]
        windows = f"windows {split}"
        if windows not in self._cache:
            self._cache[windows] = self._windows(split, self._cache[key])
        return self._cache[windows]

    @property
    def _reads_windows(self):
        """Whether texts are stored whole, and an example is a window of one."""
        return self.is_language_model or self.targets.corrupts

    def _windows(self, split, texts):
        """Returns the windows of texts as a corpus; those of a target that corrupts them are corrupted always alike."""
        (rows,) = texts.features.values()
        rows = self.targets.windows(rows, training=split == "train")
        if self.targets.corrupts:
            return Corpus(corrupted(rows, self.targets.corrupt, (0, SPLITS.index(split))).features, texts.notes)
        return Corpus({"targets": rows}, texts.notes)

    @property
    def _stored_arrays(self):
        """The features that are prepared: a target that corrupts texts is made of the input."""
        return {"source": self.inputs[0]} if self.targets.corrupts else self.arrays

    def _prepared(self, split):
        label = f"{self.owner}, {split}"
        if self.streamed and split == "train":
            change = self._corrupt_chunk if self.targets.corrupts else None
            return Stream(
                lambda: self.chunks("train"), Converter(self, split, self._stored_arrays, self._reads_windows), change
            )
        fitted = {name: None if _text(feature) else feature.state for name, feature in self._stored_arrays.items()}
        configs = {name: feature.config for name, feature in self._stored_arrays.items()}
        hashes = [feature.tokenizer.hash for feature in self.features if _text(feature)]
        key = self._key((split,), "corpus", configs, fitted, hashes, self.bad_lines)
        return prepare(label, lambda: self.chunks(split), Converter(self, split, self._stored_arrays), key)

    def _corrupt_chunk(self, values, epoch, number):
        return corrupted(values["source"], self.targets.corrupt, (0, epoch, number)).features

    def resampled(self, seed: int) -> ResampledCorpus | CorruptedCorpus | None:
        """Returns the training corpus that differs in each epoch, or `None` if it is always the same.

        That is one whose subwords are sampled anew, or whose texts are corrupted anew.

        Args:
            seed: int, not negative. An epoch is a pure function of it and of its number.
        """
        if self.targets.corrupts:
            self.load("train")
            texts = cast(Corpus, self._cache["corpus train"])
            return CorruptedCorpus(self.targets.windows(texts.features["source"], True), self.targets.corrupt, seed)
        texts = {name: feature for name, feature in self.arrays.items() if _text(feature) and feature.dropout}
        if not texts:
            return None
        return ResampledCorpus(cast(Corpus, self.load("train")), lambda: self.chunks("train"), texts, seed)

    def examples(self, split: str, limit: int | None = None) -> tuple[list, list[list]]:
        """Returns raw inputs of `split` and for each the list of accepted targets.

        Examples of equal inputs are one where the target is a text, with several accepted targets: the captions of an
        image, the pronunciations of a word. For a language model the inputs are the beginnings of windows and the
        targets the whole windows.

        Args:
            split: string. `"train"`, `"dev"` or `"test"`.
            limit: int. The largest number of inputs, spread evenly over the split. Defaults to `None`: all of them.
        """
        raw, references, _ = self.examples_by((), split, limit)
        return raw, references

    def examples_by(
        self, columns: Sequence[str], split: str, limit: int | None = None
    ) -> tuple[list, list, dict[str, list]]:
        """Returns what `examples` does, and by column for each input the list of the values that it has there.

        An input that several examples have has several values, the same in all of them once.

        Args:
            columns: list of strings. The names of raw columns; empty for no values.
            split: string. As for `examples`.
            limit: int. As for `examples`. Defaults to `None`.

        Raises:
            ValueError: if the data has no such column, or the task is that of a language model and there are columns.
        """
        return examples.examples_by(self, columns, split, limit)

    def scaled_examples(self, split: str, limit: int | None = None) -> tuple[list, list[list], list[str]]:
        """Returns what `examples` does, and for each input what tells how its target is scaled.

        Args:
            split: string. As for `examples`.
            limit: int. As for `examples`. Defaults to `None`.

        Returns:
            The inputs, the targets, and the values of `scaled_by_column`, none where all have one scale.
        """
        self.fit()
        raw, references, values = self.examples_by(self.scale_columns, split, limit)
        return raw, references, self.scale_groups(values)

    @property
    def scale_columns(self) -> tuple[str, ...]:
        """The column that `scale_groups` reads, none where all targets have one scale."""
        return (self.targets.scaled_by_column,) if self.targets.scaled_by_column else ()

    def scale_groups(self, values: Mapping[str, Sequence]) -> list[str]:
        """Returns for each example what tells how its target is scaled, nothing where all have one scale.

        Args:
            values: dict. The values of `scale_columns` that `examples_by` returned.
        """
        return [each[0] for column in self.scale_columns for each in values[column]]

    def with_test_data(self, path: str | os.PathLike) -> "Task":
        """Returns the task with other test examples, and without training and dev examples.

        Args:
            path: string or path. Files of the kind that the task reads: a table with its columns, the file of the
                sources of pairs, a text, a series, a folder of images, or one of recordings. For a task that reads no
                such files, a table with the columns of its inputs and then of its target; in JSON lines fields of their
                names.

        Raises:
            DataError: if there is no such file.
        """
        source = self.source.with_test_data(path)
        if source is None:
            names = list(dict.fromkeys((*self.input_columns, *self.targets.columns)))
            in_json = os.fspath(path).removesuffix(".gz").endswith(".jsonl")
            columns = {name: name if in_json else number for number, name in enumerate(names)}
            files = [name for each in self.inputs if each.modality in ("image", "sound") for name in each.columns]
            source = TableSource(path, columns, path_columns=files).with_test_data(path)
        return dataclasses.replace(self, source=source)

    # Batches.

    def batch(self, features: Mapping, valid: Any) -> tuple:
        """Returns `(inputs, targets, weights)` of a padded batch, for `kerazoo.training.fit`.

        Args:
            features: dict of tensors by the names of `arrays`. `targets_read` holds the input of a decoder if it
                differs from the targets, and `source_read` that of an encoder; `NAME_segments` count the examples of a
                packed row; `NAME_mask` marks the valid positions of rows of vectors.
            valid: bool tensor `[B]`. False for padding rows.
        """
        if "targets_mask" in features:  # targets are rows of vectors, whose positions are weighted one by one
            valid = features["targets_mask"] & valid[:, None]  # [B, T]
        read = {name: features.get(f"{name}_read", features[name]) for name in self.input_names}
        inputs = {name: feature.inputs(read[name]) for name, feature in zip(self.input_names, self.inputs)}
        values = features["targets" if self.targets not in self.inputs else self.input_names[self._target_index]]
        targets = self.targets.targets(values)
        if self.targets.generated or self.targets.continuous:
            inputs["targets"] = self.targets.inputs(features.get("targets_read", values))
        names = (*MARKS, *(f"{name}_mask" for name in self.input_names))
        marks = {name: features[name] for name in names if name in features}
        return {**inputs, **marks}, targets, self.targets.weights(targets, valid)

    @property
    def _target_index(self):
        return self.inputs.index(self.targets)

    def summary(self, corpus: Corpus) -> str:
        """Returns what a corpus holds: classes with their counts, lengths of texts, names of variables."""
        found = {name: feature.summary(corpus.features[name]) for name, feature in self.arrays.items()}
        return "; ".join(f"{name}: {text}" for name, text in found.items() if text)

    def sizes(self) -> dict:
        """Returns the constructor arguments of a model that the data determines."""
        self.fit()
        parts = [feature.input_sizes() for feature in self.inputs]
        sizes = parts[0] if len(parts) == 1 else _joined_sizes(parts)
        target = self.targets.target_sizes()
        if not self.targets.generated:
            if "source_vocabulary_size" in sizes:
                sizes = {**sizes, "vocabulary_size": sizes["source_vocabulary_size"]}
            return {**sizes, **target}
        lengths = [each["max_length"] for each in (sizes, target) if "max_length" in each]
        sizes = {**sizes, **target, "max_length": max(lengths)}
        if len(self.inputs) == 1 and _text(self.inputs[0]) and _text(self.targets):
            one, two = self.inputs[0].tokenizer, self.targets.tokenizer
            # Two vocabularies of one size may have different tokens.
            sizes["share_embeddings"] = (
                type(one) is type(two) and one.vocabulary == two.vocabulary and one.tags == two.tags
            )
        return sizes

    @property
    def sentence_ends(self) -> list[int]:
        """The tokens of the input text that end a sentence: those that end in a full stop, `?` or `!`, and `end_id`."""
        self.fit()
        text: Any = self.inputs[0]
        return text.sentence_ends

    def loss(self, label_smoothing: float = 0.0) -> "keras.losses.Loss":
        """Returns the `keras.losses.Loss` of the targets."""
        self.fit()
        return self.targets.loss(label_smoothing)

    def metrics(self) -> list:
        """Returns the metrics for `weighted_metrics`."""
        self.fit()
        return self.targets.metrics()

    # From raw inputs to predictions.

    @property
    def input_columns(self) -> tuple[str, ...]:
        """The names of the raw columns of the inputs; a language model's prompt is its text."""
        return tuple(column for _, column in self._input_parts)

    @property
    def _input_parts(self):
        """The features and columns of the raw inputs, or those of a prompt."""
        if not self.inputs:
            return [(self.targets, column) for column in self.targets.prompt_columns]
        return [(feature, column) for feature in self.inputs for column in feature.columns]

    @property
    def signature(self) -> dict[str, tuple[list, str]]:
        """Names, shapes (without the batch) and dtypes of the raw inputs of an exported model."""
        self.fit()
        specs = [spec for feature in self.inputs or (self.targets,) for spec in feature.signature()]
        return dict(zip(self._signature_names, specs))

    @property
    def file_signature(self) -> dict[str, tuple[list, str]]:
        """The same with the bytes of a file in place of what `decode_files` makes of it; empty if nothing is a file."""
        if not any(feature.reads_files for feature in self.inputs):
            return {}
        files: tuple[list, str] = ([], "string")
        replaced = [feature.reads_files for feature in self.inputs for _ in feature.columns]
        return {name: files if is_file else spec for (name, spec), is_file in zip(self.signature.items(), replaced)}

    def decode_files(self, raw: Mapping) -> dict:
        """Returns packed raw inputs of `signature` for those of `file_signature`, inside a graph."""
        return self._with_files(raw, lambda feature, files: feature.decode_files(files))

    def encode_files(self, columns: Mapping) -> dict:
        """Returns raw inputs of `file_signature` for those that `pack` returns."""
        return self._with_files(columns, lambda feature, values: feature.encode_files(values))

    def _with_files(self, columns, function):
        """Returns a value for each name of the signature, of a function of feature and value where that is a file."""
        features = [feature for feature in self.inputs for _ in feature.columns]
        return {
            name: function(feature, columns[name]) if feature.reads_files else columns[name]
            for name, feature in zip(self._signature_names, features)
        }

    @property
    def _signature_names(self):
        if len(self.input_columns) == 1:
            return ["prompt" if self.is_language_model else "source"]
        # TensorFlow takes no name that begins with a digit, as that of a column that is chosen by its number.
        names = [re.sub(r"\W", "_", name) for name in self.input_columns]
        return [f"column_{name}" if name[:1].isdigit() else name for name in names]

    def read(self, lines: Sequence[str]) -> list:
        """Returns the raw inputs of `lines` on the command line; tabs separate several columns.

        Raises:
            DataError: if a line has another number of columns, or a file that it names cannot be read.
        """
        self.fit()
        readers = [feature.read for feature, _ in self._input_parts]
        if len(readers) == 1:
            return [readers[0](line) for line in lines]
        rows = [line.split("\t") for line in lines]
        for line, row in zip(lines, rows):
            if len(row) != len(readers):
                raise _checks.DataError(
                    f"{self.owner}: an input must have {len(readers)} columns separated by tabs "
                    f"({', '.join(self.input_columns)}); got {len(row)}: {line!r}."
                )
        return [tuple(reader(value) for reader, value in zip(readers, row)) for row in rows]

    def raw_columns(self, raw: Sequence) -> dict[str, list]:
        """Returns a list of raw values for each name of `signature`.

        Args:
            raw: list. One value an example, or for several columns a tuple in the order of `input_columns` or a dict.
        """
        names = self.input_columns
        rows = [self._row(names, row) for row in raw]
        columns = list(map(list, zip(*rows))) if rows else [[] for _ in names]
        return dict(zip(self._signature_names, columns))

    def _row(self, names, row):
        """Returns the values of one raw input in the order of the columns."""
        if isinstance(row, Mapping):
            values = tuple(row[name] for name in names if name in row)
        else:
            values = (row,) if len(names) == 1 else row if isinstance(row, tuple | list) else ()
        if len(values) != len(names):
            raise ValueError(f"{self.owner}: an input must have the columns {', '.join(names)}; got {row!r}.")
        return values

    def pack(self, raw: Sequence) -> dict:
        """Returns raw inputs as one array or list of strings for each name of `signature`, checked."""
        self.fit()
        columns = self.raw_columns(raw).items()
        return {
            name: feature.pack_column(column, values)
            for (feature, column), (name, values) in zip(self._input_parts, columns, strict=True)
        }

    def encode_packed(self, packed: Mapping) -> dict:
        """Returns the model's inputs for packed raw inputs, inside a graph or outside."""
        values = iter([packed[name] for name in self._signature_names])
        if self.is_language_model:
            return {"prompt": self.targets.encode(next(values))}
        inputs = {}
        for name, feature in zip(self.input_names, self.inputs):
            encoded = feature.encode(*itertools.islice(values, len(feature.columns)))
            masked = isinstance(encoded, MaskedSequence)
            inputs |= {name: encoded.values, f"{name}_mask": encoded.mask} if masked else {name: encoded}
        return self.targets.model_inputs(inputs)

    def encode(self, raw: Sequence) -> dict[str, np.ndarray]:
        """Returns the model's inputs for a list of raw inputs, as NumPy arrays.

        Args:
            raw: list. One value an example, or for several columns a tuple in the order of `input_columns` or a dict.
        """
        return {name: np.asarray(value) for name, value in self.encode_packed(self.pack(raw)).items()}

    def count_cut(self, raw: Sequence, encoded: Mapping) -> int:
        """Returns how many of the raw inputs `encode` cut because they are longer than `max_length` of a text.

        Args:
            raw: list. The raw inputs.
            encoded: dict. What `encode` returned for them.
        """
        full = {
            name
            for name, feature in zip(self.input_names, self.inputs)
            if _text(feature) and encoded[name].shape[1] >= feature.max_length
        }
        if not full:  # which saves packing the inputs once more
            return 0
        packed, cut = iter(self.pack(raw).values()), np.zeros(len(raw), bool)
        for name, feature in zip(self.input_names, self.inputs):
            columns = list(itertools.islice(packed, len(feature.columns)))
            if name in full:
                cut |= cast(TextFeature, feature).cut(*columns)
        return int(cut.sum())

    def decode(self, outputs: Any) -> list:
        """Returns the predictions for the outputs of the model: generated ids or rows of logits."""
        self.fit()
        return self.targets.decode(outputs)

    def ranked(self, outputs: Any) -> list[list[tuple[Any, float]]]:
        """Returns all predictions for each row of outputs with their probabilities, the most probable first."""
        self.fit()
        return self.targets.ranked(outputs)

    def decode_in_graph(self, outputs: Any) -> dict:
        """Returns the named tensors of an exported model for the outputs of the model."""
        self.fit()
        return self.targets.decode_in_graph(outputs)

    def evaluate(
        self,
        predictions: Sequence,
        references: Sequence[Sequence],
        measures: Sequence[str] | None = None,
        groups: Sequence[str] = (),
    ) -> dict[str, float]:
        """Returns the measures of predictions against lists of accepted references.

        Args:
            predictions: list of predictions.
            references: list of lists. The accepted references of each prediction.
            measures: list of strings. Names of `kerazoo.tasks.MEASURES`. Defaults to `None`: those of the target.
            groups: list of strings. The `scale_groups` of the examples. Defaults to `()`.
        """
        self.fit()
        return self.targets.evaluate(predictions, references, measures, groups)

    def save(self, folder: str | os.PathLike) -> None:
        """Writes what `kerazoo.tasks.restore` needs: `task.json` and a file for each vocabulary."""
        self.fit()
        saved_task.write(folder, self)

    @functools.cached_property
    def _cache(self):
        return {}

    def _key(self, splits, *depends):
        """Returns the name of an entry of the cache, or `None` if nothing is cached."""
        if cache.cache_dir() is None:
            return None
        prints = [self.source.fingerprint(split) for split in splits]
        return None if None in prints else cache.key(list(splits), prints, *depends)


def _text(feature: Feature) -> TypeGuard[TextFeature]:
    return isinstance(feature, TextFeature)


def _bounded(feature: Feature) -> TypeGuard[TextFeature]:
    return _text(feature) and feature.window is None


def _characters(column):
    return sum(map(len, column)) if len(column) and isinstance(column[0], str) else 0


def _joined_sizes(parts):
    """Returns the sizes of several inputs: an entry for each input, the largest length, the padding of text."""
    sizes = {}
    for name in ("source_vocabulary_size", "input_shape"):
        entries = tuple(part.get(name) for part in parts)
        if any(entry is not None for entry in entries):
            sizes[name] = entries
    lengths = [part["max_length"] for part in parts if "max_length" in part]
    return {**sizes, "max_length": max(lengths), "pad_id": 0} if lengths else sizes


def _joined(chunks, locations):
    """Returns the columns of all chunks as one dictionary, and adds where each example comes from to `locations`."""
    columns, continues = {}, False
    for chunk in chunks:
        locations += chunk.locations or ()
        for name, column in chunk.columns.items():
            if name not in columns:
                columns[name] = column if isinstance(column, np.ndarray) else list(column)
            elif isinstance(column, np.ndarray):
                columns[name] = np.concatenate([columns[name], column])
            else:
                if continues:
                    columns[name][-1] += column[0]
                columns[name] += column[1:] if continues else column
        continues = chunk.continues
    return columns
