"""Prompts and what follows them: what a language model reads, what its loss counts, and what it predicts."""

import keras
import numpy as np
import pytest
from commands import in_process, refused
from keras import ops

import kerazoo as kz
from kerazoo._checks import DataError
from kerazoo.data import MemorySource
from kerazoo.run import model_building
from kerazoo.tasks.prompted_text import PromptedTextFeature

TEXTS = {"prompt": ["ab", "", "abcabc", "b"], "target": ["c", "ba", "abc", ""]}
END = 2


@pytest.fixture(scope="module")
def task():
    feature = PromptedTextFeature("prompt", "target", max_length=8)
    return kz.tasks.Task(MemorySource(lambda split: TEXTS), (), feature).fit()


def rows(task):
    found = task.load("train").features["targets"]
    return [found[row].tolist() for row in range(len(found))]


def test_a_row_is_the_prompt_its_end_and_the_rest(task):
    ids = {text: number for number, text in enumerate(map(bytes.decode, task.tokenizers["target"].token_bytes)) if text}
    a, b, c = (ids[each] for each in "abc")
    assert rows(task) == [
        [a, b, END, c, END], [END, b, a, END], [a, b, c, END, a, b, c, END], [b, END, END],
    ]  # fmt: skip
    assert task.kind == "language_model" and task.max_length == 8 and task.load("train").notes == {"clipped": 1}
    assert task.sizes()["vocabulary_size"] == 4 + 3 and task.input_columns == ("prompt",)
    np.testing.assert_array_equal(task.encode(["ab", "cabcabcabc"])["prompt"],
                                  [[a, b, END, 0, 0, 0, 0], [a, b, c, a, b, c, END]])  # fmt: skip
    assert task.encode([""])["prompt"].tolist() == [[END]]


def test_the_loss_counts_what_follows_alone(task):
    padded = task.load("train").features["targets"].padded()
    inputs, targets, weights = task.batch({"targets": padded}, np.ones(4, bool))
    assert ops.convert_to_numpy(weights).tolist() == [
        [0, 0, 0, 1, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0, 0, 0],
    ]  # fmt: skip
    assert ops.shape(inputs["targets"]) == ops.shape(targets) == (4, 8)
    packed = [[*rows(task)[0], *rows(task)[1]]]
    _, _, weights = task.batch({"targets": np.array(packed)}, np.ones(1, bool))
    assert ops.convert_to_numpy(weights).tolist() == [[0, 0, 0, 1, 1, 0, 1, 1, 1]]
    invalid = ops.convert_to_numpy(task.batch({"targets": padded}, np.zeros(4, bool))[2])
    assert not invalid.any()


def test_a_prediction_has_no_prompt(task):
    texts = task.decode(rows(task))
    assert texts == TEXTS["target"]
    found = task.decode_in_graph(task.load("train").features["targets"].padded())["answer"]
    assert [each.decode() for each in found.numpy()] == texts
    (a, b, *_), *_ = rows(task)
    for row, text in (([a, b], "ab"), ([a, b, END], "ab"), ([a, END, b], "b"), ([a, END, 0, 0], "a")):
        assert task.decode([row]) == [text]
        graph = task.decode_in_graph(np.array([row], "int32"))["answer"]
        assert graph.numpy()[0].decode() == text
    assert task.examples("dev") == (TEXTS["prompt"], [[text] for text in TEXTS["target"]])
    assert task.targets.baselines(task.load("train").features["targets"], ()) == {"most frequent answer": "c"}


def test_a_model_predicts_what_follows(task):
    keras.utils.set_random_seed(1)
    model = model_building.build_model("lstm_lm", task, {"units": 7, "embedding_dim": 5})
    found = kz.run.Predictor(model, task)
    texts = found(["ab", "abcabc", ""])
    assert all(len(text) <= 8 for text in texts)
    (ranked,) = found.predictions(["ab"], search="beam", num_beams=2, n_best=2)
    assert ranked[0].text == task.decode([[*task.encode(["ab"])["prompt"][0].tolist(), *ranked[0].tokens]])[0]
    assert "".join(found.stream("ab")) == texts[0]
    evaluated = task.evaluate(texts, [[text] for text in texts])
    assert evaluated["sequence_error_rate"] == 0


def test_the_command_tunes_a_language_model(tmp_path):
    (tmp_path / "text.txt").write_text("abcd efgh\n" * 40)
    (tmp_path / "pairs.tsv").write_text("question\tanswer\n" + "".join(
        f"{a}{b}\t{b}{a}\n" for a in "abcdefgh" for b in "abcdefgh"))  # fmt: skip
    common = ["--batch_size=8", "--noxla", "--notensorboard", "--cache_dir=", "--max_shapes=1", "--epochs=1"]
    in_process("run", "--model=lstm_lm", "--task=text", f"--data_dir={tmp_path / 'text.txt'}", "--length=16",
               "--target_tokens=bytes",
               "--set=units=7", "--set=embedding_dim=5", f"--run_dir={tmp_path / 'lm'}", *common)  # fmt: skip
    out, err = in_process(
        "finetune", f"--from={tmp_path / 'lm'}", "--task=prompts", f"--data_dir={tmp_path / 'pairs.tsv'}",
        "--source_column=question", "--target_column=answer", f"--run_dir={tmp_path / 'run'}", *common,
    )  # fmt: skip
    assert "Starts from" in err and "sequence_error_rate" in out and "most frequent answer" in out
    out, _ = in_process("predict", f"--run_dir={tmp_path / 'run'}", "ab")
    assert len(out.strip().splitlines()) <= 1
    trained = kz.load(tmp_path / "run")
    assert trained.task.tokenizers["target"].hash == kz.load(tmp_path / "lm").task.tokenizers["target"].hash
    err = refused("finetune", f"--from={tmp_path / 'lm'}", "--task=prompts", f"--data_dir={tmp_path / 'pairs.tsv'}",
                  "--source_column=no", f"--run_dir={tmp_path / 'other'}", code=3)  # fmt: skip
    assert "no" in err and "question" in err


def test_bad_input_is_refused(tmp_path):
    (tmp_path / "bad.tsv").write_text("a\tb\nc\n")
    with pytest.raises(DataError, match=r"bad\.tsv:2: "):
        kz.tasks.create("prompts", data_dir=tmp_path / "bad.tsv", held_out=0).load("train")
    for options, words in (
        ({}, "needs `data_dir`, a file or a folder with prompts"),
        ({"data_dir": tmp_path / "bad.tsv", "max_length": 3}, "`max_length` must be at least 4"),
        ({"data_dir": tmp_path / "bad.tsv", "source_tokens": "words"}, "`source_tokens` has no use"),
        ({"data_dir": tmp_path / "bad.tsv", "target_tokens": "subwords", "subword_dropout": 0.1}, "`subword_dropout`"),
    ):
        with pytest.raises(ValueError, match=words):
            kz.tasks.create("prompts", **options)
