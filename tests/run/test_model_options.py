"""Options of a model in a run, and memory that is refused, in words that name what was given."""

import copy
import dataclasses

import keras
import numpy as np
import pytest

from kerazoo import _checks, catalog, data, run, tasks
from kerazoo.run import memory
from kerazoo.run.model_building import build_model


@pytest.fixture(scope="module")
def made():
    digits = tasks.create("digits", "classifier")
    image = copy.copy(digits.inputs[0])
    image.preprocess = "standardise"
    standardised = dataclasses.replace(digits, inputs=(image,))
    return {"digits": digits, "standardised": standardised, "copy": tasks.create("copy", length=3, examples=50)}


@pytest.mark.parametrize(
    ("model", "task", "options", "message"),
    [
        ("mlp_classifier", "digits", {"dtype": "bogus"}, "mlp_classifier: `dtype` must be .* got dtype='bogus'"),
        ("mlp_classifier", "digits", {"name": "a/b"}, "`name` must be .* without '/'; got name='a/b'"),
        ("mlp_classifier", "digits", {"kernel_regularizer": "x"}, "cannot be built with .* Could not interpret"),
        ("mlp_classifier", "digits", {"num_classes": 3}, "task digits: its data determines `num_classes`=10; got"),
        ("mlp_classifier", "digits", {"input_shape": (64,)}, r"determines `input_shape`=\(8, 8, 1\); got in"),
        ("mlp_classifier", "digits", {"head_activation": "softmax"}, "`head_activation` must be None in a run.*'soft"),
        ("mlp_classifier", "digits", {"units": (0,)}, r"^DenseEncoder: `units\[0\]` must be an integer above 0"),
        ("lstm_seq2seq", "copy", {"end_id": 0}, "task copy: its data determines `end_id`=2; got end_id=0"),
        ("lstm_seq2seq", "copy", {"target_vocabulary_size": 3}, "`target_vocabulary_size` must be at least 14.*; got"),
        ("backbone+classifier", "digits", {}, "`height` and `width` must be at least 32 .* got images of 8 x 8 pixels"),
        (
            "backbone+classifier",
            "standardised",
            {},
            "`preprocess` must be 'scale' for the encoder backbone.*'standardise'",
        ),
        ("transformer_seq2seq_tiny", "copy", {"num_encoder_layers": 10**6}, "`num_encoder_layers` must be at most 1,0"),
    ],
)
def test_options_that_no_run_can_have(made, model, task, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(model, made[task], options)


def test_options_that_repeat_the_data_are_accepted(made):
    options = {"input_shape": [8, 8, 1], "units": (3,), "head_activation": None}
    model = build_model("mlp_classifier", made["digits"], options)
    assert model.count_params() == 64 * 3 + 3 + 3 * 10 + 10


@pytest.mark.parametrize("tokens", ["words", "words_and_punctuation", "characters"])
def test_sentences_end_where_a_token_of_the_input_does(tokens):
    texts = {"text": ["is it so? it is.", "no! it is not"], "answer": ["yes", "no"]}
    source = data.MemorySource({split: texts for split in ("train", "dev", "test")})
    inputs = tasks.TextFeature("text", vocabulary=tasks.Vocabulary(tokens))
    task = tasks.Task(source, [inputs], tasks.TextFeature("answer", vocabulary=tasks.Vocabulary("words")))
    assert task.sentence_ends[0] == inputs.tokenizer.end_id
    ends = {inputs.tokenizer.token_bytes[each].strip() for each in task.sentence_ends[1:]}
    assert ends == ({b"so?", b"is.", b"no!"} if tokens == "words" else {b"?", b".", b"!"})
    options = {"hidden_dim": 8, "num_heads": 2, "intermediate_dim": 11, "sentences": True}
    model = build_model("transformer_seq2seq_tiny", task, options)
    assert model.source_embedding.sentence_ends == task.sentence_ends
    with pytest.raises(ValueError, match="lstm_seq2seq .*sentences"):
        build_model("lstm_seq2seq", task, {"sentences": True})


def test_a_model_too_large_for_the_machine_is_refused_before_it_is_made(made, monkeypatch):
    monkeypatch.setattr(catalog, "_machine_memory", lambda: 2**34)
    with pytest.raises(_checks.SetupError, match="mlp_classifier: 7,500,000,010 weights take 28 GiB, .* has 16 GiB"):
        build_model("mlp_classifier", made["digits"], {"units": 10**8})


def test_a_model_too_large_for_the_machine_names_what_was_tried(made, monkeypatch):
    monkeypatch.setattr(catalog, "_machine_memory", lambda: 0)  # where the system does not tell
    with pytest.raises(_checks.SetupError) as raised:
        build_model("mlp_classifier", made["digits"], {"units": [2**18, 2**28]})
    assert str(raised.value) == (
        "mlp_classifier with the options {'units': [262144, 268435456]}: there is not enough memory "
        "(shape[262144,268435456]). Set smaller sizes of the model."
    )
    assert build_model("mlp_classifier", made["digits"], {"units": 3}).built  # nothing is left of the first one


class ResourceExhaustedError(Exception):
    """Named as that of TensorFlow."""


class XlaRuntimeError(RuntimeError):
    """Named as that of JAX."""


@pytest.mark.parametrize(
    ("error", "tried"),
    [
        (ResourceExhaustedError("OOM when allocating tensor with shape[64,100] and type float"), " (shape[64,100])"),
        (XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes."), " (allocating 4096 bytes)"),
        (MemoryError("Unable to allocate 8.00 EiB for an array with shape (9, 10)"), " (allocate 8.00 EiB)"),
        (MemoryError(), ""),
    ],
)
def test_refused_memory_is_told_apart(error, tried):
    with pytest.raises(_checks.SetupError) as raised, memory.reported("Model with units=3", "Set less."):
        try:
            raise error
        except type(error):
            raise TypeError("a wrapper that failed") from None
    assert str(raised.value) == f"Model with units=3: there is not enough memory{tried}. Set less."


@pytest.mark.parametrize("error", [XlaRuntimeError("INVALID_ARGUMENT: x"), ValueError("x"), _checks.SetupError("x")])
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as raised, memory.reported("a", "b"):
        raise error
    assert raised.value is error


def test_a_batch_that_does_not_fit_names_the_argument(made, monkeypatch):
    model = build_model("mlp_classifier", made["digits"], {"units": (3,)})
    predictor = run.Predictor(model, made["digits"], batch_size=2)

    def refuse(batch):
        raise ResourceExhaustedError("OOM when allocating tensor with shape[2,64]")

    monkeypatch.setattr(keras.Model, "predict_on_batch", lambda self, batch: refuse(batch))
    with pytest.raises(_checks.SetupError, match=r"with 2 inputs at a time: .*\(shape\[2,64\]\). Set a smaller `b"):
        predictor([np.zeros((8, 8, 1), np.uint8)] * 3)
