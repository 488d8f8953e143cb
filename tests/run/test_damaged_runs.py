"""Single bits of the files of a run are flipped: nothing is read wrongly without a word."""

import os
import random
import shutil

import numpy as np
import pytest

import kerazoo as kz
from kerazoo import _checks

REFUSED = (_checks.CheckpointError, _checks.SetupError)
ROWS = "".join(f"{i % 7}.5,{i % 5}.25,{'odd' if i % 2 else 'even'}\n" for i in range(32))  # full batches: one program
INPUTS = [(0.5, 1.25), (3.5, 0.25)]


def train(folder, run, epochs):
    options = {"data_dir": folder, "inputs": "number:a,number:b", "targets": "label:c"}
    training = {"epochs": epochs, "xla": False, "batch_size": 16, "average_checkpoints": 2}
    return kz.run.train("mlp_classifier", "table", run, {"units": (3,)}, options, training,
                        evaluate=False, tensorboard=False, print_fn=[].append)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A table, a run of two epochs, its probabilities, and its weights after a third epoch."""
    folder = tmp_path_factory.mktemp("trained")
    for split in ("train", "dev", "test"):
        (folder / f"{split}.csv").write_text("a,b,c\n" + ROWS)
    train(folder, folder / "run", 2)
    shutil.copytree(folder / "run", folder / "more")
    weights = train(folder, folder / "more", 3).model.get_weights()
    return folder, folder / "run", predicted(folder / "run"), weights


def predicted(run):
    return np.stack(kz.load(run).outputs(INPUTS))


def files(run):
    return sorted(path.relative_to(run) for path in run.rglob("*") if path.is_file() and path.stat().st_size)


def flip(path, chance):
    """Flips one bit, and returns which."""
    content = bytearray(path.read_bytes())
    where, bit = chance.randrange(len(content)), chance.randrange(8)
    content[where] ^= 1 << bit
    os.chmod(path, 0o644)
    path.write_bytes(content)
    return f"byte {where}, bit {bit} of {path.name}"


@pytest.mark.parametrize("count", [2, pytest.param(300, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_told_or_changes_nothing(trained, tmp_path, capsys, count):
    folder, run, expected, weights = trained
    chance = random.Random(count)

    def goes_on(result, wanted, what):
        told = "is damaged" in capsys.readouterr().err  # another checkpoint is used then
        assert told or all(map(np.array_equal, result, wanted)), what

    damaged = tmp_path / "run"
    calls = [
        (lambda: predicted(damaged), expected),
        (lambda: train(folder, damaged, 3).model.get_weights(), weights),
    ]
    found = files(run)
    for n in range(count):
        shutil.copytree(run, damaged)
        what = flip(damaged / found[n * len(found) // min(count, len(found)) % len(found)], chance)
        capsys.readouterr()
        for call, wanted in calls:
            try:
                goes_on(call(), wanted, what)
            except REFUSED as error:
                assert str(damaged) in str(error), what
        shutil.rmtree(damaged)
