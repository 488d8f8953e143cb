"""What the reader of tables promises, for each format: what was written comes back, whatever else is refused."""

import csv
import gzip
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kerazoo._checks import DataError
from kerazoo.data import find_data_files, read_records
from kerazoo.data.lines import BadLines

CALM = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


def write(path, content):
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def read(path, columns, **options):
    return [values for _, values in read_records(path, columns, **options)]


# What is written -------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9)
SIGNS = ['"', '""', ",", "'", "\u2028", "\x85", "\x0b", "日本", "é", "🙂", "a", " ", "\\"]
PIECES = st.lists(st.sampled_from(SIGNS), min_size=1)
VALUE = (TEXT | PIECES.map("".join)).filter(lambda text: not text.isspace())
LINE = VALUE.map(lambda text: text.translate(dict.fromkeys(map(ord, "\t\n\r"), "-")))
# CR LF is a line end wherever it stands, so a quoted value gets LF back; CR alone inside quotes is text.
QUOTED = VALUE.map(lambda text: text.replace("\r\n", "\n"))


def as_tsv(rows):
    return [f"{a}\t{b}" for a, b in rows]


def as_csv(rows):
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return [buffer.getvalue()[:-1]]


def as_json(rows):
    return [json.dumps({"other": [1], "x": {"y": a}, "b.c": b}, ensure_ascii=len(a) % 2 > 0) for a, b in rows]


WRITERS = {
    "tsv": (LINE, as_tsv, (0, 1), {"header": False, "quote": ""}),
    "csv": (QUOTED, as_csv, (0, 1), {"header": False}),
    "jsonl": (VALUE, as_json, ("x.y", "b.c"), {}),
    "txt": (LINE, lambda rows: [a for a, _ in rows], (0,), {}),
}


def check_round_trip(tmp_path, data):
    name = data.draw(st.sampled_from(sorted(WRITERS)))
    values, lines_of, columns, options = WRITERS[name]
    rows = data.draw(st.lists(st.tuples(values, values), min_size=1, max_size=7))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    mark = data.draw(st.sampled_from(["", "\ufeff"]))
    text = mark + end.join(lines_of(rows)) + data.draw(st.sampled_from(["", end]))
    path = write(tmp_path / f"any.{name}{data.draw(st.sampled_from(['', '.gz']))}", text)
    if "\n" not in text and "\r" in text.removesuffix("\r"):  # in such a file CR ends a line
        return
    written = [list(row[: len(columns)]) for row in rows]
    assert read(path, columns, **options) == written
    counting = BadLines("skip")
    assert read(path, columns, bad_lines=counting, **options) == written and not counting.count


def check_any_bytes(tmp_path, data):
    parts = [b"a", b"bc", b"\t", b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b'"', b",", b"{", b"}", b":"]
    parts += [b'{"a":"b","c":1}', b"[1]", b'"\\ud800"', "é\u2028".encode(), b" ", b'{"a":{"b":"c"}}', b"[" * 3000]
    content = b"".join(data.draw(st.lists(st.sampled_from(parts), max_size=24)))
    name = data.draw(st.sampled_from([*WRITERS, "tsv.gz", "csv.gz", "jsonl.gz"]))
    columns = data.draw(st.sampled_from([(0, 1), (1,), ("a", "c"), ("a.b",), (("a", "c"),)]))
    path = tmp_path / f"any.{name}"
    if data.draw(st.booleans()):
        write(path, content)
    else:
        path.write_bytes(content)  # under the name of a packed file as well
    counting = BadLines("skip")
    outcomes = []
    for choice in ("stop", counting):
        try:
            rows = read(path, columns, bad_lines=choice)
        except DataError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            outcomes.append(None)
        else:
            assert all(len(row) == len(columns) and all(v.strip() and v.encode() for v in row) for row in rows)
            outcomes.append(rows)
    stopped, skipped = outcomes
    if counting.count:
        assert stopped is None and skipped is not None or skipped is None
    else:
        assert stopped == skipped


