"""The commands: what they print and write, and what they refuse in one short message with the exit code of its kind."""

import gzip
import json
from unittest import mock

import pytest
from commands import command, in_process, refused

from kerazoo import catalog


def test_listing_models_shows_names_kinds_and_parameters():
    out, err = command("run", "--list_models=*seq2seq*", fresh=True)
    assert err == ""
    rows = [line.split()[0] for line in out.splitlines()[1:]]
    assert {"lstm_seq2seq", "lstm_seq2seq_attention", "transformer_seq2seq_tiny"} <= set(rows)
    assert all("seq2seq" in row for row in rows)


@pytest.mark.parametrize("name", ["run", "evaluate", "predict", "export", "benchmark"])
def test_help_names_every_flag_and_ends_well(name):
    out, err = in_process(name, "--help")
    assert err == ""
    assert "--verbose" in out and f"python -m experiments.{name}" in out
    assert "--run_dir" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--model is required"),
        (["--model=lstm_seq2seqq"], "Unknown model 'lstm_seq2seqq'. Close names: lstm_seq2seq"),
        (["--modle=lstm_seq2seq"], "modle"),
        (["--model=lstm_seq2seq", "--task=cmudct"], "Unknown task 'cmudct'. Close names: cmudict"),
        (["--model=lstm_seq2seq", "extra"], "unexpected argument 'extra'"),
        (["--model=lstm_seq2seq", "--epochs=many"], "epochs"),
        (["--model=lstm_seq2seq", "--epochs=0"], "epochs=0"),
        (["--model=lstm_seq2seq", "--header=no"], "flag --header=no: must be true or false; got 'no'"),
        (["--model=lstm_seq2seq", "--learning_rate=-1"], "learning_rate=-1"),
        (["--model=lstm_seq2seq", "--optimizer=adma"], "'adma'"),
        (["--model=lstm_seq2seq", "--set=units"], "--set must be OPTION=VALUE; got 'units'"),
        (["--model=lstm_seq2seq", "--set=unit=3"], "'unit'. Close names: units"),
        (["--model=lstm_seq2seq", "--task=topics"], "got kind='seq2seq'"),
        (["--list_models=nothing*"], "no model matches 'nothing*'"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments, message, tmp_path):
    assert message in refused("run", *arguments, cwd=tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_wrong_command_line_is_refused_in_a_process_of_its_own(tmp_path):
    out, err = command("run", "--model=lstm_seq2seq", "--epochs=0", code=2, cwd=tmp_path)
    assert out == "" and err.startswith("error: ")


def test_the_error_of_a_missing_module_names_it():
    assert "no_such_module" in refused("run", "--import=no_such_module", "--model=mine", code=5)


@pytest.mark.slow
def test_a_benchmark_prints_its_figures():
    out, _ = in_process("benchmark", "train", "--only=dense", "--only=kerazoo, TensorFlow", "--repeats=1", "--json")
    (row,) = json.loads(out)
    assert (row["case"], row["system"]) == ("dense", "kerazoo, TensorFlow")
    assert 0 < row["slowest"] <= row["per_second"] <= row["fastest"] and row["peak_mib"] > 0


@pytest.mark.slow
def test_decoding_is_compared_in_processes_that_wait_for_their_turn():
    out, _ = in_process("benchmark", "decode", "--only=lstm greedy 1 of 64 ker", "--repeats=1", "--json")
    rows = json.loads(out)
    assert {row["system"] for row in rows} == {"kerazoo, TensorFlow", "kerazoo, JAX"}
    assert all(row["tokens_per_second"] > 0 and row["peak_mib"] > 0 for row in rows)


def test_a_benchmark_is_named():
    assert "predict needs --run_dir=RUN" in refused("benchmark", "predict")
    assert "exports needs the folders of exported models" in refused("benchmark", "exports")
    names = "train, data, decode, predict, devices, serve, exports"
    assert f"name one benchmark: {names}; got nothing" in refused("benchmark")
    assert f"name one benchmark: {names}; got serve SAVED" in refused("benchmark", "serve", "SAVED")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "train"),
        (b"", "empty"),
        (b"Hallo Welt\n", "train.tsv:1: expected 2 columns"),
        (b"a\tb\n\xff\xfe\tb\n", "train.tsv:2"),
    ],
)
def test_bad_data_is_refused_with_file_and_line(content, message, tmp_path):
    if content is not None:
        for split in ("train", "dev", "test"):
            (tmp_path / f"{split}.tsv").write_bytes(content)
    arguments = ["--model=lstm_seq2seq", "--task=tsv", f"--data_dir={tmp_path}", f"--run_dir={tmp_path}/r"]
    assert message in refused("run", *arguments, code=3)
    assert not (tmp_path / "r" / "run.json").exists()


