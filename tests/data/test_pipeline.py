import itertools

import numpy as np
import pytest

from kerazoo.data import Corpus, Plan, Ragged, batches, dataset

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def corpus():
    random = np.random.default_rng(2)
    source = Ragged.from_rows([random.integers(4, 9, n) for n in random.integers(1, 13, 53)])
    return Corpus({"source": source, "image": random.integers(0, 255, (53, 2, 3), np.uint8)})


def test_same_batches_with_and_without_tensorflow(corpus):
    plan = Plan.of(corpus, batch_size=7, max_shapes=3)
    assert len(plan.shapes) > 1
    made = dataset(corpus, plan, epoch=2)
    assert made.cardinality() == plan.steps
    count = 0
    for (features, valid), (expected, real), batch in zip(made, batches(corpus, plan, epoch=2), plan.epoch(2)):
        assert np.array_equal(valid, real) and real.tolist() == [True] * len(batch.rows)
        for name in ("source", "image"):
            assert features[name].dtype == expected[name].dtype
            assert np.array_equal(features[name], expected[name])
        assert expected["source"].shape == (len(batch.rows), plan.shapes[batch.shape_index].lengths["source"])
        for row, tokens in zip(batch.rows, expected["source"]):
            assert tokens[tokens > 0].tolist() == corpus[row]["source"].tolist()
        count += 1
    assert count == plan.steps


def test_a_run_that_goes_on_gets_the_rest(corpus):
    plan = Plan.of(corpus, tokens=40)
    whole = [features["source"].numpy() for features, _ in dataset(corpus, plan, epoch=1)]
    rest = [features["source"].numpy() for features, _ in dataset(corpus, plan, epoch=1, start=2)]
    assert len(rest) == len(whole) - 2
    assert all(np.array_equal(a, b) for a, b in zip(whole[2:], rest))
    assert len({array.shape[0] for array in whole}) > 1  # short batches have more rows
    again = itertools.islice(batches(corpus, plan, epoch=1, start=2), 1)
    assert np.array_equal(next(again)[0]["source"], rest[0])


def test_batch_fn_runs_in_the_pipeline_and_one_shape_is_static(corpus):
    corpus = corpus.take(range(49))
    plan = Plan.of(corpus, batch_size=7, max_shapes=1)
    made = dataset(corpus, plan, lambda features, valid: (features["source"] + 1, features["image"], valid))
    longest = int(corpus.lengths("source").max())
    inputs, images, valid = made.element_spec
    assert (inputs.shape, images.shape, valid.shape) == ((7, longest), (7, 2, 3), (7,))
    assert inputs.dtype == tf.int32 and images.dtype == tf.uint8
    assert next(iter(made))[0].numpy().min() >= 1


def test_a_mapped_corpus_is_fed(corpus, tmp_path):
    corpus.save(tmp_path / "corpus")
    plan = Plan.of(corpus, batch_size=7, max_shapes=2)
    mapped = Corpus.open(tmp_path / "corpus")
    for (one, _), (other, _) in zip(dataset(mapped, plan), batches(corpus, plan)):
        assert np.array_equal(one["source"], other["source"])