@settings(max_examples=50, **CALM)
@given(st.data())
def test_what_was_written_is_read(tmp_path, data):
    check_round_trip(tmp_path, data)


@settings(max_examples=50, **CALM)
@given(st.data())
def test_any_bytes_are_read_or_refused_in_our_words(tmp_path, data):
    check_any_bytes(tmp_path, data)


@pytest.mark.slow
@pytest.mark.parametrize("check", [check_round_trip, check_any_bytes])
def test_ten_thousand_files(tmp_path, check):
    @settings(max_examples=10_000, **CALM)
    @given(st.data())
    def many(data):
        check(tmp_path, data)

    many()


# Choice of columns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, comma", [("a.csv", ","), ("a.tsv", "\t")])
def test_columns_by_name_number_and_joined(tmp_path, name, comma):
    path = write(tmp_path / name, f"id{comma}text{comma}stars\n7{comma}good{comma}5\n8{comma}bad{comma}1\n")
    assert read(path, ["stars", "text"]) == [["5", "good"], ["1", "bad"]]
    assert read(path, [2, 1], header=True) == [["5", "good"], ["1", "bad"]]
    assert read(path, [1]) == [["good"], ["bad"]]  # recognised by the column of numbers
    assert read(path, [1], header=False)[0] == ["text"]
    assert read(path, [("id", "text"), 2])[0] == ["7 good", "5"]
    assert [where for where, _ in read_records(path, ["text"])] == [f"{path}:2", f"{path}:3"]
    with pytest.raises(DataError, match=r"column 'star' is not in the header; it has: id, text, stars\. Did you mean"):
        read(path, ["star"])
    with pytest.raises(DataError, match=r"it has: id, text, stars\. If it has no header, choose columns by"):
        read(path, ["nothing"])
    with pytest.raises(DataError, match="has no header line, so columns have numbers; got columns .'text'"):
        read(path, ["text"], header=False)
    write(path, f"a{comma}a\n1{comma}2\n")
    with pytest.raises(DataError, match="column 'a' is twice in the header"):
        read(path, ["a"])


def test_quoted_values_run_over_lines(tmp_path):
    path = write(tmp_path / "a.csv", 'a,b\r\n"one\r\ntwo, ""three""",x\r\ny,z\r\n')
    assert list(read_records(path, ["a", "b"])) == [
        (f"{path}:2", ['one\ntwo, "three"', "x"]),
        (f"{path}:4", ["y", "z"]),
    ]


def test_values_of_json_become_text(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"n": 3, "f": 0.5, "t": true, "deep": {"er": "x"}, "deep.er": "y"}')
    assert read(path, ["n", "f", "t", "deep.er"]) == [["3", "0.5", "true", "y"]]
    with pytest.raises(DataError, match=r"a.jsonl:1: JSON lines have fields with names; .* has: n, f, t, deep"):
        read(path, [0, 1])


# Faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, content, columns, fault, left",
    [
        ("a.tsv", "a\tb\nHallo Welt\nc\td\n", (0, 1), r"2: expected 2 columns .* got 1: 'Hallo Welt'\.", "ac"),
        ("a.tsv", "a\tb\n\nc\td", (0, 1), "2: expected 2 columns", "ac"),
        ("a.tsv", b"a\tb\n\xe9\td\nc\td\n", (0, 1), "2: not UTF-8: byte 0xe9 at position 1", "ac"),
        ("a.tsv", b"a\tb\n\0\td\nc\td\n", (0, 1), "2: holds a NUL byte at position 1", "ac"),
        ("a.txt", "a\n\nc\n", (0,), "2: column 0 is empty", "ac"),
        ("a.csv", "a,b\nd\nc,d\n", (0, 1), "2: expected 2 columns separated by a comma, got 1: 'd'", "ac"),
        ("a.csv", 'a,b\nd,"e\nc,d\n', (0, 1), "2: not CSV: a quote is never closed: 'd,\"e'", "ac"),
        ("a.csv", 'a,b\nd,"e"f\nc,d\n', (0, 1), "2: not CSV: ',' expected after '\"'", "ac"),
        ("a.csv", "a,b\nd\re,f\nc,d\n", (0, 1), "2: not CSV: new-line character seen in unquoted field", "ac"),
        ("a.csv", b'a,b\n"d\n\xff",f\nc,d\n', (0, 1), "3: not UTF-8", "ac"),
        ("a.jsonl", '{"a":"a"}\n{"a"}\n{"a":"c"}', ("a",), "2: not a JSON record: Expecting ':' delimiter", "ac"),
        ("a.jsonl", '{"a":"a"}\n[1]\n{"a":"c"}', ("a",), "2: .* expected an object, got a list", "ac"),
        ("a.jsonl", '{"a":"a"}\n{"b":1}\n{"a":"c"}', ("a",), "2: .* no field 'a' among b", "ac"),
        ("a.jsonl", '{"a":"a"}\n{"a":null}\n{"a":"c"}', ("a",), "2: .* field 'a' is null, not a text", "ac"),
        ("a.jsonl", '{"a":"a"}\n\n{"a":"c"}', ("a",), "2: not a JSON record: Expecting value", "ac"),
        ("a.jsonl", '{"a":"a"}\n{"a":"\\ud800"}\n{"a":"c"}', ("a",), "2: .* surrogates not allowed", "ac"),
        ("a.jsonl", '{"a":"a"}\n{"a":"\\u0000"}\n{"a":"c"}', ("a",), "2: .* field 'a' holds a NUL", "ac"),
    ],
)
def test_bad_lines_stop_or_are_skipped_and_counted(tmp_path, name, content, columns, fault, left):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=f"{name}:{fault}"):
        read(path, columns)
    counting = BadLines("skip")
    assert "".join(values[0] for values in read(path, columns, bad_lines=counting)) == left
    assert counting.count == 1


def test_a_carriage_return_beside_a_quote_is_refused_in_our_words(tmp_path):
    for content in ('\ra\n"\n', 'x\ry\tb\nc\t"d"\n'):
        with pytest.raises(DataError, match=r"a.tsv:2: are the quotes of .* Say quote="):
            read(write(tmp_path / "a.tsv", content), (0, 1))


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "name, content, columns",
    [("a.tsv", "x\ty\na\tb\nc\td\n", ("x",)), ("a.csv", 'x,y\na,b\n"c",d', ("x",)), ("a.txt.gz", "a\nc", (0,)),
     ("a.jsonl", '{"x": "a"}\n{"x": "c"}\n', ("x",))],
)  # fmt: skip
def test_empty_lines_at_the_end_are_no_records(tmp_path, monkeypatch, name, content, columns, block):
    monkeypatch.setattr("kerazoo.data.lines.BLOCK", block)
    for end in ("\n\n\n", "\n\r\n\n\r\n"):
        assert read(write(tmp_path / name, content + end), columns) == [["a"], ["c"]]
        with pytest.raises(DataError, match=rf"{name}:\d: "):  # before another record they are bad lines
            read(write(tmp_path / name, f"{content}{end}\n{content}"), columns)
    with pytest.raises(DataError, match=f"{name}:1: "):
        read(write(tmp_path / name, "\n\n"), columns, header=False if name == "a.txt.gz" else None)


def test_ten_megabytes_in_one_line(tmp_path):
    long = "x" * 10_000_000
    for name, content, columns in [
        ("a.csv", f'"{long}",b\n', (0,)),
        ("a.jsonl", json.dumps({"a": long}), ("a",)),
        ("a.txt.gz", long, (0,)),
    ]:
        assert read(write(tmp_path / name, content), columns) == [[long]]


