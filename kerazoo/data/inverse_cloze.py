"""Pairs of a sentence and the rest of its text, from texts alone."""

import re
import zlib
from collections.abc import Iterator
from typing import Any

from kerazoo.data.data_source import Chunk, DataSource
from kerazoo.data.wrapped_source import WrappedSource

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
MIN_WORDS = 4  # of a sentence that says what its text is about
KEPT = 10  # one sentence in so many stays in its text as well


class InverseCloze(WrappedSource):
    """Adds to each training pair the pairs of a sentence of its second text and the rest of that text.

    A sentence stands for a query, and the text that it was taken out of for the document that the query is about. One
    sentence in ten, chosen by a hash, stays in the text too, so that equal words are learned as well. Sentences end in
    `.`, `!` or `?` and a blank; those of fewer than 4 words, and texts of one sentence, give no pair. Dev and test
    pairs are those of `source`.

    Args:
        source: `DataSource` of pairs of texts.
        first: string. The column of the first texts, where the sentences go.
        second: string. The column of the second texts.

    Example:

    ```python
    import kerazoo as kz

    pairs = {"train": {"title": ["Ducks"], "text": ["Ducks swim on ponds. They eat all the plants."]}}
    source = kz.data.InverseCloze(kz.data.MemorySource(pairs), "title", "text")
    print(next(source.chunks("train")).columns)
    ```

    Reference: Lee, Chang and Toutanova 2019, Latent Retrieval for Weakly Supervised Open Domain Question Answering,
    arXiv:1906.00300.
    """

    def __init__(self, source: DataSource, first: str, second: str):
        super().__init__(source)
        self.first = first
        self.second = second

    def fingerprint(self, split: str) -> Any:
        """Returns plain values that change whenever the examples do."""
        values = self.source.fingerprint(split)
        return values if values is None or split != "train" else [*values, "inverse cloze", self.first, self.second]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the chunks of the source; those of train have the further pairs."""
        for chunk in self.source.chunks(split):
            yield self._extended(chunk) if split == "train" else chunk

    def _extended(self, chunk):
        rows, firsts, seconds = [], [], []
        for row, (first, second) in enumerate(zip(chunk.columns[self.first], chunk.columns[self.second])):
            pairs = [(first, second), *sentence_pairs(second)]
            rows += [row] * len(pairs)
            firsts += [pair[0] for pair in pairs]
            seconds += [pair[1] for pair in pairs]
        chosen = chunk.take(rows)
        return chosen._replace(columns={**chosen.columns, self.first: firsts, self.second: seconds})


def sentence_pairs(text: str) -> list[tuple[str, str]]:
    """Returns the sentences of a text, each with the rest of the text, or with all of it for one in ten."""
    sentences = SENTENCE_END.split(text.strip())
    if len(sentences) < 2:
        return []
    return [
        (
            sentence,
            text if zlib.crc32(sentence.encode("utf-8", "surrogatepass")) % KEPT == 0 else _without(sentences, n),
        )
        for n, sentence in enumerate(sentences)
        if len(sentence.split()) >= MIN_WORDS
    ]


def _without(sentences, number):
    return " ".join(sentences[:number] + sentences[number + 1 :])
