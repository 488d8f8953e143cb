"""Several processes that train one model together over JAX, on one machine or many; elsewhere there is one process.

The processes exchange Python values through the coordinator of JAX. Each of them makes the same calls in the same
order, as for any collective operation.
"""

import atexit
import contextlib
import itertools
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from kerazoo import _checks

SILENT_SECONDS = 35.0  # without a sign of life of a process the others end
POLL_SECONDS = 2.0  # between two signs of life
GRACE_SECONDS = 10.0  # that the others have to end by themselves after one has failed
HEARTBEAT_SECONDS = 55  # after which JAX ends a process whose own watch hangs
PATIENCE_SECONDS = 24 * 3600  # that a process waits for another one that lives, such as for a corpus it prepares
PART_BYTES = 1 << 20  # of one message
LOST = 75  # the exit code where another process is gone: the same command continues
# What the errors of exchanges say when a process does not take part in them any more.
SIGNS_OF_LOSS = ("Gloo", "NCCL", "Connection reset", "Connection closed", "UNAVAILABLE", "oordination service")

_calls = itertools.count()


def connect(
    coordinator: str = "auto",
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the processes that train together; the first call of each of them, before JAX computes anything.

    A process that fails or is killed ends the others within a minute, with the exit code 75 or its own. Starting all
    of them again continues a run.

    Args:
        coordinator: string. `"HOST:PORT"` of the process with the number 0. `"auto"` finds everything that is not given
            in the environment that Slurm, Open MPI, Kubernetes (with the package `kubernetes`) or a TPU pod sets.
            Defaults to `"auto"`.
        num_processes: int, above 0. How many there are. Defaults to `None`, found by `"auto"`.
        process_id: int. The number of this process, from 0. Defaults to `None`, found by `"auto"`.

    Raises:
        ValueError: if the backend is not JAX, or a number is missing or out of its range.
        SetupError: if the other processes are not there.

    Example:

    ```python
    import kerazoo as kz

    print(kz.training.processes.count())
    ```
    """
    owner = "processes.connect"
    if keras.backend.backend() != "jax":
        raise ValueError(
            f"{owner}: several processes need the JAX backend; got {keras.backend.backend()!r}. "
            "Set the environment variable KERAS_BACKEND=jax."
        )
    import jax

    address: str | None = coordinator
    if coordinator == "auto":
        address = None
    else:
        num_processes = _checks.positive_int(owner, "num_processes", num_processes)
        process_id = _checks.non_negative_int(owner, "process_id", process_id)
        if process_id >= num_processes:
            raise ValueError(
                f"{owner}: `process_id` must be below {num_processes}, as counted from 0; got process_id={process_id}."
            )
        if not coordinator.rpartition(":")[2].isdecimal():
            raise ValueError(f"{owner}: `coordinator` must be HOST:PORT or 'auto'; got {coordinator!r}.")
    try:
        jax.distributed.initialize(
            address,
            num_processes,
            process_id,
            # Where all is given nothing is searched for, such as the one GPU of a task of Slurm.
            cluster_detection_method=None if address is None else "deactivate",
            initialization_timeout=300,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
        jax.devices()  # finds the devices of all processes, which must take part in it at the same time
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise _checks.SetupError(
            f"{owner}: process {process_id} cannot join the others at coordinator={coordinator!r}: {reason}."
        ) from error
    threading.Thread(target=_watch, args=(_client(), index(), count()), daemon=True).start()
    atexit.register(_leave_after_error)  # called before JAX waits for the others


def count() -> int:
    """Returns the number of processes that train together, 1 for one alone."""
    return 1 if _client() is None else _state().num_processes


def index() -> int:
    """Returns the number of this process, from 0."""
    return 0 if _client() is None else _state().process_id


def is_first() -> bool:
    """Returns whether this process is the one that writes files and prints."""
    return index() == 0


def gather(value: Any) -> list:
    """Returns the values of all processes, in their order; values are what `pickle` takes."""
    client = _client()
    if client is None or count() == 1:
        return [value]
    name = f"kerazoo/{next(_calls)}"
    content = pickle.dumps(value)
    parts = range(0, len(content), PART_BYTES)
    for number, start in enumerate(parts):
        client.key_value_set_bytes(f"{name}/{index()}/{number}", content[start : start + PART_BYTES])
    client.key_value_set(f"{name}/{index()}/parts", str(len(parts)))
    values = []
    for process in range(count()):
        wait = 1000 * PATIENCE_SECONDS
        found = int(client.blocking_key_value_get(f"{name}/{process}/parts", wait))
        keys = [f"{name}/{process}/{number}" for number in range(found)]
        values.append(pickle.loads(b"".join(client.blocking_key_value_get_bytes(key, wait) for key in keys)))
    client.wait_at_barrier(f"{name}/read", 1000 * PATIENCE_SECONDS)
    if is_first():
        client.key_value_delete(f"{name}/")
    return values


def wait() -> None:
    """Returns when all processes have called it."""
    gather(None)


def on_first(function: Callable[[], Any]) -> Any:
    """Calls `function` in the first process; the others return None when it is done, and end if it failed there."""
    return _first(function, lambda: None)


def first_then_others(function: Callable[[], Any]) -> Any:
    """Calls `function` in the first process and then in the others, which find in the cache what it prepared."""
    return _first(function, function)


def _first(function, others):
    if count() == 1:
        return function()
    error, result = None, None
    if is_first():
        try:
            result = function()
        except BaseException as failed:
            gather(f"{type(failed).__name__}: {failed}")
            raise
    error = gather(error)[0]
    if error is not None:
        raise _checks.SetupError(f"the process with the number 0 failed: {error}")
    return result if is_first() else others()


def to_host(value: Any) -> np.ndarray:
    """Returns a tensor as a NumPy array in every process, also one of which other processes hold parts."""
    if keras.backend.backend() == "jax" and count() > 1:
        import jax

        if isinstance(value, jax.Array) and not (value.is_fully_addressable or value.is_fully_replicated):
            from jax.experimental import multihost_utils

            return np.asarray(multihost_utils.process_allgather(value, tiled=True))
    read = getattr(value, "read_value", None)  # NumPy cannot read a mirrored scalar in the scope of its strategy
    return np.asarray(keras.ops.convert_to_numpy(read() if read else value), order="C")


def _state() -> Any:
    from jax._src import distributed  # JAX has no public access to its coordinator

    return distributed.global_state


def _client() -> Any:
    """Returns the client of the coordinator, None for a process alone."""
    if keras.backend.backend() != "jax" or "jax" not in sys.modules:
        return None
    return _state().client


def assign(variable: keras.Variable, value: np.ndarray) -> None:
    """Assigns an array that all processes have, of which each puts on its devices what they hold."""
    layout = getattr(getattr(variable, "_layout", None), "backend_layout", None)
    if count() == 1 or layout is None:
        return variable.assign(value)
    import jax

    # Given the array itself, JAX would compare the whole of it among the processes.
    array = np.asarray(value).astype(variable.dtype)
    variable.assign(jax.make_array_from_callback(array.shape, layout, lambda index: array[index]))


@contextlib.contextmanager
def loss_reported() -> Iterator[None]:
    """Within it the errors of exchanges with a process that is gone become a `PreemptedError`."""
    try:
        yield
    except Exception as error:
        text = str(error)
        if count() == 1 or hasattr(error, "exit_code") or not any(sign in text for sign in SIGNS_OF_LOSS):
            raise
        reason = text.strip().partition("\n")[0]
        raise _checks.PreemptedError(
            f"Another process is gone ({reason:.120}). The same command continues from the last checkpoint."
        ) from error


def leave(code: int, message: str) -> None:
    """Ends a process that failed, and with it the others; returns if there are none.

    Args:
        code: int. The exit code.
        message: string. What the others print.
    """
    client = _client()
    if client is None or count() == 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    if code == LOST:  # which the others find out by themselves; JAX aborts a process soon after process 0 is gone
        os._exit(code)
    name, value = f"kerazoo/failed/{index()}", f"{code} {message}"
    tell = threading.Thread(target=client.key_value_set, args=(name, value, True), daemon=True)
    tell.start()
    tell.join(POLL_SECONDS)  # no longer: the process that holds the values may be gone
    os._exit(code)


def _leave_after_error():
    error = getattr(sys, "last_value", None)
    if error is not None:  # Python has printed it
        leave(1, f"{type(error).__name__}: {error}")


def _watch(client, number, number_of_processes):
    """Gives signs of life, and ends this process after another one has failed or gives none any more."""
    others = [process for process in range(number_of_processes) if process != number]
    seen = {process: ("", time.monotonic()) for process in others}
    for beat in itertools.count():
        try:
            client.key_value_set(f"kerazoo/alive/{number}", str(beat), allow_overwrite=True)
            for process in others:
                failed = _get(client, f"kerazoo/failed/{process}")
                if failed:
                    code, _, message = failed.partition(" ")
                    time.sleep(GRACE_SECONDS)
                    _exit(int(code), f"process {process} failed: {message}")
                sign = _get(client, f"kerazoo/alive/{process}")
                if sign != seen[process][0]:
                    seen[process] = sign, time.monotonic()
                elif time.monotonic() - seen[process][1] > SILENT_SECONDS:
                    _exit(LOST, f"process {process} is gone. The same command continues from the last checkpoint.")
        except Exception as error:  # the first process, which holds all values, is gone
            if sys.is_finalizing() or _client() is None:
                return
            reason = str(error).strip().partition("\n")[0]
            _exit(LOST, f"process 0 is gone ({reason}). The same command continues from the last checkpoint.")
        time.sleep(POLL_SECONDS)


def _get(client, name):
    """Returns a value of the coordinator, the empty string if there is none."""
    try:
        return client.key_value_try_get(name)
    except Exception as error:
        if "NOT_FOUND" in str(error):
            return ""
        raise


def _exit(code, message):
    print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(code)
