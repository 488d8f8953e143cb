"""The signal that ends a process, where no training is running."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from kerazoo import _checks


class _Stopped(BaseException):
    """Raised by the handler: nothing but `stoppable` catches it."""


class Pending:
    """Whether SIGTERM has come where the error of its handler may have been dropped."""

    def __init__(self):
        self.stopped = False

    def send_again(self) -> None:
        """Sends SIGTERM once more, to the handlers of a training that begins, if it came before."""
        if self.stopped:
            signal.raise_signal(signal.SIGTERM)


@contextlib.contextmanager
def stoppable() -> Iterator[Pending]:
    """Within it SIGTERM raises a `PreemptedError`, and a second one ends the process at once.

    While training runs the signals are those of `kerazoo.training.Checkpoints`. Python drops an error that is raised in
    a callback of the garbage collector: a training that begins then calls `send_again` of what this yields.
    """
    pending = Pending()
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
        yield pending
        return
    before = signal.getsignal(signal.SIGTERM)

    def stop(number, frame):
        del number, frame
        pending.stopped = True
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        raise _Stopped

    signal.signal(signal.SIGTERM, stop)
    try:
        yield pending
    except _Stopped:
        raise _checks.PreemptedError(
            "Stopped by SIGTERM outside of training; what was saved before is kept. The same command continues."
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
