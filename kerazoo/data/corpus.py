"""Examples with random access: dense arrays and rows of unequal length, in memory or mapped from disk."""

import dataclasses
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np

from kerazoo import _checks
from kerazoo.data.builder import MANIFEST, RAGGED, VERSION, Builder
from kerazoo.data.ragged import Ragged


@dataclasses.dataclass(frozen=True, eq=False)
class Corpus:
    """Examples as named features, each a `Ragged` or an array whose first axis counts the examples.

    Args:
        features: Dictionary of name to `Ragged` or array `[N, ...]`, all of the same length `N`.
        notes: What happened while the examples were made, as plain values: `{"clipped": 12}`.

    Raises:
        ValueError: There is no feature, or two features differ in length.

    Example:

    ```python
    import numpy as np

    import kerazoo as kz

    corpus = kz.data.Corpus({"source": kz.data.Ragged.from_rows([[5, 6, 7], [8]]), "label": np.array([0, 1])})
    print(len(corpus), corpus[0], corpus.lengths("source"))
    ```
    """

    features: dict
    notes: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        sizes = {name: len(feature) for name, feature in self.features.items()}
        if len(set(sizes.values())) != 1:
            raise ValueError(f"Corpus: `features` must be one or more of the same length; got lengths {sizes}.")

    def __len__(self):
        return len(next(iter(self.features.values())))

    def __getitem__(self, row):
        """Returns example `row` as a dictionary of arrays."""
        row = range(len(self))[row]
        return {name: feature[row] for name, feature in self.features.items()}

    @property
    def nbytes(self):
        """Bytes of all features together."""
        return sum(feature.nbytes for feature in self.features.values())

    @property
    def length_names(self):
        """Names of the features whose rows differ in length."""
        return tuple(name for name, feature in self.features.items() if isinstance(feature, Ragged))

    def lengths(self, name=None):
        """Returns the row lengths of the ragged feature `name`, or a dictionary with those of every ragged feature."""
        if name is None:
            return {name: self.features[name].lengths for name in self.length_names}
        if name not in self.length_names:
            raise ValueError(f"Corpus: `name` must be one of the ragged features {self.length_names}; got {name!r}.")
        return self.features[name].lengths

    def take(self, rows):
        """Returns the chosen examples, in the order of `rows`."""
        return Corpus(
            {
                name: feature.take(rows) if isinstance(feature, Ragged) else feature[np.asarray(rows, np.int64)]
                for name, feature in self.features.items()
            },
            self.notes,
        )

    def batch(self, rows, lengths=None, pad=0):
        """Returns the examples `rows` as one batch.

        Args:
            rows: Integers `[B]`. A negative row is a filler: it repeats example 0 and is not valid.
            lengths: Dictionary of ragged feature to the width it is padded to; the longest row of the batch by
                default.
            pad: The value behind the end of a row.

        Returns:
            `(features, valid)`: a dictionary of arrays `[B, ...]` and a bool array `[B]`, False for fillers.
        """
        rows = np.asarray(rows, np.int64)
        valid = rows >= 0
        rows = np.where(valid, rows, 0)
        features = {}
        for name, feature in self.features.items():
            if isinstance(feature, Ragged):
                features[name] = feature.padded(rows, (lengths or {}).get(name), pad)
            else:
                features[name] = np.asarray(feature[rows])
        return features, valid

    def save(self, folder):
        """Writes the corpus into the new folder `folder`; the folder appears when it is complete."""
        folder = pathlib.Path(folder)
        if folder.exists():
            raise ValueError(f"Corpus.save: `folder` must not exist yet; got {str(folder)!r}.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=folder.name + ".", dir=folder.parent))
        try:
            builder = Builder(temporary)
            builder.add(self.features)
            builder.finish(self.notes)
            os.replace(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    @classmethod
    def open(cls, folder, memory_map=True):
        """Returns the corpus that `save` wrote into `folder`, mapped from disk unless `memory_map` is False.

        Raises:
            DataError: The folder holds no corpus, or its files do not belong together.
        """
        folder = pathlib.Path(folder)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if manifest["version"] != VERSION:
                raise ValueError(f"made by another version ({manifest['version']}, this one reads {VERSION})")
            load = {"mmap_mode": "r" if memory_map else None, "allow_pickle": False}
            features = {}
            for name, kind in manifest["features"].items():
                if kind == "ragged":
                    features[name] = Ragged(*(np.load(folder / f"{name}{s}.npy", **load) for s in RAGGED))
                else:
                    features[name] = np.load(folder / f"{name}.npy", **load)
            corpus = cls(features, manifest["notes"])
            if len(corpus) != manifest["examples"]:
                raise ValueError(f"{len(corpus)} examples where {manifest['examples']} were saved")
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise _checks.DataError(f"{folder}: cannot be opened as a corpus: {error}.") from error
        return corpus
