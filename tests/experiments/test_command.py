"""The frame of the commands in process: messages in terms of flags, exit codes, groups of `--help`, refusals."""

import os
import re
import signal
import subprocess
import sys

import pytest
from absl import flags
from commands import in_process, refused

from experiments import command


@pytest.fixture
def defined(monkeypatch):
    """A set of flags of its own, in place of those of all commands."""
    values = flags.FlagValues()
    for name in ("data_dir", "epochs", "set", "list_models", "task_option"):
        flags.DEFINE_string(name, None, f"Help of {name}.", flag_values=values)
    monkeypatch.setattr(command, "FLAGS", values)
    return values


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "Table: `data_dir` must be a folder; got data_dir='x'.",
            "Table: --data_dir must be a folder; got --data_dir='x'.",
        ),
        ("got epochs=0, units=3", "got --epochs=0, units=3"),
        ("`units` must be an integer above 0", "`units` must be an integer above 0"),
        ("use --epochs=1 and a.epochs=2", "use --epochs=1 and a.epochs=2"),
        ("the epochs = 3 and epochs= none", "the epochs = 3 and epochs= none"),
        ("All: kerazoo.list_models().", "All: --list_models='*'."),
        ("All: kerazoo.tasks.names().", "All: kerazoo.tasks.names()."),
        ("say format=tsv, got height=3", "say --task_option=format=tsv, got height=3"),
        ("Set tie_output=False, or resample=1.", "Set --set=tie_output=False, or --task_option=resample=1."),
    ],
)
def test_messages_name_flags_in_place_of_arguments(defined, message, shown):
    assert command.in_terms_of_flags(message) == shown


@pytest.mark.parametrize(
    "remedy",
    [
        " Is there another delimiter? Say delimiter=';'.",
        " Say gaps='interpolate' to fill it from its neighbours.",
        " Correct it, or say bad_lines='skip' to leave such lines out.",
        " Correct it, or say date_column='' if the rows have equal steps.",
    ],
)
def test_remedies_of_training_are_not_named_where_a_run_reads_data(defined, monkeypatch, remedy):
    assert command.in_terms_of_flags("a.csv:1: no." + remedy) == "a.csv:1: no." + remedy
    values = flags.FlagValues()
    flags.DEFINE_string("run_dir", None, "Run.", flag_values=values)
    monkeypatch.setattr(command, "FLAGS", values)
    shown = "a.csv:1: no." + " Correct it." * ("Correct" in remedy) + " The data must be written as that of the run."
    assert command.in_terms_of_flags("a.csv:1: no." + remedy) == shown


def raised_by(module, error, statement="raise error"):
    """The error as it comes out of a function of `module`."""
    space = {"__name__": module, "error": error}
    exec(f"def fail():\n    {statement}", space)
    try:
        space["fail"]()
    except BaseException as caught:
        return caught


class ResourceExhaustedError(Exception):
    """Named as that of TensorFlow."""


def numbered(code):
    error = RuntimeError("x")
    error.exit_code = code
    return error


@pytest.mark.parametrize(
    ("error", "expected", "code"),
    [
        (raised_by("kerazoo.text", ValueError("x")), True, 2),
        (raised_by("kerazoo.text", TypeError("x")), True, 2),
        (raised_by("experiments.run", command.UsageError("x")), True, 2),
        (raised_by("experiments.run", command.InputError("x")), True, 3),
        (raised_by("kerazoo.text", PermissionError(13, "denied")), True, 5),
        (raised_by("numpy", MemoryError()), True, 5),
        (raised_by("tensorflow", ResourceExhaustedError("no memory")), True, 5),
        (raised_by("kerazoo.run", numbered(6)), True, 6),
        (raised_by("kerazoo.run", numbered(75)), True, 75),
        (raised_by("keras.layers", ValueError("x")), False, 2),
        (raised_by("kerazoo.text", KeyError("x")), False, 2),
        (raised_by("kerazoo.text", ValueError("x"), "int('x')"), False, 2),
        (raised_by("kerazoo.text", TypeError("x"), "1 + 'x'"), False, 2),
        (raised_by("kerazoo.text", TypeError("x"), "raise error from ValueError('y')"), True, 2),
    ],
)
def test_exit_codes_tell_the_kind_of_the_error(error, expected, code):
    assert command.is_expected(error) is expected and command.exit_code(error) == code


