"""Finds the files of the splits: by their names in a folder, by a pattern, or as a mixture of several with weights."""

import dataclasses
import glob
import os
import pathlib
import re

from kerazoo import _checks
from kerazoo.data.formats import EXTENSIONS
from kerazoo.data.lines import STDIN, near

# What the file of each split may be called, before its endings.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "valid", "validation", "val"),
    "test": ("test",),
}
TSV = (".tsv", ".tsv.gz")
WEIGHT = re.compile(r"(?P<path>.+)@(?P<weight>\d+(\.\d*)?|\.\d+)")
MAGIC = frozenset("*?[")


@dataclasses.dataclass(frozen=True)
class Source:
    """The files of one source of examples.

    Args:
        files: Dictionary of `"train"`, `"dev"`, `"test"` to a tuple of paths, with the splits that are there.
        weight: How often each of its training examples is seen in an epoch, above 0.
    """

    files: dict
    weight: float = 1.0


def find_sources(data_dir, extensions=EXTENSIONS, dev=None, test=None):
    """Returns the sources that `data_dir` names.

    `data_dir` is one source or several with commas between them. Each is a folder with a `train` file and maybe `dev`
    and `test` (`find_splits`), one file, a pattern such as `"news-*.tsv.gz"`, or `"-"` for standard input. Of the
    files of a pattern, those named like `dev...`, `valid...`, `val...` or `test...` are for that split, the others for
    training. `@WEIGHT` behind a source says how often an epoch sees its training examples: `"own.tsv@3,web.tsv@0.5"`
    takes each line of the one three times and half the lines of the other, chosen by a hash. A path that is there as
    written is taken as it is, so names may hold commas.

    Args:
        data_dir: As above.
        extensions: What the names of files end in that are looked for in a folder.
        dev: A file or pattern of the dev examples; then none are looked for elsewhere.
        test: The same for the test examples.

    Returns:
        List of `Source`.

    Raises:
        DataError: A file is not there, or two files are for the same split.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    folder = pathlib.Path(tempfile.mkdtemp())
    for name in ("a.tsv", "b.tsv"):
        (folder / name).write_text("one\\tuno\\n")
    for source in kz.data.find_sources(f"{folder}/a.tsv@3,{folder}/b.tsv"):
        print(source.weight, source.files)
    ```
    """
    whole = pathlib.Path(data_dir).expanduser().exists()
    found = [_source(part, extensions) for part in ([os.fspath(data_dir)] if whole else os.fspath(data_dir).split(","))]
    for split, given in (("dev", dev), ("test", test)):
        if given is not None:
            found = [Source({**source.files, split: ()}, source.weight) for source in found]
            found.append(Source({"train": (), "dev": (), "test": (), split: _files(given)}))
    return found


def find_splits(data_dir, endings=TSV):
    """Returns the files of the splits in a folder, found by their names.

    Args:
        data_dir: A folder with a `train` file and maybe `dev` (or `valid`, `validation`, `val`) and `test`; a folder
            with a single file; or one file. A single file is given as `train`.
        endings: What a file name may end in.

    Returns:
        Dictionary of `"train"`, `"dev"`, `"test"` to a path, with the splits that are there; always a `"train"`.

    Raises:
        DataError: There is no such folder or file, no train file in it, or two files for one split.
    """
    path = pathlib.Path(data_dir).expanduser()
    if path.is_file():
        return {"train": path}
    if not path.is_dir():
        raise _checks.DataError(f"{path}: no such file or folder.{near(path)}")
    files = {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_file()}
    found = {}
    for split, stems in SPLIT_NAMES.items():
        names = [stem + ending for stem in stems for ending in endings if stem + ending in files]
        if len(names) > 1:
            raise _checks.DataError(f"{path}: which is the {split} file? There are {', '.join(names)}. Keep one.")
        if names:
            found[split] = files[names[0]]
    if "train" in found:
        return found
    tables = [name for name in files if name.endswith(tuple(endings))]
    if len(tables) == 1 and not found:
        return {"train": files[tables[0]]}
    wanted = " or ".join("train" + ending for ending in endings)
    there = ", ".join(sorted(entry.name for entry in path.iterdir())[:6]) or "nothing"
    raise _checks.DataError(f"{path}: no {wanted}; there is: {there}.")


def _source(text, extensions):
    match = WEIGHT.fullmatch(text)
    weight = 1.0
    if match and not pathlib.Path(text).expanduser().exists():
        text, weight = match["path"], float(match["weight"])
        if not weight:
            raise _checks.DataError(f"{text}: its weight must be above 0; got {match[0]!r}.")
    if text == STDIN:
        return Source({"train": (STDIN,)}, weight)
    if MAGIC & set(text) and not pathlib.Path(text).expanduser().exists():
        files = {"train": ()}
        for path in _files(text):
            files[split_of(path)] = (*files.get(split_of(path), ()), path)
        if not files["train"]:
            raise _checks.DataError(f"{text}: none of the {len(_files(text))} files of this pattern is for training.")
        return Source(files, weight)
    return Source({split: (path,) for split, path in find_splits(text, extensions).items()}, weight)


def split_of(path):
    """Returns the split that a file is for by its name: `dev-00001.tsv.gz` is for `"dev"`, `news.tsv` for training."""
    stem = re.split(r"[^a-z]", pathlib.Path(path).name.lower())[0]
    return next((split for split, names in SPLIT_NAMES.items() if stem in names), "train")


def _files(pattern):
    """Returns the sorted files of a pattern, or the one file that it names."""
    pattern = os.path.expanduser(pattern)
    if os.path.isfile(pattern):
        return (pathlib.Path(pattern),)
    found = tuple(pathlib.Path(path) for path in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(path))
    if not found:
        raise _checks.DataError(f"{pattern}: no file of this name or pattern.{near(pattern)}")
    return found
