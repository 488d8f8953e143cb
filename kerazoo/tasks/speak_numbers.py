"""Numbers in words to the sound of one synthetic voice."""

from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Corpus, Ragged
from kerazoo.data.speech_synthesis import Utterance, installed, synthesize
from kerazoo.tasks.number_words import number_words
from kerazoo.tasks.own_data import speech_generation_features
from kerazoo.tasks.synthesized_numbers import SynthesizedNumbers
from kerazoo.tasks.task import Task
from kerazoo.tasks.text_options import TextOptions

VERSION = 1  # of what is spoken for a seed
PEAK = 0.7  # of all samples of a sound
QUIET = 0.01  # of the peak: what is below at either end is silence
SILENCE = 0.05  # seconds that are left at either end


def build(
    name: str,
    kind: str | None,
    examples: int = 3000,
    largest: int = 9999,
    voice: str = "en-us",
    rate: int = 160,
    pitch: int = 50,
    sample_rate: int = 8000,
    num_mel_bins: int = 40,
    frames_per_step: int = 4,
    seed: int = 0,
    max_length: int = 64,
    **text: Any,
) -> Task:
    """Returns the task `speak_numbers`: a number in words to its sound, spoken by one voice of eSpeak NG.

    Each number is spoken once, so those of dev and test are never heard in training. Numbers with few digits are more
    frequent than by chance. The sounds are synthesized once and kept in the cache.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        examples: int. The number of training examples; dev and test have a tenth of it each. Defaults to `3000`.
        largest: int, 9 to 999,999. The largest number. Defaults to `9999`.
        voice: string. The voice of eSpeak NG, with a variant after a plus, such as `en-us+f4`. Defaults to `"en-us"`.
        rate: int, 80 to 450. Words of a minute. Defaults to `160`.
        pitch: int, 0 to 100. The pitch of the voice. Defaults to `50`.
        sample_rate: int. Samples of a second. Defaults to `8000`.
        num_mel_bins: int. The mel filters of the frames that a model predicts. Defaults to `40`.
        frames_per_step: int. The frames that a model predicts at once. Defaults to `4`.
        seed: int. The seed of the choice of numbers. Defaults to `0`.
        max_length: int. The largest number of tokens of a text; longer ones are truncated. Defaults to `64`.
        **text: options of `TextOptions`, those of the source, whose tokens are words unless `source_tokens` is given.
    """
    owner = f"task {name}"
    speaker = {"voice": voice, "rate": rate, "pitch": pitch}
    sound = {"sample_rate": sample_rate, "num_mel_bins": num_mel_bins}
    source = SpeakNumbersSource(owner, examples, largest, **speaker, sample_rate=sample_rate, seed=seed)
    text_options = TextOptions.of(owner, {"source_tokens": "words", **text}, roles=("source",))
    _checks.positive_int(owner, "max_length", max_length)
    options = {"examples": examples, "largest": largest, **speaker, **sound, "frames_per_step": frames_per_step}
    options |= {"seed": seed, "max_length": max_length, **text_options.to_dict()}
    features = speech_generation_features(owner, kind, text_options, max_length, sound, frames_per_step)
    return Task(source, *features, name, kind or "", options)


class SpeakNumbersSource(SynthesizedNumbers):
    """Numbers in words, and their sounds by one voice.

    The columns are `text`, the number in words; `sound`, arrays int16 `[samples]`; and `number`, strings.

    Args:
        owner: string. The task that error messages name.
        examples: int, above 0. The number of training examples; dev and test have a tenth of it each.
        largest: int, 9 to 999,999. The largest number; there must be as many numbers as examples.
        voice: string. The voice of eSpeak NG.
        rate: int, 80 to 450. Words of a minute.
        pitch: int, 0 to 100. The pitch of the voice.
        sample_rate: int, above 0. Samples of a second.
        seed: int, at least 0. The seed of the choice of numbers.

    Raises:
        ValueError: if an argument is out of its range.
    """

    columns = ("text", "sound", "number")
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
    ):
        super().__init__(owner, examples, largest, sample_rate, seed)
        self.voice = str(voice)
        self.rate = int(_checks.number(owner, "rate", rate, low=80, high=450))
        self.pitch = int(_checks.number(owner, "pitch", pitch, low=0, high=100))
        if examples + 2 * self.held_out > self.largest + 1:
            raise ValueError(
                f"{owner}: each of `examples` and of the two tenths for dev and test must be a number of its own up to "
                f"`largest`; got examples={examples}, largest={largest}. Set a larger `largest`."
            )

    def fingerprint(self, split: str) -> Any:
        """Returns what decides the examples of a split."""
        chosen = [self.examples, self.largest, self.seed, split]
        return [VERSION, *chosen, self.voice, self.rate, self.pitch, self.sample_rate, installed()]

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
        numbers = self.numbers(split)
        utterances = [Utterance(number_words(number), self.voice, self.rate, self.pitch) for number in numbers]
        sounds = synthesize(utterances, self.sample_rate)
        rows = [self._trimmed(sounds[row]) for row in range(len(sounds))]
        return Corpus({"sound": Ragged.from_rows(rows, np.int16), "number": np.array(numbers)})

    def _trimmed(self, sound):
        """Returns a sound at a fixed loudness with a fixed silence at either end."""
        size = np.abs(sound.astype(np.float64))
        peak, edge = max(1.0, size.max(initial=0)), round(SILENCE * self.sample_rate)
        loud = np.flatnonzero(size >= QUIET * peak)
        kept = sound[loud[0] : loud[-1] + 1] if len(loud) else sound
        return np.pad(np.round(kept * (PEAK * 32767 / peak)).astype(np.int16), edge)
