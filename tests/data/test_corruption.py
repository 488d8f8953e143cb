"""Hidden tokens and spans: what is hidden can be put back, and the shares and lengths are those of the papers."""

import itertools
import math

import numpy as np
import pytest

from kerazoo import _checks, data
from kerazoo.data import Ragged, corruption
from kerazoo.data.without_texts import parts

MASKS, END = (101, 102, 103, 104, 105, 106, 107), 2


def rows(seed=3, count=53):
    random = np.random.default_rng(seed)
    return Ragged.from_rows([random.integers(4, 99, n) for n in [1, 2, 0, 3, *random.integers(1, 61, count)]])


def lists(ragged):
    return [ragged[row].tolist() for row in range(len(ragged))]


def put_back(source, targets):
    """The row that a source with numbered masks and its targets are made of, token by token."""
    spans, found = {}, []
    for token in targets[:-1]:
        if token in MASKS:
            spans[token] = current = []
        else:
            current.append(token)
    for token in source:
        found += spans.pop(token) if token in MASKS else [token]
    assert not spans and targets[-1] == END
    return found


def test_spans_can_be_put_back():
    plain = rows()
    options = {"rate": 0.3, "mean_span": 3.0, "mask_ids": MASKS, "end_id": END}
    source, targets = corruption.corrupt_spans(plain, (5,), **options)
    again = corruption.corrupt_spans(plain, (5,), **options)
    other = corruption.corrupt_spans(plain, (6,), **options)
    assert lists(source) == lists(again[0]) and lists(targets) == lists(again[1])
    assert lists(source) != lists(other[0])
    assert (
        source.lengths.tolist() == other[0].lengths.tolist() and targets.lengths.tolist() == other[1].lengths.tolist()
    )
    for before, read, predicted in zip(lists(plain), lists(source), lists(targets)):
        assert put_back(read, predicted) == before
        hidden = len(predicted) - 1 - sum(token in MASKS for token in predicted)
        assert hidden == min(max(round(0.3 * len(before)), min(len(before), 1)), len(before))
        in_source = [token for token in read if token in MASKS]
        assert in_source == [token for token in predicted if token in MASKS] == list(MASKS[: len(in_source)])
        assert len(in_source) == min(max(round(hidden / 3), min(hidden, 1)), len(before) - hidden + 1)
        assert all(one not in MASKS or two not in MASKS for one, two in zip(read, read[1:])), "spans are apart"


def test_spans_are_anywhere_with_equal_probability():
    """Of 5 tokens 2 are hidden in one span: it begins at any of 4 positions."""
    plain = Ragged.from_rows([[4, 5, 6, 7, 8]] * 4000)
    options = {"rate": 0.4, "mean_span": 2.0, "mask_ids": MASKS, "end_id": END}
    source, _ = corruption.corrupt_spans(plain, (1,), **options)
    counts = np.bincount(np.argmax(source.padded() == MASKS[0], axis=1), minlength=4)
    assert counts.sum() == 4000 and (np.abs(counts - 1000) < 120).all()


def test_masked_tokens_are_80_10_10():
    plain = Ragged.from_rows([np.arange(200, 241)] * 400)
    source, positions, tokens = corruption.mask_tokens(plain, (7,), rate=0.15, mask_id=3, random_ids=(4, 99))
    assert (tokens.lengths == 6).all() and (positions.lengths == 6).all()
    for row in (0, 17, 399):
        assert plain[row][positions[row]].tolist() == tokens[row].tolist()
        same = np.setdiff1d(np.arange(41), positions[row])
        assert (source[row][same] == plain[row][same]).all() and (np.diff(positions[row]) > 0).all()
    hidden = np.concatenate([source[row][positions[row]] for row in range(400)])
    shares = [np.mean(hidden == 3), np.mean((hidden >= 4) & (hidden < 99)), np.mean(hidden == tokens.values)]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.025)
    assert np.abs(np.bincount(positions.values, minlength=41) / 400 - 6 / 41).max() < 0.08
    short = corruption.mask_tokens(Ragged.from_rows([[5], []]), (7,), rate=0.15, mask_id=3, random_ids=(4, 99))
    assert [lists(each) for each in short[1:]] == [[[0], []], [[5], []]]


