"""The signal that ends a process, where no training is running."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from kerazoo import _checks


class _Stopped(BaseException):
    """Raised by the handler: nothing but `stoppable` catches it."""


class Pending:
    """Whether SIGTERM has come where the error of its handler may have been dropped, and whether training runs."""

    def __init__(self):
        self.stopped = False
        self.in_training = False

    def begin_training(self) -> None:
        """Leaves the signals to a training; sends SIGTERM once more, to its handler, if it came before."""
        self.in_training = True
        if self.stopped:
            signal.raise_signal(signal.SIGTERM)

    def end_training(self) -> None:
        """Takes the signals back."""
        self.in_training = False


@contextlib.contextmanager
def stoppable() -> Iterator[Pending]:
    """Within it SIGTERM raises a `PreemptedError`, and a second one ends the process at once.

    While training runs the first signal is that of `kerazoo.training.Checkpoints`. Python drops an error that is raised
    in a callback of the garbage collector: what this yields sends a signal again when training begins.
    """
    pending = Pending()
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
        yield pending
        return
    before = signal.getsignal(signal.SIGTERM)

    def stop(number, frame):
        del frame
        signal.signal(number, before or signal.SIG_DFL)
        if pending.in_training:  # the second one
            signal.raise_signal(number)
            return
        pending.stopped = True
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
