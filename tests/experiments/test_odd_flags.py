"""Odd values of flags: a refusal in a few lines with an exit code, and never a traceback or an endless computation."""

import numpy as np
import pytest
from absl import flags as absl_flags
from commands import in_process, refused
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import command
from kerazoo.run import trainer

ODD = ["", " ", "0", "-1", "1.5", "nan", "inf", "-inf", "1e999", "9223372036854775807", "99999999999999999999", "(",
       "[]", "None", "True", "a/b", "../..", "a=b", "=", "a=", "dtype=bogus", ":", "a:b=", "tfds:", "+", "conv+", "*",
       "\x1b[31m", "\u2028", "\0", "-", "--", "/dev/null/x", "\ud800"]  # fmt: skip
NAMES = {
    "run": ["set", "import", "task", "model", "data_dir", "inputs", "targets", "source_column", "bad_lines", "length",
            "task_option", "cache_dir", "source_tokens", "vocabulary_size", "case", "subword_dropout", "epochs",
            "batch_size", "batch_tokens", "learning_rate", "schedule", "warmup", "optimizer", "weight_decay", "l1",
            "clip_norm", "label_smoothing", "dtype", "seed", "patience", "max_shapes", "packing", "augment",
            "steps_per_execution", "feed", "shuffle_buffer", "limit", "xla", "noxla", "list_models", "flagfile", "x"],
    "evaluate": ["split", "limit", "samples", "num_beams", "temperature", "option", "ensemble", "draft_run", "run_dir"],
    "predict": ["n_best", "top_p", "stop", "batch_size", "format", "scores", "noscores", "given", "block", "import"],
    "export": ["to", "verify", "checkpoint", "cache_dir"],
}  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_no_value_of_a_flag_gives_a_traceback(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("odd")
    name = data.draw(st.sampled_from(list(NAMES)))
    flag = st.tuples(st.sampled_from(NAMES[name]), st.sampled_from(ODD) | st.text(max_size=5))
    typed = [f"--{flag}={value}" for flag, value in data.draw(st.lists(flag, min_size=1, max_size=3))]
    usual = ["--model=mlp_classifier", "--task=digits"] if name == "run" else [f"--run_dir={folder}/none"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer._Training, "execute", lambda *_: None)  # everything before the data is read
        _, err = ended(name, *usual, *typed, cwd=folder)
    assert all(line.isprintable() for line in err.splitlines())


def ended(name, *typed, cwd):
    for code in (0, 2, 3, 4, 5):
        try:
            return in_process(name, *typed, cwd=cwd, code=code)
        except AssertionError as error:
            if f"exit code {code}" in str(error).partition("\n")[0] or code == 5:
                raise
    raise AssertionError


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--seed=9223372036854775807", "--seed must be at most 4,294,967,295"),
        ("--max_shapes=99999999999999999999", "--max_shapes must be at most 2,147,483,647"),
        ("--limit=99999999999999999999", "--limit must be at most 2,147,483,647"),
        ("--l1=inf", "--l1 must be a finite number of at least 0; got --l1=inf"),
        ("--weight_decay=inf", "--weight_decay must be a finite number"),
        ("--learning_rate=1e999", "--learning_rate must be a finite number above 0"),
        ("--import=", "--import must name modules as an import statement does; got"),
        ("--noxla=3", "--noxla=3 does not take an argument"),
        ("--data_dir=a\0b", "--data_dir must not hold a NUL character; got 'a\\x00b'"),
        ("--flagfile=/no/such", "Unable to open flagfile"),
        ("--model=\x1b[31m", "Unknown model '\\x1b[31m'"),
    ],
)
def test_odd_values_are_refused(flag, message, tmp_path):
    err = refused("run", "--model=mlp_classifier", "--task=digits", flag, cwd=tmp_path)
    assert message in err and "\x1b" not in err
    assert not (tmp_path / "runs").exists()


def memory_error():
    try:
        np.zeros((1 << 40, 1 << 10))
    except MemoryError as error:
        return error


def test_refused_memory_has_the_exit_code_of_the_environment(monkeypatch, capsys):
    values = absl_flags.FlagValues()
    absl_flags.DEFINE_bool("verbose", False, "Traceback.", flag_values=values)
    monkeypatch.setattr(command, "FLAGS", values)
    monkeypatch.setattr(command, "quiet", lambda: None)
    monkeypatch.setattr(command.sys, "argv", ["command"])

    def main(arguments):
        try:
            raise memory_error()
        except MemoryError:
            raise TypeError("ResourceExhaustedError.__init__() missing 2 required arguments") from None

    with pytest.raises(SystemExit) as stopped:
        command.run(main, "What it does.")
    assert stopped.value.code == 5 and "array with shape (1099511627776, 1024)" in capsys.readouterr().err
