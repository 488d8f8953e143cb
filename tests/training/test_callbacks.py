import errno
import json
import math
import os
import signal
import threading

import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

import kerazoo as kz
from kerazoo import _checks, training


def vectors(examples=23):
    inputs = np.random.default_rng(0).random((examples, 5)).astype("float32")
    return kz.data.Corpus({"inputs": inputs, "label": (inputs[:, 0] > 0.5).astype("int32")})


def batch_fn(features, valid):
    return features["inputs"], features["label"], ops.cast(valid, "float32")


def model(seed=1):
    """A small model for the tests of what happens around the steps."""
    keras.utils.set_random_seed(seed)
    made = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    made.compile(keras.optimizers.SGD(0.01), training.SparseCrossentropy())
    return made


def random_model(seed=1):
    """One whose every step needs the right state of the optimizer and of the random numbers."""
    keras.utils.set_random_seed(seed)
    made = keras.Sequential([keras.Input((5,)), keras.layers.Dropout(0.3), keras.layers.Dense(2)])
    made.compile(keras.optimizers.Adam(0.01), training.SparseCrossentropy())
    return made


def run(made, callbacks, epochs=2, steps_per_execution=2, **options):
    corpus = vectors()
    plan = kz.data.Plan.of(corpus, batch_size=5)
    options = {"jit_compile": False, **options}  # tracing alone is quicker, and enough where no number matters
    return training.fit(
        made,
        corpus,
        batch_fn,
        plan,
        epochs=epochs,
        callbacks=callbacks,
        steps_per_execution=steps_per_execution,
        **options,
    )


def values(made):
    variables = [*made.variables, *made.optimizer.variables]
    return [np.array(ops.convert_to_numpy(variable.value)) for variable in variables]


class Poison(keras.callbacks.Callback):
    """Makes a weight NaN before the given step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_begin(self, batch, logs=None):
        if self.params["step"] == self.step:
            kernel = self.model.layers[0].kernel
            kernel.assign(kernel * math.nan)


class Kill(keras.callbacks.Callback):
    def __init__(self, step, number=signal.SIGTERM):
        super().__init__()
        self.step = step
        self.number = number

    def on_train_batch_end(self, batch, logs=None):
        if self.params["step"] == self.step:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def store(tmp_path):
    return training.CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture(scope="module")
def whole():
    """What two epochs in one piece come to."""
    made = random_model()
    run(made, [], jit_compile=True)
    return values(made)


def check_rest(store, place, whole):
    """Goes on from the newest state with a fresh model, and compares every bit."""
    made = random_model(seed=9)
    state = store.restore(made)
    assert tuple(state[name] for name in ("step", "epoch", "position")) == place
    run(made, [], jit_compile=True, resume=state)
    for one, two in zip(whole, values(made), strict=True):
        np.testing.assert_array_equal(one, two)


def test_resuming_after_an_epoch_is_exact(store, whole):
    run(random_model(), [training.Checkpoints(store)], epochs=1, jit_compile=True)
    assert [epoch["epoch"] for epoch in store.restore(random_model())["history"]] == [1]
    check_rest(store, (5, 1, 0), whole)


def test_a_signal_saves_and_the_run_goes_on_exactly(store, whole):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        _checks.PreemptedError, match=r"Stopped by SIGTERM at step 7; the state is saved in .*step-0*7\."
    ):
        run(random_model(), [Kill(7), training.Checkpoints(store)], jit_compile=True)
    assert signal.getsignal(signal.SIGTERM) is before
    check_rest(store, (7, 1, 2), whole)


def test_an_interrupt_from_the_keyboard_saves_too(store):
    with pytest.raises(_checks.PreemptedError, match=r"Stopped by SIGINT at step 2"):
        run(model(), [Kill(2, signal.SIGINT), training.Checkpoints(store)])
    assert store.restore(model())["position"] == 2


def test_a_signal_in_the_last_call_of_an_epoch_waits_for_its_end(store):
    corpus = vectors()
    plan = kz.data.Plan.of(corpus, batch_size=5)
    with pytest.raises(_checks.PreemptedError, match=r"at step 5"):
        run(model(), [Kill(5), training.Checkpoints(store)], validation_data=(corpus, plan))
    state = store.restore(model())
    assert (state["epoch"], state["position"]) == (1, 0)
    assert "val_loss" in state["metrics"]


def test_states_inside_an_epoch(store):
    store.keep = 99
    run(model(), [training.Checkpoints(store, every_steps=3)], steps_per_execution=100)
    assert store.names() == [f"step-{step:09d}" for step in (3, 5, 6, 9, 10)]
    assert store.restore(model())["epoch"] == 2


def test_states_every_few_minutes(store):
    store.keep = 99
    run(model(), [training.Checkpoints(store, minutes=1e-9)], epochs=1)
    assert store.names() == [f"step-{step:09d}" for step in (2, 4, 5)]


class Pretend(keras.callbacks.Callback):
    """Puts values into the logs of the epochs."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["val_score"] = self.values[epoch]


