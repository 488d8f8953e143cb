"""The user's own images: a folder for each class."""

import functools
import itertools
import pathlib

import numpy as np

from kerazoo import _checks
from kerazoo.data import Chunk
from kerazoo.data.data_files import SPLIT_NAMES
from kerazoo.data.image_files import read_image
from kerazoo.data.lines import near
from kerazoo.data.preparing import in_order
from kerazoo.tasks import pixels
from kerazoo.tasks.images import KINDS
from kerazoo.tasks.reading import SHARES
from kerazoo.tasks.splits import origin, place
from kerazoo.tasks.tables import needs

ENDINGS = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
TOGETHER = 64  # images of a chunk


def build(
    name,
    kind,
    data_dir=None,
    height=None,
    width=None,
    channels=3,
    bad_lines="stop",
    preprocess=None,
    restored=None,
):
    """Returns the task `images`: an image to its class, to yes or no, or to itself.

    Args:
        name: The task's name.
        kind: `"classifier"`, `"binary_classifier"` (with two classes) or `"autoencoder"`.
        data_dir: A folder with `train/CLASS/IMAGE` and maybe `dev` and `test` of the same form; or with `CLASS/IMAGE`.
            A dev or test split that is missing is drawn from train by a hash of class and file name, 5 % each. Images
            are PNG, JPEG, GIF or BMP.
        height: Pixels that images are scaled to; those of the first training image by default.
        width: The same for the width.
        channels: 1 for grey or 3 for colour.
        bad_lines: `"stop"` at a file that holds no image, or `"skip"` it and count.
        preprocess: `"scale"` pixels to [0, 1], the default, or `"standardise"` them by the training images.
        restored: What a saved task knew.
    """
    owner = f"task {name}"
    needs(owner, data_dir, "a folder with one folder of images for each class")
    for option, value in (("height", height), ("width", width)):
        if value is not None:
            _checks.positive_int(owner, option, value)
    _checks.one_of(owner, "channels", channels, (1, 3))
    _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip"))
    shape = {"height": height, "width": width, "channels": channels}
    options = {"data_dir": str(data_dir), **shape, "bad_lines": bad_lines}
    options["preprocess"] = pixels.option(owner, kind, preprocess, restored)
    folders = Folders(data_dir, tuple(shape.values()), bad_lines)
    return KINDS[kind](name, kind, options, folders, restored, folders.splits, fingerprint=folders.fingerprint)


class Folders:
    """The images of folders, by split.

    Args:
        data_dir: As above.
        shape: Height, width and channels; None for a height or width as the first image has it.
        bad_lines: `"stop"` or `"skip"`.
    """

    def __init__(self, data_dir, shape, bad_lines):
        self.data_dir = pathlib.Path(data_dir).expanduser()
        self.given = shape
        self.bad_lines = bad_lines
        self.splits = functools.cache(self._splits)
        self.files = functools.cache(self._files)

    def fingerprint(self, split):
        """Returns plain values that change when an image of a split does."""
        files = [self.files("train"), self.files(split)]  # the former decides over classes and size
        seen = [[(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path, _ in each] for each in files]
        return [self.given, self.bad_lines, seen]

    def __call__(self, split):
        """Yields the images of a split, `TOGETHER` in a chunk."""
        names = self.names
        place_of = {name: index for index, name in enumerate(names)}
        files, done = self.files(split), 0
        for path, name in files:
            if name not in place_of:
                raise _checks.DataError(
                    f"{path}: the class {name!r} is not in the training data.{_checks.hint(name, names)}"
                )
        groups = [files[start : start + TOGETHER] for start in range(0, len(files), TOGETHER)]
        for group, images in in_order(self._read, groups):
            done += len(group)
            faults = [image for image in images if isinstance(image, _checks.DataError)]
            if faults and self.bad_lines == "stop":
                raise faults[0]
            kept = [(image, place_of[name]) for (_, name), image in zip(group, images) if isinstance(image, np.ndarray)]
            stacked = np.stack([image for image, _ in kept]) if kept else np.zeros((0, *self.shape), np.uint8)
            columns = {"image": stacked, "label": np.array([label for _, label in kept], np.int32), "names": names}
            yield Chunk(columns, len(faults), progress=done / len(files))

    @functools.cached_property
    def names(self):
        """The names of the classes, in alphabetical order."""
        return tuple(sorted({name for _, name in self.files("train")}))

    @functools.cached_property
    def shape(self):
        """Height, width and channels of all images."""
        height, width, channels = self.given
        if height is None or width is None:
            first = read_image(self.files("train")[0][0], (None, None, channels)).shape
            height, width = height or first[0], width or first[1]
        return height, width, channels

    def _read(self, group):
        images = []
        for path, _ in group:
            try:
                images.append(read_image(path, self.shape))
            except _checks.DataError as error:
                images.append(error)
        return images

    def _splits(self):
        """Returns the folder of each split that has one."""
        if not self.data_dir.is_dir():
            raise _checks.DataError(f"{self.data_dir}: no such folder.{near(self.data_dir)}")
        found = {
            split: self.data_dir / name
            for split, names in SPLIT_NAMES.items()
            for name in names
            if (self.data_dir / name).is_dir()
        }
        found = found if "train" in found else {"train": self.data_dir}
        if not any(True for _ in _images(found["train"])):
            raise _checks.DataError(
                f"{found['train']}: no images here: they lie in one folder for each class and end in "
                f"{', '.join(ENDINGS)}."
            )
        return found

    def _files(self, split):
        """Returns path and class of each image of a split, in alphabetical order."""
        given, shares = origin(split, self.splits(), SHARES)
        every = _images(self.splits()[given])
        return [(path, name) for path, name in every if not shares or place(f"{name}/{path.name}", shares) == split]


def _images(folder):
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir())
    files = itertools.chain.from_iterable(((path, each.name) for path in sorted(each.iterdir())) for each in classes)
    return ((path, name) for path, name in files if path.suffix.lower() in ENDINGS and path.is_file())
