"""English text that every Python has: the help topics of the standard library, `pydoc_data.topics`."""

import functools
import itertools
import re

from kerazoo import _checks
from kerazoo.tasks.language import LanguageTask
from kerazoo.tasks.splits import rows_of
from kerazoo.tasks.text_options import TextOptions

SHARES = {"dev": 0.1, "test": 0.1}
HEADING = re.compile(r"^(?=.+\n([=*~^\"'-])\1{2,}$)", re.MULTILINE)  # a line above a line of one repeated sign
PARAGRAPH = re.compile(r"\n\s*\n")
QUOTED = 60  # characters: a shorter paragraph may stand in two places by chance


def build(name, kind, length=128, stride=None, restored=None, **text):
    """Returns the task `topics`: the help texts of Python, section by section; whole sections are dev or test.

    Args:
        name: The task's name.
        kind: The kind of model.
        length: Tokens of a window.
        stride: Tokens from one training window to the next; `length` by default, so they do not overlap.
        restored: What a saved task knew.
        **text: Options of `TextOptions`, those of the target.
    """
    owner = f"task {name}"
    _checks.positive_int(owner, "length", length)
    stride = length if stride is None else _checks.positive_int(owner, "stride", stride)
    text = TextOptions.of(owner, text, roles=("target",))
    options = {"length": length, "stride": stride, **text.to_dict()}
    learn = text.learner(owner, "target")
    return LanguageTask(name, kind, options, read, restored, make_tokenizer=learn, length=length, stride=stride)


def read(split):
    """Returns the column of a split."""
    every = sections()
    return {"text": [every[row] for row in rows_of(split, [_title(text) for text in every], SHARES)]}


@functools.cache
def sections():
    """Returns the sections of all topics, a paragraph that stands in several topics only once.

    Topics quote each other at length; without this, dev text would have been seen in training.
    """
    from pydoc_data.topics import topics

    found, seen = [], set()
    for _, topic in sorted(topics.items(), key=lambda item: (-len(item[1]), item[0])):
        starts = [match.start() for match in HEADING.finditer(topic)]
        for start, end in itertools.pairwise([0, *starts, len(topic)]):
            fresh = [part for part in PARAGRAPH.split(topic[start:end].strip()) if part not in seen]
            seen.update(part for part in fresh if len(part) >= QUOTED)
            if sum(map(len, fresh)) >= QUOTED:
                found.append("\n\n".join(fresh) + "\n")
    return found


def _title(section):
    return section.partition("\n")[0]
