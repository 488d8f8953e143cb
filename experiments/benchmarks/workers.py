"""Systems that are compared, each in a process of its own: it prints that it is ready and then replies to requests.

A request is a line on its standard input. A reply is a line that begins with `MARK`, as some libraries write to
standard output too. A process is stopped while it has nothing to reply to, since threads of some libraries keep the
processors busy while they wait.
"""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

MARK = "@@"


def start_all(
    module: str, systems: Mapping[str, Mapping[str, str]], *arguments: object
) -> dict[str, tuple[subprocess.Popen, str]]:
    """Starts the processes of systems at once.

    Args:
        module: the module to run, whose first argument is the name of the system.
        systems: dictionary from the name of each system to the environment variables that it gets.
        arguments: the further arguments.

    Returns:
        Dictionary from each name to the process, and "ready" or the reason why it is not.
    """
    workers = {}
    for system, variables in systems.items():
        workers[system] = subprocess.Popen(
            [sys.executable, "-m", module, system, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables},
        )  # fmt: skip
    states = {system: _reply(worker) for system, worker in workers.items()}
    for system, state in states.items():
        if state != "ready":  # its process would stay stopped
            workers[system].kill()
    return {system: (worker, states[system]) for system, worker in workers.items()}


def request(worker: subprocess.Popen, line: str) -> Any:
    """Returns the reply of a system to one request."""
    worker.send_signal(signal.SIGCONT)
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


def torch_device() -> str:
    """Lets PyTorch use all processors, or the GPU that it finds, with the products of TF32 that JAX takes there.

    Returns:
        The name of the device, on which tensors and layers that this thread makes are then placed.
    """
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    torch.set_default_device(device)
    return device


def peak_mib() -> int:
    """Returns the most memory that this process had so far, without that of a GPU, in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _reply(worker):
    for line in worker.stdout:
        if line.startswith(MARK):
            worker.send_signal(signal.SIGSTOP)
            return line[len(MARK) :].strip()
    return "the process ended"
