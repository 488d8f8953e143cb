"""Makes a corpus chunk by chunk, in memory or in files that grow, so that it may be larger than memory."""

import json
import os
import pathlib
import struct

import numpy as np

from kerazoo.data.ragged import Ragged

MANIFEST = "corpus.json"
VERSION = 1
RAGGED = (".values", ".offsets")  # the two files of a ragged feature
HEADER = 256  # bytes before the numbers of a .npy file: room for any number of rows


class Builder:
    """A corpus in the making: features are added chunk by chunk.

    Args:
        folder: An empty folder that gets the files; None keeps everything in memory.
    """

    def __init__(self, folder=None):
        self.folder = None if folder is None else pathlib.Path(folder)
        self.examples = 0
        self.values = 0
        self._arrays = {}
        self._ends = {}  # of each ragged feature: the number of values so far, and the end of the last row

    def add(self, features, more=False):
        """Adds a chunk.

        Args:
            features: Dictionary of name to `Ragged` or array, of the same names and dtypes in every chunk.
            more: Whether the last row of the ragged features goes on in the next chunk.
        """
        for name, feature in features.items():
            if isinstance(feature, Ragged):
                total, end = self._ends.get(name, (0, 0))
                if name not in self._ends:
                    self._array(name + RAGGED[1]).append(np.zeros(1, np.int64))
                offsets = feature.offsets[1:] + total
                offsets = offsets[:-1] if more else offsets
                self._array(name + RAGGED[0]).append(feature.values)
                self._array(name + RAGGED[1]).append(offsets)
                self._ends[name] = (total + len(feature.values), int(offsets[-1]) if len(offsets) else end)
                self.values += len(feature.values)
                rows = len(offsets)
            else:
                self._array(name).append(np.asarray(feature))
                rows = len(feature)
        self.examples += rows

    def finish(self, notes):
        """Ends the corpus: returns the features in memory, or ends the files with a manifest that holds `notes`."""
        for name, (total, end) in self._ends.items():
            if end < total:
                raise ValueError(f"Builder.finish: the last row of {name!r} was to go on after {total - end} values.")
        arrays = {name: array.finish() for name, array in self._arrays.items()}
        ragged = {name.removesuffix(RAGGED[0]) for name in arrays if name.endswith(RAGGED[0])}
        names = list(dict.fromkeys(name.removesuffix(RAGGED[0]).removesuffix(RAGGED[1]) for name in arrays))
        if self.folder is None:
            return {
                name: Ragged(*(arrays[name + suffix] for suffix in RAGGED)) if name in ragged else arrays[name]
                for name in names
            }
        kinds = {name: "ragged" if name in ragged else "dense" for name in names}
        manifest = {"version": VERSION, "examples": self.examples, "features": kinds, "notes": notes}
        with open(self.folder / MANIFEST, "w", encoding="utf-8") as file:
            json.dump(manifest, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        return None

    def close(self):
        """Closes the files; what was written so far is no corpus."""
        for array in self._arrays.values():
            array.close()

    def _array(self, name):
        if name not in self._arrays:
            self._arrays[name] = _Memory() if self.folder is None else _File(self.folder / f"{name}.npy")
        return self._arrays[name]


class _Memory:
    """An array in pieces."""

    def __init__(self):
        self._pieces = []

    def append(self, array):
        self._pieces.append(array)

    def finish(self):
        return self._pieces[0] if len(self._pieces) == 1 else np.concatenate(self._pieces)

    def close(self):
        pass


class _File:
    """A .npy file that grows; its header is written when the number of rows is known."""

    def __init__(self, path):
        self._file = open(path, "wb")  # noqa: SIM115 (closed by `finish` or `close`)
        self._file.write(bytes(HEADER))
        self._rows = 0

    def append(self, array):
        array = np.ascontiguousarray(array)
        if self._rows and (array.dtype, array.shape[1:]) != self._kind:
            raise ValueError(f"Builder.add: chunks must be alike; got {array.dtype}{array.shape} after {self._kind}.")
        self._kind = (array.dtype, array.shape[1:])
        self._file.write(array.data if array.size else b"")
        self._rows += len(array)

    def finish(self):
        self._file.seek(0)
        self._file.write(_header(self._kind[0], (self._rows, *self._kind[1])))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self):
        self._file.close()


def _header(dtype, shape):
    """Returns the header of a .npy file of version 1.0, as NumPy documents it, always `HEADER` bytes long."""
    entries = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    text = repr(entries).ljust(HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", HEADER - 10) + text.encode("latin1")
