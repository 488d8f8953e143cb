"""The signal that ends a process, where no training is running."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from kerazoo import _checks


class _Stopped(BaseException):
    """Raised by the handler: nothing but `stoppable` catches it."""


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Within it SIGTERM raises a `PreemptedError`, and a second one ends the process at once.

    While training runs the signals are those of `kerazoo.training.Checkpoints`.
    """
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers only there
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def stop(number, frame):
        del number, frame
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        raise _Stopped

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except _Stopped:
        raise _checks.PreemptedError(
            "Stopped by SIGTERM outside of training; what was saved before is kept. The same command continues."
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
