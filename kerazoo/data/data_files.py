"""Finds the files of the splits: by their names in a folder, by a pattern, or as several sets with weights."""

import dataclasses
import glob
import os
import pathlib
import re
from collections.abc import Sequence

from kerazoo import _checks
from kerazoo.data.formats import EXTENSIONS
from kerazoo.data.lines import STDIN, near

# What the file of each split may be called, without its extension.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "valid", "validation", "val"),
    "test": ("test",),
}
WEIGHT = re.compile(r"(?P<path>.+)@(?P<weight>\d+(\.\d*)?|\.\d+)")
WILDCARDS = frozenset("*?[")


@dataclasses.dataclass(frozen=True)
class DataFiles:
    """The files of the splits, and the weight of their examples.

    Args:
        files: dictionary of `"train"`, `"dev"`, `"test"` to a tuple of paths, with the splits that are there.
        weight: float above 0. How often an epoch contains each of the training examples. Defaults to `1.0`.
    """

    files: dict[str, tuple]
    weight: float = 1.0


def find_data_files(
    data_dir: str | os.PathLike,
    extensions: Sequence[str] = EXTENSIONS,
    dev_data: str | os.PathLike | None = None,
    test_data: str | os.PathLike | None = None,
    whole_folders: bool = False,
) -> list[DataFiles]:
    """Returns the files that `data_dir` names.

    `data_dir` is one part, or several with commas between them. Each part is a folder with a `train` file and
    optionally `dev` and `test` (see `find_splits`), one file, a pattern such as `"news-*.tsv.gz"`, or `"-"` for
    standard input. Of the files of a pattern, those named like `dev...`, `valid...`, `val...` or `test...` belong to
    that split, the others to train. `@WEIGHT` after a part says how often an epoch contains its training examples:
    `"own.tsv@3,web.tsv@0.5"` repeats each line of the first file three times and takes half of the lines of the
    second, chosen by a hash. A path that exists is used as it is, so names may contain commas.

    Args:
        data_dir: string or path.
        extensions: tuple of strings. What the names of files end in that are looked for in a folder.
        dev_data: string, path or `None`. A file or pattern of the dev examples, which are then not looked for
            elsewhere. Defaults to `None`.
        test_data: the same for the test examples. Defaults to `None`.
        whole_folders: bool. Whether a folder without a `train` file is the pattern of all its files. Defaults to
            `False`: it must hold one file.

    Returns:
        A list of `DataFiles`.

    Raises:
        DataError: if a file is missing, or two files belong to the same split.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    folder = pathlib.Path(tempfile.mkdtemp())
    for name in ("a.tsv", "b.tsv"):
        (folder / name).write_text("one\\tuno\\n")
    for found in kz.data.find_data_files(f"{folder}/a.tsv@3,{folder}/b.tsv"):
        print(found.weight, found.files)
    ```
    """
    text = os.fspath(data_dir)
    parts = [text] if pathlib.Path(text).expanduser().exists() else text.split(",")
    found = [_find_part(part, extensions, whole_folders) for part in parts]
    for split, given in (("dev", dev_data), ("test", test_data)):
        if given is not None:
            found = [DataFiles({**each.files, split: ()}, each.weight) for each in found]
            found.append(DataFiles({"train": (), "dev": (), "test": (), split: find_files(os.fspath(given))}))
    return found


