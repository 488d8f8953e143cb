"""`kerazoo COMMAND`, and the recipes that it finds from any folder."""

import os
import pathlib
import subprocess
import sys
from unittest import mock

import pytest
from commands import ROOT, in_process, refused

from experiments import __main__ as console
from experiments import recipe_files


@pytest.fixture
def called(monkeypatch, capsys):
    """Calls the console script in this process and returns its exit code, output and error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["/bin/kerazoo", *arguments])
        try:
            console.main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return call


def test_every_command_has_a_line(called):
    code, out, err = called("--help")
    assert (code, err) == (0, "") and called() == (0, out, "")
    assert {line.split()[0] for line in out.splitlines() if line.startswith("  ")} == set(console.COMMANDS)
    scripts = [path for path in (ROOT / "experiments").glob("*.py") if "command.run(main" in path.read_text()]
    assert {path.stem for path in scripts} == set(console.COMMANDS)


def test_the_version_names_what_computes(called):
    code, out, _ = called("--version")
    assert code == 0 and out.startswith("kerazoo ") and "Python 3." in out and "keras 3." in out


def test_an_unknown_command_has_a_close_name(called):
    assert called("rum") == (2, "", "error: unknown command 'rum'. Close names: run. All: kerazoo --help.\n")


def test_a_command_is_run_with_the_arguments_after_it(called, monkeypatch):
    with mock.patch("runpy.run_module") as run, mock.patch.dict(os.environ):
        monkeypatch.setattr(sys, "path", [*sys.path])
        assert called("predict", "--run_dir=x", "word")[0] == 0
        assert sys.argv[1:] == ["--run_dir=x", "word"] and sys.path[-1] == os.getcwd()
        assert os.environ["KERAZOO_PROGRAM"] == "kerazoo "
    run.assert_called_once_with("experiments.predict", run_name="__main__", alter_sys=True)


def test_commands_are_called_as_the_user_calls_them(tmp_path):
    """In a process of its own, from a folder that has an `experiments` and a module to import."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "mine.py").write_text("raise ValueError('imported')")
    start = "import sys; sys.path[0] = sys.argv.pop(1); from experiments.__main__ import main; main()"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*arguments):
        line = [sys.executable, "-c", start, str(ROOT), *arguments]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = call("run", "--help")
    assert done.returncode == 0 and "  kerazoo run --model=" in done.stdout and "experiments.run" not in done.stdout
    done = call("run", "--import=mine", "--model=mine")
    assert "imported" in done.stderr, done.stderr


def test_recipes_are_listed_with_what_they_train():
    out, _ = in_process("run", "--list_recipes")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert set(rows) == set(recipe_files.names()) and "stsb" in rows
    assert rows["cmudict_g2p"] == "English spelling to phones on the published split of CMUdict"


def test_a_recipe_is_taken_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = recipe_files.path("stsb")
    assert pathlib.Path(known).read_text().startswith("# python -m experiments.run --flagfile=stsb")
    assert recipe_files.find(["run", "--flagfile=stsb", "-a"]) == ["run", f"--flagfile={known}", "-a"]
    assert recipe_files.find(["run", "-flagfile", "stsb"]) == ["run", f"-flagfile={known}"]
    for others in (["run", "--", "--flagfile=stsb"], ["run", "--flagfile=a/b.flags"], ["run", "--flagfile"]):
        assert recipe_files.find(others) == others
    (tmp_path / "stsb").touch()
    assert recipe_files.find(["run", "--flagfile=stsb"]) == ["run", "--flagfile=stsb"]


def test_flags_after_a_recipe_are_taken_instead():
    assert "Unknown model 'mine'" in refused("run", "--flagfile=stsb", "--model=mine")


def test_an_unknown_recipe_is_refused():
    message = "--flagfile: there is no file and no recipe 'stbs'. Close names: stsb. All: python -m experiments.run --l"
    assert message in refused("run", "--flagfile=stbs")
