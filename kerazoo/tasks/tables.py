"""The user's own text: tables of tab-separated values."""

import functools

from kerazoo import _checks
from kerazoo.data import read_table, sources
from kerazoo.data.tables import Columns
from kerazoo.tasks import labels
from kerazoo.tasks.language import LanguageTask
from kerazoo.tasks.sequences import SequenceTask
from kerazoo.tasks.splits import origin, rows_of
from kerazoo.tasks.text_options import TextOptions

SHARES = {"dev": 0.05, "test": 0.05}


def build(
    name,
    kind,
    data_dir=None,
    source_column=0,
    target_column=1,
    max_length=512,
    length=128,
    bad_lines="stop",
    restored=None,
    **text,
):
    """Returns the task `tsv`: text to text, text to a class, or text alone, from the lines of a table.

    Args:
        name: The task's name.
        kind: `"seq2seq"`, `"classifier"` (the target column is the class) or `"language_model"` (the source column
            alone is read, in `target_tokens`).
        data_dir: A folder with `train.tsv`, `dev.tsv` and `test.tsv`, each plain or `.gz`, or one file. What is missing
            is drawn from train by a hash of the source, 5 % each.
        source_column: Column of the source, from 0.
        target_column: Column of the target.
        max_length: Most tokens of a source or target; what is longer is cut off.
        length: Tokens of a window of a language model.
        bad_lines: `"stop"` at a bad line, or `"skip"` it and count.
        restored: What a saved task knew.
        **text: Options of `TextOptions`.
    """
    owner = f"task {name}"
    if data_dir is None:
        raise ValueError(f"{owner}: needs `data_dir`, a folder with train.tsv or a file; got data_dir=None.")
    for option, value in (("source_column", source_column), ("target_column", target_column)):
        _checks.non_negative_int(owner, option, value)
    _checks.positive_int(owner, "max_length", max_length)
    _checks.positive_int(owner, "length", length)
    _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip"))
    text = TextOptions.of(owner, text)
    options = {
        "data_dir": str(data_dir),
        "source_column": source_column,
        "target_column": target_column,
        "max_length": max_length,
        "length": length,
        "bad_lines": bad_lines,
        **text.to_dict(),
    }
    table = Table(data_dir, (source_column,) if kind == "language_model" else (source_column, target_column), bad_lines)
    if kind == "language_model":
        learn = text.learner(owner, "target")
        return LanguageTask(
            name, kind, options, table.read_text, restored, table.files, learn, length=length, stride=length
        )
    if kind == "classifier":
        learn = text.learner(owner, "source")
        return labels.LabelTask(name, kind, options, table.read_labels, restored, table.files, learn, limit=max_length)
    make = text.pair(owner)
    return SequenceTask(
        name, kind, options, table.read_pairs, restored, table.files, make, max_length, max_length, WATCH
    )


WATCH = ("val_token_accuracy", "max")


class Table:
    """The columns of a table by split, read when they are first asked for."""

    def __init__(self, data_dir, columns, bad_lines):
        self.data_dir = data_dir
        self.columns = columns
        self.bad_lines = bad_lines
        self._read = functools.cache(self._read_file)

    def files(self):
        """Returns the path of each split that has a file."""
        return sources.find_splits(self.data_dir)

    def read_text(self, split):
        """Returns the column of texts."""
        return {"text": self._split(split).columns[0]}

    def read_pairs(self, split):
        """Returns the columns of sources and targets."""
        return dict(zip(("source", "target"), self._split(split).columns))

    def read_labels(self, split):
        """Returns the columns of sources and labels, and where each line stands, for errors."""
        table = self._split(split)
        given, _ = origin(split, self.files(), SHARES)
        path = self.files()[given]
        return {"source": table.columns[0], "label": table.columns[1], "where": [f"{path}:{n}" for n in table.lines]}

    def _split(self, split):
        given, shares = origin(split, self.files(), SHARES)
        table = self._read(given)
        if not shares:
            return table
        rows = rows_of(split, table.columns[0], shares)
        columns = tuple([column[row] for row in rows] for column in table.columns)
        return Columns(columns, [table.lines[row] for row in rows], table.skipped)

    def _read_file(self, split):
        return read_table(self.files()[split], self.columns, self.bad_lines)
