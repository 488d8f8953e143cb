"""Training on examples that are read as they come."""

import json
import os
import signal

import pytest

import kerazoo as kz
from kerazoo import _checks


def train(folder, **training):
    options = {"feed": "stream", "shuffle_buffer": 97, "batch_size": 32, "epochs": 1, **training}
    return kz.run.train(
        "mlp_classifier",
        task="digits",
        run_dir=folder,
        model_options={"units": [7]},
        training=options,
        evaluate=False,
        tensorboard=False,
    )


def test_a_stream_trains_and_goes_on(tmp_path, capsys):
    train(tmp_path / "run", limit=301)
    said = capsys.readouterr().err
    assert "feed=stream: 97 examples are shuffled among each other. A run that resumes reads" in said
    assert "approximate, unless the examples have the same order" in said
    assert "about 301 streamed training and" in said
    train(tmp_path / "run", limit=301, epochs=2)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and lines[1]["loss"] < lines[0]["loss"]


def test_a_stream_that_is_stopped_in_the_last_step_of_an_epoch_runs_again(tmp_path, monkeypatch):
    class Stop(kz.training.Progress):
        def on_train_batch_end(self, batch, logs=None):
            if self.params["step"] == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    options = {"limit": 64, "epochs": 2, "steps_per_execution": 1, "xla": False}
    with monkeypatch.context() as patched, pytest.raises(_checks.PreemptedError, match="Stopped by SIGTERM at step 2"):
        patched.setattr(kz.training, "Progress", Stop)
        train(tmp_path / "run", **options)
    train(tmp_path / "run", **options)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 2), (2, 4)]


def test_what_a_stream_cannot_do(tmp_path):
    with pytest.raises(ValueError, match="a stream cannot be packed; got feed='stream' with packing=True"):
        train(tmp_path / "run", packing=True)
    with pytest.raises(ValueError, match="`shuffle_buffer` must be an integer above 0; got shuffle_buffer=0"):
        train(tmp_path / "run", shuffle_buffer=0)
    assert not (tmp_path / "run" / "run.json").exists()
