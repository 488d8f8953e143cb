import hashlib
import json

import numpy as np
import pytest
import tensorflow as tf

import kerazoo.text as text
from kerazoo._checks import DataError

SCRIPTS = [
    "plain ASCII, with 7 digits!",
    "",
    "ŝanĝo größe naïve",
    "汉字和假名かなカナ",
    "العربية ‏من اليمين",
    "עברית हिन्दी ไทย 한국어",
    "e\u0301 a\u0308\u0323 combining",
    "👩\u200d👩\u200d👧 🏳️\u200d🌈 emoji",
    "tab\tand\nnewline and \x07 bell",
    "\ufeffmark and \ufffd and \U0010ffff",
]
CHARACTERS = "".join(SCRIPTS)


def strings(tensor):
    return [value.decode() for value in tensor.numpy()]


@pytest.mark.parametrize(
    "tokenizer", [text.ByteTokenizer(), text.CharacterTokenizer.fit(SCRIPTS)], ids=["bytes", "characters"]
)
def test_exact_on_every_script(tokenizer):
    assert strings(tokenizer.detokenize(tokenizer.tokenize(SCRIPTS))) == SCRIPTS
    assert strings(tokenizer.detokenize(tokenizer.encode(SCRIPTS))) == SCRIPTS
    ids = tokenizer.tokenize(SCRIPTS).flat_values.numpy()
    assert ids.min() >= 4 and ids.max() < tokenizer.vocabulary_size


def test_bytes_are_the_bytes():
    tokenizer = text.ByteTokenizer()
    assert tokenizer.vocabulary_size == 260
    assert tokenizer.tokenize(["Zé", ""]).to_list() == [[94, 199, 173], []]
    assert tokenizer.tokenize([b"\x00\xff"]).to_list() == [[4, 259]]
    assert tokenizer.detokenize([[199], [263]]).numpy().tolist() == [b"\xc3", b""]
    assert text.ByteTokenizer.split("é") == [195, 169]


def test_a_fitted_vocabulary_has_the_most_frequent_characters():
    tokenizer = text.CharacterTokenizer.fit(["banana", "bab", "日"])
    assert tokenizer.vocabulary == ["a", "b", "n", "日"]
    assert text.CharacterTokenizer.fit(["banana"], vocabulary_size=6).vocabulary == ["a", "n"]
    assert tokenizer.tokenize(["bx日"]).to_list() == [[5, 3, 7]]
    assert strings(tokenizer.detokenize([[5, 3, 7, 99]])) == ["b\ufffd日\ufffd"]
    assert tokenizer.split("n日") == ["n", "日"]


def test_an_empty_vocabulary_makes_every_character_unknown():
    tokenizer = text.CharacterTokenizer.fit([""])
    assert tokenizer.vocabulary_size == 4
    assert tokenizer.tokenize(["ab", ""]).to_list() == [[3, 3], []]


def test_words_split_at_white_space():
    tokenizer = text.WordTokenizer.fit(["the cat  the", "dog\tcat the", "é <pad>"])
    assert tokenizer.vocabulary == ["the", "cat", "<pad>", "dog", "é"]
    assert tokenizer.tokenize([" the\t bird é\n", "", "<end>"]).to_list() == [[4, 3, 8], [], [3]]
    assert strings(tokenizer.detokenize([[4, 8, 99], [3, 0, 0]])) == ["the é <unknown>", "<unknown>"]
    assert tokenizer.split("the\u00a0cat  é") == ["the\u00a0cat", "é"]
    assert tokenizer.tokenize(["the\u00a0cat"]).to_list() == [[3]]
    assert text.WordTokenizer.fit(["b b a c c"], vocabulary_size=6).vocabulary == ["b", "c"]
    assert text.WordTokenizer.fit([""]).tokenize(["a"]).to_list() == [[3]]


def test_stop_words_get_no_id_in_any_case():
    tokenizer = text.WordTokenizer.fit(["The cat", "the dog and the cat"], stop_words=["THE", "and"], case="lower")
    assert (tokenizer.vocabulary, tokenizer.stop_words) == (["cat", "dog"], ["and", "the"])
    assert tokenizer.tokenize(["the Cat AND a dog", "The the", "", "then"]).to_list() == [[4, 3, 5], [], [], [3]]
    assert tokenizer.encode(["the", "and the"]).numpy().tolist() == [[0], [0]]
    kept = text.WordTokenizer.fit(["The cat", "the dog"], stop_words=["the"])
    assert kept.vocabulary == ["The", "cat", "dog"] and kept.tokenize(["the The dog"]).to_list() == [[4, 6]]
    assert text.WordTokenizer(["a"]).get_config().keys() == {"tokenizer", "case", "vocabulary"}


