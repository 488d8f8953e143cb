"""WordPiece in the graph: the ids of the library `tokenizers`, for real text and for every code point."""

import gzip
import pathlib
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

import kerazoo.text as text
from kerazoo._checks import DataError

STSB = pathlib.Path(__file__).resolve().parents[3] / "shared" / "data" / "stsb"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ODD = [
    "plain ASCII, with 7 digits!",
    "",
    "Größe ŝanĝo NAÏVE İstanbul ΣΊΣΥΦΟΣ",
    "汉字和假名かなカナ 한국어 mixed漢字text",
    "العربية ‏من اليمين  עברית हिन्दी ไทย",
    "e\u0301 a\u0308\u0323 combining, ﬁne ﬂ ²",
    "👩\u200d👩\u200d👧 🏳️\u200d🌈 emoji",
    "tab\tand\nnewline\r\nand \x07 bell, zero\x00width\u200bspace\u00a0no-break\u3000wide\u2028line",
    "\ufeffmark and \ufffd and",  # not U+10FFFF, no character, which the library keeps as an unknown word
    "$5+3=8 ^_^ `a|b` ~c <d> [CLS] ##ing [unused1]",
    "a" * 100 + " " + "b" * 101,
    "…“quotes”—dash’s «x» ¿qué? ‽",
]


def oracle(vocabulary, lower):
    """The tokenizer of the library for the same vocabulary."""
    tokenizers = pytest.importorskip("tokenizers")
    ids = {entry: number for number, entry in enumerate(vocabulary)}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return lambda strings: [each.ids for each in made.encode_batch(strings, add_special_tokens=False)]


def vocabulary_of(strings):
    """Entries of which most words consist: all characters, some pairs and some words."""
    made = text.WordPieceTokenizer(SPECIAL)
    words = {word for row in made.words(strings) for word in row}
    characters = sorted({character for word in words for character in word})
    pairs = sorted({word[at : at + 2] for word in words for at in range(len(word) - 1)})[::3]
    entries = [*sorted(words)[::5], *characters, *(f"##{each}" for each in [*characters[::2], *pairs])]
    return list(dict.fromkeys([*SPECIAL, *entries]))


def test_longest_parts_first():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "una", "##aff", "##able", "##ff", "##b", "cafe", "!"]
    tokenizer = text.WordPieceTokenizer(vocabulary)
    expected = [[5, 8, 7], [10, 11], [1], [5, 1], []]
    assert tokenizer.tokenize(["unaffable", "Café!", "unx", "UNA unaffablex", ""]).to_list() == expected
    vocabulary.remove("una")
    again = text.WordPieceTokenizer(vocabulary).tokenize(["unaffable", "Café!", "unx", "", " \t "]).to_list()
    assert again == [[4, 5, 6], [9, 10], [1], [], []]
    assert (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.start_id, tokenizer.end_id) == (0, 1, 2, 3)
    assert tokenizer.vocabulary_size == 12


def test_odd_text_has_the_ids_of_the_library():
    vocabulary = vocabulary_of(ODD)
    for case in (None, "lower"):
        expected = oracle(vocabulary, case == "lower")(ODD)
        assert text.WordPieceTokenizer(vocabulary, case=case).tokenize(ODD).to_list() == expected
    assert any(1 in row for row in expected) and any(len(row) > 9 for row in expected)


def test_every_code_point_becomes_what_it_becomes_in_the_library():
    """All of Unicode 3.2 but four that changed since; later ones unless they are newer than the library's tables."""
    tokenizers = pytest.importorskip("tokenizers")
    split, differ = tokenizers.pre_tokenizers.BertPreTokenizer(), []
    for lower, step in ((True, 1), (False, 7)):
        normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
        points = [*range(1, 0xD800, step), *range(0xE000, 0x323B0, step), *range(0xE0000, 0x110000, 101 * step)]
        strings = [f"a{chr(point)}b" for point in points]
        words = text.WordPieceTokenizer(SPECIAL, case="lower" if lower else None).words(strings)
        for point, found, string in zip(points, words, strings):
            normal = normalizer.normalize_str(string)
            if found != [word for word, _ in split.pre_tokenize_str(normal)]:
                differ.append(point)
    old = {point for point in differ if unicodedata.ucd_3_2_0.category(chr(point)) != "Cn"}
    assert old == {0x166D, 0x1734, 0x1885, 0x1886}, list(map(hex, old))
    # The tables of Python 3.13 know Unicode 15.1: 624 differ.
    assert len(set(differ)) < (600 if unicodedata.unidata_version < "15.1" else 640)


