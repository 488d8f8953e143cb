"""Long texts and pairs of files: nothing is lost between parts, and any bytes are read or refused in our words."""

import gzip

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kerazoo._checks import DataError
from kerazoo.data import lines
from kerazoo.data.lines import BadLines
from kerazoo.data.parallel_source import read_pairs
from kerazoo.data.text_source import read_part

CALM = {"max_examples": 100, "deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
PARTS = [b"a", b"bc d", b"\n", b"\r\n", b"\r", b"\t", "é\u2028".encode(), b"\xef\xbb\xbf"]


def content(*more):
    return st.lists(st.sampled_from([*PARTS, *more]), min_size=1, max_size=24).map(b"".join)


@settings(**CALM)
@given(content(), st.integers(1, 40), st.booleans(), st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_parts_that_meet_hold_every_line_once(tmp_path, monkeypatch, text, block, packed, cuts):
    monkeypatch.setattr(lines, "BLOCK", block)
    path = tmp_path / ("a.txt.gz" if packed else "a.txt")
    path.write_bytes(gzip.compress(text, 1) if packed else text)
    bounds = [0.0, *cuts, 1.0]
    parts = ["".join(read_part(path, *pair)) for pair in zip(bounds, bounds[1:])]
    whole = text.removeprefix(lines.BYTE_ORDER_MARK).decode().replace("\r\n", "\n")
    assert "".join(parts) == whole == "".join(read_part(path))
    assert all(part.endswith("\n") for part in parts[: max(i for i in range(3) if parts[i]) if whole else 0] if part)


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
