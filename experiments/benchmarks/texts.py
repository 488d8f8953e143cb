"""The texts that a model is asked for."""

import pathlib
import random
import re


def random_texts(path: str | None) -> list[str]:
    """Returns the lines of a file, or the words of the help texts of Python, in a random order."""
    if path is not None:
        texts = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    else:
        from pydoc_data.topics import topics

        texts = sorted(set(re.findall(r"\b[a-z]{3,12}\b", " ".join(topics.values()))))
    random.Random(0).shuffle(texts)
    return texts