def test_errors_of_the_library_have_the_exit_codes_of_the_table():
    from kerazoo import _checks

    codes = {"DataError": 3, "NoExamplesError": 3, "CheckpointError": 4, "SetupError": 5, "DivergedError": 6,
             "PreemptedError": 75}  # fmt: skip
    assert {name: getattr(_checks, name).exit_code for name in codes} == codes


def run(monkeypatch, capsys, main, *arguments, **options):
    """Returns exit code, output and error of a command in this process."""
    monkeypatch.setattr(command, "quiet", lambda: None)
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as ended:
        command.run(main, "What it does.", **options)
    return ended.value.code, *capsys.readouterr()


def test_sigterm_ends_a_command_with_one_line(defined, monkeypatch, capsys):
    flags.DEFINE_bool("verbose", False, "Traceback.", flag_values=defined)
    before = signal.getsignal(signal.SIGTERM)
    cleaned = []

    def main(arguments):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            cleaned.append(signal.getsignal(signal.SIGTERM))

    assert run(monkeypatch, capsys, main) == (143, "", "error: stopped by SIGTERM.\n")
    assert cleaned == [signal.SIG_DFL] and signal.getsignal(signal.SIGTERM) is before
    assert run(monkeypatch, capsys, main, resumes=True) == (75, "", "error: stopped by SIGTERM.\n")


def test_an_expected_error_is_at_most_five_lines_in_terms_of_flags(defined, monkeypatch, capsys):
    flags.DEFINE_bool("verbose", False, "Traceback.", flag_values=defined)

    def main(arguments):
        raise raised_by("kerazoo.tasks", ValueError("Task: `data_dir` is missing.\n" + "more\n" * 7))

    code, out, err = run(monkeypatch, capsys, main)
    assert (code, out) == (2, "") and err == "error: Task: --data_dir is missing.\n" + "more\n" * 4


@pytest.mark.parametrize("verbose", [False, True])
def test_a_bug_keeps_its_traceback_and_verbose_shows_all(defined, monkeypatch, capsys, verbose):
    flags.DEFINE_bool("verbose", verbose, "Traceback.", flag_values=defined)
    error = raised_by("kerazoo.tasks" if verbose else "keras.layers", ValueError("x"))

    def main(arguments):
        raise error

    monkeypatch.setattr(command, "quiet", lambda: None)
    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(ValueError) as raised:
        command.run(main, "What it does.")
    assert raised.value is error


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (PermissionError(13, "Permission denied", "a\x1b/run.json"), "a\\x1b/run.json: permission denied."),
        (OSError("odd"), "odd"),
        (MemoryError(), "there is not enough memory."),
        (ResourceExhaustedError("shape[9]"), "there is not enough memory. shape[9]"),
    ],
)
def test_faults_of_the_environment_are_told_in_words(defined, monkeypatch, capsys, error, shown):
    flags.DEFINE_bool("verbose", False, "Traceback.", flag_values=defined)

    def main(arguments):
        raise error

    assert run(monkeypatch, capsys, main) == (5, "", f"error: {shown}\n")


def test_arguments_without_a_flag_are_refused_where_none_are_read(defined, monkeypatch, capsys):
    flags.DEFINE_bool("verbose", False, "Traceback.", flag_values=defined)
    code, _, err = run(monkeypatch, capsys, lambda arguments: 0, "extra")
    assert code == 2 and "unexpected argument 'extra'" in err
    code, _, err = run(monkeypatch, capsys, lambda arguments: print(arguments), "extra", positional=True)
    assert code == 0 and err == ""


def test_the_keyboard_ends_a_command_with_130(defined, monkeypatch, capsys):
    flags.DEFINE_bool("verbose", False, "Traceback.", flag_values=defined)

    def main(arguments):
        raise KeyboardInterrupt

    code, _, err = run(monkeypatch, capsys, main)
    assert code == 130 and err == "error: stopped by the keyboard.\n"


