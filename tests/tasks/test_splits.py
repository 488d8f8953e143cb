from kerazoo.tasks import splits

SHARES = {"dev": 0.1, "test": 0.2}


def test_shares_are_kept_and_nothing_is_lost():
    keys = [f"key {i}" for i in range(5000)]
    rows = {split: splits.rows_of(split, keys, SHARES) for split in splits.SPLITS}
    assert sorted(sum(rows.values(), [])) == list(range(5000))
    assert 0.08 < len(rows["dev"]) / 5000 < 0.12
    assert 0.18 < len(rows["test"]) / 5000 < 0.22


def test_a_key_stays_where_it_is():
    words = ("kerazoo", "zoo", "flow", b"flow", "jax")
    assert [splits.place(word, SHARES) for word in words] == ["train", "test", "dev", "dev", "test"]
    rows = splits.rows_of("train", ["a", "b", "a", "c"], SHARES)
    assert rows == [row for row in (0, 1, 2, 3) if splits.place("abac"[row], SHARES) == "train"]


def test_what_is_missing_is_drawn_from_train():
    assert splits.origin("dev", {"train", "dev", "test"}, SHARES) == ("dev", {})
    assert splits.origin("train", {"train", "dev", "test"}, SHARES) == ("train", {})
    assert splits.origin("dev", {"train", "test"}, SHARES) == ("train", {"dev": 0.1})
    assert splits.origin("test", {"train", "test"}, SHARES) == ("test", {})
    assert splits.origin("train", {"train"}, SHARES) == ("train", SHARES)
