"""From options to batches: which plan, which changes, and what is refused before anything is read."""

import types

import numpy as np
import pytest

import kerazoo as kz
from kerazoo.run import TrainingOptions, batching


def corpus(count=41):
    random = np.random.default_rng(0)
    rows = [random.integers(4, 17, n) for n in random.integers(1, 9, count)]
    return kz.data.Corpus({"source": kz.data.Ragged.from_rows(rows), "targets": kz.data.Ragged.from_rows(rows)})


def test_batches_are_counted_in_examples_or_in_tokens():
    plan, dev = batching.plans(TrainingOptions(batch_size=7, max_shapes=2), corpus(), corpus(5))
    assert {shape.rows for shape in plan.shapes} == {7} and len(plan.shapes) == 2
    assert len(dev.shapes) == 1 and not dev.shuffle
    plan, _ = batching.plans(TrainingOptions(batch_tokens=24, max_shapes=2), corpus(), corpus(5))
    assert all(shape.rows * shape.lengths["source"] <= 24 for shape in plan.shapes)


def test_training_examples_share_rows_and_dev_examples_never_do():
    plan, dev = batching.plans(TrainingOptions(batch_size=7, packing=True), corpus(), corpus(5))
    assert plan.shapes[0].segments > 1 and plan.valid_fraction > 0.9
    assert dev.shapes[0].segments == 0


def test_dev_examples_of_very_different_lengths_get_several_shapes():
    lengths = [5] * 700 + [11] * 300 + [499] * 7
    rows = kz.data.Ragged.from_lengths(np.ones(sum(lengths), "int32"), lengths)
    uneven = kz.data.Corpus({"source": rows, "targets": rows})
    _, dev = batching.plans(TrainingOptions(batch_size=13, max_shapes=4), corpus(), uneven)
    assert 1 < len(dev.shapes) < 4 and dev.valid_fraction > 0.5 and not dev.shuffle
    _, dev = batching.plans(TrainingOptions(batch_size=13, max_shapes=1), corpus(), uneven)
    assert len(dev.shapes) == 1
    _, dev = batching.plans(TrainingOptions(batch_size=499, max_shapes=4), corpus(), uneven)
    assert len(dev.shapes) == 1  # a few steps take less time than compiling another shape


def test_changes_follow_from_the_options():
    assert batching.augment(TrainingOptions(), corpus()) is None
    options = TrainingOptions(augment=["word_dropout:rate=0.2", "replacement"], seed=3)
    change = batching.augment(options, corpus())
    assert change.seed == 3 and len(change.transforms) == 2
    assert TrainingOptions(augment="flip").augment == ("flip",)
    with pytest.raises(ValueError, match="cannot rotate; got packing=True"):
        batching.augment(TrainingOptions(augment=["rotation"], packing=True), corpus())


def labels(modality="label"):
    """A task with two classes, and a corpus with one example of the first and three of the second."""
    targets = types.SimpleNamespace(modality=modality, names=["ham", "spam=1"])
    return types.SimpleNamespace(targets=targets), kz.data.Corpus({"targets": np.array([1, 0, 1, 1])})


def test_classes_have_weights_by_name_or_by_their_number_of_examples():
    assert batching.class_weight(TrainingOptions(), *labels()) == {}
    assert batching.class_weight(TrainingOptions(class_weight="balanced"), *labels()) == {0: 2.0, 1: 2 / 3}
    assert batching.class_weight(TrainingOptions(class_weight=["spam=1=0.5"]), *labels()) == {1: 0.5}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("spam", r"`class_weight` must be 'balanced' or NAME=WEIGHT; got 'spam'"),
        ("ham=x", r"`class_weight` must be 'balanced' or NAME=WEIGHT; got 'ham=x'"),
        ("hams=2", r"`class_weight` must be one of 'ham', 'spam=1'; got class_weight='hams'. Did you mean 'ham'"),
        ("ham=-1", r"`class_weight of 'ham'` must be a number of at least 0; got .*-1"),
    ],
)
def test_class_weights_that_cannot_be(given, message):
    with pytest.raises(ValueError, match=message):
        batching.class_weight(TrainingOptions(class_weight=given), *labels())


def test_class_weights_need_labels_that_can_be_counted():
    with pytest.raises(ValueError, match=r"`class_weight` needs a label as target; got .* of modality 'text'"):
        batching.class_weight(TrainingOptions(class_weight="balanced"), *labels("text"))
    with pytest.raises(ValueError, match=r"the classes of a stream are not counted; got feed='stream'"):
        batching.class_weight(TrainingOptions(class_weight="balanced"), labels()[0], object())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"augment": ["word_dropot"]}, "Unknown augmentation 'word_dropot'. Close names: word_dropout"),
        ({"augment": "flip:horizontal"}, "must be NAME or NAME:OPTION=VALUE.* got 'flip:horizontal'"),
        ({"batch_tokens": -1}, "`batch_tokens` must be an integer of at least 0; got batch_tokens=-1"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        TrainingOptions(**options)


def test_one_size_of_a_batch_is_enough(tmp_path):
    with pytest.raises(ValueError, match="`batch_size` or `batch_tokens`; got batch_size=3, batch_tokens=50"):
        kz.run.train("lstm_seq2seq", run_dir=tmp_path / "run", training={"batch_size": 3, "batch_tokens": 50})
