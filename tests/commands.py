"""Runs the commands of `experiments`, each in a process of its own.

Importing TensorFlow takes seconds, so the processes are forked from one that has imported it and done nothing else:
no thread of its runtime is there yet that a fork would lose. `fresh=True` starts Python anew, as a user does.
"""

import contextlib
import functools
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIMIT = 300  # seconds


def command(name, *arguments, code=0, cwd=None, stdin=None, fresh=False):
    """Runs a command and returns its standard output and error; fails on another exit code.

    Args:
        name: Of a module in `experiments`.
        *arguments: What is typed behind it.
        code: The exit code that it must have; above 0 with a short message and no traceback.
        cwd: The folder it runs in, by default that of the project.
        stdin: Bytes that it reads.
        fresh: Whether Python starts anew.
    """
    arguments, cwd = [*map(str, arguments)], str(cwd or ROOT)
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder, stream) for stream in ("in", "out", "err")]
        files[0].write_bytes(stdin or b"")
        if fresh:
            with files[0].open("rb") as given, files[1].open("wb") as out, files[2].open("wb") as err:
                line = [sys.executable, "-m", f"experiments.{name}", *arguments]
                streams = {"stdin": given, "stdout": out, "stderr": err}
                status = subprocess.run(line, cwd=cwd, env=_environment(), timeout=LIMIT, **streams).returncode
        else:
            server = _server()
            print(json.dumps([name, arguments, cwd, [*map(str, files)]]), file=server.stdin, flush=True)
            status = int(server.stdout.readline())
        out, err = (file.read_bytes().decode() for file in files[1:])  # as written, whatever ends a line
    assert status == code, f"exit code {status}, expected {code}\n{out}\n{err}"
    if code:
        assert "Traceback" not in err
        assert len(err.strip().splitlines()) <= 5, err
    return out, err


def _environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


@functools.cache
def _server():
    # It ends with its standard input, when the tests do.
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, __file__], env=_environment(), **pipes)


def _serve():
    """Answers each line on standard input, a command, with its exit code; returns in the process of a command."""
    with contextlib.suppress(ImportError):
        import tensorflow  # noqa: F401
    import keras  # noqa: F401

    while line := sys.stdin.readline():
        child = os.fork()
        if not child:
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()


def _become(name, arguments, cwd, files):
    """Turns this process into that of a command."""
    signal.alarm(LIMIT)
    os.chdir(cwd)
    for number, path in enumerate(files):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (the old one has read ahead)
    sys.path[0] = cwd
    sys.argv = [name, *arguments]
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _become(*_serve())
