"""Speech from text by eSpeak NG, a synthesizer of rules that has many voices and needs no network."""

import ctypes
import ctypes.util
import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kerazoo import _checks
from kerazoo.data.ragged import Ragged
from kerazoo.data.sound_files import resampled

# Values of the interface of eSpeak NG (espeak-ng/speak_lib.h).
_SYNCHRONOUS, _UTF8, _DO_NOT_EXIT = 2, 1, 0x8000
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4


class Utterance(NamedTuple):
    """A text and how it is spoken.

    Args:
        text: string. The text.
        voice: string. A voice of eSpeak NG, with a variant after a plus, such as `"en-us+m3"`. Defaults to `"en-us"`.
        rate: int, 80 to 450. Words of a minute. Defaults to `175`.
        pitch: int, 0 to 100. Defaults to `50`.
        pitch_range: int, 0 to 100. How far the pitch moves; 0 is monotone. Defaults to `50`.
    """

    text: str
    voice: str = "en-us"
    rate: int = 175
    pitch: int = 50
    pitch_range: int = 50


def synthesize(utterances: Sequence[Utterance], sample_rate: int = 16000) -> Ragged:
    """Returns the sound of each utterance.

    They are synthesized in the given order by a fresh process, because eSpeak NG carries a state from one utterance to
    the next: equal lists give equal sounds. Voices with breath, such as `whisper` or `f2`, contain noise that differs
    each time.

    Args:
        utterances: list of `Utterance`.
        sample_rate: int, above 0. Samples of a second. Defaults to `16000`.

    Returns:
        `Ragged` of int16, a row for each utterance.

    Raises:
        SetupError: if eSpeak NG is not installed, or fails.
        ValueError: if there is no such voice.
    """
    _checks.positive_int("synthesize", "sample_rate", sample_rate)
    library()
    done = subprocess.run(
        [sys.executable, "-m", "kerazoo.data.speech_synthesis"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))},
        input=json.dumps([sample_rate, utterances]).encode(),
        capture_output=True,
    )
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if last.startswith("ValueError: "):
            raise ValueError(last.removeprefix("ValueError: "))
        raise _checks.SetupError(f"eSpeak NG: cannot synthesize: {last}")
    with np.load(io.BytesIO(done.stdout)) as arrays:
        return Ragged(arrays["values"], arrays["offsets"])


def library() -> tuple[str, str | None]:
    """Returns the path of the library of eSpeak NG and of its data, `None` where the library finds them itself.

    Raises:
        SetupError: if there is neither the package `espeakng-loader` nor a library of the system.
    """
    try:
        import espeakng_loader
    except ImportError:
        found = ctypes.util.find_library("espeak-ng")
        if found is None:
            raise _checks.SetupError(
                "eSpeak NG, which synthesizes the speech, is not installed. Install it with: "
                'pip install "kerazoo[speech]", or as the package espeak-ng of your system.'
            ) from None
        return found, None
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


def installed() -> str:
    """Returns which eSpeak NG is used: that of the package `espeakng-loader`, or that of the system."""
    return "espeakng_loader" if importlib.util.find_spec("espeakng_loader") else "espeak-ng"


class _Synthesizer:
    """The library, loaded into this process."""

    def __init__(self):
        path, data = library()
        self.library: Any = ctypes.CDLL(path)
        where = None if data is None else data.encode()
        self.rate = self.library.espeak_Initialize(_SYNCHRONOUS, 0, where, _DO_NOT_EXIT)
        if self.rate <= 0:
            raise _checks.SetupError(f"eSpeak NG: {path} finds no data; got {data}.")
        self._parts: list[np.ndarray] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = kind(self._receive)  # kept, for the library calls it
        self.library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples, count, events):
        if samples and count > 0:
            self._parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def __call__(self, utterance: Utterance) -> np.ndarray:
        """Returns the samples of an utterance, int16 at `rate`."""
        self._parts.clear()
        if self.library.espeak_SetVoiceByName(utterance.voice.encode()):
            raise ValueError(f"synthesize: eSpeak NG has no voice {utterance.voice!r}.")
        values = {_RATE: utterance.rate, _VOLUME: 100, _PITCH: utterance.pitch, _RANGE: utterance.pitch_range}
        for parameter, value in values.items():
            self.library.espeak_SetParameter(parameter, int(value), 0)
        text = utterance.text.encode()
        if self.library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _UTF8, None, None):
            raise _checks.SetupError(f"eSpeak NG: failed for {utterance.text!r}.")
        return np.concatenate([np.zeros(0, np.int16), *self._parts])


def _main():
    """Reads utterances from standard input, and writes their sounds to standard output."""
    sample_rate, utterances = json.load(sys.stdin)
    synthesizer, rows = _Synthesizer(), []
    for utterance in utterances:
        sound = resampled(synthesizer(Utterance(*utterance)).astype(np.float32), synthesizer.rate, sample_rate)
        rows.append(np.clip(np.round(sound), -32768, 32767).astype(np.int16))
    found = Ragged.from_rows(rows, np.int16)
    np.savez(sys.stdout.buffer, values=found.values, offsets=found.offsets)


if __name__ == "__main__":
    _main()
