"""Systems that are compared, each in a process of its own: it prints that it is ready and then replies to requests.

A request is a line on its standard input. A reply is a line that begins with `MARK`, as some libraries write to
standard output too.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

MARK = "@@"


def start_all(module: str, systems: dict[str, str], *arguments: object) -> dict[str, tuple[subprocess.Popen, str]]:
    """Starts the processes of systems at once.

    Args:
        module: the module to run, whose first argument is the name of the system.
        systems: dictionary from the name of each system to its backend of Keras, `""` for none.
        arguments: the further arguments.

    Returns:
        Dictionary from each name to the process, and "ready" or the reason why it is not.
    """
    workers = {}
    for system, backend in systems.items():
        environment = {**os.environ, "KERAS_BACKEND": backend or "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
        workers[system] = subprocess.Popen(
            [sys.executable, "-m", module, system, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip
    return {system: (worker, _reply(worker)) for system, worker in workers.items()}


def request(worker: subprocess.Popen, line: str) -> Any:
    """Returns the reply of a system to one request."""
    print(line, file=worker.stdin, flush=True)
    return json.loads(_reply(worker))


def serve(make: Callable[[], Callable[[str], Any]]) -> None:
    """Replies to requests until standard input ends, in the process of a system.

    Args:
        make: function that returns a function from a request to its reply. If it fails the reason is printed, so that
            one library that does not work does not keep the others from being measured.
    """
    try:
        reply = make()
    except Exception as error:
        print(MARK, f"{type(error).__name__}: {error}".splitlines()[0][:100], flush=True)
        return
    print(MARK, "ready", flush=True)
    for line in map(str.strip, sys.stdin):
        print(MARK, json.dumps(reply(line)), flush=True)


def _reply(worker):
    for line in worker.stdout:
        if line.startswith(MARK):
            return line[len(MARK) :].strip()
    return "the process ended"
