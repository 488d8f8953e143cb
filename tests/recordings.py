"""A folder of recordings with a table of transcripts, for tests of speech."""

import itertools

import kerazoo as kz

WORDS = ["low", "high", "low high", "high low"]


def write_recordings(path, recording, sample_rate):
    """Writes 40 recordings of one or two words, which `recording(words, number)` makes, and returns the folder."""
    lines = []
    for number, words in enumerate(itertools.islice(itertools.cycle(WORDS), 40)):
        kz.data.write_sound(path / f"{number}.wav", recording(words, number), sample_rate)
        lines.append(f"{number}.wav\t{words}\n")
    (path / "transcripts.tsv").write_text("".join(lines))
    return path