def test_a_name_must_tell_the_format(tmp_path):
    path = write(tmp_path / "a.data", "a\tb\n")
    with pytest.raises(DataError, match=r"a.data: which format is it\? A name ends in .tsv, .csv, .jsonl, .txt, plain"):
        read(path, (0,))
    assert read(path, (0,), format="tsv") == [["a"]]
    with pytest.raises(DataError, match=r"a.xlsx: which format is it\?.* Save the table of the spreadsheet as CSV"):
        read(write(tmp_path / "a.xlsx", b"PK"), (0,))
    with pytest.raises(DataError, match=r"a.json: .* Write each record in a line of its own, as .jsonl; if they are"):
        read(write(tmp_path / "a.json", "[]"), ("a",))


# Which files -----------------------------------------------------------------------------------------------------


def named(sources):
    return [({split: [path.name for path in paths] for split, paths in s.files.items()}, s.weight) for s in sources]


def test_sources_by_folder_pattern_and_mixture(tmp_path):
    for name in ("train.csv", "valid.csv.gz", "test.jsonl", "web-1.tsv", "web-2.tsv", "dev-web.tsv", "a@2,b.tsv"):
        write(tmp_path / name, "a\n")
    folder = {"train": ["train.csv"], "dev": ["valid.csv.gz"], "test": ["test.jsonl"]}
    assert named(find_data_files(tmp_path)) == [(folder, 1)]
    assert named(find_data_files(tmp_path / "web-1.tsv")) == [({"train": ["web-1.tsv"]}, 1)]
    web = {"train": ["web-1.tsv", "web-2.tsv"], "dev": ["dev-web.tsv"]}
    assert named(find_data_files(tmp_path / "*web*.tsv")) == [(web, 1)]
    mixed = find_data_files(f"{tmp_path}@2,{tmp_path}/web-*.tsv@.5", test_data=tmp_path / "web-2.tsv")
    assert named(mixed) == [
        ({"train": ["train.csv"], "dev": ["valid.csv.gz"], "test": []}, 2),
        ({"train": ["web-1.tsv", "web-2.tsv"], "test": []}, 0.5),
        ({"train": [], "dev": [], "test": ["web-2.tsv"]}, 1),
    ]
    assert named(find_data_files(tmp_path / "a@2,b.tsv")) == [({"train": ["a@2,b.tsv"]}, 1)]
    (tmp_path / "series").mkdir()
    write(tmp_path / "series" / "a.csv", "a\n")
    write(tmp_path / "series" / "test-b.csv.gz", "a\n")
    write(tmp_path / "series" / "notes.md", "a\n")
    series = {"train": ["a.csv"], "test": ["test-b.csv.gz"]}
    assert named(find_data_files(tmp_path / "series", whole_folders=True)) == [(series, 1)]
    assert named(find_data_files(tmp_path, whole_folders=True)) == [(folder, 1)]
    assert find_data_files("-")[0].files == {"train": ("-",)}


@pytest.mark.parametrize(
    "data_dir, message",
    [
        ("{}/nope-*.tsv", "no file of this name or pattern"),
        ("{}/a.tsv,{}/b.tsv", r"b.tsv: no such file or folder\. Did you mean 'a.tsv'"),
        ("{}/a.tsv@0", "a.tsv: its weight must be above 0; got '.*a.tsv@0'"),
        ("{}/dev*", "none of the 1 files of this pattern is for training"),
    ],
)
def test_sources_that_are_not_there(tmp_path, data_dir, message):
    write(tmp_path / "a.tsv", "a\n")
    write(tmp_path / "dev.tsv", "a\n")
    with pytest.raises(DataError, match=message) as caught:
        find_data_files(data_dir.replace("{}", str(tmp_path)))
    assert getattr(caught.value, "data_is_missing", False) == ("no " in message)  # commands ask for --data_dir then