def sections(text):
    """The flags below each title of a help text."""
    found, title = {}, None
    for line in text.splitlines():
        if line and not line.startswith(" ") and line.endswith(":"):
            title = line.partition(" (")[0].rstrip(":")
            found[title] = []
        elif line.startswith("  --") and title:
            found[title].append(line.strip().partition(":")[0].partition(",")[0])
    return found


def test_help_groups_all_flags_with_their_defaults():
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "experiments.run", "--help"], capture_output=True, text=True, check=True
    )
    found = sections(done.stdout)
    assert list(found) == ["Model", "Task and data", "Text", "Series", "Training", "Run and output", "Processes"]
    assert found["Model"][:2] == ["--model", "--set"] and "--list_models" in found["Model"]
    assert {"--task", "--data_dir", "--cache_dir", "--list_tasks"} <= set(found["Task and data"])
    assert {"--source_tokens", "--vocabulary_size"} <= set(found["Text"])
    import kerazoo as kz

    options = kz.run.TrainingOptions().to_dict()
    assert found["Training"] == [f"--{name}" for name in options]
    text = " ".join(done.stdout.split())
    for name, value in options.items():
        if value != ():
            start = re.search(rf" --{name}(, --no{name})?: ", text).start()
            assert f"(default: {value})" in text[start : start + 200], name
    assert {"--run_dir", "--verbose", "--flagfile"} <= set(found["Run and output"])
    assert "repeat this option" not in done.stdout and max(map(len, done.stdout.splitlines())) <= 120
    assert "--packing, --nopacking: Whether several" in text and "--help --model=NAME --task=NAME lists" in text
    assert "may be repeated" not in text.replace("; may be repeated.", "")


def test_help_for_a_model_and_a_task_shows_all_that_can_be_set():
    import kerazoo as kz
    from kerazoo import catalog

    out, _ = in_process("run", "--help", "--model=lstm_seq2seq_attention", "--task=table")
    text = " ".join(out.split())
    assert "by a short sweep over growing rates. (default: 0.003)" in text
    assert "Sizes of the model lstm_seq2seq_attention (seq2seq), as --set=OPTION=VALUE: " in text
    sizes = text.partition("Sizes of the model")[2]
    assert re.search(r" units: .+? \(default: 128\) ", sizes) and "(default: 'multiplicative')" in sizes
    assert all(f" {name}: " in sizes for name in catalog.arguments("lstm_seq2seq_attention"))
    options = text.partition("Options of the task table")[2]
    assert " --source_column: int or string. The column of the source" in options and " dev_data: string." in options
    assert all(re.search(rf" (--)?{name}: ", options) for name in kz.tasks.options("table"))
    assert max(map(len, out.splitlines())) <= 120


def test_help_for_a_composed_model_and_unknown_names():
    assert "kind='seq2seq'" in refused("run", "--help", "--model=conv+lstm", "--task=topics")
    out, _ = in_process("run", "--help", "--model=conv+classifier")
    text = " ".join(out.split())
    assert re.search(r" encoder\.filters: .+? \(default: \(64, 128\)\) ", text) and "Options of the task digits" in text
    assert "Unknown model 'lstm_sq2seq'. Close names: lstm_seq2seq" in refused("run", "--help", "--model=lstm_sq2seq")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("cnn_captioner", ["cnn_classifier"]),
        ("transfomer_lm", ["transformer_lm_base", "transformer_lm_tiny", "transformer_lm_small"]),
        ("resnet", []),
        ("autoencoder", ["dense_autoencoder", "dense_autoencoder_binary"]),
        ("lstm_seq2seq_atention", ["lstm_seq2seq_attention", "lstm_seq2seq"]),
    ],
)
def test_close_names_share_a_word(name, near):
    import kerazoo as kz
    from kerazoo import _checks

    assert _checks.close_names(name, kz.list_models())[: len(near) or 1] == near


def test_ctrl_c_during_an_import_has_no_traceback():
    line = [sys.executable, "-c", "import experiments; raise KeyboardInterrupt"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr == "error: stopped by the keyboard.\n"
