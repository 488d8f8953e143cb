"""What other programs write is read as it was written or refused: quotes, headers, line ends, delimiters."""

import csv
import gzip
import io
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kerazoo._checks import DataError
from kerazoo.data import SeriesSource, TableSource, lines, read_lines, read_records, read_series
from kerazoo.data.formats import TableFormat

CALM = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
SIGNS = ['"', '""', ",", ";", "\t", "\n", "\r", "'", "Yes.", "a b", "日本", "7", "-1.5", " "]
VALUE = st.lists(st.sampled_from(SIGNS), min_size=1, max_size=4).map("".join).filter(lambda text: text.strip())
SENTENCE = st.sampled_from(["Yes.", "No, not now.", 'He said "no".', '"Why?"', "plain", "tab\there", "two\nlines", "5"])
ENDINGS = {"excel": "csv", "unix": "csv", "excel-tab": "tsv"}


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path, columns=(0, 1), **options):
    return [values for _, values in read_records(path, columns, **options)]


def written(rows, dialect):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, dialect).writerows(rows)
    return buffer.getvalue()


@settings(max_examples=25, **CALM)
@given(
    st.lists(st.tuples(VALUE, VALUE) | st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=6),
    st.sampled_from(sorted(ENDINGS)),
)
def test_what_the_csv_module_writes_is_read_or_refused(tmp_path, rows, dialect):
    path = write(tmp_path / f"any.{ENDINGS[dialect]}", written(rows, dialect))
    expected = [[value.replace("\r\n", "\n") for value in row] for row in rows]  # CR LF is LF in a value as well
    assert read(path, header=False, quote='"') == expected
    try:
        found = read(path, header=False)
    except DataError as error:
        assert "Say quote='\"' or quote=''" in str(error) and dialect == "excel-tab"
    else:
        assert found == expected


