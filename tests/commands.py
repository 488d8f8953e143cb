"""Runs the commands of `experiments`: in this process, forked, or as a user starts them.

`in_process` runs a command in the process of the tests, and `refused` one that is expected to refuse its arguments.
`command` runs one in a process of its own. Importing TensorFlow takes seconds, so these processes are forked from one
that has imported it and done nothing else: no thread of its runtime exists yet that a fork would lose. `fresh=True`
starts Python anew.
"""

import contextlib
import functools
import io
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIMIT = 300  # seconds


def refused(name, *arguments, code=2, **options):
    """Runs a command in this process and returns its standard error; fails unless it refuses with the exit code."""
    return in_process(name, *arguments, code=code, **options)[1]


def in_process(name, *arguments, code=0, cwd=None, stdin=None):
    """Runs a command in this process and returns its standard output and error; fails on another exit code.

    Args:
        name: string. A module of `experiments`.
        *arguments: strings. What is typed after it.
        code: integer. The expected exit code. Defaults to `0`.
        cwd: path. The working directory. Defaults to that of the tests.
        stdin: bytes. The standard input. Defaults to `None`.
    """
    from absl import flags

    from experiments import command as frame

    out, err = io.StringIO(), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(stdin or b""), encoding="utf-8")
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(cwd or os.getcwd()))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(mock.patch.object(frame, "quiet"))
        stack.enter_context(mock.patch.object(sys, "argv", [name, *map(str, arguments)]))
        stack.enter_context(mock.patch.object(sys, "stdin", given))
        stack.enter_context(mock.patch.dict(os.environ))
        try:
            runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as end:
            status = end.code
        finally:  # the next command defines its flags anew
            for flag in list(flags.FLAGS):
                if "experiments" in flags.FLAGS.find_module_defining_flag(flag):
                    delattr(flags.FLAGS, flag)
            sys.modules.pop("experiments.flags", None)
            vars(sys.modules["experiments"]).pop("flags", None)
    _check(status, code, out.getvalue(), err.getvalue())
    return out.getvalue(), err.getvalue()


def command(name, *arguments, code=0, cwd=None, stdin=None, fresh=False, signalled=None):
    """Runs a command in a process of its own and returns its standard output and error.

    It fails on another exit code, and on a refusal with a traceback or with more than five lines.

    Args:
        name: string. A module of `experiments`.
        *arguments: strings. What is typed after it.
        code: integer. The expected exit code. Defaults to `0`.
        cwd: path. The working directory. Defaults to that of the project.
        stdin: bytes. The standard input. Defaults to `None`.
        fresh: boolean. Whether Python starts anew. Defaults to `False`.
        signalled: tuple of a signal and the seconds after which the forked process gets it, or `None`. The exit code
            is not checked then but returned as a third value. Defaults to `None`.
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
            print(json.dumps([name, arguments, cwd, [*map(str, files)], signalled]), file=server.stdin, flush=True)
            status = int(server.stdout.readline())
        out, err = (file.read_bytes().decode() for file in files[1:])  # as written, whatever ends a line
    if signalled:
        return out, err, status
    _check(status, code, out, err)
    return out, err


def _check(status, code, out, err):
    assert status == code, f"exit code {status}, expected {code}\n{out}\n{err}"
    if code:
        assert "Traceback" not in err
        assert len(err.strip().splitlines()) <= 5, err


def _environment():
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


@functools.cache
def _server():
    # It ends with its standard input, when the tests do.
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, __file__], env=_environment(), **pipes)


def _serve():
    """Prints the exit code of each command on standard input, one in each line; returns in the process of a command."""
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


def _become(name, arguments, cwd, files, signalled):
    """Turns this process into that of a command."""
    signal.alarm(LIMIT)
    if signalled:
        _send_later(*signalled)
    os.chdir(cwd)
    for number, path in enumerate(files):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (the old one has read ahead)
    sys.path[0] = cwd
    sys.argv = [name, *arguments]
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


def _send_later(number, seconds):
    """Starts a process that sends a signal to this one later."""
    here = os.getpid()
    if os.fork():
        return
    time.sleep(seconds)
    if os.getppid() == here:  # else it has ended
        os.kill(here, number)
    os._exit(0)


if __name__ == "__main__":
    _become(*_serve())