def test_detokenize_stops_at_the_end_and_skips_what_is_no_text():
    tokenizer = text.CharacterTokenizer("abc")
    ids = [[1, 4, 0, 5, 2, 6, 6], [2, 4, 4, 4, 4, 4, 4], [0, 0, 0, 0, 0, 0, 6]]
    for dtype in (np.int32, np.int64):
        assert strings(tokenizer.detokenize(np.array(ids, dtype))) == ["ab", "", "c"]
    assert strings(tokenizer.detokenize(tf.zeros([2, 0], tf.int32))) == ["", ""]


def test_encode_pads_and_cuts():
    tokenizer = text.CharacterTokenizer("abc")
    assert tokenizer.encode(["abc", "", "b"]).numpy().tolist() == [[4, 5, 6], [0, 0, 0], [5, 0, 0]]
    assert tokenizer.encode(["abc", "b"], max_length=2).numpy().tolist() == [[4, 5], [5, 0]]
    assert tokenizer.encode([""]).numpy().tolist() == [[0]]
    assert tokenizer.encode([]).shape == (0, 1)
    assert tokenizer.encode(["a"]).dtype == tf.int32


@pytest.mark.parametrize(
    "cls",
    [
        text.ByteTokenizer,
        text.CharacterTokenizer,
        text.WordTokenizer,
        text.WordAndPunctuationTokenizer,
        text.BytePairTokenizer,
    ],
)
def test_case_and_normal_form_of_text(cls):
    tokenizer = cls.fit(["ÉCOLE ROUGE"], vocabulary_size=263, case="upper")
    assert strings(tokenizer.detokenize(tokenizer.encode(["école Rouge"]))) == ["ÉCOLE ROUGE"]
    both = cls.fit(["E\u0301COLE ﬁ"], vocabulary_size=263, case="lower", normalization="nfkc")
    assert strings(both.detokenize(both.encode(["École FI", "\uff25\u0301cole fi"]))) == ["école fi"] * 2
    assert both.standardize(["\uff25\u0301"]) == ["é"]


def test_common_case():
    assert text.common_case(["ABC", "D'É"]) == "upper"
    assert text.common_case(["abc", "1"]) == "lower"
    assert text.common_case(["Abc"]) is None
    assert text.common_case(["123", "汉"]) is None
    assert text.common_case([]) is None


@pytest.mark.parametrize(
    "tokenizer",
    [
        text.ByteTokenizer(case="lower"),
        text.CharacterTokenizer('\n" \\é\u2028a', normalization="nfkc"),
        text.BytePairTokenizer(["a b", "Ġ ab"], normalization="nfkc"),
        text.WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "é", "##z"], case="lower"),
        text.WordTokenizer(["é", '"', "zoo"], stop_words=["The", "a"], case="lower"),
        text.WordAndPunctuationTokenizer(["é", '"', "\uffed,"], stop_words=["The", "."], case="lower"),
    ],
    ids=text.names(),
)
def test_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    path = tmp_path / "made" / "source.json"
    tokenizer.save(path)
    again = text.load(path)
    assert type(again) is type(tokenizer)
    assert again.hash == tokenizer.hash and again.get_config() == tokenizer.get_config()
    assert [entry.name for entry in path.parent.iterdir()] == ["source.json"]


def test_the_hash_of_different_tokenizers_differs():
    made = [
        text.CharacterTokenizer("ab"),
        text.CharacterTokenizer("ba"),
        text.CharacterTokenizer("ab", case="upper"),
        text.CharacterTokenizer("ab", normalization="nfkc"),
        text.WordTokenizer(["a", "b"]),
        text.WordTokenizer(["a", "b"], stop_words=["c"]),
        text.WordAndPunctuationTokenizer(["a", "b"]),
        text.BytePairTokenizer(["a b"]),
        text.BytePairTokenizer(["b a"]),
    ]
    assert len({tokenizer.hash for tokenizer in made}) == len(made)
    assert text.CharacterTokenizer(["a", "b"]).hash == made[0].hash


def test_a_file_without_a_normalisation_still_loads_and_keeps_its_hash(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"tokenizer": "characters", "case": None, "vocabulary": ["a", "b"]}))
    assert text.load(path).normalization is None
    assert (
        text.load(path).hash
        == hashlib.sha256(b'{"case": null, "tokenizer": "characters", "vocabulary": ["a", "b"]}').hexdigest()
    )


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    with pytest.raises(DataError, match="missing.json: cannot be read as a tokenizer"):
        text.load(tmp_path / "missing.json")
    path = tmp_path / "other.json"
    for content in ("{", "[]", "{}", json.dumps({"tokenizer": "wrds", "case": None})):
        path.write_text(content)
        with pytest.raises(DataError, match="other.json: cannot be read as a tokenizer"):
            text.load(path)


