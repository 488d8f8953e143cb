"""What a training begins with: the weights and the vocabularies of another run, or the weights in a file."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kerazoo import _checks, _files
from kerazoo.data import lines
from kerazoo.run import directory as directories
from kerazoo.run import load_run
from kerazoo.run import predictor as predictors

if TYPE_CHECKING:
    import keras

    from kerazoo.tasks import Task
    from kerazoo.text import Tokenizer

VOCABULARIES = ("source", "new")
MUCH_UNKNOWN = 0.001  # of the tokens


class Start:
    """The weights that a training begins with.

    Args:
        path: string or path. The folder of a run, or a file of weights that `kerazoo.transfer.load_weights` reads.
        checkpoint: string. Of a run: `"best"`, `"last"` or `"average"`. Defaults to `"best"`.
        vocabulary: string. `"source"` takes the vocabularies of the run; `"new"` fits others to the data of the task,
            and the rows of tokens that both have are kept. Defaults to `"source"`.
        adapters: sequence of strings. Of a run: files of `kerazoo.transfer.save_adapter` that are merged into its
            weights, each with `"@0.5"` at its end for another weight than 1. Defaults to `()`.
        sha256: string. What `sha256` must be. Defaults to `None`: anything.
        imports: string or list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.

    Raises:
        CheckpointError: if there is neither a run nor a file.
        ValueError: if `checkpoint` or `vocabulary` has another value.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        checkpoint: str = "best",
        vocabulary: str = "source",
        adapters: Sequence[str] = (),
        sha256: str | None = None,
        imports: str | Sequence[str] = (),
    ):
        self.path = pathlib.Path(os.path.abspath(path))
        self.checkpoint = _checks.one_of("finetune", "checkpoint", checkpoint, load_run.CHECKPOINTS)
        self.vocabulary = _checks.one_of("finetune", "vocabulary", vocabulary, VOCABULARIES)
        self.adapters = [_adapter(each) for each in adapters]
        self.expected = sha256
        self.imports = imports
        self.run = directories.RunDirectory(self.path)

    @classmethod
    def of(cls, record: Mapping[str, Any], imports: Sequence[str] = ()) -> "Start":
        """Returns the start that a run recorded.

        Args:
            record: mapping. What `record` returned.
            imports: list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.
        """
        given = {name: record[name] for name in ("path", "checkpoint", "vocabulary", "adapters", "sha256")}
        return cls(**given, imports=imports)

    def check(self) -> None:
        """Raises a CheckpointError if there is neither a run nor a file of weights."""
        for path, _ in self.adapters:
            if not os.path.isfile(path):
                raise _checks.CheckpointError(f"{path}: there is no such adapter.")
        if self.path.is_file():
            if self.adapters:
                raise ValueError(
                    f"finetune: `adapters` are merged into the weights of a run; got {self.path}, a file of weights."
                )
            return
        if not self.path.is_dir():
            raise _checks.CheckpointError(f"{self.path}: there is neither a run nor a file of weights to start from.")
        self.run.record()

    @property
    def is_run(self) -> bool:
        """Whether these are the weights of a run."""
        return self.path.is_dir()

    @property
    def options(self) -> dict[str, Any]:
        """The arguments, as plain values."""
        adapters = [f"{path}@{weight:g}" for path, weight in self.adapters]
        return {
            "path": str(self.path), "checkpoint": self.checkpoint, "vocabulary": self.vocabulary, "adapters": adapters
        }  # fmt: skip

    def record(self) -> dict[str, Any]:
        """Returns what a run records of its start: the options, and SHA-256 of the weights."""
        return {**self.options, "sha256": self.sha256}

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the weights.

        Raises:
            CheckpointError: if it is not the one that was expected.
        """
        found = self._sha256()
        if self.expected not in (None, found):
            raise _checks.CheckpointError(
                f"{self.path}: has other weights than the run began with (SHA-256 {found[:16]}, then "
                f"{str(self.expected)[:16]}). Start a new run."
            )
        return found

    def _sha256(self):
        from kerazoo.training import checkpoints
        from kerazoo.transfer import adapters

        self.check()
        if not self.is_run:
            with open(self.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        store = checkpoints.CheckpointStore(self.run.checkpoints)
        chosen = store.epoch_ends() if self.checkpoint == "average" else [store.name(self.checkpoint)]
        names = [name for name in chosen if name is not None]
        if not names:
            raise _checks.CheckpointError(f"{self.run.checkpoints}: there is no checkpoint here.")
        sums = [store.checksums(name)["model.npz"] for name in names]
        for path, weight in self.adapters:
            sums.append(hashlib.sha256(_files.read_file(path, adapters.MAX_BYTES)).hexdigest() + f"@{weight:g}")
        return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()

    @functools.cached_property
    def predictor(self) -> predictors.Predictor:
        """The trained run, with its model and its task."""
        from kerazoo import transfer

        found = load_run.load(self.path, self.checkpoint, imports=self.imports)
        if self.adapters:
            adapters = transfer.Adapters(found.model)
            for path, _ in self.adapters:
                adapters.load(path, path)
            adapters.use(dict(self.adapters))
        return found

    def open(self) -> None:
        """Loads the run, if it is one, and checks that its weights are those that are expected."""
        if self.sha256 and self.is_run:
            self.predictor  # noqa: B018 (which keeps it)

    def prepare(self, task: "Task") -> None:
        """Gives the texts of a task that is not fitted yet the vocabularies of the run.

        Raises:
            ValueError: if a text of the task has other tokens.
        """
        if not self.is_run or self.vocabulary == "new":
            return
        for name, feature in task.arrays.items():
            tokenizer = self.tokenizer(name.replace("targets", "target"))
            vocabulary = getattr(feature, "vocabulary", None)
            if tokenizer is None or vocabulary is None or vocabulary.fixed is not None:
                continue
            tokens = vocabulary.config["tokens"]
            if tokenizer.registered_name != tokens:
                role = "target" if name == "targets" else "source"
                raise ValueError(
                    f"{task.owner}: `{role}_tokens` must be those of {self.path.name}, whose vocabulary has "
                    f"{tokenizer.registered_name}; got {role}_tokens={tokens!r}. Leave it out, or set vocabulary='new'."
                )
            if getattr(feature, "tags", 0) and not tokenizer.tags:
                raise ValueError(
                    f"{task.owner}: a column of tags needs a vocabulary with tags; got the vocabulary of "
                    f"{self.path.name}, which has none. Set vocabulary='new'."
                )
            vocabulary.use(tokenizer)

    def unknown_tokens(self, task: "Task", corpus: Any) -> list[str]:
        """Returns a line for each text of whose tokens the vocabulary of the run lacks many.

        Args:
            task: `kerazoo.tasks.Task`.
            corpus: `kerazoo.data.Corpus`. Its training examples.
        """
        if not self.is_run or self.vocabulary == "new" or not hasattr(corpus, "features"):
            return []
        found = []
        for name, feature in task.arrays.items():
            tokenizer, rows = getattr(feature, "tokenizer", None), corpus.features.get(name)
            if tokenizer is None or not hasattr(rows, "values"):
                continue
            share = float((rows.values == tokenizer.unknown_id).mean()) if len(rows.values) else 0.0
            if share > MUCH_UNKNOWN:
                found.append(
                    f"{name}: {share:.1%} of the tokens are not in the vocabulary of {self.path.name}; "
                    "vocabulary='new' fits another one."
                )
        return found

    def tokenizer(self, role: str) -> "Tokenizer | None":
        """Returns the tokenizer of the run whose tokens a text of another task has, `None` for a text without one.

        Args:
            role: string. `"source"`, `"source_2"` and so on, or `"target"`.
        """
        saved = self.predictor.task.tokenizers
        if role in saved or role == "target":
            return saved.get(role)
        return saved.get("source") or saved.get("target")

    def load(self, model: "keras.Model", task: "Task") -> tuple[dict[str, str], list[str]]:
        """Loads the weights into a new model.

        Args:
            model: a built model.
            task: `kerazoo.tasks.Task`. What the model is made for.

        Returns:
            Where each weight is from, see `kerazoo.transfer.WarmStart`, and lines about what is not taken.

        Raises:
            CheckpointError: if the weights do not fit the model.
        """
        from kerazoo import transfer

        if not self.is_run:
            report = transfer.load_weights(model, self.path)
            notes = [f"Not taken: {lines.list_names(report.unused)}."] if report.unused else []
            weights = transfer.variables(model)
            new = {id(weights[path]) for path in report.kept}
            return {path: "new" if id(weight) in new else "kept" for path, weight in weights.items()}, notes
        found = transfer.warm_start(model, self.predictor.model, self._rows(model, task), self.path.name)
        notes = []
        if found.unused:
            parts = dict.fromkeys(".".join(path.split(".")[:2]) for path in found.unused)
            notes.append(f"Not taken: {lines.list_names(parts)}.")
        for difference in found.differences:
            notes.append(f"Note: {difference} as in {self.path.name}, whose weights were trained with that.")
        del self.predictor  # and its memory
        return found.origins, notes

    def _rows(self, model, task) -> dict[str, list[int]]:
        """Returns where the rows of vocabularies and classes are from that differ from those of the run."""
        rows, other = {}, self.predictor.task
        for role, tokenizer in task.tokenizers.items():
            given = self.tokenizer(role)
            if given is not None and given.hash != tokenizer.hash:
                rows[_embedding(role)] = token_rows(given, tokenizer)
        before = dict(zip(other.input_names, other.inputs))
        for name, feature in zip(task.input_names, task.inputs):
            if feature.modality == "label" and getattr(before.get(name), "names", None) != feature.names:
                rows[_embedding(name)] = [-1] * (len(feature.names) + 1)
        head = getattr(model, "head", None)
        if head is not None:
            rows["head"] = self._head_rows(task.targets, other.targets, head.kernel.shape[-1], rows)
        return {name: chosen for name, chosen in rows.items() if chosen is not None}

    def _head_rows(self, target, other, size, rows):
        """Returns where the outputs of the head are from, `None` if they are those of the run."""
        if target.modality != other.modality or target.generated != other.generated:
            return [-1] * size
        if target.modality == "text":
            return rows.get("target_embedding")
        if target.modality != "label" or target.names == other.names:
            return None
        if size != len(target.names):  # one logit for two classes
            return [-1] * size
        return [other.names.index(name) if name in other.names else -1 for name in target.names]


def _adapter(text):
    """Returns the absolute path and the weight of `"PATH"` or `"PATH@WEIGHT"`."""
    path, at, weight = str(text).rpartition("@")
    try:
        return (os.path.abspath(path), float(weight)) if at else (os.path.abspath(weight), 1.0)
    except ValueError:
        return os.path.abspath(text), 1.0


def _embedding(role):
    """Returns the attribute of a model that embeds the tokens of a role."""
    name, _, number = role.partition("_")
    return f"{name}_embedding_{number}" if number else f"{name}_embedding"


def token_rows(given: "Tokenizer", tokenizer: "Tokenizer") -> list[int]:
    """Returns for each token of `tokenizer` its number in `given`, -1 where that has none.

    Args:
        given: `kerazoo.text.Tokenizer`. The other vocabulary.
        tokenizer: `kerazoo.text.Tokenizer`.
    """
    special = tokenizer.vocabulary_size - len(tokenizer.vocabulary) - len(tokenizer.tags)
    numbers = {token: number for number, token in enumerate(_tokens(given, tokenizer))}
    return [*range(special), *(numbers.get(token, -1 - special) + special for token in _tokens(tokenizer, given))]


def _tokens(tokenizer, other):
    """Returns what identifies each token but the special ones: its string, or its text where those are of two kinds."""
    same = type(tokenizer) is type(other)
    count = len(tokenizer.vocabulary)
    special = tokenizer.vocabulary_size - count - len(tokenizer.tags)
    texts: Sequence[Any] = tokenizer.vocabulary if same else tokenizer.token_bytes[special : special + count]
    return [*texts, *(("tag", tag) for tag in tokenizer.tags)]


def same_start(one: Mapping | None, two: Mapping | None) -> bool:
    """Returns whether two records of a start are of the same weights, which may have moved or been trained further."""
    if one is None or two is None:
        return one is two
    same = one.get("sha256") == two.get("sha256") or one.get("path") == two.get("path")
    return same and all(one.get(name) == two.get(name) for name in ("checkpoint", "vocabulary", "adapters"))
