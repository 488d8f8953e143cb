"""Numbers, or texts of files, spoken by many synthetic voices."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from kerazoo import _checks
from kerazoo.data import Corpus
from kerazoo.data.speech_synthesis import Utterance
from kerazoo.data.splits import SPLITS, assign_split
from kerazoo.tasks.number_words import number_words
from kerazoo.tasks.own_data import speech_features
from kerazoo.tasks.synthesized_speech import SynthesizedSpeech
from kerazoo.tasks.task import Task
from kerazoo.tasks.text_options import TextOptions

VERSION = 3  # of what is spoken for a seed
SILENCE = 0.2  # seconds at either end, at most
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc", "en-029")
# The variants of eSpeak NG without breath, which would be another noise in each synthesis.
VARIANTS = (
    "Alex", "Andrea", "Andy", "Annie", "AnxiousAndy", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo",
    "Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "Nguyen", "Reed", "RicishayMax", "RicishayMax2",
    "RicishayMax3", "Storm", "Tweaky", "adam", "anika", "anikaRobot", "announcer", "antonio", "aunty", "belinda",
    "benjamin", "boris", "caleb", "croak", "david", "ed", "edward", "edward2", "f1", "f4", "fast", "grandma",
    "grandpa", "gustave", "ian", "iven", "iven2", "iven3", "iven4", "john", "kaukovalta", "klatt", "klatt2",
    "klatt3", "klatt4", "klatt5", "klatt6", "linda", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "marcelo",
    "max", "michel", "miguel", "mike2", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert",
    "robosoft", "robosoft2", "robosoft3", "robosoft4", "robosoft5", "robosoft6", "robosoft7", "robosoft8",
    "shelby", "steph", "steph2", "steph3", "travis", "zac",
)  # fmt: skip
SHARES = {"dev": 0.15, "test": 0.15}  # of the voices


def build(
    name: str,
    kind: str | None,
    data_dir: str | os.PathLike | None = None,
    target_column: int | str = 0,
    examples: int = 6000,
    largest: int = 9999,
    accents: str | Sequence[str] = ACCENTS,
    sample_rate: int = 8000,
    num_mel_bins: int = 40,
    seed: int = 0,
    max_length: int = 512,
    **text: Any,
) -> Task:
    """Returns the task `spoken_numbers`: the sound of a number, spoken by eSpeak NG, to the number in words.

    With `data_dir` the texts of files are spoken in place of numbers. The voices of dev and test are not those of
    train: a voice is a variant of eSpeak NG, and variants that differ in their number alone, such as m1 to m8, are in
    one split. Each example has a random number, voice, accent, speed, pitch, loudness, and silence at both ends. The
    sounds are synthesized once and kept in the cache.

    Args:
        name: string. The task's name.
        kind: string. The kind of model.
        data_dir: string. Texts to speak: a folder with a file `train` and optionally `dev` and `test`, ending in .txt,
            .tsv, .csv or .jsonl, plain or .gz; one file; or a pattern. A missing dev or test split is selected from
            train by a hash, 5 % each. Defaults to `None`: numbers.
        target_column: int or string. The column of the texts: its number from 0, its name in the header, or a field of
            JSON. Defaults to `0`.
        examples: int. The number of training examples; dev and test have a tenth of it each. Of the texts of a file
            that many are chosen at random; where there are fewer, each is spoken several times. Defaults to `6000`.
        largest: int, 9 to 999,999. The largest number; numbers with fewer digits are less frequent. Defaults to `9999`.
        accents: string or list of strings. Languages and accents of eSpeak NG, separated by commas, such as `"de"`, of
            which each example has a random one. Defaults to eight accents of English.
        sample_rate: int. Samples of a second. Defaults to `8000`.
        num_mel_bins: int. The mel filters of the frames that a model reads. Defaults to `40`.
        seed: int. The seed of the examples. Defaults to `0`.
        max_length: int. The largest number of tokens of a transcript; longer ones are truncated. Defaults to `512`.
        **text: options of `TextOptions`, those of the target. The tokens of numbers are words unless `target_tokens` is
            given.
    """
    owner = f"task {name}"
    sound = {"sample_rate": sample_rate, "num_mel_bins": num_mel_bins}
    accents = accents.split(",") if isinstance(accents, str) else list(accents)
    source = SpokenNumbersSource(owner, examples, largest, sample_rate, seed, data_dir, target_column, accents)
    defaults = {"target_tokens": "words"} if data_dir is None else {}
    text_options = TextOptions.of(owner, {**defaults, **text}, roles=("target",))
    _checks.positive_int(owner, "max_length", max_length)
    files = {"data_dir": data_dir and str(data_dir), "target_column": target_column}
    options = {**files, "examples": examples, "largest": largest, "accents": accents, **sound, "seed": seed}
    options |= {"max_length": max_length, **text_options.to_dict()}
    features = speech_features(owner, kind, text_options, max_length, sound)
    return Task(source, *features, name, kind or "", options)


def voices(split: str) -> list[str]:
    """Returns the variants of eSpeak NG for the voices of a split."""
    return [each for each in VARIANTS if assign_split(each.lower().rstrip("0123456789"), SHARES) == split]


class SpokenNumbersSource(SynthesizedSpeech):
    """Numbers, or the texts of files, spoken by many voices.

    The columns are `sound`, arrays int16 `[samples]`, and `text`, `voice` and `accent`, strings.

    Args:
        owner: string. The task that error messages name.
        examples: int, above 0. The number of training examples; dev and test have a tenth of it each.
        largest: int, 9 to 999,999. The largest number.
        sample_rate: int, above 0. Samples of a second.
        seed: int, at least 0. The seed of the examples.
        data_dir: string or path. The texts to speak in place of numbers. Defaults to `None`.
        column: int or string. Their column. Defaults to `0`.
        accents: list of strings. Languages and accents of eSpeak NG. Defaults to eight accents of English.

    Raises:
        ValueError: if an argument is out of its range.
    """

    columns = ("sound", "text", "voice", "accent")
    cache_name = "spoken numbers"

    def __init__(
        self,
        owner: str,
        examples: int,
        largest: int,
        sample_rate: int,
        seed: int,
        data_dir: str | os.PathLike | None = None,
        column: int | str = 0,
        accents: Sequence[str] = ACCENTS,
    ):
        super().__init__(owner, examples, largest, sample_rate, seed, data_dir, column)
        self.accents = list(accents)
        if not all(self.accents) or not self.accents:
            raise ValueError(f"{owner}: `accents` must be names of eSpeak NG; got accents={self.accents!r}.")

    @property
    def settings(self) -> list:
        """Plain values that decide the examples."""
        return [VERSION, self.accents]

    def more_columns(self, corpus: Corpus, rows: Sequence[int]) -> dict[str, list]:
        """Returns the voices and the accents of rows."""
        voice, accent = corpus.features["voice"], corpus.features["accent"]
        return {
            "voice": [VARIANTS[voice[row]] for row in rows],
            "accent": [self.accents[accent[row]] for row in rows],
        }

    def synthesized(self, split: str) -> Corpus:
        """Returns the synthesized examples of a split."""
        count = self.examples if split == "train" else self.held_out
        count = count if self.files is None or self.texts(split) else 0
        # Raw bits: NumPy promises that they never change, unlike the numbers of `integers`.
        random = np.random.Philox(np.random.SeedSequence([self.seed, SPLITS.index(split)])).random_raw(count * 9)
        shares = random.reshape(count, 9) / 2.0**64  # [N, 9] in [0, 1)
        if self.files:
            texts = list(self.texts(split))
            texts = [texts[row % len(texts)] for row in range(count)]
        else:
            texts = list(map(number_words, self._numbers(shares[:, 0], shares[:, 1]).tolist()))
        speakers = np.array([VARIANTS.index(each) for each in voices(split)])
        accents = np.floor(shares[:, 2] * len(self.accents)).astype(np.int64)
        variants = speakers[np.floor(shares[:, 3] * len(speakers)).astype(np.int64)]
        utterances = [
            Utterance(
                text,
                f"{self.accents[accent]}+{VARIANTS[variant]}",
                rate=round(130 + 100 * row[0]),
                pitch=round(25 + 50 * row[1]),
                pitch_range=round(25 + 50 * row[2]),
            )
            for text, accent, variant, row in zip(texts, accents.tolist(), variants.tolist(), shares[:, 4:].tolist())
        ]
        sounds = self.spoken(split, utterances)
        recorded = [self._recorded(sound, *row) for sound, row in zip(sounds, shares[:, 7:])]
        return self.corpus(texts, recorded, voice=variants, accent=accents)

    def _numbers(self, lengths, values):
        """Returns numbers int64 `[N]` in which D digits are D times as frequent as one digit."""
        digits = len(str(self.largest))
        bounds = np.cumsum(np.arange(1, digits + 1)) / (digits * (digits + 1) / 2)
        length = 1 + np.searchsorted(bounds, lengths, side="right")
        low = np.where(length == 1, 0, 10 ** (length - 1))
        high = np.minimum(10**length, self.largest + 1)
        return (low + np.floor(values * (high - low))).astype(np.int64)

    def _recorded(self, sound, loudness, silence):
        """Returns a sound with another loudness and with silence at both ends."""
        peak = max(1, int(np.abs(sound.astype(np.int32)).max(initial=0)))
        before, after = (round(share * SILENCE * self.sample_rate) for share in (silence, 1 - silence))
        louder = np.round(sound * ((0.2 + 0.7 * loudness) * 32767 / peak)).astype(np.int16)
        return np.pad(louder, (before, after))