def test_run_directories_that_cannot_be_used(tmp_path):
    train = ["--model=lstm_seq2seq", "--task=copy", "--epochs=1", "--limit=64"]
    (tmp_path / "file").write_text("not a folder")
    err = refused("run", *train, f"--run_dir={tmp_path}/file/run", code=5)
    assert "--run_dir" in err and "cannot be created" in err
    (tmp_path / "file2").mkdir()
    (tmp_path / "file2" / "letter.txt").write_text("something else")
    err = refused("run", *train, f"--run_dir={tmp_path}/file2", code=4)
    assert "letter" not in err and "is not a run" in err
    assert "no run here" in refused("evaluate", f"--run_dir={tmp_path}/file2", code=4)
    assert "no run here" in refused("predict", f"--run_dir={tmp_path}/file2", "a", code=4)
    assert "no run here" in refused("export", f"--run_dir={tmp_path}/file2", f"--to={tmp_path}/saved", code=4)


def test_a_loss_that_is_not_finite_has_its_own_exit_code(tmp_path):
    arguments = ["--model=mlp_classifier", "--task=digits", "--limit=97", "--epochs=3", "--noevaluate"]
    training = ["--optimizer=sgd", "--learning_rate=1e30", "--clip_norm=0", "--noxla"]
    assert "diverged" in refused("run", *arguments, *training, f"--run_dir={tmp_path}/run", code=6)


