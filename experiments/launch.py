"""Start several processes of a command on this machine, which work together over JAX.

  python -m experiments.launch --processes=2 -- run --model=transformer_seq2seq_tiny --run_dir=RUN
  python -m experiments.launch --processes=2 -- evaluate --run_dir=RUN

When one of them ends with an error the others are ended too, and the same command continues the run.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from absl import flags

from experiments import command

FLAGS = flags.FLAGS
GRACE_SECONDS = 15  # that the others have to end by themselves
COMMANDS = ("run", "evaluate")
KILLED = 75

with command.flag_group("Processes"):
    flags.DEFINE_integer("processes", 2, "Number of processes; those of CUDA_VISIBLE_DEVICES are divided among them.",
                         lower_bound=1)  # fmt: skip
    flags.DEFINE_bool("verbose", False, "Show the traceback of an error.")


def main(arguments):
    """Starts the processes, and waits for their end."""
    given, *arguments = arguments or [""]
    name = given.removeprefix("experiments.")
    if name not in COMMANDS:
        raise command.UsageError(f"after -- comes {' or '.join(COMMANDS)} with its flags; got {given!r}.")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    count, processes = FLAGS.processes, []
    for index in range(count):
        line = [sys.executable, "-m", f"experiments.{name}", *arguments, f"--coordinator=localhost:{port}"]
        line += [f"--num_processes={count}", f"--process_id={index}"]
        # The first one writes where this command does; file descriptor 2 is redirected here.
        pipes: dict[str, Any] = {"stderr": sys.stderr}
        if index:
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        process = subprocess.Popen(line, env=environment(index, count), start_new_session=True, **pipes)
        if index:
            threading.Thread(target=repeat, args=(index, process.stdout), daemon=True).start()
        processes.append(process)

    def stop(number, frame):
        del number, frame
        for process in processes:
            process.send_signal(signal.SIGTERM)  # they agree on a step, save it and end

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return wait(processes)


def environment(index, count):
    """Returns the environment of a process: the JAX backend, and its part of the GPUs that are named."""
    found = {"KERAS_BACKEND": "jax", **os.environ}
    devices = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if devices:
        if len(devices) % count:
            raise command.UsageError(
                f"--processes must divide the {len(devices)} GPUs of CUDA_VISIBLE_DEVICES; got {count}."
            )
        size = len(devices) // count
        found["CUDA_VISIBLE_DEVICES"] = ",".join(devices[index * size : (index + 1) * size])
    return found


def repeat(index, lines):
    """Prints the lines of a process with its number."""
    for line in lines:
        print(f"[process {index}] {line}", end="", file=sys.stderr, flush=True)


def wait(processes):
    """Waits for all processes; returns the exit code of the first that failed, 75 if it was killed."""
    failed, deadline = None, None
    while any(process.poll() is None for process in processes):
        if failed is None:
            failed = next((index for index, process in enumerate(processes) if process.poll()), None)
            deadline = None if failed is None else time.monotonic() + GRACE_SECONDS
        elif time.monotonic() > deadline:
            for process in processes:
                process.kill()  # its checkpoints are whole whenever it ends
        time.sleep(0.2)
    codes = [process.returncode for process in processes]
    failed = next((index for index, code in enumerate(codes) if code), None) if failed is None else failed
    if failed is None:
        return 0
    if codes[failed] < 0:
        name = signal.Signals(-codes[failed]).name
        print(f"Process {failed} was ended by {name}; the same command continues.", file=sys.stderr)
    return KILLED if codes[failed] < 0 else codes[failed]


if __name__ == "__main__":
    command.run(main, __doc__, positional=True)