@not_on_jax
def test_best_epoch_and_patience_outlive_an_interruption(store):
    scores = [0.1, 0.5, math.nan, 0.4, 0.5, 0.3]
    options = {"monitor": "val_score", "mode": "max", "patience": 2}
    run(model(), [Pretend(scores), training.Checkpoints(store, **options)], epochs=3, steps_per_execution=5)
    assert store.best() == "step-000000010"
    made = model()
    state = store.restore(made)
    assert state["epoch"] == 3
    history = run(made, [Pretend(scores), training.Checkpoints(store, **options)], 6, 5, resume=state).history
    assert len(history["loss"]) == 2  # 0.4 and 0.5 are no better than 0.5
    assert store.best() == "step-000000010"
    assert store.restore(model(), which="best")["history"][-1]["val_score"] == 0.5


def test_divergence_is_an_error_and_is_never_saved(store):
    callbacks = [Poison(6), training.Checkpoints(store, every_steps=1), training.StopOnNonFinite(store)]
    message = (
        r"loss is nan at step 7: training has diverged. The last good checkpoint is .*step-000000006. .*Try a lower"
    )
    with pytest.raises(_checks.DivergedError, match=message):
        run(model(), callbacks, steps_per_execution=1)
    assert store.names()[-1] == "step-000000006"
    report = json.loads((store.directory / "diverged.json").read_text())
    batches = [batch.rows.tolist() for batch in kz.data.Plan.of(vectors(), batch_size=5).epoch(1)]
    assert (report["step"], report["examples"], report["examples_of_the_step_before"]) == (7, batches[1], batches[0])
    with pytest.raises(_checks.DivergedError, match=r"loss is nan at step 1: training has diverged. Try"):
        run(model(), [Poison(0), training.StopOnNonFinite()])


def test_the_first_bad_step_inside_a_block_is_named(store):
    held = vectors()
    held.features["inputs"][11, 2] = np.nan
    plan = kz.data.Plan.of(held, batch_size=5, shuffle=False)
    with pytest.raises(_checks.DivergedError, match=r"loss is nan at step 3: .*diverged.json tells about the batch"):
        fit = {"steps_per_execution": 5, "callbacks": [training.StopOnNonFinite(store)], "jit_compile": False}
        training.fit(model(), held, batch_fn, plan, **fit)
    report = json.loads((store.directory / "diverged.json").read_text())
    assert report["examples"] == [10, 11, 12, 13, 14] and report["examples_of_the_step_before"] == [5, 6, 7, 8, 9]
    low, high = (float(reduce(held.features["inputs"][10:15])) for reduce in (np.nanmin, np.nanmax))
    assert report["batch"]["0"] == {"min": low, "max": high, "not_finite": 1}


def test_a_loss_that_explodes_is_an_error(store):
    losses = [1.0, 2.0, 2e9]
    stop = training.StopOnNonFinite(store)
    stop.set_params({"step": 15, "history": [{"loss": 3.0}]})
    stop.on_train_begin()
    for epoch, loss in enumerate(losses[:2]):
        stop.on_train_batch_end(4, {"loss": loss})
        stop.on_epoch_end(epoch, {"loss": loss})
    with pytest.raises(
        _checks.DivergedError, match=r"loss is 2e\+09 at step 15 and was 1 before: training has diverged"
    ):
        stop.on_epoch_end(2, {"loss": losses[2]})


@not_on_jax
@pytest.mark.parametrize("step", [7, 10])  # inside an epoch, and after its last step
def test_the_logs_of_an_interrupted_epoch_cover_all_of_it(store, step):
    def scored(seed):
        made = model(seed)
        made.compile(keras.optimizers.SGD(0.01), training.SparseCrossentropy(), metrics=["accuracy"])
        return made

    expected = run(scored(1), []).history
    with pytest.raises(_checks.PreemptedError):
        run(scored(1), [Kill(step), training.Checkpoints(store, minutes=None)], steps_per_execution=1)
    made = scored(9)
    state = store.restore(made)
    if step == 10:  # what a feed of unknown length saves in its last step
        state |= {"epoch": 1, "position": 5, "metrics": {name: values[1] for name, values in expected.items()}}
    history = run(made, [], resume=state).history
    assert set(history) == set(expected) == {"loss", "accuracy"}
    for name, values in history.items():
        np.testing.assert_allclose(values, expected[name][1:], 1e-6, err_msg=name)


