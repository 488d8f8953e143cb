"""Images in folders, one folder per class."""

import copy
import functools
import hashlib
import itertools
import os
import pathlib
from collections.abc import Iterator

from kerazoo import _checks
from kerazoo.data.data_files import SPLIT_NAMES
from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.image_files import IMAGE_EXTENSIONS
from kerazoo.data.lines import near
from kerazoo.data.splits import SPLITS, SplitAssignment, point_of, split_origin

CHUNK_IMAGES = 64


class ImageFolderSource(DataSource):
    """Paths and classes of images; the columns are `image`, a list of paths, and `label`, a list of class names.

    Args:
        data_dir: string or path. A folder with `train/CLASS/IMAGE` and optionally `dev` and `test` of the same form; or
            with `CLASS/IMAGE`. A dev or test split that is not given is held out from train by a hash of class and file
            name, 5 % of each class. Images are the files whose names end like `IMAGE_EXTENSIONS`; other files are
            ignored.

    Raises:
        ValueError: if `data_dir` is `None`.

    Example:

    ```python
    import pathlib
    import tempfile

    import kerazoo as kz

    folder = pathlib.Path(tempfile.mkdtemp())
    for name in ("train/cat/1.png", "train/dog/1.png", "dev/dog/2.png"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    print(next(kz.data.ImageFolderSource(folder).chunks("dev")).columns["label"])
    ```
    """

    columns = ("image", "label")
    fractions = {"dev": 0.05, "test": 0.05}

    def __init__(self, data_dir: str | os.PathLike):
        if data_dir is None:
            raise ValueError(
                "ImageFolderSource: needs `data_dir`, a folder with one folder of images for each class; got "
                "data_dir=None."
            )
        self.data_dir = pathlib.Path(data_dir).expanduser()

    @functools.cached_property
    def folders(self) -> dict[str, pathlib.Path]:
        """Dictionary of split to its folder, with the splits that are given."""
        found = {
            split: self.data_dir / name
            for split, names in SPLIT_NAMES.items()
            for name in names
            if (self.data_dir / name).is_dir()
        }
        found = found if "train" in found else {"train": self.data_dir}
        _with_images(found["train"])
        return found

    def with_test_data(self, path: str | os.PathLike) -> DataSource:
        """Returns the source as one whose test images are in another folder, `CLASS/IMAGE`, and that has no others.

        Raises:
            DataError: if there are no images.
        """
        source = copy.copy(self)
        source.folders = {"test": _with_images(pathlib.Path(path).expanduser())}
        return source

    def check(self) -> None:
        """Raises a `DataError` if there is no training image."""
        _ = self.folders

    def fingerprint(self, split: str) -> list:
        """Returns path, size and time of every image of a split."""
        status = [(path, os.stat(path)) for path, _ in self.files(split)]
        return [[path, each.st_size, each.st_mtime_ns] for path, each in status]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields paths and classes of the images of a split, in an order that mixes the classes."""
        files = self.files(split)
        for start in range(0, len(files), CHUNK_IMAGES):
            paths, labels = map(list, zip(*files[start : start + CHUNK_IMAGES]))
            progress = min((start + CHUNK_IMAGES) / len(files), 1.0)
            yield Chunk({"image": paths, "label": labels}, progress=progress, locations=paths)

    def files(self, split: str) -> list[tuple[str, str]]:
        """Returns path and class of each image of a split, ordered by a hash of both, so that classes are mixed."""
        _checks.one_of("ImageFolderSource", "split", split, SPLITS)
        given, fractions = split_origin(split, self.folders, self.fractions)
        files = list(_images(self.folders[given]))
        if fractions:
            points = [point_of(f"{name}/{path.name}") for path, name in files]
            assignment = SplitAssignment(zip(points, ((name,) for _, name in files)), fractions)
            files = [file for file, point in zip(files, points) if assignment.split_of(point) == split]
        return sorted(((os.path.abspath(path), name) for path, name in files), key=_mixed)


def _mixed(file):
    path, name = file
    return hashlib.blake2b(f"{name}/{os.path.basename(path)}".encode(errors="surrogateescape")).digest(), path


def _with_images(folder):
    """Returns a folder that has one folder of images for each class."""
    if folder.is_file():
        raise _checks.DataError(
            f"{folder}: is a file. The task images reads a folder for each class; the task table reads a table that "
            "names the files of images, with `inputs` as image:COLUMN."
        )
    if not folder.is_dir():
        raise _checks.MissingDataError(f"{folder}: no such folder.{near(folder)}")
    if not any(True for _ in _images(folder)):
        here = any(path.suffix.lower() in IMAGE_EXTENSIONS for path in folder.iterdir())
        raise _checks.DataError(
            f"{folder}: {'the images of all classes are in one folder' if here else 'no images here'}: they lie in one "
            f"folder for each class and end in {', '.join(IMAGE_EXTENSIONS)}."
        )
    return folder


def _images(folder):
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    files = itertools.chain.from_iterable(((path, each.name) for path in sorted(each.iterdir())) for each in classes)
    return ((path, name) for path, name in files if path.suffix.lower() in IMAGE_EXTENSIONS and path.is_file())
