"""A run is looked into by its command: pictures are written, tables printed, and what does not apply is named."""

import numpy as np
import pytest
from commands import in_process, refused

import kerazoo as kz
from kerazoo.run import inspection, scored_prediction
from kerazoo.run.model_building import build_model

TRAINING = {"epochs": 1, "xla": False, "batch_size": 8, "max_shapes": 1, "optimizer": "sgd"}


@pytest.fixture(scope="module")
def reversing():
    """A model that has learnt nothing."""
    task = kz.tasks.create("reverse", length=3, examples=16)
    sizes = {"units": 5, "embedding_dim": 3, "encoder_units": 4}
    return kz.run.Predictor(build_model("lstm_seq2seq_attention", task, sizes), task)


@pytest.fixture(scope="module")
def classifying(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifying")
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("text\tlabel\n" + "ab cd\tgood\nef\tbad\ncd ef\tgood\nab\tbad\n" * 4)
    options = {"data_dir": folder, "inputs": "text:text", "targets": "label:label"}
    model = {"num_layers": 1, "hidden_dim": 4, "num_heads": 2, "intermediate_dim": 6}
    kz.run.train("transformer_classifier", "table", folder / "run", model, options, TRAINING,
                 evaluate=False, tensorboard=False)  # fmt: skip
    return folder / "run"


def test_a_model_that_generates(reversing, tmp_path):
    parts = ("attention", "attribution", "gates", "confusion")
    found = inspection.inspect_predictor(reversing, tmp_path, ["abc"], parts, target="cba")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {path.name for path in found.pictures} == {
        "1-attention-decoder.attention.png", "1-attribution.png", "1-gates-decoder.lstm_0.png",
        "1-gates-encoder.backward_0.png", "1-gates-encoder.forward_0.png",
    }  # fmt: skip
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in tmp_path.iterdir())
    assert found.tables["Input 1"][1][0] == "abc" and found.tables["Input 1"][1][1].startswith("'cba': log-odds")
    table = next(rows for title, rows in found.tables.items() if "decoder.attention" in title)
    assert [row[0] for row in table[1:]] == ["c", "b", "a", "<end>"] and {row[1] for row in table[1:]} <= set("abc")
    assert list(found.left_out) == ["confusion"] and "predicts text" in found.left_out["confusion"]
    found = inspection.inspect_predictor(reversing, tmp_path, ["abc"], ("attention",), layers="encoder.*")
    assert not found.pictures and "has no layer of attention that matches" in found.left_out["attention"]


def test_a_classifier_with_dev_examples(classifying):
    out, err = in_process("inspect", f"--run_dir={classifying}", "ef cd")
    names = {path.name for path in (classifying / "inspect").iterdir()}
    assert names == {
        "1-attention-encoder.block_0.attention.png", "1-attribution.png", "calibration.png", "confusion.png",
        "embeddings.png", "projector_config.pbtxt", "vectors-labels.tsv", "vectors.tsv",
    }  # fmt: skip
    vectors, labels = (np.loadtxt(classifying / "inspect" / name, str, delimiter="\t")
                       for name in ("vectors.tsv", "vectors-labels.tsv"))  # fmt: skip
    assert labels[0].tolist() == ["input", "group"] and labels[-1].tolist() == ["ef cd", "input"]
    assert vectors.shape == (len(labels) - 1, 4)
    assert "expected calibration error" in out and "the nearest dev examples" in out
    assert "Left out: gates: TransformerClassifier has no LSTM layer that matches." in err


def test_what_is_wrong_is_named(classifying):
    assert "must be one of" in refused("inspect", f"--run_dir={classifying}", "--parts=colours", "x")
    error = refused("inspect", f"--run_dir={classifying}", "--target=neutral", "--parts=attribution", "x")
    assert "--target" in error and "'neutral'" in error


def test_names_of_tokens_and_sentences():
    names = ["the", " cat", ".", "it", "?", "so"]
    assert scored_prediction.sentences(names, [5, 6, 7, 8, 9, 10], [7, 9], 5) == ["the cat .", "it ?", "so", "", ""]
    tokenizer = kz.text.CharacterTokenizer(["a", "b"])
    ids = tokenizer.encode(["ab"])[0]
    assert scored_prediction.token_names(tokenizer, np.array([0, 1, 2, 3, *ids])) == [
        "<pad>", "<start>", "<end>", "<unknown>", "a", "b",
    ]  # fmt: skip
