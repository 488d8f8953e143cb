"""A source whose examples carry a tag, and the parts of `data_dir` that name one."""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kerazoo import _checks
from kerazoo.data.data_files import split_weight
from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.wrapped_source import WrappedSource

TAG = "tag"  # the name of the column


class TaggedSource(WrappedSource):
    """The examples of another source with one more column, `tag`, which has the same value in all of them.

    In a mixture it tells from which part an example is, and so what a model is to do with it.

    Args:
        source: `DataSource`. The source.
        tag: string. The value of the column.

    Raises:
        ValueError: if the tag is empty or the source has a column `tag`.

    Example:

    ```python
    import kerazoo as kz

    source = kz.data.TaggedSource(kz.data.MemorySource({"train": {"text": ["a", "b"]}}), "letters")
    print(next(source.chunks("train")).columns)
    ```
    """

    def __init__(self, source: DataSource, tag: str):
        if not isinstance(tag, str) or not tag or TAG in source.columns:
            raise ValueError(
                f"TaggedSource: `tag` must be a string that is not empty, for a source without a column {TAG!r}; got "
                f"tag={tag!r}, columns {', '.join(source.columns)}."
            )
        super().__init__(source)
        self.tag = tag

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of every chunk, the tag last."""
        return (*self.source.columns, TAG)

    def with_label_columns(self, columns: Sequence[str]) -> DataSource:
        """Returns the source as one whose `columns` hold classes; the tag is the same in all examples and is none."""
        source = self.source.with_label_columns([name for name in columns if name != TAG])
        tagged = TaggedSource(source, self.tag)
        tagged.label_columns = tuple(columns)
        return tagged

    def with_columns(self, columns: Sequence[str]) -> DataSource:
        """Returns the source as one that reads further columns; the tag is one that it has."""
        tagged = TaggedSource(self.source.with_columns([name for name in columns if name != TAG]), self.tag)
        tagged.label_columns = self.label_columns
        return tagged

    def class_names(self, column: str) -> list[str] | None:
        """Returns the names of the classes of a column as the source declares them."""
        return None if column == TAG else self.source.class_names(column)

    def fingerprint(self, split: str) -> Any:
        """Returns the tag and the fingerprint of the source, `None` if it has none."""
        found = self.source.fingerprint(split)
        return None if found is None else [self.tag, found]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the examples of the source with their tag."""
        for chunk in self.source.chunks(split):
            yield chunk._replace(columns={**chunk.columns, TAG: [self.tag] * chunk.num_rows})


class Part(NamedTuple):
    """One part of a mixture as `data_dir` names it.

    Args:
        data_dir: string. The folder, file or pattern.
        weight: float. How often an epoch contains each of the training examples.
        options: dictionary of strings. What the part has of its own: `tag`, and the columns or languages that it is
            read from.
    """

    data_dir: str
    weight: float
    options: dict[str, str]


def parse_parts(owner: str, data_dir: str | os.PathLike, names: Sequence[str]) -> list[Part]:
    """Returns the parts of a mixture whose parts have options, an empty list if none has any.

    A part is `PATH#NAME=VALUE;NAME=VALUE@WEIGHT`, several are separated by commas. A path that exists is used as it
    is, so names of files may contain `#`.

    Args:
        owner: string. The task that error messages name.
        data_dir: string or path.
        names: sequence of strings. The options that a part may have, in addition to `tag`.

    Raises:
        ValueError: if an option is unknown, has no value or is there twice, or only some parts have a tag.
    """
    text = os.fspath(data_dir)
    if "#" not in text or pathlib.Path(text).expanduser().exists():
        return []
    parts, allowed = [], (TAG, *names)
    for part in text.split(","):
        path, weight = split_weight(part)
        options: dict[str, str] = {}
        listed: list[str] = []
        if "#" in path and not pathlib.Path(path).expanduser().exists():
            path, _, after = path.rpartition("#")
            listed = after.split(";")
        for item in listed:
            name, equals, value = (piece.strip() for piece in item.partition("="))
            if name not in allowed:
                raise _checks.unknown(f"option of a part of `data_dir` of {owner}:", name, allowed, ", ".join(allowed))
            if not equals or not value or name in options:
                raise ValueError(
                    f"{owner}: a part of `data_dir` must be PATH#NAME=VALUE;NAME=VALUE@WEIGHT, each name once; got "
                    f"{part!r}."
                )
            options[name] = value
        parts.append(Part(path, weight, options))
    if 0 < sum(TAG in part.options for part in parts) < len(parts):
        bare = next(part.data_dir for part in parts if TAG not in part.options)
        raise ValueError(f"{owner}: all parts of `data_dir` must have a tag or none; got {bare!r} without one.")
    return parts
