"""Sources in memory, and mixtures of any sources."""

import numpy as np
import pytest

from kerazoo._checks import DataError, SetupError
from kerazoo.data import Chunk, DataSource, MemorySource, MixtureSource, TableSource, TextSource


class Pieces(DataSource):
    """Numbered rows in chunks of given sizes."""

    columns = ("text", "number")

    def __init__(self, name, sizes, skipped=0):
        self.name, self.sizes, self.skipped = name, sizes, skipped

    def chunks(self, split):
        first = 0
        for size in self.sizes:
            numbers = np.arange(first, first + size)
            texts = [f"{self.name}{number}" for number in numbers]
            yield Chunk({"text": texts, "number": numbers}, self.skipped, locations=texts)
            first += size

    def fingerprint(self, split):
        return self.name


def texts(source, split="train"):
    return [text for chunk in source.chunks(split) for text in chunk.columns["text"]]


def test_memory_by_dictionary_and_function():
    source = MemorySource({"train": {"text": ["a", "b"]}, "dev": {"text": ["c"]}})
    assert source.columns == ("text",) and texts(source, "dev") == ["c"]
    assert source.fingerprint("train") is None and source.splits() == ("train", "dev", "test")
    asked = []
    made = MemorySource(lambda split: asked.append(split) or {"text": [split]}, columns=("text",))
    assert made.columns == ("text",) and asked == []
    assert texts(made, "test") == ["test"]

    def missing():
        raise SetupError("not installed")

    with pytest.raises(SetupError, match="not installed"):
        MemorySource({"train": {}}, check=missing).check()
    with pytest.raises(ValueError, match=r"`read` must have columns for 'train'; got \['dev'\]"):
        MemorySource({"dev": {"text": []}})
    with pytest.raises(ValueError, match=r"columns must have the same length; got {'a': 1, 'b': 2} in 'train'"):
        list(MemorySource({"train": {"a": [1], "b": [1, 2]}}).chunks("train"))


@pytest.mark.parametrize(
    "column", [[f"key {i}" for i in range(401)], np.arange(401 * 3).reshape(401, 3), list(range(401))]
)
def test_missing_splits_are_held_out_by_the_first_column(column):
    source = MemorySource({"train": {"x": column, "y": np.arange(401)}})
    rows = {split: next(source.chunks(split)).columns["y"].tolist() for split in source.splits()}
    assert sorted(sum(rows.values(), [])) == list(range(401))
    assert all(5 < len(rows[split]) < 40 for split in ("dev", "test"))
    assert next(MemorySource({"train": {"x": column}, "dev": {"x": column}}).chunks("dev")).columns["x"] is column


def test_rows_take_turns_across_chunks():
    one, two = Pieces("a", (2, 3, 0, 1)), Pieces("b", (4, 7))
    mixture = MixtureSource([one, two], [1, 1])
    mixture.check()
    turns = [text for i in range(6) for text in (f"a{i}", f"b{i}")]
    chunks = list(mixture.chunks("train"))
    assert texts(mixture) == [*turns, *(f"b{i}" for i in range(6, 11))]
    assert all(isinstance(chunk.columns["number"], np.ndarray) for chunk in chunks)
    assert all(list(chunk.locations) == chunk.columns["text"] for chunk in chunks)
    assert np.concatenate([chunk.columns["number"] for chunk in chunks])[:4].tolist() == [0, 0, 1, 1]


def test_weights_count_in_training_alone():
    one, two = Pieces("a", (5,), skipped=1), Pieces("b", (401,), skipped=2)
    mixture = MixtureSource([one, two], [2, 0.25])
    train = texts(mixture)
    assert sorted(text for text in train if text[0] == "a") == sorted(2 * [f"a{i}" for i in range(5)])
    assert 60 < sum(text[0] == "b" for text in train) < 140 and train == texts(mixture)
    assert sorted(texts(mixture, "dev")) == sorted([f"a{i}" for i in range(5)] + [f"b{i}" for i in range(401)])
    assert sum(chunk.skipped for chunk in mixture.chunks("train")) == 3
    assert mixture.fingerprint("train") == [[2.0, 0.25], ["a", "b"]]
    assert MixtureSource([one, MemorySource({"train": {}})], [1, 1]).fingerprint("train") is None


def test_weights_in_data_dir_are_those_of_a_mixture(tmp_path):
    # A mixture would hold out from each of its sources; it has the dev part of each.
    for name, count in (("one", 31), ("two", 53)):
        (tmp_path / f"{name}.tsv").write_text("".join(f"{name} {i}\t{i}\n" for i in range(count)))
    paths = tmp_path / "one.tsv", tmp_path / "two.tsv"
    columns = {"text": 0, "number": 1}
    by_grammar = TableSource(f"{paths[0]}@2.5,{paths[1]}", columns, held_out=0, dev_data=tmp_path / "*.tsv")
    parts = [TableSource(path, columns, held_out=0, dev_data=path) for path in paths]
    mixture = MixtureSource(parts, [2.5, 1])
    assert mixture.splits() == by_grammar.splits() == ("train", "dev")
    assert texts(mixture, "train") == texts(by_grammar, "train")
    assert sorted(texts(mixture, "dev")) == sorted(texts(by_grammar, "dev"))


def test_classes_that_all_sources_declare():
    class Declared(Pieces):
        def class_names(self, column):
            return list(self.name) if column == "text" else None

    one, same, other = Declared("ab", (3,)), Declared("ab", (5,)), Declared("ac", (7,))
    assert MixtureSource([one, same], [1, 1]).class_names("text") == ["a", "b"]
    assert MixtureSource([one, other], [1, 1]).class_names("text") is None
    assert MixtureSource([one, Pieces("ab", (3,))], [1, 1]).class_names("text") is None
    assert one.class_names("number") is MixtureSource([one, same], [1, 1]).class_names("number") is None


def test_texts_are_not_torn(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"{name}\n" * 50)
    sources = [
        TextSource(tmp_path / f"{name}.txt", dev_data=tmp_path / "a.txt", test_data=tmp_path / "a.txt")
        for name in ("a", "b")
    ]
    assert texts(MixtureSource(sources, [1, 2])) == ["a\n" * 50, "b\n" * 50, "b\n" * 50]
    assert texts(MixtureSource(sources, [1, 2]), "dev") == ["a\n" * 50] * 2
    with pytest.raises(ValueError, match="the weight of a text must be a whole number; got 0.5"):
        MixtureSource(sources, [1, 0.5])


def test_refused_mixtures(tmp_path):
    one = Pieces("a", (3,))
    with pytest.raises(ValueError, match="equally long and not empty; got 1 sources, 0 weights"):
        MixtureSource([one], [])
    with pytest.raises(ValueError, match=r"`weights\[0\]` must be a number above 0; got weights\[0\]=0"):
        MixtureSource([one], [0])
    with pytest.raises(ValueError, match=r"same columns; got \['text', 'number'\] and \['text'\]"):
        MixtureSource([one, MemorySource({"train": {"text": []}})], [1, 1]).check()
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        MixtureSource([TableSource(tmp_path / "nowhere")], [1]).check()
