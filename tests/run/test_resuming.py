"""Runs that are continued: what may change without a word, what is refused, and what the record tells afterwards."""

import gc
import json
import os
import shutil
import signal
import sys

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kerazoo as kz
from kerazoo import _checks, _files, _options
from kerazoo.run import compiling, evaluation, pretrained_embeddings, resuming, signals, trainer
from kerazoo.run.directory import RunDirectory
from kerazoo.run.options import TrainingOptions
from kerazoo.training import CheckpointStore

# As many as fill batches of 8 and of 16: a remainder would be one more program.
ROWS = "".join(
    f"{i % 7}.5,{i % 5}.25,{'odd' if i % 2 else 'even'}\n" for i in range(64)
)  # batches of 8 and 16 have no remainder: one program each


def write(folder):
    for split in ("train", "dev", "test"):
        (folder / f"{split}.csv").write_text("a,b,c\n" + ROWS)
    return folder


@pytest.fixture
def table(tmp_path):
    return write(tmp_path)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A table and a run of one epoch."""
    folder = write(tmp_path_factory.mktemp("first"))
    train(folder)
    return folder


@pytest.fixture
def trained(first, tmp_path):
    """A copy of the table and the run that a test may change."""
    return shutil.copytree(first, tmp_path / "table")


def train(folder, training=None, **options):
    """Trains in `folder / "run"` and returns the predictor and what was printed."""
    lines = []
    options = {
        "evaluate": False,
        "tensorboard": False,
        "model_options": {"units": (3,)},
        "print_fn": lines.append,
    } | options
    chosen = {"epochs": 1, "batch_size": 16, "xla": False, "learning_rate": 0.1, **(training or {})}
    task = {"data_dir": folder, "inputs": "number:a,number:b", "targets": "label:c"}
    predictor = kz.run.train("mlp_classifier", "table", folder / "run", task_options=task, training=chosen, **options)
    return predictor, "\n".join(lines)


def record(folder):
    return RunDirectory(folder / "run").record()


def test_a_call_that_changes_what_is_trained_is_refused_with_the_differences(trained):
    changes = {"seed": 7, "batch_size": 8, "learning_rate": 0.5, "schedule": "linear", "dtype": "mixed_bfloat16",
               "label_smoothing": 0.1, "limit": 30, "clip_norm": 0.5, "warmup": 0.2, "l2": 0.1}  # fmt: skip
    for name, value in changes.items():
        with pytest.raises(
            _checks.CheckpointError, match=rf"run: continues with {name}=.* \(the run has .*override_resume"
        ):
            train(trained, {"epochs": 2, name: value})
    with pytest.raises(_checks.CheckpointError, match=r"seed=7 \(the run has 0\), batch_size|batch_size=8 .*, seed=7"):
        train(trained, {"seed": 7, "batch_size": 8})
    assert [line["training"]["seed"] for line in record(trained)["calls"]] == [0]


def test_a_change_that_is_asked_for_is_told_and_recorded(trained):
    _, said = train(trained, {"epochs": 3, "batch_size": 8, "seed": 7}, override_resume=True)
    assert "Continues with batch_size=8 (the run has 16), seed=7 (the run has 0)." in said
    found = record(trained)
    assert found["training"]["batch_size"] == 8
    assert [(call["training"]["batch_size"], call["training"]["epochs"]) for call in found["calls"]] == [
        (16, 1),
        (8, 3),
    ]
    assert [call["ended"] for call in found["calls"]] == ["All epochs=1 are trained.", "All epochs=3 are trained."]
    # 4 steps of the first epoch, then 8 in each of two: the schedule ends with the last of them.
    assert found["schedule"] == {"start": 0, "shift": -4, "end": 20}
    _, said = train(trained, {"epochs": 3, "batch_size": 8, "seed": 7})
    assert said.splitlines()[-1] == "Trained already: all of epochs=3. A larger number goes on, such as epochs=6."


def test_other_data_is_noticed(trained):
    (trained / "train.csv").write_text("a,b,c\n" + ROWS[: len(ROWS) // 2].rpartition("\n")[0] + "\n")
    with pytest.raises(
        _checks.CheckpointError, match=r"other data than the run had: train \(64 examples in the run, 32 now"
    ):
        train(trained, {"epochs": 2})
    _, said = train(trained, {"epochs": 2}, override_resume=True)
    assert "Continues with other data than the run had: train (64" in said
    (trained / "dev.csv").write_text("a,b,c\n" + ROWS.replace("0.5", "9.5"))
    with pytest.raises(_checks.CheckpointError, match=r"had: dev \(64 examples in the run, 64 now\)"):
        train(trained, {"epochs": 2})


def test_data_that_moved_is_the_same(table, tmp_path_factory):
    train(table)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "data"
    elsewhere.mkdir()
    for split in ("train", "dev", "test"):
        os.rename(table / f"{split}.csv", elsewhere / f"{split}.csv")
    os.rename(table / "run", elsewhere / "run")
    train(elsewhere, {"epochs": 2})
    assert record(elsewhere)["task_options"]["data_dir"] == str(elsewhere)


def test_another_model_or_task_is_another_run(trained):
    with pytest.raises(_checks.CheckpointError, match=r"belongs to another run: its units is \[3\]; got \[5\]"):
        train(trained, model_options={"units": (5,)})
    with pytest.raises(
        _checks.CheckpointError, match=r"its l1 is its default|its name is its default; got 'other'"
    ):
        train(trained, model_options={"units": (3,), "name": "other"})


def test_early_stopping_is_not_undone_by_the_same_command(table):
    options = {"epochs": 40, "patience": 2, "learning_rate": 1e-12}
    _, said = train(table, options)
    stopped = next(line for line in said.splitlines() if line.startswith("Stopped early after epoch"))
    assert "patience=2 is used up" in stopped
    lines = (table / "run" / "metrics.jsonl").read_text()
    for _ in range(2):
        _, said = train(table, options)
        assert said.splitlines()[-1] == f"{stopped} A larger number goes on, such as patience=4."
    assert (table / "run" / "metrics.jsonl").read_text() == lines
    assert [call["ended"].startswith(stopped) for call in record(table)["calls"]] == [True] * 3
    train(table, {**options, "patience": 4, "epochs": json.loads(lines.splitlines()[-1])["epoch"] + 1})
    assert len((table / "run" / "metrics.jsonl").read_text().splitlines()) == len(lines.splitlines()) + 1


def rates(folder):
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [line["learning_rate"] for line in lines]


def test_more_epochs_follow_the_schedule_of_all_of_them_or_a_new_one(table):
    def rate(step, start, end):
        return float(compiling.schedule(TrainingOptions(learning_rate=0.1), start, end)(step))

    train(table, {"epochs": 2})
    assert rates(table)[-1] == pytest.approx(rate(8, 0, 8), abs=1e-7)
    _, said = train(table, {"epochs": 4})
    assert "The run had epochs=2: the learning rate goes on at 0.05, as if epochs=4 had been given at first." in said
    assert rates(table)[2:] == pytest.approx([rate(12, 0, 16), rate(16, 0, 16)], abs=1e-7)
    _, said = train(table, {"epochs": 6, "restart_schedule": True})
    assert "The schedule of the learning rate starts anew there, for the epochs up to 6." in said
    assert rates(table)[4:] == pytest.approx([rate(20, 16, 24), rate(24, 16, 24)], abs=1e-7)
    assert rate(20, 16, 24) == pytest.approx(rate(4, 0, 8)) and record(table)["schedule"]["start"] == 16


def test_the_mean_of_the_last_epochs_is_loaded(table):
    """Their number may be another in a call that continues."""
    train(table, {"epochs": 2})
    with pytest.raises(_checks.CheckpointError, match=r"checkpoint='average'.*average_checkpoints=5"):
        kz.load(table / "run", checkpoint="average")
    train(table, {"epochs": 4, "average_checkpoints": 2})
    store = CheckpointStore(table / "run" / "checkpoints")
    kernels = [kz.load(table / "run", which).model.get_weights()[0] for which in ("average", "last")]
    saved = [store.values(name, kz.load(table / "run").model)[0] for name in store.epoch_ends()[-2:]]
    np.testing.assert_allclose(kernels[0], np.mean(saved, axis=0), rtol=1e-6)
    assert np.array_equal(kernels[1], saved[1]) and not np.array_equal(*saved)


def test_the_schedule_counts_batches_also_where_several_make_an_update(table):
    train(table, {"epochs": 2})
    plain = rates(table)
    shutil.rmtree(table / "run")
    accumulated = {"gradient_accumulation_steps": 2}
    train(table, {"epochs": 1, **accumulated})
    train(table, {"epochs": 2, **accumulated})
    assert rates(table)[-1] == pytest.approx(plain[-1], abs=1e-7)
    with pytest.raises(_checks.CheckpointError, match=r"gradient_accumulation_steps=1 \(the run has 2\)"):
        train(table, {"epochs": 3})


def test_a_new_schedule_begins_once(table):
    run = {"training": {"restart_schedule": True, "epochs": 4}, "schedule": {"start": 8, "shift": 0, "end": 16}}
    options = TrainingOptions(epochs=4, restart_schedule=True)
    assert resuming.schedule(run, {"step": 12, "epoch": 3}, options, 4, False) == run["schedule"]
    assert resuming.schedule(run, {"step": 16, "epoch": 4}, options.replace(epochs=5), 4, False)["start"] == 16


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text("abc", min_size=1), VALUES, max_size=3))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_no_option_refuses_itself(tmp_path_factory, options):
    run = RunDirectory(tmp_path_factory.mktemp("run"))
    written = _options.parse_assignments("--set", [f"{name}={value!r}" for name, value in options.items()])
    now = {"model": "m", "task": "t", "model_options": written, "task_options": options, "training": {}, "import": []}
    run.save_record(now)
    resuming.check_same_model("run", run.record(), now)
    assert resuming.changed_options({"training": _files.plain(TrainingOptions().to_dict())},
                                    {"training": TrainingOptions().to_dict()}) == {}  # fmt: skip


def test_options_that_a_run_of_an_older_release_lacks_have_their_defaults():
    assert resuming.changed_options({"training": {}}, {"training": TrainingOptions().to_dict()}) == {}


@pytest.mark.parametrize("name", ["mkdir", "fsync", "replace"])
def test_a_run_killed_while_it_is_set_up_starts_again(table, monkeypatch, name):
    class Killed(BaseException):
        pass

    def end(*arguments):
        raise Killed

    original, calls = getattr(os, name), []

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) == stop:
            raise Killed
        return original(*arguments, **options)

    for stop in range(1, 99):
        calls.clear()
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(trainer._Training, "_fit", end)
            patch.setattr(os, name, call)
            train(table)
        if len(calls) < stop:  # a run that is set up already
            break
        if (table / "run").exists():
            (table / "run" / f".run.json.{'0' * 32}.tmp").write_text("half")
    assert stop > 1 and record(table)["model"] == "mlp_classifier"
    train(table)
    assert sorted(os.listdir(table / "run")) == [
        "baseline.json",
        "checkpoints",
        "lock",
        "metrics.jsonl",
        "receipt.json",
        "run.flags",
        "run.json",
        "task",
    ]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "task").mkdir()
    with pytest.raises(_checks.CheckpointError, match="is not empty and holds no run.json"):
        RunDirectory(tmp_path).create()


def test_word_vectors_are_loaded_until_there_is_a_checkpoint(table, monkeypatch):
    loaded = []
    monkeypatch.setattr(pretrained_embeddings, "load_vectors", lambda *arguments: loaded.append(1))
    with monkeypatch.context() as patch:
        patch.setattr(trainer._Training, "_fit", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                train(table)
    train(table)
    train(table, {"epochs": 2})
    assert len(loaded) == 3


@pytest.mark.parametrize(
    ("owner", "name"), [(trainer._Training, "_load_data"), (evaluation, "evaluated"), (os, "fsync")]
)
def test_a_signal_outside_of_training_is_told(table, monkeypatch, owner, name):
    before = signal.getsignal(signal.SIGTERM)
    original = getattr(owner, name)

    def call(*arguments, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    with pytest.raises(
        _checks.PreemptedError, match=r"Stopped by SIGTERM outside of training; .* same command continues"
    ):
        train(table, evaluate=True)
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.undo()
    train(table)


def test_a_second_signal_in_training_acts_at_once():
    seen, before = [], signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with signals.stoppable() as pending:
            pending.begin_training()  # whose callback has handled the first one
            os.kill(os.getpid(), signal.SIGTERM)
        assert seen == [signal.SIGTERM]
        with pytest.raises(_checks.PreemptedError), signals.stoppable() as pending:
            pending.begin_training()
            pending.end_training()
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_in_a_callback_of_the_garbage_collector_is_not_lost(table, monkeypatch):
    dropped, load = [], trainer._Training._load_data

    def collected(phase, info):
        gc.callbacks.remove(collected)
        os.kill(os.getpid(), signal.SIGTERM)

    def load_data(self):
        gc.callbacks.append(collected)
        gc.collect()
        load(self)

    monkeypatch.setattr(sys, "unraisablehook", lambda error: dropped.append(error.exc_type))
    monkeypatch.setattr(trainer._Training, "_load_data", load_data)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(_checks.PreemptedError, match=r"Stopped by SIGTERM at step \d+; the state is saved in"):
        train(table)
    assert dropped == [signals._Stopped] and signal.getsignal(signal.SIGTERM) is before
    monkeypatch.undo()
    train(table)


def test_a_lock_names_who_holds_it(tmp_path):
    run = RunDirectory(tmp_path)
    message = (
        rf"another process is training here \(process {os.getpid()} on \S+ since \d+-\d\d-\d\d [\d:]+ UTC\)\. Wait"
    )
    with run.lock(), pytest.raises(_checks.SetupError, match=message), run.lock():
        pass
    with run.lock():
        pass


def test_the_end_of_a_run_that_fails_is_in_its_record(table):
    with pytest.raises(_checks.DivergedError):
        train(table, {"optimizer": "sgd", "learning_rate": 1e30, "clip_norm": 0.0, "epochs": 9})
    assert "diverged" in record(table)["calls"][-1]["ended"]


def test_damage_of_what_was_fitted_is_mended_by_the_same_data(table):
    train(table)
    path = table / "run" / "task" / "task.json"
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"even"', b'"Even"'))
    with pytest.raises(
        _checks.CheckpointError, match=r"task: cannot be read as a task: its content has another SHA-256"
    ):
        kz.load(table / "run")
    _, said = train(table, {"epochs": 2})
    assert "It is fitted anew to the data" in said and path.read_bytes() == content
    path.unlink()
    (table / "train.csv").write_text("a,b,c\n" + ROWS.replace("0.5", "9.5"))
    with pytest.raises(_checks.CheckpointError, match=r"task: is damaged, and the data is not that of the run"):
        train(table, {"epochs": 3}, override_resume=True)


def test_a_damaged_record_is_written_anew_by_the_same_call(trained):
    path = trained / "run" / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 4'))
    with pytest.raises(_checks.CheckpointError, match=r"run.json: cannot be read: .*SHA-256.*run.flags writes it anew"):
        kz.load(trained / "run")
    with pytest.raises(_checks.CheckpointError, match=r"seed=4 \(the run has 0\)"):
        train(trained, {"seed": 4})
    train(trained)
    assert record(trained)["training"]["seed"] == 0
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize("run", [3, {"model": "x"}, {"model": []}])
def test_a_state_of_something_else_is_refused(trained, run):
    store = kz.training.CheckpointStore(trained / "run" / "checkpoints")
    store.save(kz.load(trained / "run").model, {"step": 99, "epoch": 1, "position": 0, "history": [], "run": run})
    with pytest.raises(_checks.CheckpointError, match=r"step-000000099: belongs to no run"):
        train(trained)
