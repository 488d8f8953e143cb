"""Examples with random access: arrays and rows of unequal length, in memory or memory-mapped from disk."""

import dataclasses
import functools
import hashlib
import os
import pathlib
import struct
import tokenize
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks, _files
from kerazoo.data.ragged import Ragged

MANIFEST = "corpus.json"
VERSION = 2
RAGGED_SUFFIXES = (".values", ".offsets")  # of the two files of a ragged feature
HASHED_BYTES = 1 << 30  # of an array; a larger one is hashed in parts
HASHED_PART = 1 << 20
HEADER_BYTES = 256  # before the numbers of a .npy file: enough for any number of rows
# What reading damaged files raises; the last two are about the header of a .npy file.
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, SyntaxError, tokenize.TokenError)

Features = Mapping[str, Ragged | np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Examples as named features, each a `Ragged` or an array whose first axis counts the examples.

    Args:
        features: dictionary of name to `Ragged` or array `[N, ...]`, all of the same length `N`.
        notes: dictionary of plain values about how the examples were made, such as `{"clipped": 12}`. Defaults to `{}`.

    Raises:
        ValueError: if there is no feature, or two features differ in length.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    corpus = kz.data.Corpus({"source": kz.data.Ragged.from_rows([[5, 6, 7], [8]]), "targets": np.array([0, 1])})
    print(len(corpus), corpus[0], corpus.lengths("source"))
    ```
    """

    features: Mapping[str, Any]
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        sizes = {name: len(feature) for name, feature in self.features.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"Corpus: `features` must be one or more of the same length; got lengths {sizes}.")

    def __len__(self) -> int:
        return len(next(iter(self.features.values())))

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Returns example `row` as a dictionary of arrays."""
        row = range(len(self))[row]
        return {name: feature[row] for name, feature in self.features.items()}

    @property
    def nbytes(self) -> int:
        """Bytes of all features together."""
        return sum(feature.nbytes for feature in self.features.values())

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the names, dtypes, shapes and values of all features, in parts of arrays above 1 GiB."""
        found = hashlib.sha256()
        for name in sorted(self.features):
            feature = self.features[name]
            for array in (feature.values, feature.offsets) if isinstance(feature, Ragged) else (feature,):
                found.update(f"{name} {array.dtype} {array.shape}\n".encode())
                for part in _parts(array):
                    found.update(part)
        return found.hexdigest()

    @property
    def length_names(self) -> tuple[str, ...]:
        """Names of the ragged features."""
        return tuple(name for name, feature in self.features.items() if isinstance(feature, Ragged))

    def lengths(self, name: str | None = None) -> Any:
        """Returns the row lengths of the ragged feature `name`, or a dictionary with those of every ragged feature."""
        if name is None:
            return {name: self.ragged(name).lengths for name in self.length_names}
        return self.ragged(name).lengths

    def take(self, rows: Sequence[int] | np.ndarray) -> "Corpus":
        """Returns the chosen examples, in the order of `rows`."""
        return Corpus(
            {
                name: feature.take(rows) if isinstance(feature, Ragged) else feature[np.asarray(rows, np.int64)]
                for name, feature in self.features.items()
            },
            self.notes,
        )

    def sample(self, limit: int) -> "Corpus":
        """Returns `limit` of the examples, spread over all of them by `sample_rows`; itself if it has no more."""
        return self.take(sample_rows(len(self), limit)) if limit < len(self) else self

    def batch(
        self, rows: Sequence[int] | np.ndarray, lengths: Mapping[str, int] | None = None, pad: int = 0
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Returns the examples `rows` as one batch.

        Args:
            rows: integers `[B]`. A negative one makes a padding row: it repeats example 0 and is not valid. Or
                `[B, P]`, the examples that share each row, followed by negative numbers; all features must be ragged.
            lengths: dictionary of ragged feature to the length that its rows are padded to. `None` means the longest
                row of the batch; it must be given where examples share rows. Defaults to `None`.
            pad: integer. The value after the end of a row. Defaults to `0`.

        Returns:
            `(features, valid)`: a dictionary of arrays `[B, ...]` and a bool array `[B]`, False for padding rows. For
            rows of vectors, which no value marks as padding, `NAME_mask` is a bool array `[B, L]`, True up to the end
            of each row. Where examples share rows, `NAME_segments` counts them from 1, int32 `[B, L]`, 0 for padding.

        Raises:
            ValueError: if examples share rows, and a feature is not ragged or has no length.
        """
        rows = np.asarray(rows, np.int64)
        if rows.ndim == 2:
            return self._packed(rows, lengths or {}, pad)
        valid = rows >= 0
        rows = np.where(valid, rows, 0)
        features = {}
        for name, feature in self.features.items():
            if isinstance(feature, Ragged):
                features[name] = feature.padded(rows, (lengths or {}).get(name), pad)
                if feature.values.ndim > 1:
                    within = np.arange(features[name].shape[1])
                    ends = feature.offsets[rows + 1] - feature.offsets[rows]
                    features[f"{name}_mask"] = within < ends[:, None]  # [B, L]
            else:
                features[name] = np.asarray(feature[rows])
        return features, valid

    def save(self, folder: str | os.PathLike) -> None:
        """Writes the corpus into the new folder `folder`, which appears when it is complete.

        Raises:
            ValueError: if `folder` exists.
            SetupError: if it cannot be written.
        """
        if os.path.exists(folder):
            raise ValueError(f"Corpus.save: `folder` must not exist yet; got {os.fspath(folder)!r}.")
        with _files.new_folder(folder) as temporary:
            builder = CorpusBuilder(temporary)
            try:
                builder.add(self.features)
                builder.finish(self.notes)
            finally:
                builder.close()

    @classmethod
    def open(cls, folder: str | os.PathLike, memory_map: bool = True) -> "Corpus":
        """Returns the corpus that `save` wrote into `folder`.

        Args:
            folder: string or path.
            memory_map: bool. Whether the arrays are mapped from disk instead of being loaded. Defaults to `True`.

        Raises:
            DataError: if the folder contains no corpus, or its files do not belong together.
        """
        folder = pathlib.Path(folder)
        try:
            manifest = _files.read_record(folder / MANIFEST)
            if manifest["version"] != VERSION:
                raise ValueError(f"made by another version ({manifest['version']}, this one reads {VERSION})")
            features = _open_features(folder, manifest["features"], memory_map)
            corpus = cls(features, manifest["notes"])
            if len(corpus) != manifest["examples"]:
                raise ValueError(f"{len(corpus)} examples where {manifest['examples']} were saved")
            if corpus.fingerprint != manifest["fingerprint"]:
                raise ValueError("its content has another SHA-256")
        except DAMAGE as error:
            raise _checks.DataError(f"{folder}: cannot be opened as a corpus: {error}.") from error
        return corpus

    def ragged(self, name: str) -> Ragged:
        """Returns the ragged feature `name`.

        Raises:
            ValueError: if there is none of this name.
        """
        feature = self.features.get(name)
        if not isinstance(feature, Ragged):
            raise ValueError(f"Corpus: `name` must be one of the ragged features {self.length_names}; got {name!r}.")
        return feature

    def _packed(self, rows, lengths, pad):
        """Returns the examples `rows`, int64 `[B, P]`, several in each row of the batch."""
        missing = [name for name in self.features if name not in self.length_names or name not in lengths]
        if missing:
            raise ValueError(
                "Corpus.batch: where examples share rows, every feature must be ragged and have a length in `lengths`; "
                f"got none for {', '.join(missing)}."
            )
        features = {}
        for name in self.length_names:
            features[name], features[f"{name}_segments"] = self.ragged(name).packed(rows, lengths[name], pad)
        return features, rows[:, 0] >= 0


def sample_rows(count: int, limit: int) -> np.ndarray:
    """Returns `limit` of `count` rows in ascending order, the same ones in every call; all rows if there are no more.

    The rows are divided into `limit` parts of equal size, and one row of each part is chosen at random. So data that is
    sorted by class keeps its classes in their proportions, and so does data in which classes take turns.
    """
    if limit >= count:
        return np.arange(count)
    bounds = np.arange(limit + 1) * count // limit
    return np.random.default_rng(0).integers(bounds[:-1], bounds[1:])


def concatenate(corpora: Sequence[Corpus]) -> Corpus:
    """Returns the examples of several corpora with the same features, without their notes."""
    builder = CorpusBuilder()
    for corpus in corpora:
        builder.add(corpus.features)
    return Corpus(builder.finish({}))


def _open_features(folder, kinds, memory_map):
    """Returns the features whose files are in `folder`."""
    features = {}
    for name, kind in kinds.items():
        if os.path.basename(name) != name:
            raise ValueError(f"a feature named {name!r}")
        files = [f"{name}{suffix}.npy" for suffix in (RAGGED_SUFFIXES if kind == "ragged" else ("",))]
        arrays = [np.load(folder / file, mmap_mode="r" if memory_map else None, allow_pickle=False) for file in files]
        features[name] = Ragged(*arrays) if kind == "ragged" else arrays[0]
    return features


def _parts(array):
    """Yields the bytes of an array piece by piece; of a large one as many pieces, evenly spaced, as are hashed."""
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    starts = range(0, len(content), HASHED_PART)
    if len(content) > HASHED_BYTES:
        starts = np.linspace(0, len(content) - HASHED_PART, HASHED_BYTES // HASHED_PART).astype(np.int64).tolist()
    for start in starts:
        yield content[start : start + HASHED_PART].data


class CorpusBuilder:
    """Builds a corpus chunk by chunk, in memory or in files that grow, so that it may be larger than memory.

    Args:
        folder: string, path or `None`. An empty folder for the files; `None` keeps everything in memory. Defaults to
            `None`.
    """

    def __init__(self, folder: str | os.PathLike | None = None):
        self.folder = None if folder is None else pathlib.Path(folder)
        self.examples = 0
        self.values = 0
        self._arrays: dict[str, Any] = {}
        self._ends: dict[str, tuple[int, int]] = {}  # of a ragged feature: number of values, end of the last row

    def add(self, features: Features, continues: bool = False) -> None:
        """Adds a chunk.

        Args:
            features: dictionary of name to `Ragged` or array, with the same names and dtypes in every chunk.
            continues: bool. Whether the last row of the ragged features goes on in the next chunk. Defaults to `False`.

        Raises:
            ValueError: if dtype or shape differ from the chunks before.
        """
        rows = 0
        for name, feature in features.items():
            if isinstance(feature, Ragged):
                total, end = self._ends.get(name, (0, 0))
                if name not in self._ends:
                    self._array(name + RAGGED_SUFFIXES[1]).append(np.zeros(1, np.int64))
                offsets = feature.offsets[1:] + total
                offsets = offsets[:-1] if continues else offsets
                self._array(name + RAGGED_SUFFIXES[0]).append(feature.values)
                self._array(name + RAGGED_SUFFIXES[1]).append(offsets)
                self._ends[name] = (total + len(feature.values), int(offsets[-1]) if len(offsets) else end)
                self.values += len(feature.values)
                rows = len(offsets)
            else:
                self._array(name).append(np.asarray(feature))
                rows = len(feature)
        self.examples += rows

    def finish(self, notes: Mapping[str, Any]) -> dict[str, Any]:
        """Completes the corpus.

        Args:
            notes: dictionary of plain values that is stored with the files.

        Returns:
            The features in memory; an empty dictionary if they are in files.

        Raises:
            ValueError: if the last row of a feature was to continue.
        """
        for name, (total, end) in self._ends.items():
            if end < total:
                raise ValueError(
                    f"CorpusBuilder.finish: the last row of {name!r} was to go on after {total - end} values."
                )
        arrays = {name: array.finish() for name, array in self._arrays.items()}
        ragged = {name.removesuffix(RAGGED_SUFFIXES[0]) for name in arrays if name.endswith(RAGGED_SUFFIXES[0])}
        plain = (name.removesuffix(RAGGED_SUFFIXES[0]).removesuffix(RAGGED_SUFFIXES[1]) for name in arrays)
        names = list(dict.fromkeys(plain))
        if self.folder is None:
            return {
                name: Ragged(*(arrays[name + suffix] for suffix in RAGGED_SUFFIXES)) if name in ragged else arrays[name]
                for name in names
            }
        kinds = {name: "ragged" if name in ragged else "dense" for name in names}
        corpus = Corpus(_open_features(self.folder, kinds, memory_map=True))
        manifest = {"version": VERSION, "examples": self.examples, "features": kinds, "notes": dict(notes)}
        _files.write_record(self.folder / MANIFEST, {**manifest, "fingerprint": corpus.fingerprint})
        return {}

    def close(self) -> None:
        """Closes the files; without `finish` they are no corpus."""
        for array in self._arrays.values():
            array.close()

    def _array(self, name):
        if name not in self._arrays:
            self._arrays[name] = _MemoryArray() if self.folder is None else _FileArray(self.folder / f"{name}.npy")
        return self._arrays[name]


class _MemoryArray:
    """An array in pieces."""

    def __init__(self):
        self._pieces = []

    def append(self, array):
        self._pieces.append(array)

    def finish(self):
        return self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces)

    def close(self):
        pass


class _FileArray:
    """A .npy file that grows; its header is written when the number of rows is known."""

    def __init__(self, path):
        self._file = open(path, "wb")  # noqa: SIM115 (closed by `finish` or `close`)
        self._file.write(bytes(HEADER_BYTES))
        self._rows = 0
        self._kind: Any = None

    def append(self, array):
        array = np.ascontiguousarray(array)
        kind = array.dtype, array.shape[1:]
        if self._kind not in (None, kind) and self._rows:
            raise ValueError(
                f"CorpusBuilder.add: chunks must be alike; got {array.dtype}{array.shape} after {self._kind}."
            )
        self._kind = kind
        self._file.write(array.data if array.size else b"")
        self._rows += len(array)

    def finish(self):
        self._file.seek(0)
        self._file.write(_npy_header(self._kind[0], (self._rows, *self._kind[1])))
        self._file.close()

    def close(self):
        self._file.close()


def _npy_header(dtype, shape):
    """Returns the header of a .npy file of version 1.0, as NumPy documents it, always `HEADER_BYTES` long."""
    entries = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    text = repr(entries).ljust(HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", HEADER_BYTES - 10) + text.encode("latin1")
