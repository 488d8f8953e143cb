"""English text that comes with Python: the help topics of the standard library, `pydoc_data.topics`."""

import functools
import itertools
import re
from typing import Any

from kerazoo import _checks
from kerazoo.data import MemorySource
from kerazoo.data.splits import split_rows
from kerazoo.tasks.feature_pairs import FeatureOptions, FeatureSpec, make_features, refuse_subword_dropout
from kerazoo.tasks.task import Task
from kerazoo.tasks.text_options import TextOptions

FRACTIONS = {"dev": 0.1, "test": 0.1}
HEADING = re.compile(r"^(?=.+\n([=*~^\"'-])\1{2,}$)", re.MULTILINE)  # a line above a line of one repeated sign
PARAGRAPH = re.compile(r"\n\s*\n")
QUOTED = 60  # characters: a shorter paragraph may occur twice by chance


def build(name: str, kind: str | None, length: int = 128, stride: int | None = None, **text: Any) -> Task:
    """Returns the task `topics`: the help texts of Python, section by section; whole sections are dev or test.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        length: int. The tokens of a window. Defaults to `128`.
        stride: int. The tokens from one training window to the next. Defaults to `length`: windows do not overlap.
        **text: options of `TextOptions`, those of the target.
    """
    owner = f"task {name}"
    _checks.positive_int(owner, "length", length)
    stride = length if stride is None else _checks.positive_int(owner, "stride", stride)
    text_options = TextOptions.of(owner, text, roles=("target",))
    options = {"length": length, "stride": stride, **text_options.to_dict()}
    refuse_subword_dropout(owner, text_options, kind)
    made = FeatureOptions(owner, text_options, window=length, stride=stride)
    features = make_features([], FeatureSpec("text", ("text",)), kind, made)
    return Task(MemorySource(read, columns=("text",)), *features, name, kind or "", options)


def read(split: str) -> dict[str, list[str]]:
    """Returns the column of a split."""
    texts = sections()
    return {"text": [texts[row] for row in split_rows(split, [_title(text) for text in texts], FRACTIONS)]}


@functools.cache
def sections() -> list[str]:
    """Returns the sections of all topics, each paragraph of several topics only once.

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
