"""Numbers in words, or texts of files, to the sound of one synthetic voice."""

import os
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Corpus
from kerazoo.data.speech_synthesis import Utterance
from kerazoo.tasks.number_words import number_words
from kerazoo.tasks.own_data import speech_generation_features
from kerazoo.tasks.synthesized_speech import SynthesizedSpeech
from kerazoo.tasks.task import Task
from kerazoo.tasks.text_options import TextOptions

VERSION = 2  # of what is spoken for a seed
PEAK = 0.7  # of all samples of a sound
QUIET = 0.01  # of the peak: what is below at either end is silence
SILENCE = 0.05  # seconds that are left at either end


def build(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    source_column: int | str = 0,
    examples: int = 3000,
    largest: int = 9999,
    voice: str = "en-us",
    rate: int = 160,
    pitch: int = 50,
    sample_rate: int = 8000,
    num_mel_bins: int = 40,
    frames_per_step: int = 4,
    seed: int = 0,
    max_length: int = 512,
    **text: Any,
) -> Task:
    """Returns the task `speak_numbers`: a number in words to its sound, spoken by one voice of eSpeak NG.

    Each number is spoken once, so those of dev and test are never heard in training. Numbers with few digits are more
    frequent than by chance. With `data_dir` the texts of files are spoken in place of numbers. The sounds are
    synthesized once and kept in the cache.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        data_dir: string. Texts to speak: a folder with a file `train` and optionally `dev` and `test`, ending in .txt,
            .tsv, .csv or .jsonl, plain or .gz; one file; or a pattern. A missing dev or test split is selected from
            train by a hash, 5 % each. Defaults to `None`: numbers.
        source_column: int or string. The column of the texts: its number from 0, its name in the header, or a field of
            JSON. Defaults to `0`.
        examples: int. The number of training examples; dev and test have a tenth of it each. Of the texts of a file
            that many are chosen at random, or all where there are fewer. Defaults to `3000`.
        largest: int, 9 to 999,999. The largest number. Defaults to `9999`.
        voice: string. The voice of eSpeak NG, with a variant after a plus, such as `en-us+f4`. Defaults to `"en-us"`.
        rate: int, 80 to 450. Words of a minute. Defaults to `160`.
        pitch: int, 0 to 100. The pitch of the voice. Defaults to `50`.
        sample_rate: int. Samples of a second. Defaults to `8000`.
        num_mel_bins: int. The mel filters of the frames that a model predicts. Defaults to `40`.
        frames_per_step: int. The frames that a model predicts at once. Defaults to `4`.
        seed: int. The seed of the choice of numbers. Defaults to `0`.
        max_length: int. The largest number of tokens of a text; longer ones are truncated. Defaults to `512`.
        **text: options of `TextOptions`, those of the source. The tokens of numbers are words unless `source_tokens` is
            given.
    """
    owner = f"task {name}"
    speaker = {"voice": voice, "rate": rate, "pitch": pitch}
    sound = {"sample_rate": sample_rate, "num_mel_bins": num_mel_bins}
    files = {"data_dir": data_dir and str(data_dir), "column": source_column}
    source = SpeakNumbersSource(owner, examples, largest, **speaker, sample_rate=sample_rate, seed=seed, **files)
    defaults = {"source_tokens": "words"} if data_dir is None else {}
    text_options = TextOptions.of(owner, {**defaults, **text}, roles=("source",))
    _checks.positive_int(owner, "max_length", max_length)
    options = {"data_dir": files["data_dir"], "source_column": source_column, "examples": examples, "largest": largest}
    options |= {**speaker, **sound, "frames_per_step": frames_per_step, "seed": seed, "max_length": max_length}
    options |= text_options.to_dict()
    features = speech_generation_features(owner, kind, text_options, max_length, sound, frames_per_step)
    return Task(source, *features, name, kind or "", options)