@pytest.mark.parametrize(
    "lines_, expected",
    [
        # Written with quotes: a quote is doubled, the columns fit only without them, or all texts have them.
        (['"He said ""hi""."\tpos', "plain\tneg"], [['He said "hi".', "pos"], ["plain", "neg"]]),
        (['"tab\there"\tpos', "plain\tneg"], [["tab\there", "pos"], ["plain", "neg"]]),
        (['"two', 'lines"\tpos', "plain\tneg"], [["two\nlines", "pos"], ["plain", "neg"]]),
        (['"Yes."\t5', '"No."\t1'], [["Yes.", "5"], ["No.", "1"]]),
        (['"Yes."\t"5"', '"No."\t"1"'], [["Yes.", "5"], ["No.", "1"]]),
        (['"Well, yes."\tx', '"No, no."\ty', "plain\tz"], [["Well, yes.", "x"], ["No, no.", "y"], ["plain", "z"]]),
        # Quotes that are text: no program that quotes leaves them like this.
        (['"Hi," he said.\tpos', '"Yes."\tneg'], [['"Hi," he said.', "pos"], ['"Yes."', "neg"]]),
        (['5" disk\tpos', '"Yes."\tneg'], [['5" disk', "pos"], ['"Yes."', "neg"]]),
        (['"Hello\tx', 'you there"\ty', 'the "x"\tz'], [['"Hello', "x"], ['you there"', "y"], ['the "x"', "z"]]),
        (["plain\tpos", "it's\tneg"], [["plain", "pos"], ["it's", "neg"]]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quotes_of_tab_separated_files(tmp_path, lines_, expected, end):
    path = write(tmp_path / "a.tsv", end.join(lines_) + end)
    assert read(path) == expected


@pytest.mark.parametrize(
    "lines_, number",
    [
        (["plain\tpos", '"Yes."\tneg', "Well, no.\tneg"], 2),  # speech, or a value in quotes
        (['"Hello\tpos', 'you there"\tneg'], 1),
        (['"He said ""hi""."\tpos', '"broken" quote\tneg'], 1),  # both kinds
        (["plain\tpos", "plain\tneg", '""\tneg'], 3),
    ],
)
def test_quotes_that_may_be_text_are_refused_with_the_way_out(tmp_path, lines_, number):
    path = write(tmp_path / "a.tsv", "\n".join(lines_) + "\n")
    with pytest.raises(DataError, match=rf"a.tsv:{number}: are the quotes of .* Say quote='\"' or quote=''\."):
        read(path)
    assert read(path, quote="", bad_lines="skip")[0] == lines_[0].split("\t")


def test_the_first_quotes_decide_for_the_rest_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK", 64)
    head = "".join(f"plain {i}\tpos\n" for i in range(20))
    assert read(write(tmp_path / "a.tsv", head + '5" disk\tx\n' + '"Yes."\ty\n' * 9))[-1] == ['"Yes."', "y"]
    path = write(tmp_path / "b.tsv", head + '"a ""b"""\tx\n' + '"Yes."\ty\n' * 9)
    assert list(read_records(path, (0, 1)))[-1] == (f"{path}:30", ["Yes.", "y"])


# Headers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, comma", [("a.csv", ","), ("a.tsv", "\t")])
@pytest.mark.parametrize(
    "first, rows, header",
    [
        (["text", "label"], [["good", "pos"], ["bad", "neg"]], True),  # usual names
        (["Text", " Label "], [["good", "pos"]], True),
        (["", "text", "label"], [["0", "good", "pos"], ["1", "bad", "neg"]], True),  # pandas writes its index so
        (["blurb", "mark"], [["good", "5"], ["bad", "1"]], True),  # numbers below
        (["blurb", "mark"], [["good", "5"], ["bad", ""], ["fair", "NA"]], True),
        (["fine", "5"], [["good", "5"], ["bad", "1"]], False),
        (["fine", "NA"], [["good", "5"], ["bad", "1"]], False),  # a missing number
        (["blurb", "mark"], [["good", "5"], ["bad", "one"]], False),
        (["AAA", "T R IH"], [["ABADI", "AH B"], ["ABBEY", "AE B"]], False),
        (["so fine a film", "joy"], [[f"text {i}", "ab"[i % 2]] for i in range(20)], False),  # a text of its own class
        (["fine", "a"], [[f"text {i}", "ab"[i % 2]] for i in range(20)], False),
        (["text", "text"], [["good", "pos"]], False),
    ],
)
def test_headers_are_recognised(tmp_path, name, comma, first, rows, header):
    path = write(tmp_path / name, "".join(comma.join(row) + "\n" for row in [first, *rows]))
    columns = [len(first) - 1]
    assert read(path, columns, bad_lines="skip")[0] == (rows[0][-1:] if header else first[-1:])
    assert read(path, columns, header=False, bad_lines="skip")[0] == first[-1:]
    assert read(path, columns, header=True, bad_lines="skip")[0] == rows[0][-1:]


def test_a_first_line_that_may_be_a_header_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", "blurb,mood\n" + "".join(f"film {i},{'ab'[i % 2]}\n" for i in range(20)))
    with pytest.raises(DataError, match=r"a.csv:1: does the first line name the columns\? It has 'blurb\\tmood'"):
        read(path)
    assert len(read(path, header=True)) == 20 and len(read(path, header=False)) == 21
    assert len(read(path, ["blurb"])) == 20
    plain = write(tmp_path / "a.txt", "words\none\n")
    assert read(plain, [0]) == [["words"], ["one"]] and read(plain, [0], header=True) == [["one"]]


# Delimiters, widths, line ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, text, options",
    [
        ("a.csv", "text;label\nwell, yes;pos\n'no; no';neg\n", {"delimiter": ";", "quote": "'"}),
        ("a.txt", "text|label\nwell, yes|pos\nno; no|neg\n", {"delimiter": "|"}),
        ("a.data", "text\tlabel\nwell, yes\tpos\nno; no\tneg\n", {"delimiter": "tab"}),
        ("a.csv", '"text","label"\n"well, yes","pos"\n"no; no","neg"\n', {}),
    ],
)
def test_delimiters_and_quotes_by_option(tmp_path, name, text, options):
    path = write(tmp_path / name, text)
    assert read(path, ["text", "label"], **options) == [["well, yes", "pos"], ["no; no", "neg"]]
    source = TableSource(path, {"source": "text"}, **options)
    source.fractions = {}
    assert next(source.chunks("train")).columns["source"] == ["well, yes", "no; no"]
    assert source.fingerprint("train") != TableSource(path, {"source": "text"}, delimiter="^").fingerprint("train")


@pytest.mark.parametrize(
    "options, message",
    [
        ({"delimiter": ";;"}, "`delimiter` must be one character .*; got delimiter=';;', format=None"),
        ({"delimiter": ""}, "`delimiter` must be one character"),
        ({"delimiter": ";", "name": "jsonl"}, "`delimiter` must be one character .*format='jsonl'"),
        ({"quote": "''"}, "`quote` must be one character other than the delimiter"),
        ({"quote": ";", "delimiter": ";"}, "`quote` must be one character .*got quote=';', delimiter=';'"),
        ({"name": "xls"}, "`format` must be one of 'tsv', 'csv', 'jsonl', 'txt'; got format='xls'"),
    ],
)
def test_refused_delimiters_and_quotes(options, message):
    with pytest.raises(ValueError, match="TableSource: " + message):
        TableFormat(**options, owner="TableSource")


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.csv", "a b;pos\n", r"a.csv:1: expected 2 columns separated by a comma, got 1: .*Say delimiter=';'"),
        ("a.csv", "a b\tpos\n", "Say delimiter='tab'"),
        ("a.tsv", "a b,pos\n", "Say delimiter=','"),
        ("a.csv", "a b,pos\nwell, c d,neg\n", r"a.csv:2: expected 2 columns separated by a comma, got 3: 'well, c d"),
        ("a.tsv", "a b\tpos\nc\td\tneg\n", r"a.tsv:2: expected 2 columns separated by a tab, got 3"),
        ("a.txt", "a b\tpos\n", r"a.txt:1: expected 2 columns, but a .txt has one: .* Say format=tsv or format=csv"),
    ],
)
def test_another_number_of_columns_is_refused(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, text))