def find_splits(data_dir: str | os.PathLike, extensions: Sequence[str] = (".tsv", ".tsv.gz")) -> dict:
    """Returns the files of the splits in a folder, found by their names.

    Args:
        data_dir: string or path. A folder with a `train` file and optionally `dev` (or `valid`, `validation`, `val`)
            and `test`; a folder with a single file; or one file. A single file is returned as `train`.
        extensions: tuple of strings. What a file name may end in.

    Returns:
        A dictionary of `"train"`, `"dev"`, `"test"` to a path, with the splits that are there; always a `"train"`.

    Raises:
        DataError: if there is no such folder or file, no train file in it, or two files for one split.
    """
    path = pathlib.Path(data_dir).expanduser()
    if path.is_file():
        return {"train": path}
    if not path.is_dir():
        raise _checks.MissingDataError(f"{path}: no such file or folder.{near(path)}")
    files = {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_file()}
    found = {}
    for split, stems in SPLIT_NAMES.items():
        names = [stem + extension for stem in stems for extension in extensions if stem + extension in files]
        if len(names) > 1:
            raise _checks.DataError(f"{path}: which is the {split} file? There are {', '.join(names)}. Keep one.")
        if names:
            found[split] = files[names[0]]
    if "train" in found:
        return found
    tables = [name for name in files if name.endswith(tuple(extensions))]
    if len(tables) == 1 and not found:
        return {"train": files[tables[0]]}
    wanted = " or ".join("train" + extension for extension in extensions)
    present = ", ".join(sorted(entry.name for entry in path.iterdir())[:6]) or "nothing"
    choose = " Name one of its files, or several by a pattern." if tables else ""
    if not files and present != "nothing":
        choose = " Folders of images are read by task='images', those of sounds by task='sounds'."
    raise _checks.DataError(f"{path}: no {wanted}; there is: {present}.{choose}")


def split_weight(text: str) -> tuple[str, float]:
    """Returns the path and the weight of `PATH@WEIGHT`; 1 where there is none, or where a file has that whole name.

    Raises:
        DataError: if the weight is 0.
    """
    match = WEIGHT.fullmatch(text)
    if not match or pathlib.Path(text).expanduser().exists():
        return text, 1.0
    weight = float(match["weight"])
    if not weight:
        raise _checks.DataError(f"{match['path']}: its weight must be above 0; got {match[0]!r}.")
    return match["path"], weight


def _find_part(text, extensions, whole_folders):
    text, weight = split_weight(text)
    if text == STDIN:
        return DataFiles({"train": (STDIN,)}, weight)
    path = pathlib.Path(text).expanduser()
    if WILDCARDS & set(text) and not path.exists():
        try:
            files = list(find_files(text))
        except _checks.DataError as error:
            raise _checks.MissingDataError(str(error)) from None
        return DataFiles(_by_name(text, files), weight)
    if whole_folders and path.is_dir():
        files = [
            entry for entry in sorted(path.iterdir()) if entry.is_file() and entry.name.endswith(tuple(extensions))
        ]
        if len(files) > 1 and not any(entry.name.split(".")[0] in SPLIT_NAMES["train"] for entry in files):
            return DataFiles(_by_name(text, files), weight)
    return DataFiles({split: (path,) for split, path in find_splits(text, extensions).items()}, weight)


def _by_name(text, paths):
    """Returns the files of each split by their names."""
    files: dict[str, tuple] = {"train": ()}
    for path in paths:
        files[split_of_name(path)] = (*files.get(split_of_name(path), ()), path)
    if not files["train"]:
        raise _checks.DataError(f"{text}: none of the {len(paths)} files of this pattern is for training.")
    return files


def split_of_name(path: str | os.PathLike) -> str:
    """Returns the split of a file by its name: `"dev"` for `dev-00001.tsv.gz`, `"train"` for `news.tsv`."""
    stem = re.split(r"[^a-z]", pathlib.Path(path).name.lower())[0]
    return next((split for split, names in SPLIT_NAMES.items() if stem in names), "train")


def find_files(pattern: str) -> tuple[pathlib.Path, ...]:
    """Returns the sorted files of a pattern, or the one file that it names.

    Raises:
        DataError: if there is none.
    """
    pattern = os.path.expanduser(pattern)
    if os.path.isfile(pattern):
        return (pathlib.Path(pattern),)
    found = tuple(pathlib.Path(path) for path in sorted(glob.glob(pattern, recursive=True)) if os.path.isfile(path))
    if not found:
        raise _checks.DataError(f"{pattern}: no file of this name or pattern.{near(pattern)}")
    return found
