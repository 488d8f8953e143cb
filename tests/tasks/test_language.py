import itertools

import numpy as np
import pytest
import tensorflow as tf

from kerazoo import tasks
from kerazoo.data import Ragged
from kerazoo.tasks import topics
from kerazoo.tasks.text_feature import cut_windows


@pytest.mark.parametrize("length, stride", [*itertools.product([1, 3, 5], [1, 2, 3, 5])])
def test_windows_reach_every_entry(length, stride):
    if stride > length:
        return
    rows = [list(range(4, 4 + n)) for n in (7, 0, 1, 3, 5, 12)]
    expected = []
    for row in rows:
        for start in range(0, len(row), stride):
            expected.append(row[start : start + length])
            if start + length >= len(row):
                break
    assert [window.tolist() for window in cut_windows(Ragged.from_rows(rows), length, stride)] == expected


@pytest.fixture(scope="module")
def task():
    return tasks.create("topics", length=31)


def test_sections_are_on_one_side_and_stand_once(task):
    texts = {split: task.columns(split)["text"] for split in ("train", "dev", "test")}
    sizes = {split: sum(map(len, text)) for split, text in texts.items()}
    assert sizes["train"] > 200_000 and sizes["dev"] > 10_000 and sizes["test"] > 10_000
    paragraphs = {
        split: {part for text in texts[split] for part in text.split("\n\n") if len(part) >= topics.QUOTED}
        for split in texts
    }
    assert not paragraphs["train"] & (paragraphs["dev"] | paragraphs["test"])


def test_windows_are_the_text(task):
    corpus = task.load("dev")
    assert corpus.lengths("targets").max() == 31
    rows = corpus.features["targets"]
    ends = np.flatnonzero(rows.values == task.targets.tokenizer.end_id)
    texts = task.columns("dev")["text"]
    assert len(ends) == len(texts)
    first = task.targets.tokenizer.detokenize(rows.values[None, : ends[0] + 1]).numpy()[0].decode()
    assert [a for a, b in zip(first, texts[0]) if a != b and a != "\ufffd"] == []
    assert len(first) == len(texts[0])


def test_batch_sizes_and_metrics(task):
    inputs, targets, weights = task.batch(*task.load("dev").batch([0, 1, -1], {"targets": 37}))
    assert list(inputs) == ["targets"] and np.array_equal(inputs["targets"], targets)
    assert np.asarray(weights).sum() == 62
    sizes = task.sizes()
    assert sizes["max_length"] == task.max_length == 31
    logits = np.zeros((3, 37, sizes["vocabulary_size"]), np.float32)
    loss = float(task.loss()(targets, logits, sample_weight=weights))
    assert loss == pytest.approx(np.log(sizes["vocabulary_size"]), rel=1e-5)
    perplexity = task.metrics()[1]
    perplexity.update_state(targets, logits, sample_weight=weights)
    assert float(perplexity.result()) == pytest.approx(sizes["vocabulary_size"], rel=1e-4)


def test_prompts_are_the_first_halves(task):
    prompts, references = task.examples("dev", limit=3)
    assert len(prompts) == 3
    assert sum(len(whole) == 31 for (whole,) in references) >= 2
    for prompt, (whole,) in zip(prompts, references):
        half = 15 if len(whole) == 31 else (len(whole) + 1) // 2  # the end of a text is a token of its last window
        assert whole.startswith(prompt) and len(prompt) == half
    inputs = task.encode(prompts)
    assert inputs["prompt"].shape == (3, 15)
    assert task.decode(inputs["prompt"]) == prompts
    ids = task.encode_packed({"prompt": tf.constant(prompts)})["prompt"]
    assert [t.decode() for t in task.decode_in_graph(ids)["text"].numpy()] == prompts
    assert task.evaluate([(6.0, 2), (1.0, 2)], references[:2]) == {"nats": 1.75}  # of 4 tokens


def test_training_windows_may_overlap():
    apart, over = (tasks.create("topics", length=31, stride=stride) for stride in (None, 7))
    assert len(over.load("train")) > 3.5 * len(apart.load("train"))
    assert len(over.load("dev")) == len(apart.load("dev"))


def test_bytes_and_words():
    assert tasks.create("topics", target_tokens="bytes").sizes()["vocabulary_size"] == 260
    assert tasks.create("topics", target_tokens="words").sizes()["vocabulary_size"] > 3000