class SpeakNumbersSource(SynthesizedSpeech):
    """Numbers in words, or the texts of files, and their sounds by one voice.

    The columns are `text`, strings, and `sound`, arrays int16 `[samples]`.

    Args:
        owner: string. The task that error messages name.
        examples: int, above 0. The number of training examples; dev and test have a tenth of it each.
        largest: int, 9 to 999,999. The largest number; there must be as many numbers as examples.
        voice: string. The voice of eSpeak NG.
        rate: int, 80 to 450. Words of a minute.
        pitch: int, 0 to 100. The pitch of the voice.
        sample_rate: int, above 0. Samples of a second.
        seed: int, at least 0. The seed of the choice of numbers.
        data_dir: string or path. The texts to speak in place of numbers. Defaults to `None`.
        column: int or string. Their column. Defaults to `0`.

    Raises:
        ValueError: if an argument is out of its range.
    """

    columns = ("text", "sound")
    cache_name = "speak numbers"

    def __init__(
        self,
        owner: str,
        examples: int,
        largest: int,
        voice: str,
        rate: int,
        pitch: int,
        sample_rate: int,
        seed: int,
        data_dir: str | os.PathLike | None = None,
        column: int | str = 0,
    ):
        super().__init__(owner, examples, largest, sample_rate, seed, data_dir, column)
        self.voice = str(voice)
        self.rate = int(_checks.number(owner, "rate", rate, low=80, high=450))
        self.pitch = int(_checks.number(owner, "pitch", pitch, low=0, high=100))
        if self.files is None and examples + 2 * self.held_out > self.largest + 1:
            raise ValueError(
                f"{owner}: each of `examples` and of the two tenths for dev and test must be a number of its own up to "
                f"`largest`; got examples={examples}, largest={largest}. Set a larger `largest`."
            )

    @property
    def settings(self) -> list:
        """Plain values that decide the examples."""
        return [VERSION, self.voice, self.rate, self.pitch]

    def numbers(self, split: str) -> list[int]:
        """Returns the numbers of a split; no two splits share one."""
        counts = {"train": self.examples, "dev": self.held_out, "test": self.held_out}
        candidates, total = np.arange(self.largest + 1), sum(counts.values())
        digits = np.char.str_len(candidates.astype(str))
        # D digits are D times as frequent as one; a sample without replacement has the smallest of -log(u) / weight.
        weights = digits / np.bincount(digits)[digits]
        # Raw bits: NumPy promises that they never change, unlike the numbers of `random`.
        shares = (np.random.Philox(self.seed).random_raw(len(candidates)) + 0.5) / 2.0**64
        chosen = np.argsort(-np.log(shares) / weights, kind="stable")[:total]
        # Dev and test are spread over this order, so that all splits have numbers of all lengths.
        thirds = (np.arange(self.held_out)[:, None] + [1 / 3, 2 / 3]) * (total / self.held_out)
        dev, test = np.floor(thirds).astype(np.int64).T
        train = np.setdiff1d(np.arange(total), [*dev, *test])
        return chosen[{"train": train, "dev": dev, "test": test}[split]].tolist()

    def synthesized(self, split: str) -> Corpus:
        """Returns the synthesized examples of a split."""
        if self.files:
            texts = list(self.texts(split))[: self.examples if split == "train" else self.held_out]
        else:
            texts = list(map(number_words, self.numbers(split)))
        sounds = self.spoken(split, [Utterance(text, self.voice, self.rate, self.pitch) for text in texts])
        return self.corpus(texts, list(map(self._trimmed, sounds)))

    def _trimmed(self, sound):
        """Returns a sound at a fixed loudness with a fixed silence at either end."""
        size = np.abs(sound.astype(np.float64))
        peak, edge = max(1.0, size.max(initial=0)), round(SILENCE * self.sample_rate)
        loud = np.flatnonzero(size >= QUIET * peak)
        kept = sound[loud[0] : loud[-1] + 1] if len(loud) else sound
        return np.pad(np.round(kept * (PEAK * 32767 / peak)).astype(np.int16), edge)