def test_a_diverging_validation_is_an_error():
    class Break(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = math.inf

    with pytest.raises(_checks.DivergedError, match=r"val_loss is inf at step 5"):
        run(model(), [Break(), training.StopOnNonFinite()])


def test_a_signal_while_the_loss_is_nan_saves_nothing(store):
    with pytest.raises(_checks.PreemptedError, match=r"at step 2; nothing is saved: the loss is nan"):
        run(model(), [Poison(0), Kill(2), training.Checkpoints(store)])
    assert store.names() == []


def test_checkpoints_work_in_plain_fit(store):
    made = model()
    made.fit(np.ones((6, 5)), np.ones(6, int), batch_size=2, verbose=0, callbacks=[training.Checkpoints(store)])
    assert store.restore(model())["step"] == 3


def test_metrics_log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    run(model(), [training.MetricsLog(path)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 5), (2, 10)]
    assert set(lines[0]) == {"epoch", "step", "seconds", "learning_rate", "loss"}
    assert lines[0]["learning_rate"] == pytest.approx(0.01)


def test_metrics_log_of_a_resumed_run_has_each_epoch_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1, "step": 5}\n{"epoch": 2, "step": 10}\n{"epoch": 3, "st')
    run(model(), [Pretend([None, math.nan]), training.MetricsLog(path)], resume={"epoch": 1, "step": 5})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 5), (2, 10)]
    assert lines[1]["val_score"] is None


def test_metrics_log_that_cannot_be_written_loses_no_checkpoint(store, tmp_path, capsys):
    log = training.MetricsLog(tmp_path / "missing" / "metrics.jsonl")
    with pytest.raises(_checks.SetupError, match=r"missing/metrics.jsonl: cannot be written: No such file"):
        run(model(), [log, training.Checkpoints(store)])
    assert store.names()[-1] == "step-000000010"
    said = capsys.readouterr().err
    assert said.count("cannot be written") == 1 and "Training goes on" in said


def test_metrics_log_writes_later_what_a_full_disk_refused(tmp_path):
    class Mend(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            (tmp_path / "later").mkdir(exist_ok=True)

    run(model(), [training.MetricsLog(tmp_path / "later" / "metrics.jsonl"), Mend()], epochs=3)
    lines = (tmp_path / "later" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]


@not_on_jax
def test_weights_that_are_not_finite_are_never_saved(store):
    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.params["step"] == 7:
                self.model.layers[0].kernel.assign(self.model.layers[0].kernel * math.nan)

    callbacks = [Break(), training.Checkpoints(store, every_steps=1)]
    with pytest.raises(_checks.DivergedError, match=r"step-0*7: not saved, .*kernel are not finite.*step-0*6\."):
        run(model(), callbacks, steps_per_execution=1)
    with pytest.raises(_checks.PreemptedError, match=r"at step 7; nothing is saved: .*kernel are not finite"):
        run(model(), [Break(), Kill(7), training.Checkpoints(store)], steps_per_execution=1)
    assert store.names()[-1] == "step-000000006"


@not_on_jax
def test_training_goes_on_while_a_checkpoint_is_written(store, monkeypatch):
    """The thread has not written the state of step 2 before step 4; the next one waits for it."""
    original, steps, written = store.write, [], []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append(self.params["step"])
            if self.params["step"] == 4:
                assert written == []
                ready.set()

    def write(snapshot):
        assert ready.wait(timeout=60)
        path = original(snapshot)
        written.append((snapshot.state["step"], steps[-1]))
        return path

    ready = threading.Event()
    monkeypatch.setattr(store, "write", write)
    expected = random_model()
    run(expected, [], epochs=1, jit_compile=True)
    made = random_model()
    run(made, [Count(), training.Checkpoints(store, every_steps=2)], epochs=1, jit_compile=True)
    assert [step for step, _ in written] == [2, 4, 5] and written[0][1] == 4
    other = random_model(seed=3)
    state = store.restore(other)
    assert state["step"] == 5
    for one, two in zip(values(other), values(expected), strict=True):
        np.testing.assert_array_equal(one, two)


def test_an_error_of_the_thread_ends_training(store, monkeypatch):
    """After the next block; the checkpoints before it are intact."""
    original = os.replace

    def replace(source, target):
        if "step-000000004" in os.fspath(target):
            failed.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(source, target)

    class Wait(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.params["step"])
            if self.params["step"] == 6:
                assert failed.wait(timeout=60)
                store.join()

    seen, failed = [], threading.Event()
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(_checks.SetupError, match=r"step-0*4: cannot be written: No space.* before it are intact"):
        run(model(), [Wait(), training.Checkpoints(store, every_steps=2)], epochs=9, steps_per_execution=2)
    assert seen[-1] <= 6 and store.names() == ["step-000000002"]
    assert store.restore(model())["step"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "auto"}, r"Checkpoints: `mode` must be one of 'min', 'max'; got mode='auto'"),
        ({"minutes": -1}, r"Checkpoints: `minutes` must be a number .*got minutes=-1"),
        ({"every_steps": -3}, r"Checkpoints: `every_steps` must be .*got every_steps=-3"),
        ({"patience": -1}, r"Checkpoints: `patience` must be .*got patience=-1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        training.Checkpoints(None, **arguments)