def test_infilled_spans_keep_the_other_tokens():
    plain = rows(4)
    source = corruption.infill_spans(plain, (2,), rate=0.3, mean_span=3.0, mask_id=3)
    for before, after in zip(lists(plain), lists(source)):
        kept = [token for token in after if token != 3]
        masked = corruption.num_masked(len(before), 0.3)
        assert len(kept) == len(before) - masked
        rest = iter(before)
        assert all(token in rest for token in kept), "not in their order"
        assert after.count(3) == corruption.num_spans(len(before), masked, 3.0)
    many = corruption.infill_spans(Ragged.from_rows([range(4, 44)] * 500), (2,), rate=0.3, mean_span=3.0, mask_id=3)
    gaps = []
    for row in range(500):
        tokens = [3, *many[row], 44]
        gaps += [tokens[n + 1] - tokens[n - 1] - 1 for n in range(2, len(tokens) - 1) if tokens[n] == 3]
    shares = np.bincount(gaps, minlength=6)[:6] / len(gaps)
    expected = [math.comb(12, n) * 0.25**n * 0.75 ** (12 - n) for n in range(6)]  # 12 tokens fall into 4 spans
    np.testing.assert_allclose(shares, expected, atol=0.04)


def test_sentences_are_permuted_whole():
    plain = Ragged.from_rows([[5, 6, 9, 7, 9, 8], [5, 5], [], [9, 9, 4]])
    seen = set()
    for seed in range(40):
        moved = corruption.permute_sentences(plain, (seed,), [9])
        assert lists(moved)[1:3] == [[5, 5], []]
        seen.add(tuple(moved[0]))
    parts_of_row = ([5, 6, 9], [7, 9], [8])
    assert seen == {tuple(itertools.chain(*order)) for order in itertools.permutations(parts_of_row)}


def test_an_epoch_is_a_function_of_seed_and_number(monkeypatch):
    monkeypatch.setattr(corruption, "BLOCK", 64)  # several blocks

    def corrupt(part, seed):
        source, targets = corruption.corrupt_spans(part, seed, rate=0.3, mean_span=3.0, mask_ids=MASKS, end_id=END)
        return {"source": source, "targets": targets}

    plain = rows()
    one, two = (corruption.CorruptedCorpus(plain, corrupt, 5) for _ in range(2))
    assert one.epoch(3).fingerprint == two.epoch(3).fingerprint != one.epoch(4).fingerprint
    for name in ("source", "targets"):
        assert one.bounds.lengths(name).tolist() == one.epoch(7).lengths(name).tolist()
    found = one.epoch(1)
    pairs = zip(lists(found.features["source"]), lists(found.features["targets"]))
    assert [put_back(*pair) for pair in pairs] == lists(plain)


def test_texts_that_overlap_are_left_out(tmp_path):
    words = "one two three four five six seven eight nine"
    (tmp_path / "test.tsv").write_text(f"A name\tSo {words.upper()}!\n", encoding="utf-8")
    quoted = f"p q r s t u v {words[4:]}"  # 1 of 8 runs is in the file
    texts = [f"x {words} y", words[4:], "a NAME", "a name here", f"{words[:-5]} ten", quoted]
    source = data.MemorySource({"train": {"text": texts}, "dev": {"text": texts}, "test": {"text": texts}})
    found = data.WithoutTexts(source, "text", str(tmp_path / "*.tsv"))
    (chunk,) = found.chunks("train")
    assert chunk.columns["text"] == ["a name here", quoted] and chunk.skipped == 4
    assert next(found.chunks("dev")).columns["text"] == texts
    assert list(parts("a b")) == ["a b"] and list(parts("")) == []
    with pytest.raises(_checks.DataError, match="no file of this name"):
        data.WithoutTexts(source, "text", str(tmp_path / "no.tsv")).check()