def test_names_and_registration():
    assert text.names() == ["bytes", "characters", "subwords", "wordpiece", "words", "words_and_punctuation"]
    assert text.get("words") is text.WordTokenizer
    with pytest.raises(ValueError, match="Unknown tokenizer 'word'. Close names: words, subwords, .*. All: bytes, cha"):
        text.get("word")
    assert text.names("*s") == ["bytes", "characters", "subwords", "words"] and text.names("w*") == text.names()[3:]
    with pytest.raises(ValueError, match="tokenizer 'bytes' is already registered"):
        text.register("bytes")(text.ByteTokenizer)
    assert all(text.get(name).registered_name == name for name in text.names())


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: text.CharacterTokenizer(["ab"]), ValueError, "sequence of single characters; got 'ab'"),
        (lambda: text.CharacterTokenizer("aba"), ValueError, "must not have a token twice; got 'a' again"),
        (lambda: text.WordTokenizer(["a b"]), ValueError, "without white space; got 'a b'"),
        (lambda: text.WordTokenizer([""]), ValueError, "without white space; got ''"),
        (lambda: text.WordTokenizer(["a"], stop_words=["b", "a"]), ValueError, "must not be in .*; got 'a' in both"),
        (lambda: text.WordTokenizer([], stop_words=["a b"]), ValueError, "`stop_words` must hold words .* got 'a b'"),
        (lambda: text.WordTokenizer([], stop_words="the"), TypeError, "a sequence of words; got the string 'the'"),
        (
            lambda: text.WordTokenizer([3]),
            TypeError,
            "WordTokenizer: `vocabulary` must be a sequence of strings; got 3",
        ),
        (
            lambda: text.ByteTokenizer(case="title"),
            ValueError,
            "`case` must be one of None, 'lower', 'upper'; got case='title'",
        ),
        (
            lambda: text.ByteTokenizer(normalization="nfc"),
            ValueError,
            "`normalization` must be one of None, 'nfkc'; got normalization='nfc'. Did you mean 'nfkc'?",
        ),
        (
            lambda: text.WordTokenizer.fit(["a"], vocabulary_size=4),
            ValueError,
            "WordTokenizer.fit: `vocabulary_size` must be above 4, .*; got vocabulary_size=4",
        ),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "tokenizer",
    [
        text.ByteTokenizer(),
        text.CharacterTokenizer("ab é"),
        text.BytePairTokenizer(["a b", "Ġ x"]),
        text.WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "é", "##z"], case="lower"),
        text.WordTokenizer(["ab", "é"]),
        text.WordAndPunctuationTokenizer(["ab", "é"]),
    ],
    ids=text.names(),
)
def test_same_ids_inside_a_graph(tokenizer):
    lines = ["ab é", "", "é é ab x"]
    graph = tf.function(tokenizer.encode, input_signature=[tf.TensorSpec([None], tf.string)])
    assert np.array_equal(graph(tf.constant(lines)), tokenizer.encode(lines))
    mapped = tf.data.Dataset.from_tensor_slices(lines).batch(3).map(tokenizer.encode)
    assert np.array_equal(next(iter(mapped)), tokenizer.encode(lines))


@pytest.mark.parametrize("name", text.names())
def test_tags_are_special_tokens(name, tmp_path):
    plain = text.ByteTokenizer() if name == "bytes" else text.get(name).fit(["a <de> b", "de fr"], 300)
    tokenizer = text.get(name).from_config(plain.get_config()).add_tags(["de", "<de>"])
    assert tokenizer.vocabulary_size == plain.vocabulary_size + 2 and tokenizer.hash != plain.hash
    assert tokenizer.tag_ids(["<de>", "de", "fr"]).numpy().tolist() == [
        plain.vocabulary_size + 1, plain.vocabulary_size, tokenizer.unknown_id
    ]  # fmt: skip
    lines = ["de <de>", "a b"]
    ids = tokenizer.encode(lines)
    assert np.array_equal(ids, plain.encode(lines)) and int(tf.reduce_max(ids)) < plain.vocabulary_size
    tagged = tf.concat([tokenizer.tag_ids(["de", "<de>"])[:, None], ids], 1)
    assert strings(tokenizer.detokenize(tagged)) == strings(plain.detokenize(ids))
    assert len(tokenizer.token_bytes) == tokenizer.vocabulary_size
    tokenizer.save(tmp_path / "tagged.json")
    loaded = text.load(tmp_path / "tagged.json")
    assert loaded.hash == tokenizer.hash and loaded.tags == ("de", "<de>")
    with pytest.raises(ValueError, match="`tags` must not be empty and are added once"):
        tokenizer.add_tags(["fr"])
    for tags in (["fr", "fr"], [""]):
        with pytest.raises(ValueError, match="twice|must not be empty"):
            text.get(name).from_config(plain.get_config()).add_tags(tags)
