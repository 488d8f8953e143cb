import io
import re

import pytest

from kerazoo.training import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def drive(callback, clock, tokens=700):
    """Two epochs of three calls with four steps each; a call takes 2 seconds, a validation 5."""
    callback.params = {"epochs": 2, "steps": 12, "examples": 0, "tokens": 0}
    callback.on_train_begin()
    for epoch in range(2):
        callback.on_epoch_begin(epoch)
        for call in range(3):
            clock.now += 2.0
            callback.params["tokens"] += tokens
            callback.params["examples"] += 100
            callback.on_train_batch_end(4 * call + 3, {"accuracy": 0.5, "loss": 1.23456})
        callback.on_test_begin()
        clock.now += 5.0
        callback.on_test_end()
        callback.on_epoch_end(epoch, {"accuracy": 0.5, "loss": 1.2, "val_loss": 1.5})
    callback.on_train_end()


def test_lines_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    drive(progress.Progress(stream, seconds=4.0), clock)
    assert stream.getvalue().splitlines() == [
        "epoch 1/2  step 8/12  loss 1.235  accuracy 0.5  tokens/s 350  8.0 s left",
        "epoch 1/2  loss 1.2  accuracy 0.5  val_loss 1.5  tokens/s 350  11 s",
        "epoch 2/2  step 8/12  loss 1.235  accuracy 0.5  tokens/s 350  7.0 s left",
        "epoch 2/2  loss 1.2  accuracy 0.5  val_loss 1.5  tokens/s 350  11 s",
    ]


def test_a_stream_is_told_of_a_first_program_that_compiles_for_long(monkeypatch):
    timers = []

    class Timer:
        def __init__(self, seconds, function, arguments):
            self.seconds, self.call, self.cancelled = seconds, lambda: function(*arguments), False
            timers.append(self)

        def start(self):
            assert self.daemon

        def cancel(self):
            self.cancelled = True

    monkeypatch.setattr(progress.threading, "Timer", Timer)
    stream = io.StringIO()
    callback = progress.Progress(stream, seconds=4.0)
    callback.params = {"epochs": 2, "epoch": 1}
    callback.on_train_begin()
    assert timers[0].seconds == 4.0 and not timers[0].cancelled and not stream.getvalue()
    timers[0].call()
    assert stream.getvalue() == "epoch 2/2  compiling\n"
    callback.on_epoch_begin(1)
    callback.on_train_batch_end(0, {"loss": 1.0})
    assert timers[0].cancelled
    callback.on_train_begin()
    callback.on_train_interrupted()
    assert timers[1].cancelled and len(timers) == 2


