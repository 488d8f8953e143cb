"""Runs that are killed at any moment: the same command goes on, and ends with the weights of a run left alone.

All are slow; one signal to one run is in `test_command_line.py`, and states that are cut off are in
`training/test_checkpoints.py`.
"""

import random
import signal
import time

import numpy as np
import pytest
from commands import command

import kerazoo as kz

TRAIN = ["--model=mlp_classifier", "--set=units=(5,)", "--inputs=number:a,number:b", "--targets=label:c", "--noxla",
         "--epochs=3", "--batch_size=16", "--task=table", "--checkpoint_every=3", "--noevaluate",
         "--steps_per_execution=1", "--notensorboard", "--optimizer=adam", "--ema_momentum=0.9"]  # fmt: skip


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """A table, the weights of a run that nothing disturbs, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("table")
    rows = "".join(f"{i % 7}.5,{i % 5}.25,{'odd' if i % 2 else 'even'}\n" for i in range(96))
    for split in ("train", "dev", "test"):
        (folder / f"{split}.csv").write_text("a,b,c\n" + rows)
    train(folder, folder / "first")  # reads the data, imports everything once
    started = time.perf_counter()
    train(folder, folder / "run")
    return folder, weights(folder / "run"), time.perf_counter() - started


def train(folder, run, **options):
    return command("run", *TRAIN, f"--data_dir={folder}", f"--run_dir={run}", **options)


def weights(run):
    return kz.load(run).model.get_weights()


def end(folder, run):
    """Runs the command until its end and returns the weights."""
    train(folder, run)
    return weights(run)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def stop(left_alone, run, number, moment):
    """Sends a signal to a run after a share of the time of a whole one; returns standard error and the exit code."""
    folder, _, seconds = left_alone
    return train(folder, run, signalled=(number, moment * seconds))[1:]


@pytest.mark.slow
def test_200_runs_killed_once(left_alone, tmp_path):
    moments = random.Random(3)
    for number in range(200):
        run = tmp_path / str(number)
        moment = moments.random()
        stop(left_alone, run, signal.SIGKILL, moment)
        assert same(end(left_alone[0], run), left_alone[1]), moment


@pytest.mark.slow
def test_a_run_killed_20_times(left_alone, tmp_path):
    moments = random.Random(5)
    for _ in range(20):
        stop(left_alone, tmp_path / "run", signal.SIGKILL, moments.uniform(0.2, 1))
    assert same(end(left_alone[0], tmp_path / "run"), left_alone[1])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_moment_ends_in_words(left_alone, tmp_path, number):
    moments = random.Random(number)
    for n in range(60):
        run = tmp_path / str(n)
        moment = moments.random()
        err, code = stop(left_alone, run, number, moment)
        trained = "All --epochs=3 are trained" in err
        expected = {75} if number == signal.SIGTERM else {75, 130}
        assert code in expected or (code == 0 and trained) or code == -number, (moment, code, err)
        # Python reports and drops what a handler raises inside a callback of the garbage collector, of JAX for example.
        assert "Traceback" not in err or "Exception ignored" in err, (moment, err)
        assert same(end(left_alone[0], run), left_alone[1]), moment