def test_a_preempted_run_saves_its_state_and_has_its_own_exit_code(tmp_path):
    (tmp_path / "preempt.py").write_text(
        "import os, pathlib, signal, threading, time\n"
        "def stop():\n"
        "    while not pathlib.Path('run/metrics.jsonl').exists():\n"
        "        time.sleep(0.01)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=stop, daemon=True).start()\n"
    )
    arguments = [
        "--model=mlp_classifier",
        "--task=digits",
        "--limit=97",
        "--epochs=100000",
        "--import=preempt",
        "--noxla",
    ]
    _, err = command("run", *arguments, "--run_dir=run", "--noevaluate", code=75, cwd=tmp_path)
    assert "Stopped by SIGTERM" in err and list((tmp_path / "run" / "checkpoints").glob("step-*"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two epochs on a table, made once through the command line."""
    folder = tmp_path_factory.mktemp("table")
    words = [f"{a}{b}{c}" for a in "abcd" for b in "efgh" for c in "ijkl"]
    rows = "".join(f"{word}\t{' '.join(word.upper())}\n" for word in words * 3)
    with gzip.open(folder / "train.tsv.gz", "wt") as file:
        file.write(rows)
    for split in ("dev", "test"):
        (folder / f"{split}.tsv").write_text(rows[: len(rows) // 6])
    run = folder / "run"
    arguments = [
        "--model=lstm_seq2seq",
        "--task=tsv",
        f"--data_dir={folder}",
        "--source_tokens=characters",
        "--target_tokens=words",
        f"--run_dir={run}",
        "--set=units=17",
        "--set=embedding_dim=13",
        "--batch_size=16",
        "--learning_rate=0.01",
        "--optimizer=sgd",
        "--max_shapes=1",
        "--noxla",
    ]
    out, err = command("run", *arguments, "--epochs=2", fresh=True)
    return run, arguments, out, err


def test_a_run_prints_progress_predictions_rates_and_the_next_commands(finished):
    run, _, out, err = finished
    assert "token_error_rate" in out and "sequence_error_rate" in out
    assert f"python -m experiments.predict --run_dir={run}" in out
    assert "loss" in err and "tokens/s" in err
    foreign = [line for line in err.splitlines() if any(x in line for x in ("tensorflow", "WARNING", "E0000", "cuda"))]
    assert not foreign
    for name in ("run.json", "run.flags", "metrics.jsonl", "report.md", "task/task.json", "evaluation-dev.json"):
        assert (run / name).exists(), name
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2


def test_evaluate_writes_the_figures(finished):
    run, *_ = finished
    out, _ = in_process("evaluate", f"--run_dir={run}", "--limit=7")
    written = json.loads((run / "evaluation-test.json").read_text())
    fields = {"metrics", "baseline", "examples", "seconds", "search", "samples", "limits", "intervals", "ranked_by"}
    assert set(written) == fields and written["search"] == {}
    random = [sample for sample in written["samples"] if sample["kind"] == "random"]
    assert written["examples"] == len(random) == 7
    report = (run / "report.md").read_text()
    assert "\n| dev | " in report and "\n| test | 7 | " in report and "## Samples (test)" in report
    assert 0 <= written["metrics"]["sequence_error_rate"] <= 1
    assert f"token_error_rate {written['metrics']['token_error_rate']:.4f}" in out


def test_predict_reads_arguments_and_lines_alike(finished):
    run, *_ = finished
    out, err = in_process("predict", f"--run_dir={run}", "aei", "bfj")
    assert len(out.splitlines()) == 2 and err == ""
    piped, _ = command("predict", f"--run_dir={run}", stdin=b"aei\nbfj\n")
    assert piped == out
    assert "standard input:2: not UTF-8" in refused("predict", f"--run_dir={run}", stdin=b"aei\n\xff\n", code=3)


def test_predict_prints_several_predictions_and_scores(finished):
    run, *_ = finished
    out, _ = in_process("predict", f"--run_dir={run}", "--n_best=3", "--scores", f"--ensemble={run}", "aei", "bfj")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == list("111222") and all(len(row) == 3 for row in rows)
    scores = [float(row[1]) for row in rows]
    assert scores[:3] == sorted(scores[:3], reverse=True) and scores[3:] == sorted(scores[3:], reverse=True)
    out, _ = in_process("predict", f"--run_dir={run}", "--given", stdin=b"aei\tA E I\n")
    assert len(out.split("\t")) == 2 and float(out.split()[0]) < 0 < float(out.split()[1])


def test_evaluate_takes_the_options_of_a_search(finished):
    run, *_ = finished
    in_process(
        "evaluate",
        f"--run_dir={run}",
        "--split=dev",
        "--limit=5",
        "--search=beam",
        "--num_beams=3",
        "--option=length_penalty=power",
        "--stop= I",
    )
    written = json.loads((run / "evaluation-dev.json").read_text())
    expected = {"search": "beam", "num_beams": 3, "length_penalty": "power", "stop_strings": [" I"]}
    assert written["search"] == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--search=bean"], "Unknown search 'bean'. Close names: beam"),
        (["--num_beams=3"], "'num_beams'"),
        (["--search=speculative"], "--search='speculative' needs --draft_run, a smaller model of the same kind"),
        (["--given"], "--given: a line must be a source, a tab and a target; got 'aei'"),
        (["--given", "--scores"], "--given generates nothing"),
        (["--alignment"], "alignment needs a model whose `step` returns attention"),
    ],
)
def test_predict_refuses_what_it_cannot_do(finished, flags, message):
    run, *_ = finished
    assert message in refused("predict", f"--run_dir={run}", *flags, "aei", code=3 if "--given:" in message else 2)


def test_a_run_continues_and_refuses_another_model(finished):
    run, arguments, *_ = finished
    _, err = in_process("run", f"--flagfile={run}/run.flags", "--noevaluate")
    assert "Trained already: all of --epochs=2. A larger number goes on, such as --epochs=4." in err
    message = "continues with --learning_rate=0.5 (the run has 0.01), --seed=3 (the run has 0). Repeat the options of"
    err = refused("run", *arguments, "--epochs=3", "--seed=3", "--learning_rate=0.5", code=4)
    assert message in err and "or go on with these by --override_resume=True." in err
    in_process("run", *arguments, "--epochs=3", "--noevaluate")
    assert "--epochs=3" in (run / "run.flags").read_text().splitlines()
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 3
    err = refused("run", *["--model=lstm_seq2seq_attention", *arguments[1:]], code=4)
    assert "belongs to another run" in err and "lstm_seq2seq_attention" in err


def test_export_gives_the_same_predictions(finished, tmp_path):
    run, *_ = finished
    tf = pytest.importorskip("tensorflow")
    search = ["--search=beam", "--num_beams=3", "--option=min_length=2", "--max_length=5"]
    in_process(
        "export", f"--run_dir={run}", f"--to={tmp_path}/saved", "--signatures=", *search
    )  # and compares with the live model
    out, _ = in_process("predict", f"--run_dir={run}", *search, "aei", "io")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    served = serve(source=tf.constant(["aei", "io"]))["answer"].numpy()
    assert [text.decode() for text in served] == out.splitlines() and all(map(len, served))
    assert (tmp_path / "saved" / "saved_model.pb").exists()
    assert "exists" in refused("export", f"--run_dir={run}", f"--to={tmp_path}/saved", code=5)


def test_ones_own_model_trains_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(
        "import kerazoo as kz\n"
        "import keras\n"
        '@kz.register("mine", kind="classifier", sizes={"units": 11})\n'
        "class Mine(keras.Model):\n"
        "    def __init__(self, units, num_classes):\n"
        "        super().__init__()\n"
        '        self.hidden = keras.layers.Dense(units, "relu")\n'
        "        self.head = keras.layers.Dense(num_classes)\n"
        "    def call(self, inputs):\n"
        '        return self.head(self.hidden(keras.ops.reshape(inputs["source"], (-1, 64))))\n'
    )
    training = ["--epochs=1", "--limit=200", "--optimizer=sgd", "--noxla"]
    out, _ = command("run", "--import=my_models", "--model=mine", *training, cwd=tmp_path)
    assert "accuracy" in out
    arguments = ["--run_dir=runs/mine-digits", "--samples=0"]
    err = refused("evaluate", *arguments, code=4, cwd=tmp_path)
    assert "was trained with the module 'my_models', and importing it runs its code" in err
    assert "If it is your own: --import='my_models'." in err
    monkeypatch.syspath_prepend(tmp_path)
    with mock.patch.dict(catalog._models._values):
        in_process("evaluate", *arguments, "--import=my_models", "--limit=5", cwd=tmp_path)
