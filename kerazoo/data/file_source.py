"""What all sources of examples in files share: splits, weights, fingerprints, progress, standard input."""

import copy
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kerazoo import _checks
from kerazoo.data import cache
from kerazoo.data.data_files import DataFiles, find_data_files, find_files
from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.held_out import HeldOut
from kerazoo.data.lines import STDIN, BadLines
from kerazoo.data.mixture_source import interleave, weighted
from kerazoo.data.splits import SPLITS, split_origin


class Part(NamedTuple):
    """The files of one `DataFiles` that a split is read from.

    Args:
        paths: tuple of paths.
        fractions: dictionary of the splits that are held out from them to their fractions; empty if they are read
            whole.
        weight: float. How often each example is yielded.
    """

    paths: tuple
    fractions: dict
    weight: float


class FileSource(DataSource):
    """A source of examples in files, the base of `TableSource` and others.

    A subclass implements `read`, which yields the chunks of one file, and gives in `settings` what they depend on.
    A dev or test split that is not given is held out from train, `fractions` of it; without a fraction there is none.

    Args:
        data_dir: string or path, see `kerazoo.data.find_data_files`.
        extensions: tuple of strings. What the names of files end in that are looked for in a folder.
        dev_data: string, path or `None`. File or pattern of the dev examples if not found by name. Defaults to `None`.
        test_data: the same for the test examples. Defaults to `None`.
        bad_lines: string, `"stop"` to raise at a bad line or `"skip"` to leave it out. Defaults to `"stop"`.

    Raises:
        ValueError: if `data_dir` is `None` or `bad_lines` is unknown.
    """

    fractions = {"dev": 0.05, "test": 0.05}
    reads_whole_folders = False  # see `kerazoo.data.find_data_files`

    def __init__(
        self,
        data_dir: str | os.PathLike,
        extensions: Sequence[str],
        *,
        dev_data: str | os.PathLike | None = None,
        test_data: str | os.PathLike | None = None,
        bad_lines: str = "stop",
    ):
        owner = type(self).__name__
        if data_dir is None:
            raise ValueError(f"{owner}: needs `data_dir`, a folder, a file or a pattern; got data_dir=None.")
        self.data_dir = data_dir
        self.extensions = tuple(extensions)
        self.dev_data = dev_data
        self.test_data = test_data
        self.bad_lines = _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip"))
        self._standard_input = SingleRead()
        self._held_out: dict[Any, HeldOut] = {}
        self.further_columns: tuple[str, ...] = ()  # which do not decide what is held out
        self.path_columns: tuple[str, ...] = ()  # whose values are paths of files

    @functools.cached_property
    def files(self) -> list[DataFiles]:
        """The files of all splits, looked up once."""
        found = (self.data_dir, self.extensions, self.dev_data, self.test_data)
        return find_data_files(*found, whole_folders=self.reads_whole_folders)

    def with_test_data(self, path: str | os.PathLike) -> DataSource:
        """Returns the source as one whose test examples are in other files, and that has no others.

        Args:
            path: string or path. One file, or a pattern.

        Raises:
            DataError: if there is no such file.
        """
        source = copy.copy(self)
        source.files = [DataFiles({"train": (), "dev": (), "test": find_files(os.fspath(path))})]
        source.test_data, source._held_out = path, {}
        return source

    @property
    def settings(self) -> list:
        """Plain values that decide what is read from the files."""
        return [self.bad_lines, list(self.label_columns)]

    def read(self, path: Any, bad: BadLines, progress: "ReadProgress") -> Iterator[Chunk]:
        """Yields the chunks of one file.

        Args:
            path: one of the paths of `files`.
            bad: the `BadLines` to call for each bad line.
            progress: the `ReadProgress` to count bytes with.
        """
        raise NotImplementedError

    def companions(self, path: Any) -> tuple:
        """Returns all files that are read together with `path`, itself included."""
        return (path,)

    def check(self) -> None:
        """Raises a `DataError` if a file is missing; opens none."""
        _ = self.files

    def splits(self) -> tuple[str, ...]:
        """Returns the splits that can be read; nothing is held out from standard input."""
        return tuple(split for split in SPLITS if split == "train" or self._is_readable(split))

    def _is_readable(self, split):
        parts = self.parts(split)
        return bool(parts) and not any(STDIN in part.paths for part in parts)

    def fingerprint(self, split: str) -> Any:
        """Returns plain values that change whenever the examples of a split do; `None` for standard input."""
        parts = self.parts(split)
        if any(STDIN in part.paths for part in parts):
            return None
        return [
            self.settings,
            [[cache.fingerprint(self._all_paths([part])), part.fractions, part.weight] for part in parts],
        ]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the examples of a split, several parts in turn."""
        parts = self.parts(split)
        self._standard_input.check(split, [path for part in parts for path in part.paths])
        progress = ReadProgress(self._all_paths(parts))
        return interleave([self._read_part(part, self._selector(part, split), progress) for part in parts])

    def parts(self, split: str) -> list[Part]:
        """Returns the `Part`s that a split is read from."""
        _checks.one_of(type(self).__name__, "split", split, SPLITS)
        parts = []
        for each in self.files:
            given, fractions = split_origin(split, each.files, self.fractions)
            if given != split and split not in self.fractions:
                continue
            if paths := each.files.get(given, ()):
                fractions = {} if STDIN in paths else fractions  # what is held out could not be read again
                parts.append(Part(paths, fractions, each.weight if split == "train" else 1.0))
        return parts

    def _selector(self, part, split):
        """Returns the function that selects the rows of a chunk that belong to `split`."""
        if not part.fractions:
            return lambda chunk: chunk

        def chunks():
            for other in self.parts("train"):
                if other.fractions == part.fractions:
                    yield from self._read_part(other._replace(weight=1.0), lambda chunk: chunk, ReadProgress([]))

        key = (self.label_columns, *part.fractions.items())
        if key not in self._held_out:
            self._held_out[key] = HeldOut(
                chunks,
                part.fractions,
                self.label_columns,
                further_columns=self.further_columns,
                path_columns=self.path_columns,
                folder=os.path.dirname(os.path.abspath(self.parts("train")[0].paths[0])),
            )
        return self._held_out[key].select(split)

    def _read_part(self, part, select, progress):
        bad = BadLines(self.bad_lines)
        for path in part.paths:
            counted = bad.count
            for chunk in self.read(path, bad, progress):
                chunk = weighted(select(chunk), part.weight)
                if chunk.num_rows or bad.count > counted:
                    yield chunk._replace(skipped=bad.count - counted, progress=progress.fraction)
                counted = bad.count
            if bad.count > counted:
                empty: dict[str, list] = {name: [] for name in self.columns}
                yield Chunk(empty, bad.count - counted, progress=progress.fraction)

    def _all_paths(self, parts):
        return [each for part in parts for path in part.paths for each in self.companions(path)]


class SingleRead:
    """Refuses to read standard input twice, or for anything but training examples."""

    def __init__(self):
        self.done = False

    def check(self, split: str, paths: Sequence) -> None:
        """Notes that the files are about to be read.

        Raises:
            DataError: if standard input is among them and cannot be read.
        """
        if STDIN not in paths:
            return
        if split != "train":
            raise _checks.DataError(f"-: standard input holds training examples alone. Name a file: {split}_data=FILE.")
        if self.done:
            raise _checks.DataError("-: standard input can be read only once: use feed='stream' with epochs=1.")
        self.done = True


class ReadProgress:
    """Which fraction of some files is read by now.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence):
        self.total = sum(os.path.getsize(path) for path in paths if path != STDIN and os.path.exists(path))
        self.read = 0

    def on_read(self, count: int) -> None:
        """Notes that `count` more bytes were read."""
        self.read += count

    @property
    def fraction(self) -> float:
        """The fraction that is read, in [0, 1]; 0 if the size is unknown."""
        return min(self.read / self.total, 1.0) if self.total else 0.0