def test_empty_columns_at_the_end_are_no_columns(tmp_path):
    path = write(tmp_path / "a.csv", "a b,pos\nc d,neg,\ne f,neg, ,\n")
    assert read(path) == [["a b", "pos"], ["c d", "neg"], ["e f", "neg"]]
    with pytest.raises(DataError, match=r"column 'text' is not in the header; it has: text;label\. Is there another"):
        read(write(tmp_path / "b.csv", "text;label\na;b\n"), ["text"])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["a.tsv", "a.csv", "a.jsonl", "a.txt"])
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_every_line_end_ends_lines(tmp_path, monkeypatch, name, end, packed):
    monkeypatch.setattr(lines, "BLOCK", 11)
    records = {"a.tsv": "text {}\tx", "a.csv": '"text {}",x', "a.jsonl": '{{"t": "text {}"}}', "a.txt": "text {}"}
    text = "".join(records[name].format(number) + end for number in range(9))
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    columns = ["t"] if name == "a.jsonl" else [0]
    expected = [(f"{path}:{number + 1}", [f"text {number}"]) for number in range(9)]
    assert list(read_records(path, columns, header=None if name == "a.jsonl" else False)) == expected
    assert [line for _, line in read_lines(path)] == text.split(end)[:-1]


def test_a_lone_cr_is_text_where_lines_end_otherwise(tmp_path):
    assert read(write(tmp_path / "a.tsv", "a\rb\tx\nc\ty\n")) == [["a\rb", "x"], ["c", "y"]]
    assert read(write(tmp_path / "b.csv", '"a\rb",x\r\nc,y\r\n')) == [["a\rb", "x"], ["c", "y"]]
    mixed = write(tmp_path / "c.tsv", b"a\tb\r" * 20_000 + b"c\td\n")
    with pytest.raises(DataError, match=r"c.tsv: the first lines end in CR and others in LF\. Convert the file"):
        read(mixed)


