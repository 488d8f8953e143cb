from kerazoo.data import splits

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
