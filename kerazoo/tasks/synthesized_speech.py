"""SynthesizedSpeech: texts with their sounds, which eSpeak NG speaks."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Chunk, Corpus, DataSource, Ragged, SoundFolderSource, TableSource, cache
from kerazoo.data.speech_synthesis import Utterance, installed, library, synthesize
from kerazoo.data.splits import SPLITS
from kerazoo.tasks.number_words import MAX_NUMBER

CHUNK_SOUNDS = 64


class SynthesizedSpeech(DataSource):
    """The base of the sources of synthesized speech, which keep their sounds in the cache.

    The texts are numbers in words, or those of files. The columns are `sound`, arrays int16 `[samples]`, `text`,
    strings, and those of a subclass. It sets `columns` and `cache_name`, and implements `synthesized` and `settings`.

    Args:
        owner: string. The task that error messages name.
        examples: int, above 0. The number of training examples; dev and test have a tenth of it each.
        largest: int, 9 to 999,999. The largest number.
        sample_rate: int, above 0. Samples of a second.
        seed: int, at least 0. The seed of the examples.
        data_dir: string or path. Tables or plain lines with texts, which are spoken in place of numbers, as for
            `kerazoo.data.TableSource`. Defaults to `None`: numbers.
        column: int or string. The column of the texts. Defaults to `0`.

    Raises:
        ValueError: if an argument is out of its range.
    """

    cache_name = ""

    def __init__(
        self,
        owner: str,
        examples: int,
        largest: int,
        sample_rate: int,
        seed: int,
        data_dir: str | os.PathLike | None = None,
        column: int | str = 0,
    ):
        self.owner = owner
        self.examples = _checks.positive_int(owner, "examples", examples)
        self.largest = int(_checks.number(owner, "largest", largest, low=9, high=MAX_NUMBER))
        self.sample_rate = _checks.positive_int(owner, "sample_rate", sample_rate)
        self.seed = _checks.non_negative_int(owner, "seed", seed)
        self.held_out = max(1, self.examples // 10)  # examples of dev, and of test
        self.files = None if data_dir is None else TableSource(data_dir, {"text": column})
        self._corpora: dict[str, Corpus] = {}
        self._found: dict[str, dict[str, str]] = {}

    def check(self) -> None:
        """Raises a `SetupError` if eSpeak NG is not installed, and a `DataError` if there are no files of texts."""
        library()
        if self.files:
            self.files.check()

    def with_test_data(self, path: str | os.PathLike) -> SoundFolderSource:
        """Returns a source of the recordings in a folder with a table of transcripts, which are test examples."""
        return SoundFolderSource(path).with_test_data(path)

    def fingerprint(self, split: str) -> Any:
        """Returns what decides the examples of a split, `None` if its texts are those of standard input."""
        chosen = [self.largest] if self.files is None else self.files.fingerprint(split)
        if chosen is None:
            return None
        return [*self.settings, self.examples, chosen, self.sample_rate, self.seed, split, installed()]

    def chunks(self, split: str) -> Iterator[Chunk]:
        """Yields the sounds of a split with their texts."""
        corpus = self._corpus(_checks.one_of(self.owner, "split", split, SPLITS))
        sounds, texts = corpus.ragged("sound"), corpus.ragged("text")
        for start in range(0, len(corpus), CHUNK_SOUNDS):
            rows = range(start, min(start + CHUNK_SOUNDS, len(corpus)))
            spoken = [np.asarray(texts[row]).tobytes().decode() for row in rows]
            columns = {
                "sound": [np.asarray(sounds[row]) for row in rows],
                "text": spoken,
                **self.more_columns(corpus, rows),
            }
            where = [self.texts(split)[text] for text in spoken] if self.files else None
            columns = {name: columns[name] for name in self.columns}
            yield Chunk(columns, progress=rows.stop / len(corpus), locations=where)

    def texts(self, split: str) -> dict[str, str]:
        """Returns the distinct texts of the files of a split in random order, and where each of them is."""
        if split not in self._found:
            found: dict[str, str] = {}
            for chunk in self.files.chunks(split) if self.files else ():
                for text, location in zip(chunk.columns["text"], chunk.locations or ()):
                    found.setdefault(text, location)
            # Raw bits: NumPy promises that they never change, unlike the order of `permutation`.
            seeds = np.random.SeedSequence([self.seed, SPLITS.index(split), 1])
            order = np.argsort(np.random.Philox(seeds).random_raw(len(found)), kind="stable")
            texts = list(found)
            self._found[split] = {texts[row]: found[texts[row]] for row in order.tolist()}
        return self._found[split]

    def spoken(self, split: str, utterances: Sequence[Utterance]) -> list[np.ndarray]:
        """Returns the sounds of utterances of a split, int16.

        Raises:
            DataError: if eSpeak NG has no sound for a text.
        """
        sounds = synthesize(utterances, self.sample_rate)
        rows = [np.asarray(sounds[row]) for row in range(len(sounds))]
        for utterance, sound in zip(utterances, rows):
            if not sound.any():
                raise _checks.DataError(
                    f"{self.texts(split)[utterance.text]}: eSpeak NG speaks nothing for {utterance.text!r}."
                )
        return rows

    def corpus(self, texts: Sequence[str], sounds: Sequence[np.ndarray], **features: np.ndarray) -> Corpus:
        """Returns texts, their sounds and the further features of a subclass as they are cached."""
        letters = [np.frombuffer(text.encode(), np.uint8) for text in texts]
        return Corpus(
            {"sound": Ragged.from_rows(sounds, np.int16), "text": Ragged.from_rows(letters, np.uint8), **features}
        )

    def more_columns(self, corpus: Corpus, rows: Sequence[int]) -> dict[str, list]:
        """Returns the columns of a subclass for rows of what it synthesized."""
        del corpus, rows
        return {}

    @property
    def settings(self) -> list:
        """Plain values of a subclass that decide the examples."""
        raise NotImplementedError

    def synthesized(self, split: str) -> Corpus:
        """Returns the examples of a split, made by `corpus`."""
        raise NotImplementedError

    def _corpus(self, split):
        if split not in self._corpora:
            fingerprint = self.fingerprint(split)
            if fingerprint is None or cache.cache_dir() is None:
                self._corpora[split] = self.synthesized(split)
            else:
                self._corpora[split] = cache.entry(
                    cache.key(self.cache_name, fingerprint),
                    lambda folder: self.synthesized(split).save(folder / "corpus"),
                    lambda folder: Corpus.open(folder / "corpus"),
                )
        return self._corpora[split]