def test_a_terminal_gets_one_line_that_changes(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    drive(progress.Progress(stream), clock, tokens=0)
    lines = stream.getvalue().split("\n")
    assert len(lines) == 3 and lines[-1] == ""
    shown = lines[0].split("\r\x1b[K")
    assert shown[1] == "epoch 1/2  compiling"
    assert shown[2] == "epoch 1/2  step 4/12  loss 1.235  accuracy 0.5"[:39]
    assert shown[-1] == "epoch 1/2  loss 1.2  accuracy 0.5  val_loss 1.5  examples/s 50  11 s"


def test_calls_that_compile_count_neither_for_the_speed_nor_for_the_time_left(clock):
    stream = io.StringIO()
    callback = progress.Progress(stream, seconds=0)
    callback.params = {"epochs": 1, "steps": 10, "tokens": 0, "compile_seconds": 0.0}
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    for batch, (seconds, compiling) in enumerate([(60.0, 60.0), (1.0, 0.0), (90.0, 90.0), (1.0, 0.0)]):
        clock.now += seconds
        callback.params["compile_seconds"] += compiling
        callback.params["tokens"] += 30
        callback.on_train_batch_end(batch, {"loss": 1.0})
    assert stream.getvalue().splitlines()[-1] == "epoch 1/1  step 4/10  loss 1  tokens/s 30  6.0 s left"


def test_nothing_is_estimated_before_a_block_that_did_not_compile(clock):
    stream = io.StringIO()
    callback = progress.Progress(stream, seconds=0)
    callback.params = {"epochs": 1, "steps": 10, "tokens": 0, "compile_seconds": 0.0}
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    for batch in range(2):  # of two shapes
        clock.now += 30.0
        callback.params["compile_seconds"] += 29.9
        callback.params["tokens"] += 5000
        callback.on_train_batch_end(batch, {"loss": 1.0})
    assert stream.getvalue().splitlines() == ["epoch 1/1  step 1/10  loss 1", "epoch 1/1  step 2/10  loss 1"]


def test_the_speed_is_that_of_the_whole_epoch(clock):
    """Of one block as well, and from the position where a run continues."""
    stream = io.StringIO()
    callback = progress.Progress(stream, seconds=100)
    callback.params = {"epochs": 3, "steps": 11, "position": 4, "examples": 50, "compile_seconds": 0.0}
    callback.on_train_begin()
    for epoch, steps in enumerate([[6, 11], [11]]):
        callback.on_epoch_begin(epoch)
        for step in steps:
            clock.now += 0.02
            callback.params["examples"] += 100
            callback.on_train_batch_end(step - 1)
        callback.on_epoch_end(epoch, {"loss": 1.0})
        callback.params["position"] = 0
    assert stream.getvalue().splitlines() == [
        "epoch 1/3  loss 1  examples/s 5,000  0.04 s", "epoch 2/3  loss 1  examples/s 5,000  0.02 s"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.83, "steps/s 1.2"), (1.7, "steps/s 0.588"), (31.0, "steps/s 0.0323"), (3e-4, "steps/s 3,333")],
)
def test_slow_steps_have_three_digits(clock, seconds, shown):
    stream = io.StringIO()
    callback = progress.Progress(stream, seconds=0)
    callback.params = {}
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    clock.now += seconds
    callback.on_train_batch_end(0, {})
    assert stream.getvalue() == f"epoch 1/?  step 1  {shown}\n"


def test_an_interruption_ends_the_line(clock):
    stream = Terminal()
    callback = progress.Progress(stream)
    callback.params = {"epochs": 2}
    callback.on_train_begin()
    callback.on_train_interrupted()
    callback.on_train_interrupted()
    assert re.fullmatch(r"\r\x1b\[Kepoch 1/2  compiling\n", stream.getvalue())


def test_without_counts_it_shows_steps(clock):
    stream = io.StringIO()
    callback = progress.Progress(stream, seconds=0)
    callback.params = {}
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    for batch in range(2):
        clock.now += 0.5
        callback.on_train_batch_end(batch, {"loss": 1.0})
    assert stream.getvalue().splitlines()[-1] == "epoch 1/?  step 2  loss 1  steps/s 2"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.04 s"), (0.97, "1.0 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_duration(seconds, words):
    assert progress.duration(seconds) == words


def test_a_terminal_with_room_gets_the_curve_of_the_loss(clock, monkeypatch):
    class Unicode(Terminal):
        encoding = "utf-8"

    monkeypatch.setenv("COLUMNS", "99")
    stream = Unicode()
    callback = progress.Progress(stream)
    callback.params = {"epochs": 1, "steps": 3, "examples": 0, "tokens": 0}
    callback.on_epoch_begin(0)
    for batch, loss in enumerate([3.0, float("nan"), 2.0, 1.0]):
        callback.on_train_batch_end(batch, {"loss": loss})
    assert stream.getvalue().endswith("  █▅▁")
    callback.on_epoch_end(0, {"loss": 1.0})
    assert not stream.getvalue().endswith("▁\n")
    assert progress.sparkline([1.0, 1.0]) == "▁▁" and progress.sparkline([1.0]) == ""
    assert len(progress.sparkline(list(range(1000)))) == progress.CURVE
