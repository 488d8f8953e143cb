"""The options of a server of models."""

import dataclasses

from kerazoo import _checks


@dataclasses.dataclass(frozen=True)
class ServingOptions:
    """Where a server listens, how it makes batches, and what it refuses.

    Args:
        host: string. The address that it listens on. Defaults to `"127.0.0.1"`: this machine alone.
        port: int in [0, 65535]. The port; 0 takes a free one. Defaults to `8501`, that of TensorFlow Serving.
        max_batch_size: int, above 0. The largest number of rows of one batch, and of one request. Defaults to `64`.
        max_delay: float, not negative. The most seconds for which a batch waits for as many rows as the last one had.
            Defaults to `0.005`.
        max_queue: int, above 0. The number of rows that may wait for a model; requests beyond it are refused.
            Defaults to `1024`.
        num_batch_threads: int, above 0. The number of batches of one model that are computed at the same time. Defaults
            to `1`.
        timeout: float, above 0. The seconds after which a request fails that has no predictions yet. Defaults to
            `30.0`.
        max_text_length: int, above 0. The largest number of characters of a text. Defaults to `20000`.
        max_body_bytes: int, above 0. The largest number of bytes of a request. Defaults to 33,554,432.
        poll_seconds: float, above 0. The seconds between two looks for new versions of the models. Defaults to `2.0`.

    Raises:
        ValueError: if a number is out of its range.
    """

    host: str = "127.0.0.1"
    port: int = 8501
    max_batch_size: int = 64
    max_delay: float = 0.005
    max_queue: int = 1024
    num_batch_threads: int = 1
    timeout: float = 30.0
    max_text_length: int = 20_000
    max_body_bytes: int = 1 << 25
    poll_seconds: float = 2.0

    def __post_init__(self):
        _checks.not_above(
            "ServingOptions", "port", _checks.non_negative_int("ServingOptions", "port", self.port), 65535
        )
        for name in ("max_batch_size", "max_queue", "num_batch_threads", "max_text_length", "max_body_bytes"):
            _checks.positive_int("ServingOptions", name, getattr(self, name))
        for name in ("timeout", "poll_seconds"):
            _checks.number("ServingOptions", name, getattr(self, name), low=0, low_open=True)
        _checks.number("ServingOptions", "max_delay", self.max_delay, low=0)
