import collections
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerazoo.data import ImageFolderSource, MemorySource, TableSource, splits

FRACTIONS = {"dev": 0.1, "test": 0.2}


def test_fractions_are_kept_and_nothing_is_lost():
    keys = [f"key {i}" for i in range(5000)]
    rows = {split: splits.split_rows(split, keys, FRACTIONS) for split in splits.SPLITS}
    assert sorted(sum(rows.values(), [])) == list(range(5000))
    assert 0.08 < len(rows["dev"]) / 5000 < 0.12
    assert 0.18 < len(rows["test"]) / 5000 < 0.22


def test_a_key_keeps_its_split():
    words = ("kerazoo", "zoo", "flow", b"flow", "jax")
    assert [splits.assign_split(word, FRACTIONS) for word in words] == ["train", "test", "dev", "dev", "test"]
    rows = splits.split_rows("train", ["a", "b", "a", "c"], FRACTIONS)
    assert rows == [row for row in (0, 1, 2, 3) if splits.assign_split("abac"[row], FRACTIONS) == "train"]


def test_a_missing_split_is_held_out_from_train():
    assert splits.split_origin("dev", {"train", "dev", "test"}, FRACTIONS) == ("dev", {})
    assert splits.split_origin("train", {"train", "dev", "test"}, FRACTIONS) == ("train", {})
    assert splits.split_origin("dev", {"train", "test"}, FRACTIONS) == ("train", {"dev": 0.1})
    assert splits.split_origin("test", {"train", "test"}, FRACTIONS) == ("test", {})
    assert splits.split_origin("train", {"train"}, FRACTIONS) == ("train", FRACTIONS)


HELD = {"dev": 0.05, "test": 0.05}
few = settings(max_examples=25, deadline=None, derandomize=True)
rows_with_classes = st.lists(
    st.tuples(st.integers(0, 60).map(str), st.sampled_from("abcde"), st.sampled_from("xyz")), min_size=1, max_size=99
)


def assigned(rows, fractions=HELD):
    assignment = splits.SplitAssignment([(splits.point_of(key), classes) for key, *classes in rows], fractions)
    return [assignment.split_of(splits.point_of(key)) for key, *_ in rows]


@few
@given(rows=rows_with_classes, seed=st.integers(0, 99))
def test_every_class_stays_in_train_in_any_order_of_the_examples(rows, seed):
    found = assigned(rows)
    of_key = dict(zip(rows, found))
    for column in (1, 2):
        train = {row[column] for row, split in zip(rows, found) if split == "train"}
        assert train == {row[column] for row in rows}
    assert len({(row[0], split) for row, split in of_key.items()}) == len({row[0] for row in rows})
    mixed = random.Random(seed).sample(rows, len(rows))
    assert assigned(mixed) == [of_key[row] for row in mixed]


@few
@given(sizes=st.lists(st.integers(1, 90), min_size=1, max_size=9))
def test_classes_are_divided_in_the_same_proportions(sizes):
    rows = [(f"{number} {i}", f"class {number}") for number, size in enumerate(sizes) for i in range(size)]
    counts = collections.Counter((row[1], split) for row, split in zip(rows, assigned(rows)))
    for number, size in enumerate(sizes):
        assert counts[f"class {number}", "train"] >= 1
        if sum(sizes) >= 400:  # else an empty split takes one more
            for split in HELD:
                assert abs(counts[f"class {number}", split] - 0.05 * size) < 1


@few
@given(count=st.integers(1, 300), more=st.integers(1, 9))
def test_appended_examples_move_few_others(count, more):
    rows = [(f"key {i}", "") for i in range(count + more)]
    before, after = assigned(rows[:count]), assigned(rows)
    assert sum(one != other for one, other in zip(before, after)) <= 3 * more


def test_an_example_of_a_large_class_keeps_its_split_whatever_is_appended():
    rows = [(f"key {i}", "") for i in range(4000)]
    assert assigned(rows[:1000]) == assigned(rows)[:1000] == [splits.assign_split(key, HELD) for key, _ in rows[:1000]]


def parts(source):
    return {s: [c for chunk in source.chunks(s) for c in zip(*chunk.columns.values())] for s in splits.SPLITS}


@pytest.mark.parametrize("count, held", [(1, 0), (9, 0), (10, 1), (29, 1), (40, 2), (200, 10)])
def test_small_sets_have_the_right_numbers(count, held):
    found = parts(MemorySource({"train": {"x": [f"text {i}" for i in range(count)]}}))
    assert {split: len(rows) for split, rows in found.items()} == {
        "train": count - 2 * held, "dev": held, "test": held
    }  # fmt: skip


def test_classes_of_one_example_are_all_in_train(tmp_path):
    path = tmp_path / "rare.tsv"
    path.write_text("".join(f"text {i}\trare{i:02}\n" for i in range(30)))
    source = TableSource(path).with_label_columns(["target"])
    assert [len(rows) for rows in parts(source).values()] == [30, 0, 0]
    path.write_text("".join(f"text {i}\trare{i // 2:02}\n" for i in range(30)))
    found = parts(TableSource(path).with_label_columns(["target"]))
    assert len({label for _, label in found["train"]}) == 15 and found["dev"] and found["test"]


@pytest.mark.parametrize("labels", [("colour", "shade"), ()])
def test_a_first_column_of_few_values_leaves_no_split_empty(labels):
    rows = np.random.default_rng(0).integers(0, 3, (200, 2)).astype(str)
    source = MemorySource({"train": {"colour": rows[:, 0].tolist(), "shade": rows[:, 1].tolist()}})
    found = parts(source.with_label_columns(labels) if labels else source)
    assert sorted(sum(found.values(), [])) == sorted(map(tuple, rows.tolist()))
    assert all(8 <= len(found[split]) <= 12 for split in ("dev", "test"))


def test_equal_sources_are_in_one_split():
    rows = [(f"text {i % 50}", f"target {i}") for i in range(400)]
    found = parts(MemorySource({"train": dict(zip(("x", "y"), zip(*rows)))}))
    texts = [{text for text, _ in rows} for rows in found.values()]
    assert sum(map(len, texts)) == len(set().union(*texts)) == 50 and min(map(len, texts)) == 3


def test_images_of_each_class_stay_in_train(tmp_path):
    for name, count in (("ant", 1), ("bee", 2), ("cow", 40)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}.png").touch()
    found = {
        split: collections.Counter(row[1] for row in rows) for split, rows in parts(ImageFolderSource(tmp_path)).items()
    }
    assert found["train"]["ant"] == 1 and found["train"]["bee"] >= 1 and 36 <= found["train"]["cow"] <= 37
    assert found["dev"]["cow"] >= 1 and found["test"]["cow"] >= 1
