"""The user's own long text, for language models: read in blocks, divided by place."""

import functools
import itertools

from kerazoo import _checks
from kerazoo.data import Chunk, cache, find_data_files, lines
from kerazoo.data.lines import BadLines
from kerazoo.data.text_source import read_part
from kerazoo.tasks.language import LanguageTask
from kerazoo.tasks.reading import Meter, Once
from kerazoo.tasks.splits import bounds, origin
from kerazoo.tasks.tables import needs
from kerazoo.tasks.text_options import TextOptions

EXTENSIONS = (".txt", ".txt.gz", ".text", ".md")
SHARES = {"dev": 0.05, "test": 0.05}


def build(
    name,
    kind,
    data_dir=None,
    dev_data=None,
    test_data=None,
    length=128,
    stride=None,
    bad_lines="stop",
    restored=None,
    **text,
):
    """Returns the task `text`: each file is one text, and the model learns to go on with it.

    Args:
        name: The task's name.
        kind: The kind of model.
        data_dir: A file, a folder with `train.txt` and maybe `dev.txt` and `test.txt`, a pattern, or several with
            weights, which are whole numbers here. Where there is no dev or test text, the last tenth of each training
            text is divided: its last 5 % are for test, the 5 % before for dev, cut at line ends.
        dev_data: File or pattern of the dev texts, where they are not found by name.
        test_data: The same for test.
        length: Tokens of a window.
        stride: Tokens from one training window to the next; `length` by default. Windows that overlap are made in
            memory.
        bad_lines: `"stop"` at a line that is no text, or `"skip"` it and count.
        restored: What a saved task knew.
        **text: Options of `TextOptions`, those of the target.
    """
    owner = f"task {name}"
    needs(owner, data_dir, "a text file or a folder with train.txt")
    _checks.positive_int(owner, "length", length)
    _checks.one_of(owner, "bad_lines", bad_lines, ("stop", "skip"))
    stride = length if stride is None else _checks.positive_int(owner, "stride", stride)
    text = TextOptions.of(owner, text, roles=("target",))
    options = {
        "data_dir": str(data_dir),
        "dev_data": dev_data and str(dev_data),
        "test_data": test_data and str(test_data),
        "length": length,
        "stride": stride,
        "bad_lines": bad_lines,
        **text.to_dict(),
    }
    reading = TextReading(
        functools.partial(find_data_files, data_dir, EXTENSIONS, dev_data=dev_data, test_data=test_data), bad_lines
    )
    return LanguageTask(
        *(name, kind, options, reading, restored, reading.sources, text.learner(owner, "target")),
        length=length,
        stride=stride,
        fingerprint=reading.fingerprint,
    )


class TextReading:
    """The texts of files by split, in blocks.

    Args:
        find: Function that returns the list of `kerazoo.data.DataFiles`.
        bad_lines: `"stop"` or `"skip"`.
    """

    def __init__(self, find, bad_lines):
        self.sources = functools.cache(find)
        self.bad_lines = bad_lines
        self.once = Once()

    def fingerprint(self, split):
        """Returns plain values that change when the texts of a split do."""
        parts = self._parts(split)
        if lines.STDIN in dict(parts):
            return None
        return [self.bad_lines, cache.fingerprint([path for path, _ in parts]), [place for _, place in parts]]

    def __call__(self, split):
        """Yields the blocks of all texts as `Chunk`s."""
        parts = self._parts(split)
        self.once.check(split, dict(parts))
        bad, meter, told = BadLines(self.bad_lines), Meter([path for path, _ in parts]), 0
        for path, place in parts:
            blocks = read_part(path, *place, bad, meter.tick)
            for block, following in itertools.pairwise(itertools.chain(blocks, [None])):
                skipped, told = bad.count - told, bad.count
                yield Chunk({"text": [block]}, skipped, following is not None, meter.share)

    def _parts(self, split):
        """Returns the path of each text of a split and the share of it, from 0 to 1, that belongs to the split."""
        parts = []
        for source in self.sources():
            given, shares = origin(split, source.files, SHARES)
            if split == "train" and source.weight != int(source.weight):
                raise ValueError(f"task text: the weight of a text must be a whole number; got {source.weight}.")
            for path in source.files.get(given, ()):
                place = (0.0, 1.0) if path == lines.STDIN else bounds(split, shares)
                parts += [(path, place)] * (int(source.weight) if split == "train" else 1)
        return parts
