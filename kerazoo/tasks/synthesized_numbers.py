"""SynthesizedNumbers: numbers in words with their sounds, which eSpeak NG speaks."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Chunk, Corpus, DataSource, SoundFolderSource, cache
from kerazoo.data.speech_synthesis import library
from kerazoo.data.splits import SPLITS
from kerazoo.tasks.number_words import MAX_NUMBER, number_words

CHUNK_SOUNDS = 64


class SynthesizedNumbers(DataSource):
    """The base of the sources of synthesized numbers, which keep their sounds in the cache.

    The columns are `sound`, arrays int16 `[samples]`; `text`, the number in words; `number`, strings; and those of a
    subclass. A subclass sets `columns` and `cache_name`, and implements `synthesized` and `fingerprint`.

    Args:
        owner: string. The task that error messages name.
        examples: int, above 0. The number of training examples; dev and test have a tenth of it each.
        largest: int, 9 to 999,999. The largest number.
        sample_rate: int, above 0. Samples of a second.
        seed: int, at least 0. The seed of the examples.

    Raises:
        ValueError: if an argument is out of its range.
    """

    cache_name = ""

    def __init__(self, owner: str, examples: int, largest: int, sample_rate: int, seed: int):
        self.owner = owner
        self.examples = _checks.positive_int(owner, "examples", examples)
        self.largest = int(_checks.number(owner, "largest", largest, low=9, high=MAX_NUMBER))
        self.sample_rate = _checks.positive_int(owner, "sample_rate", sample_rate)
        self.seed = _checks.non_negative_int(owner, "seed", seed)
        self.held_out = max(1, self.examples // 10)  # examples of dev, and of test
        self._corpora: dict[str, Corpus] = {}

    def check(self) -> None:
        """Raises a `SetupError` if eSpeak NG is not installed."""
        library()

    def with_test_data(self, path: str | os.PathLike) -> SoundFolderSource:
        """Returns a source of the recordings in a folder with a table of transcripts, which are test examples."""
        return SoundFolderSource(path).with_test_data(path)

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the sounds of a split with their words."""
        corpus = self._corpus(_checks.one_of(self.owner, "split", split, SPLITS))
        sounds, numbers = corpus.ragged("sound"), corpus.features["number"].tolist()
        for start in range(0, len(corpus), CHUNK_SOUNDS):
            rows = range(start, min(start + CHUNK_SOUNDS, len(corpus)))
            columns = {
                "sound": [np.asarray(sounds[row]) for row in rows],
                "text": [number_words(numbers[row]) for row in rows],
                "number": [str(numbers[row]) for row in rows],
                **self.more_columns(corpus, rows),
            }
            yield Chunk({name: columns[name] for name in self.columns}, progress=rows.stop / len(corpus))

    def more_columns(self, corpus: Corpus, rows: Sequence[int]) -> dict[str, list]:
        """Returns the columns of a subclass for rows of what it synthesized."""
        del corpus, rows
        return {}

    def synthesized(self, split: str) -> Corpus:
        """Returns the examples of a split: `sound` and `number`, and what `more_columns` needs."""
        raise NotImplementedError

    def fingerprint(self, split: str) -> Any:
        """Returns what decides the examples of a split."""
        raise NotImplementedError

    def _corpus(self, split):
        if split not in self._corpora:
            key = cache.key(self.cache_name, self.fingerprint(split))
            if cache.cache_dir() is None:
                self._corpora[split] = self.synthesized(split)
            else:
                self._corpora[split] = cache.entry(
                    key,
                    lambda folder: self.synthesized(split).save(folder / "corpus"),
                    lambda folder: Corpus.open(folder / "corpus"),
                )
        return self._corpora[split]
