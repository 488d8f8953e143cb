"""Recordings in a folder with their transcripts in a table."""

import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from kerazoo import _checks
from kerazoo.data.data_files import SPLIT_NAMES
from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.formats import TableFormat, first_rows
from kerazoo.data.lines import BadLines, near
from kerazoo.data.table_source import TableSource

TABLE, LJSPEECH = "transcripts.tsv", "metadata.csv"
NAMES = {"file": "sound", "text": "text", "speaker": "speaker"}  # in the header of a table, and in the chunks
CHUNK_SOUNDS = 64


class SoundFolderSource(DataSource):
    """Paths and transcripts of recordings; the columns are `sound`, absolute paths, and `text`, strings.

    A dev or test split that is not given is held out from train, 5 % each. Where the table has a column of speakers,
    the recordings of each of them are in one split, if there are ten speakers or more.

    Args:
        data_dir: string or path. A folder with `transcripts.tsv`, or one for each split: `train/transcripts.tsv` and
            optionally `dev` and `test`. The table is tab-separated: a file relative to the folder of the table, its
            transcript, and optionally its speaker; a first line with the names `file`, `text` and `speaker` allows
            another order and other columns. Or a folder in the form of LJSpeech: `metadata.csv` with
            `ID|text|normalized text`, of which the last is read, and the recordings in `wavs/ID.wav`.
        bad_lines: string, `"stop"` to raise at a bad line or `"skip"` to leave it out. Defaults to `"stop"`.

    Raises:
        ValueError: if `data_dir` is `None` or `bad_lines` is unknown.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    folder = pathlib.Path(tempfile.mkdtemp())
    for name in ("1.wav", "2.wav"):
        (folder / name).touch()
    (folder / "transcripts.tsv").write_text("1.wav\\tgood morning\\n2.wav\\tgood night\\n")
    for chunk in kz.data.SoundFolderSource(folder).chunks("train"):
        print(chunk.columns["text"], chunk.locations)
    ```

    Reference:
        Ito and Johnson, 2017, The LJ Speech Dataset (the format).
    """

    columns = ("sound", "text")

    def __init__(self, data_dir: str | os.PathLike, *, bad_lines: str = "stop"):
        if data_dir is None:
            raise ValueError(
                f"SoundFolderSource: needs `data_dir`, a folder with {TABLE} or {LJSPEECH}; got data_dir=None."
            )
        self.data_dir = pathlib.Path(data_dir).expanduser()
        self.bad_lines = _checks.one_of("SoundFolderSource", "bad_lines", bad_lines, ("stop", "skip"))

    @functools.cached_property
    def tables(self) -> Any:
        """The `TableSource` of all splits."""
        if not self.data_dir.is_dir():
            if self.data_dir.exists():
                raise _checks.DataError(
                    f"{self.data_dir}: is a file. Name a folder with {TABLE} or {LJSPEECH}; the task table reads any "
                    "table that names the files of sounds, with `inputs` as sound:COLUMN."
                )
            raise _checks.MissingDataError(f"{self.data_dir}: no such folder.{near(self.data_dir)}")
        found = {
            split: table
            for split, names in SPLIT_NAMES.items()
            for name in names
            if (table := _table(self.data_dir / name))
        }
        train = found.get("train") or _table(self.data_dir)
        if train is None:
            raise _checks.DataError(
                f"{self.data_dir}: neither {TABLE} nor {LJSPEECH} is here or in a folder train. One of them must name "
                "the recordings and their transcripts."
            )
        return _Recordings(train, found.get("dev"), found.get("test"), self.bad_lines)

    def with_test_data(self, path: str | os.PathLike) -> "SoundFolderSource":
        """Returns the source as one whose test recordings are in another folder with a table, and that has no others.

        Raises:
            DataError: if there is no such folder, or no table in it.
        """
        folder = pathlib.Path(path).expanduser()
        chosen = folder / "test" if _table(folder / "test") else folder
        source = SoundFolderSource(chosen, bad_lines=self.bad_lines)
        source.tables = source.tables.with_test_data(source.tables.data_dir)
        return source

    def check(self) -> None:
        """Raises a `DataError` if there is no table, or it has no transcripts."""
        _ = self.tables

    def splits(self) -> tuple[str, ...]:
        """Returns the splits, all of which can be read."""
        return self.tables.splits()

    def fingerprint(self, split: str) -> Any:
        """Returns plain values that change whenever a table or a recording does."""
        return self.tables.fingerprint(split)

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields paths and transcripts of the recordings of a split."""
        for chunk in self.tables.chunks(split):
            for start in range(0, max(chunk.num_rows, 1), CHUNK_SOUNDS):
                part = chunk.take(range(start, min(start + CHUNK_SOUNDS, chunk.num_rows)))
                columns = {name: part.columns[name] for name in self.columns}
                yield part._replace(columns=columns, skipped=0 if start else chunk.skipped)


class _Recordings(TableSource):
    """The tables, and the paths of the recordings that they name."""

    def __init__(self, train, dev, test, bad_lines):
        self.ljspeech = train.name == LJSPEECH
        if self.ljspeech:
            options: dict = {"format": "csv", "header": False, "delimiter": "|", "quote": ""}
            rows = first_rows(train, TableFormat("csv", False, "|", ""))
            columns: dict = {"sound": 0, "text": 2 if rows and len(rows[0]) > 2 else 1}
        else:
            columns, header = _columns(train)
            options = {"format": "tsv", "header": header, "quote": ""}
        # The column that comes first decides what is held out together.
        columns = {name: columns[name] for name in ("speaker", "sound", "text") if name in columns}
        files = {"dev_data": dev, "test_data": test, "bad_lines": bad_lines}
        super().__init__(train, columns, **options, **files, path_columns=["sound"])

    def read(self, path: Any, bad: BadLines, progress: Any) -> Iterator[Chunk]:
        for chunk in super().read(path, bad, progress):
            sounds, rows = chunk.columns["sound"], []
            if self.ljspeech:
                sounds = [
                    os.path.join(os.path.dirname(each), "wavs", f"{os.path.basename(each)}.wav") for each in sounds
                ]
            for row, (sound, location) in enumerate(zip(sounds, chunk.locations or ())):
                if os.path.isfile(sound):
                    rows.append(row)
                else:
                    bad(path, int(location.rpartition(":")[2]), f"no such file: {sound}.")
            yield chunk._replace(columns={**chunk.columns, "sound": sounds}).take(rows)


def _columns(table):
    """Returns the columns of a table of transcripts by their names in the chunks, and whether it has a header."""
    rows = first_rows(table, TableFormat("tsv", False, None, ""))
    first = [value.strip().lower() for value in rows[0]] if rows else []
    if "file" in first or "text" in first:
        missing = [name for name in ("file", "text") if name not in first]
        if missing:
            raise _checks.DataError(
                f"{table}:1: a header must name the columns file and text; got {', '.join(rows[0])}, without "
                f"{missing[0]}."
            )
        return {NAMES[name]: rows[0][first.index(name)] for name in NAMES if name in first}, True
    if len(first) < 2:
        raise _checks.DataError(
            f"{table}:1: expected a file, a tab and its transcript; got {rows[0] if rows else ''!r}."
        )
    return {"sound": 0, "text": 1, **({"speaker": 2} if len(first) > 2 else {})}, False


def _table(folder):
    """Returns the table of recordings in a folder, or `None`."""
    return next((folder / name for name in (TABLE, LJSPEECH) if (folder / name).is_file()), None)
