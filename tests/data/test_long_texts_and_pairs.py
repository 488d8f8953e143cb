"""Long texts and pairs of files: nothing is lost between parts, and any bytes are read or refused in our words."""

import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kerazoo._checks import DataError
from kerazoo.data import lines
from kerazoo.data.lines import BadLines
from kerazoo.data.parallel_source import read_pairs
from kerazoo.data.text_source import TextSource, read_part

CALM = {"max_examples": 100, "deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
PARTS = [b"a", b"bc d", b"\n", b"\r\n", b"\r", b"\t", "é\u2028".encode(), b"\xef\xbb\xbf"]


def content(*more):
    return st.lists(st.sampled_from([*PARTS, *more]), min_size=1, max_size=24).map(b"".join)


def as_read(text):
    text = text.removeprefix(lines.BYTE_ORDER_MARK).decode()
    ends_in_cr = "\n" not in text and "\r" in text.removesuffix("\r")
    return text.replace("\r", "\n") if ends_in_cr else text.replace("\r\n", "\n")


@settings(**CALM)
@given(content(), st.integers(1, 40), st.booleans(), st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_parts_that_meet_hold_every_line_once(tmp_path, monkeypatch, text, block, packed, cuts):
    monkeypatch.setattr(lines, "BLOCK", block)
    path = tmp_path / ("a.txt.gz" if packed else "a.txt")
    path.write_bytes(gzip.compress(text, 1) if packed else text)
    bounds = [0.0, *cuts, 1.0]
    parts = ["".join(read_part(path, *pair)) for pair in zip(bounds, bounds[1:])]
    whole = as_read(text)
    assert "".join(parts) == whole == "".join(read_part(path))


@settings(**CALM)
@given(content(b"\0", b"\xff"), content(b"\0", b"\xff"), st.integers(1, 40))
def test_any_bytes_are_read_or_refused(tmp_path, monkeypatch, source, target, block):
    monkeypatch.setattr(lines, "BLOCK", block)
    paths = tmp_path / "a.en", tmp_path / "a.de"
    for path, text in zip(paths, (source, target)):
        path.write_bytes(text)
    for choice in ("stop", "skip"):
        try:
            "".join(read_part(paths[0], bad_lines=choice)).encode()
        except DataError as error:
            assert choice == "stop" and str(error).startswith(f"{paths[0]}:")
        try:
            pairs = [pair for _, *sides in read_pairs(*paths, BadLines(choice)) for pair in zip(*sides, strict=True)]
            assert all(one.strip() and other.strip() for one, other in pairs)
        except DataError as error:
            assert str(error).startswith(str(tmp_path))
            assert choice == "stop" or "lines must come in pairs" in str(error)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("blank, tail", [(" ", ""), (" ", "\n"), ("", ""), ("\n", "")])
def test_a_text_without_line_ends_is_divided_between_words(tmp_path, monkeypatch, blank, tail, packed):
    for name in ("BLOCK", "LONG_LINE"):
        monkeypatch.setattr(lines, name, 101)
    words = ["anarchism", "\u65e5\u672c", "\xe9t\xe9"] * 333
    text = blank.join(words) + tail
    path = tmp_path / ("text8.txt.gz" if packed else "text8.txt")
    path.write_bytes(gzip.compress(text.encode(), 1) if packed else text.encode())
    source = TextSource(path)
    parts = ["".join(chunk.columns["text"][0] for chunk in source.chunks(split)) for split in ("train", "dev", "test")]
    assert "".join(parts) == text
    assert [len(part) / len(text) for part in parts] == pytest.approx([0.9, 0.05, 0.05], abs=0.01)
    if blank:
        assert all(part.endswith(blank) for part in parts[:2])
    chunks = list(source.chunks("train"))  # each of bounded size, one text
    assert max(len(chunk.columns["text"][0]) for chunk in chunks) < 320 and len(chunks) > 20
    assert [chunk.continues for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
