"""Runs that begin with the weights of another run: what is kept, what is refused, and that they need it no more."""

import json
import shutil
from unittest import mock

import numpy as np
import pytest
from commands import in_process, refused
from keras import ops

import kerazoo as kz
from kerazoo._checks import CheckpointError
from kerazoo.models import layer_paths
from kerazoo.run import compiling
from kerazoo.run import start as starts
from kerazoo.run.directory import RunDirectory
from kerazoo.run.options import TrainingOptions

WORDS = ["ab", "ba", "aab", "abb", "bab", "bba", "abab", "baba"]
MODEL = {"units": 7, "embedding_dim": 5}
TRAINING = {"epochs": 1, "batch_size": 8, "xla": False, "max_shapes": 1, "optimizer": "sgd"}


@pytest.fixture(scope="module", autouse=True)
def eager():
    """Trains without compiling: there are many runs of one step."""
    compile_model = compiling.compile_model

    def eagerly(model, *arguments):
        compile_model(model, *arguments)
        model.run_eagerly = True

    with mock.patch.object(compiling, "compile_model", eagerly):
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Tables of words with their reverse and a class, with letters that only the second one has."""
    folder = tmp_path_factory.mktemp("data")
    for name, letters in (("one", {}), ("two", {"b": "c"})):
        (folder / name).mkdir()
        words = [word.translate(str.maketrans(letters)) for word in WORDS]
        for split in ("train", "dev", "test"):
            lines = [f"{word}\t{word[::-1]}\t{'long' if len(word) > 2 else 'short'}\n" for word in words]
            (folder / name / f"{split}.tsv").write_text("source\ttarget\tsize\n" + "".join(lines))
    return folder


@pytest.fixture(scope="module")
def source(data):
    """A run that reverses words."""
    run("train", "lstm_seq2seq", data / "source", "table", data / "one", {"header": True}, model_options=MODEL)
    return data / "source"


def run(function, first, run_dir, task, data_dir, task_options=None, training=None, **options):
    lines = []
    options = {"evaluate": False, "tensorboard": False, "print_fn": lines.append, **options}
    given = {"data_dir": data_dir, **(task_options or {})}
    predictor = getattr(kz.run, function)(
        first, task=task, run_dir=run_dir, task_options=given, training={**TRAINING, **(training or {})}, **options
    )
    return predictor, "\n".join(lines)


def weights(predictor):
    found = layer_paths.variables(predictor.model)
    return {path: np.array(ops.convert_to_numpy(variable.value)) for path, variable in found.items()}


LABELS = {"header": True, "inputs": "text:source", "targets": "label:size"}


@pytest.fixture(scope="module")
def classifier(source, data):
    """A classifier that is made of the encoder without training, and what was printed."""
    return run("finetune", source, data / "classifier", "table", data / "two", LABELS, {"epochs": 0})


def test_an_encoder_becomes_a_classifier_without_training(source, data, classifier):
    predictor, told = classifier
    before, after = weights(kz.load(source)), weights(predictor)
    for path, value in after.items():
        if not path.startswith("head"):
            np.testing.assert_array_equal(value, before[path], path)
    assert predictor.task.tokenizers["source"].hash == kz.load(source).task.tokenizers["source"].hash
    record = RunDirectory(data / "classifier").record()
    assert record["model"] == "lstm+classifier" and record["model_options"]["encoder.units"] == 7
    assert record["start"]["path"] == str(source) and len(record["start"]["sha256"]) == 64
    assert record["calls"][-1]["ended"].startswith("Nothing is trained with epochs=0: the run has the weights")
    lines = [line.split() for line in told.splitlines()]
    assert ["encoder", "364", "kept", "yes"] in lines and ["head", "16", "new", "yes"] in lines
    assert "Not taken: decoder.lstm_0" in told
    assert (data / "classifier" / "run.flags").read_text().startswith("# python -m experiments.finetune")
    assert json.loads((data / "classifier" / "receipt.json").read_text())["start"] == record["start"]
    assert set(kz.load(data / "classifier")(["ab", "bab"])) <= {"long", "short"}


def test_the_run_needs_the_other_one_no_more(source, data, tmp_path):
    moved = shutil.copytree(source, tmp_path / "source")
    options = ("table", data / "one", LABELS)
    first, _ = run("finetune", moved, tmp_path / "run", *options)
    shutil.rmtree(moved)
    second, told = run("finetune", moved, tmp_path / "run", *options)
    assert "Trained already" in told and "Starts from" not in told
    for one, two in zip(weights(first).values(), weights(second).values()):
        np.testing.assert_array_equal(one, two)
    third, told = run("finetune", moved, tmp_path / "run", *options, {"epochs": 2})
    assert "Resumes in epoch 2" in told
    with pytest.raises(CheckpointError, match=r"neither a run nor a file of weights to start from"):
        run("finetune", moved, tmp_path / "other", *options)


def test_another_start_is_another_run(source, data, classifier, tmp_path):
    same, other = shutil.copytree(source, tmp_path / "same"), tmp_path / "other"
    run("finetune", same, data / "classifier", "table", data / "two", LABELS, {"epochs": 0})
    run("finetune", source, other, "table", data / "two", {"header": True}, {"epochs": 0}, vocabulary="new")
    with pytest.raises(CheckpointError, match=rf"classifier: belongs to another run: it began with .*; got {other}"):
        run("finetune", other, data / "classifier", "table", data / "two", LABELS, {"epochs": 0})
    with pytest.raises(CheckpointError, match=r"it began with .*\(best, source\); got new weights\. Choose another"):
        run("train", "lstm+classifier", data / "classifier", "table", data / "two", LABELS)
    with pytest.raises(CheckpointError, match=r"it began with new weights; got"):
        run("finetune", data / "classifier", source, "table", data / "one", {"header": True}, model="lstm_seq2seq")


def test_it_is_reproduced_to_the_bit(source, data, tmp_path):
    first, _ = run("finetune", source, tmp_path / "first", "table", data / "one", LABELS, evaluate=True)
    rows = kz.run.reproduce(tmp_path / "first", tmp_path / "second", print_fn=lambda line: None)
    assert rows and all(row.within for row in rows)
    for one, two in zip(weights(first).values(), weights(kz.load(tmp_path / "second")).values()):
        np.testing.assert_array_equal(one, two)
    begin = starts.Start(source, sha256="0" * 64)
    with pytest.raises(CheckpointError, match=r"has other weights than the run began with \(SHA-256"):
        begin.open()


def test_the_task_and_the_model_default_to_those_of_the_run(source, data, tmp_path):
    predictor, told = run("finetune", source, tmp_path / "run", None, data / "two", training={"epochs": 0})
    assert predictor.task.name == "table" and type(predictor.model).__name__ == "LSTMSeq2Seq"
    assert "all" in told and " new " not in told
    before, after = weights(kz.load(source)), weights(predictor)
    for path, value in after.items():
        np.testing.assert_array_equal(value, before[path], path)


def test_another_vocabulary_keeps_the_rows_of_the_same_tokens(source, data, tmp_path):
    predictor, told = run(
        "finetune", source, tmp_path / "run", "table", data / "two", {"header": True}, {"epochs": 0}, vocabulary="new"
    )
    mine, other = (each.task.tokenizers["source"] for each in (predictor, kz.load(source)))
    ids = {each: 4 + mine.vocabulary.index(each) for each in "ac"}
    old = 4 + other.vocabulary.index("a")
    rows = starts.token_rows(other, mine)
    assert rows[:4] == [0, 1, 2, 3] and rows[ids["a"]] == old and rows[ids["c"]] == -1
    after, before = weights(predictor), weights(kz.load(source))
    for path, axis in (("source_embedding.table.embeddings", 0), ("head.kernel", 1)):
        for row, kept in ((3, 3), (ids["a"], old)):
            np.testing.assert_array_equal(np.take(after[path], row, axis), np.take(before[path], kept, axis))
        for kept in range(6):
            assert not np.array_equal(np.take(after[path], ids["c"], axis), np.take(before[path], kept, axis))
    assert "5 of 6 kept" in told


def test_another_vocabulary_has_the_kind_of_tokens_of_the_run(source, data, tmp_path):
    options = ("table", data / "one", {"header": True, "target_tokens": "words"}, {"epochs": 0})
    run("finetune", source, tmp_path / "words", *options, vocabulary="new")
    again = ("table", data / "two", {"header": True}, {"epochs": 0})
    predictor, _ = run("finetune", tmp_path / "words", tmp_path / "run", *again, vocabulary="new")
    kinds = {role: each.registered_name for role, each in predictor.task.tokenizers.items()}
    assert kinds == {"source": "characters", "target": "words"}


def test_options_that_contradict_the_vocabulary_are_refused(source, data, tmp_path):
    table = {"header": True}
    for given, words in (
        ({"source_tokens": "words"}, r"`source_tokens` must be those of source, whose vocabulary has characters; got"),
        ({"vocabulary_size": 99}, r"`vocabulary_size` must be left out .* has 6 tokens .*vocabulary='new'"),
        ({"case": "upper"}, r"`case` must be left out"),
    ):
        with pytest.raises(ValueError, match=words):
            run("finetune", source, tmp_path / "run", "table", data / "one", {**table, **given})
    with pytest.raises(ValueError, match=r"finetune: `vocabulary` must be one of 'source', 'new'"):
        run("finetune", source, tmp_path / "run", "table", data / "one", table, vocabulary="old")
    assert not (tmp_path / "run" / "run.json").exists()


def test_other_sizes_are_refused_with_names_and_shapes(source, data, tmp_path):
    with pytest.raises(CheckpointError, match=r"source: has other shapes than the model.*encoder.*\(5, 28\)"):
        run("finetune", source, tmp_path / "run", "table", data / "one", {"header": True}, model_options={"units": 9})
    assert not (tmp_path / "run" / "run.json").exists()


def test_classes_are_kept_by_their_names(data, classifier, tmp_path):
    (tmp_path / "train.tsv").write_text("source\tsize\n" + "ab\tlong\naab\tmiddle\na\tshort\n" * 5)
    predictor, told = run("finetune", data / "classifier", tmp_path / "run", "table", tmp_path, LABELS, {"epochs": 0})
    before, after = weights(classifier[0])["head.kernel"], weights(predictor)["head.kernel"]
    assert predictor.task.targets.names == ["long", "middle", "short"]
    np.testing.assert_array_equal(after[:, [0, 2]], before)
    assert "2 of 3 kept" in told


def test_a_file_of_weights_makes_a_run(source, data, tmp_path):
    kz.load(source).model.save_weights(tmp_path / "saved.weights.h5")
    options = ("table", data / "one", {"header": True}, {"epochs": 0})
    predictor, _ = run("finetune", tmp_path / "saved.weights.h5", tmp_path / "run", *options, model="lstm_seq2seq",
                       model_options=MODEL)  # fmt: skip
    for one, two in zip(weights(predictor).values(), weights(kz.load(source)).values()):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(ValueError, match=r"`model` is needed for a file of weights"):
        run("finetune", tmp_path / "saved.weights.h5", tmp_path / "other", *options)


def test_the_command(source, data, tmp_path):
    arguments = [
        f"--from={source}", "--task=table", f"--data_dir={data / 'one'}", "--header", "--inputs=text:source",
        "--targets=label:size", "--epochs=1", "--batch_size=8", "--noxla", "--notensorboard", "--cache_dir=",
        f"--run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    out, err = in_process("finetune", *arguments)
    assert "Starts from" in err and "accuracy" in out
    flags = (tmp_path / "run" / "run.flags").read_text()
    assert f"--from={source}\n" in flags and flags.startswith("# python -m experiments.finetune --flagfile=run.flags")
    _, err = in_process("finetune", f"--flagfile={tmp_path / 'run' / 'run.flags'}")
    assert "Trained already" in err
    assert "--from is required" in refused("finetune", "--task=table")
    err = refused("finetune", f"--from={tmp_path / 'no'}", "--task=table", code=4)
    assert "there is neither a run nor a file of weights" in err
    err = refused("run", "--model=lstm_lm", "--epochs=0", f"--run_dir={tmp_path / 'new'}")
    assert "--epochs" in err and "epochs=0" in err


def test_unknown_tokens_and_tags_are_told(source, data, classifier, tmp_path):
    assert "source: 54.2% of the tokens are not in the vocabulary of source; vocabulary='new'" in classifier[1]
    options = {"inputs": "tag:size,text:source", "targets": "text:target", "header": True}
    with pytest.raises(ValueError, match=r"a column of tags needs a vocabulary with tags; got .* of source"):
        run("finetune", source, tmp_path / "run", "table", data / "one", options, {"epochs": 0})


def test_layers_are_frozen_and_unfrozen(source, data, tmp_path):
    training = {"freeze": "source_embedding,encoder", "unfreeze": "encoder.*_0@2", "optimizer": "adam"}
    options = ("table", data / "two", LABELS)
    first, told = run("finetune", source, tmp_path / "run", *options, training)
    lines = [line.split() for line in told.splitlines()]
    assert ["source_embedding", "30", "kept", "no"] in lines
    assert ["encoder", "364", "kept", "from", "epoch", "2"] in lines
    assert ["all", "410", "394", "kept", "16", "trained"] in lines
    begin, after = weights(kz.load(source)), weights(first)
    kernel = "encoder.forward_0.lstm.lstm_cell.kernel"
    np.testing.assert_array_equal(after[kernel], begin[kernel])
    run("finetune", source, tmp_path / "run", *options, {**training, "epochs": 2})
    second = kz.load(tmp_path / "run", checkpoint="last")
    assert not np.array_equal(weights(second)[kernel], begin[kernel])
    table = "source_embedding.table.embeddings"
    np.testing.assert_array_equal(weights(second)[table], begin[table])
    for given in ({"freeze": "encoder"}, {"unfreeze": ()}):
        with pytest.raises(CheckpointError, match=r"continues with .*freeze=.*, or start another run from this one"):
            run("finetune", source, tmp_path / "run", *options, {**training, **given}, override_resume=True)


def test_wrong_layers_are_refused(source, data, tmp_path):
    for training, words in (
        ({"unfreeze": "encoder"}, r"`unfreeze` must be LAYER@EPOCH with an epoch of at least 2.*got 'encoder'"),
        ({"unfreeze": "encoder@1"}, r"got 'encoder@1'"),
        ({"lora": 2, "freeze": "encoder"}, r"`lora` freezes all weights that are not new; got lora=2 with freeze='"),
        ({"lora_alpha": 2.0}, r"`lora_alpha` and `lora_layers` need LoRA; got lora=0, lora_alpha=2.0"),
    ):
        with pytest.raises(ValueError, match=words):
            TrainingOptions(**training)
    for training, words in (
        ({"freeze": "encoder.forwad_0"}, r"`freeze` must match a layer; got 'encoder.forwad_0'.*mean 'encoder.fo"),
        ({"freeze": "*"}, r"`freeze` must leave layers to train from the first epoch on; got freeze='\*'"),
        ({"lora": 2}, "the dense layers of the model are head"),
    ):
        with pytest.raises(ValueError, match=words):
            run("finetune", source, tmp_path / "run", "table", data / "one", LABELS, training)
    assert not (tmp_path / "run" / "run.json").exists()


def test_lora_makes_an_ordinary_run_and_an_adapter_for_its_base(data, tmp_path):
    sizes = {"encoder.num_layers": 1, "encoder.hidden_dim": 6, "encoder.num_heads": 2, "encoder.intermediate_dim": 10}
    base, _ = run("train", "transformer+classifier", tmp_path / "base", "table", data / "one", LABELS,
                  {"optimizer": "adam"}, model_options=sizes)  # fmt: skip
    training = {"lora": 2, "lora_alpha": 4.0, "lora_layers": "feed_forward", "optimizer": "adam", "learning_rate": 0.1}
    options = (tmp_path / "base", tmp_path / "run", "table", data / "one", LABELS)
    tuned, told = run("finetune", *options, {**training, "epochs": 2})
    before, after = weights(base), weights(tuned)
    changed = [path for path in after if not np.array_equal(before[path], after[path])]
    assert changed == [f"encoder.block_0.feed_forward.{name}.kernel" for name in ("expand", "contract")]
    assert "LoRA of rank 2 in 2 layers: 64 more weights are trained" in told
    assert [line.split()[-2:] for line in told.splitlines() if line.startswith("all ")] == [["0", "trained"]]
    words = [word for word, *_ in kz.load(tmp_path / "run").task.examples("dev")[0]] + WORDS
    expected = np.stack(tuned.outputs(words))
    for loaded in (kz.load(tmp_path / "run"), kz.load(tmp_path / "run", checkpoint="last")):
        assert [path for path in weights(loaded)] == list(after)
    np.testing.assert_allclose(np.stack(kz.load(tmp_path / "run").outputs(words)), expected, atol=1e-5)
    adapters = kz.transfer.Adapters(base.model)
    adapters.load("tuned", tmp_path / "run" / "adapter")
    adapters.use("tuned")
    np.testing.assert_allclose(np.stack(base.outputs(words)), expected, atol=1e-5)
    adapter = f"{tmp_path / 'run' / 'adapter'}@1"
    merged, _ = run("finetune", tmp_path / "base", tmp_path / "merged", None, data / "one", training={"epochs": 0},
                    adapters=[adapter])  # fmt: skip
    np.testing.assert_allclose(np.stack(merged.outputs(words)), expected, atol=1e-5)
    assert RunDirectory(tmp_path / "merged").record()["start"]["adapters"] == [adapter]
    with pytest.raises(CheckpointError, match=r"adapter: belongs to another base: to weights with SHA-256"):
        run("finetune", tmp_path / "run", tmp_path / "wrong", None, data / "one", adapters=[adapter])
    with pytest.raises(CheckpointError, match=r"missing: there is no such adapter"):
        run("finetune", tmp_path / "base", tmp_path / "wrong", None, data / "one", adapters=[tmp_path / "missing"])
    _, told = run("finetune", *options, {**training, "epochs": 3})
    assert "Resumes in epoch 3" in told
    with pytest.raises(CheckpointError, match=r"continues with lora=4 \(the run has 2\).*start another run from this"):
        run("finetune", *options, {**training, "epochs": 4, "lora": 4}, override_resume=True)


def test_a_new_head_is_trained_beside_lora(data, tmp_path):
    sizes = {"decoder.num_layers": 1, "decoder.hidden_dim": 6, "decoder.num_heads": 2, "decoder.intermediate_dim": 10}
    run("train", "transformer+transformer", tmp_path / "base", "table", data / "one", {"header": True}, model_options={
        **sizes, **{name.replace("decoder", "encoder"): value for name, value in sizes.items()}})  # fmt: skip
    tuned, told = run("finetune", tmp_path / "base", tmp_path / "run", "table", data / "one", LABELS,
                      {"lora": 2, "optimizer": "adam"})  # fmt: skip
    before, after = weights(kz.load(tmp_path / "base")), weights(tuned)
    changed = {path.partition(".")[0] for path in after if not np.array_equal(before.get(path), after[path])}
    assert changed == {"encoder", "head"} and "head" in RunDirectory(tmp_path / "run").record()["start"]["new"][0]
    with pytest.raises(ValueError, match="`lora` adapts weights that a run starts from; got lora=2"):
        run("train", "lstm_seq2seq", tmp_path / "other", "table", data / "one", {"header": True}, {"lora": 2})


def test_a_language_model_becomes_a_causal_classifier_and_a_dual_encoder(data, tmp_path):
    sizes = {"num_layers": 1, "hidden_dim": 6, "num_heads": 2, "intermediate_dim": 10}
    options = {"header": True, "source_column": "source", "length": 8}
    base, _ = run("train", "transformer_lm_tiny", tmp_path / "lm", "table", data / "one", options, model_options=sizes)
    before = weights(base)
    tuned, told = run("finetune", tmp_path / "lm", tmp_path / "run", "table", data / "one", LABELS, {"epochs": 0})
    record = RunDirectory(tmp_path / "run").record()
    assert record["model"] == "transformer+classifier" and record["model_options"]["encoder.causal"] is True
    assert record["task_options"]["max_length"] == base.model.max_length and "Note:" not in told
    after = weights(tuned)
    for path, value in after.items():
        if path.startswith("encoder"):
            np.testing.assert_array_equal(value, before[path.replace("encoder", "decoder")], path)
    table = "source_embedding.table.embeddings"
    np.testing.assert_allclose(after[table] * 6**0.5, before["target_embedding.table.embeddings"], rtol=1e-6)
    columns = {"header": True, "source_column": "source", "target_column": "target"}
    pairs, _ = run("finetune", tmp_path / "lm", tmp_path / "pairs", "pairs", data / "one", columns, {"epochs": 0})
    assert RunDirectory(tmp_path / "pairs").record()["model"] == "transformer+dual_encoder"
    np.testing.assert_array_equal(weights(pairs)[table], after[table])
    with pytest.raises(ValueError, match="`model` must be named for a task of forecaster and a run of transformer_lm"):
        run("finetune", tmp_path / "lm", tmp_path / "other", "forecast", data / "one")