@pytest.mark.data
def test_real_text_has_the_ids_of_the_library():
    if not STSB.exists():
        pytest.skip("the data is not here")
    lines = []
    for file in sorted(STSB.glob("*.tsv.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as opened:
            lines += [part for line in opened for part in line.rstrip("\n").split("\t")[3:5]]
    assert len(lines) > 15_000
    vocabulary = vocabulary_of(lines)
    assert text.WordPieceTokenizer(vocabulary).tokenize(lines).to_list() == oracle(vocabulary, True)(lines)


def test_fits_a_vocabulary(tmp_path):
    pytest.importorskip("tokenizers")
    strings = ["the lower the lowest", "new newer newest", "widest wide, Low"]
    tokenizer = text.WordPieceTokenizer.fit(strings, vocabulary_size=41)
    assert tokenizer.vocabulary[:5] == SPECIAL and tokenizer.vocabulary_size <= 41
    ids = tokenizer.tokenize(strings)
    assert 1 not in ids.flat_values.numpy()
    joined = [each.decode() for each in tokenizer.detokenize(ids).numpy()]
    assert joined == ["the lower the lowest", "new newer newest", "widest wide , low"]
    tokenizer.save(tmp_path / "vocabulary.json")
    again = text.load(tmp_path / "vocabulary.json")
    assert again.hash == tokenizer.hash and again.tokenize(strings).to_list() == ids.to_list()


def test_detokenizing_ends_at_the_end_and_joins_parts():
    tokenizer = text.WordPieceTokenizer([*SPECIAL, "run", "##ning", "!"])
    ids = [[2, 5, 6, 7, 3, 5], [5, 1, 99, 0, 0, 0]]
    assert tokenizer.detokenize(ids).numpy().tolist() == [b"running !", b"run [UNK] [UNK]"]


def test_reads_a_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL, "a", "##b", "\u2028c"]) + "\n", encoding="utf-8")
    tokenizer = text.WordPieceTokenizer.from_file(path)
    assert tokenizer.case == "lower" and tokenizer.vocabulary[-1] == "\u2028c" and tokenizer.vocabulary_size == 8
    path.write_text("\r\n".join([*SPECIAL, "A", "##b"]) + "\r\n", encoding="utf-8")
    tokenizer = text.WordPieceTokenizer.from_file(path)
    assert tokenizer.case is None and tokenizer.tokenize(["Ab ab"]).to_list() == [[5, 6, 1]]
    path.write_text("the\nof\n")
    with pytest.raises(DataError, match=r"vocab.txt: cannot be read as a vocabulary: .* lacks \[PAD\], \[UNK\]"):
        text.WordPieceTokenizer.from_file(path)
    with pytest.raises(DataError, match="missing.txt: cannot be read"):
        text.WordPieceTokenizer.from_file(tmp_path / "missing.txt")


def test_bad_arguments():
    with pytest.raises(ValueError, match="must begin with"):
        text.WordPieceTokenizer(["[UNK]", "[PAD]", "[CLS]", "[SEP]"])
    with pytest.raises(ValueError, match="twice"):
        text.WordPieceTokenizer([*SPECIAL, "a", "a"])
    with pytest.raises(ValueError, match="case"):
        text.WordPieceTokenizer(SPECIAL, case="upper")


def test_works_in_an_exported_model(tmp_path):
    tokenizer = text.WordPieceTokenizer([*SPECIAL, "run", "##ning", "!"])
    module = tf.Module()
    module.tokenizer = tokenizer
    module.ids = tf.function(lambda strings: tokenizer.encode(strings), [tf.TensorSpec([None], tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    found = tf.saved_model.load(str(tmp_path)).ids(tf.constant(["Running! run", "", "x"]))
    assert np.array_equal(found, [[5, 6, 7, 5], [0, 0, 0, 0], [1, 0, 0, 0]])
