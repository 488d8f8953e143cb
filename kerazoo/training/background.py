"""A function that runs in a thread beside the training."""

import threading
from collections.abc import Callable
from typing import Any


class Background:
    """Calls one function at a time in a thread, and raises its error where the caller next looks."""

    def __init__(self):
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, function: Callable[[], Any]) -> None:
        """Calls a function in a thread, as soon as the call before has ended."""
        self.wait()

        def call():
            try:
                function()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=call, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Waits for the end of the call, and raises its error."""
        self.join()
        self.check()

    def join(self) -> None:
        """Waits for the end of the call."""
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def check(self) -> None:
        """Raises the error of a call that failed."""
        error, self._error = self._error, None
        if error is not None:
            raise error