def test_lines_and_records_of_absurd_size_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK", 1000)
    monkeypatch.setattr(lines, "MAX_LINE", 5000)
    for name, text in (("a.tsv", "a\tb\n" + "x" * 9000 + "\tb\n"), ("a.csv", "a,b\n" + "x" * 9000 + ",b\n")):
        with pytest.raises(DataError, match=rf"{name}:2: a line must have at most 5,000 bytes; this one has more"):
            read(write(tmp_path / name, text))
    monkeypatch.setattr("kerazoo.data.formats.MAX_LINE", 5000)
    with pytest.raises(DataError, match=r"b.csv:2: not CSV: a quote is never closed: '\"x"):
        read(write(tmp_path / "b.csv", 'a,b\n"x\n' + "y,z\n" * 9000))


def test_standard_input_is_read_as_it_comes(monkeypatch):
    reader, writer = os.pipe()
    monkeypatch.setattr("sys.stdin", os.fdopen(reader))
    os.write(writer, b"\xef\xbb\xbfone\r\ntw")
    found = read_lines("-")
    assert next(found) == (1, "one")  # without a byte-order mark, before the end of the input
    os.write(writer, b"o\n")
    os.close(writer)
    assert list(found) == [(2, "two")]


def test_empty_standard_input_has_no_lines(monkeypatch):
    reader, writer = os.pipe()
    os.close(writer)
    monkeypatch.setattr("sys.stdin", os.fdopen(reader))
    assert list(read_lines("-")) == []


# Numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1_000", "１２", "٣", "1,5", "0x10", "nan", "inf", "", "1e400"])
def test_what_is_no_plain_number_is_refused(tmp_path, value):
    quoted = json.dumps(value, ensure_ascii=False)
    path = write(tmp_path / "a.csv", f"t,a,b\n1,1,2\n2,{quoted},2\n3,3,2\n")
    comma = r" Write decimals with a point\." if value == "1,5" else ""
    comma += r" Correct it, or say bad_lines='skip' to leave such lines out\."
    with pytest.raises(DataError, match=rf"a.csv:3: column 'a' holds no finite number: '{value}'\.{comma}$"):
        read_series(path, ["a", "b"])
    assert read_series(path, ["a"], bad_lines="skip").tolist() == [[1], [3]]


@pytest.mark.parametrize("missing", ["", "NA", "nan", "null", "-", "#N/A"])
def test_a_column_whose_first_value_is_missing_holds_numbers(tmp_path, missing):
    path = write(tmp_path / "a.csv", f"date,a,b,note\n1949-01,{missing},1,x\n" + "1949-02,5,2,7\n" * 9)
    source = SeriesSource(path, length=2)
    assert source.column_names() == ["a", "b"]
    with pytest.raises(DataError, match=rf"a.csv:2: column 'a' holds no finite number: '{missing}'"):
        next(source.chunks("train"))
    assert read_series(path, bad_lines="skip").tolist() == [[5, 2]] * 9


def test_series_with_another_delimiter(tmp_path):
    path = write(tmp_path / "a.csv", "date;a;b\n" + "".join(f"'1;2';{i};{2 * i}\n" for i in range(40)))
    source = SeriesSource(path, length=2, delimiter=";", quote="'")
    assert next(source.chunks("train")).columns["window"][0].tolist() == [[0, 0], [1, 2]]
    described = source.describe_series("window")
    assert (described["delimiter"], described["quote"], described["names"]) == (";", "'", ["a", "b"])
    with pytest.raises(DataError, match=r"no column holds numbers; the header has: date;a;b\. Is there another"):
        SeriesSource(path, length=2).column_names()
