"""Batches of the rows of requests that arrive together, computed in threads beside the event loop."""

import asyncio
import collections
import concurrent.futures
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kerazoo.serve.request_error import RequestError
from kerazoo.serve.servable import Signature
from kerazoo.serve.serving_options import ServingOptions


@dataclasses.dataclass(eq=False)
class _Request:
    """The tensors of a request that waits for a batch."""

    signature: Signature
    tensors: dict[str, np.ndarray]
    rows: int
    key: Any  # requests of one key can be rows of one batch; None: of no other
    outputs: asyncio.Future
    arrived: float


class Batcher:
    """Collects requests and computes them in batches.

    While a batch is computed the next requests wait, and all of them that fit are the next batch, so a server under
    load makes large batches without a delay. A batch waits for at most `max_delay` seconds, and only for as many rows
    as the last one had: the clients that sent those are about to send again. Requests with tensors of other shapes are
    in other batches. When a batch fails it is computed again in halves, so that the values of one request are not the
    fault of another.

    Args:
        options: `ServingOptions`.
        on_batch: callable of the number of rows of a batch and the seconds that it took. Defaults to `None`.
    """

    def __init__(self, options: ServingOptions, on_batch: Callable[[int, float], object] | None = None):
        self._options = options
        self._on_batch = on_batch or (lambda rows, seconds: None)
        self._waiting: collections.deque[_Request] = collections.deque()
        self._executor: concurrent.futures.Executor | None = concurrent.futures.ThreadPoolExecutor(
            options.num_batch_threads, "batch"
        )
        self._changed = asyncio.Event()
        self._expected_rows = 1
        self._running = 0
        self._workers = [asyncio.create_task(self._work()) for _ in range(options.num_batch_threads)]

    @property
    def waiting_rows(self) -> int:
        """The number of rows that wait for a batch."""
        return sum(request.rows for request in self._waiting)

    async def compute(self, signature: Signature, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature for the tensors of one request.

        Raises:
            RequestError: with 429 if too many rows wait, 504 if the time is over, 400 if the graph refuses the values.
        """
        key, rows = _batch_key(signature, tensors)
        options = self._options
        waiting = self.waiting_rows
        if waiting + rows > options.max_queue:
            raise RequestError(
                429, f"{waiting:,} rows wait already, at most {options.max_queue:,} may. Try again later."
            )
        outputs = asyncio.get_running_loop().create_future()
        request = _Request(signature, dict(tensors), rows, key, outputs, time.monotonic())
        self._waiting.append(request)
        self._changed.set()
        try:
            return await asyncio.wait_for(outputs, options.timeout)
        except TimeoutError:
            raise RequestError(504, f"There are no predictions after {options.timeout:g} seconds.") from None
        finally:
            if request in self._waiting:
                self._waiting.remove(request)

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Returns what a function gives that runs in a thread of the batches, between two of them.

        After `finish` it runs in another thread.
        """
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)
        finally:
            self._running -= 1

    async def finish(self) -> None:
        """Waits until all requests are computed, then ends the threads. No request may come any more."""
        while self._waiting or self._running:
            await asyncio.sleep(0.01)
        for worker in self._workers:
            worker.cancel()
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    async def _work(self):
        """Computes batch after batch."""
        while True:
            batch = await self._next_batch()
            found = await self.run(self._compute, batch)
            for request, outputs in zip(batch, found):
                if request.outputs.done():  # its time is over
                    continue
                if isinstance(outputs, Exception):
                    request.outputs.set_exception(outputs)
                else:
                    request.outputs.set_result(outputs)

    async def _next_batch(self):
        """Waits for a batch that is worth computing and takes it out of the queue."""
        while True:
            self._changed.clear()
            if not self._waiting:
                await self._changed.wait()
                continue
            first = self._waiting[0]
            batch = self._fitting(first)
            rows = sum(request.rows for request in batch)
            left = first.arrived + self._options.max_delay - time.monotonic()
            if first.key is None or rows >= self._expected_rows or left <= 0:
                break
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue
        taken = set(map(id, batch))
        self._waiting = collections.deque(request for request in self._waiting if id(request) not in taken)
        self._expected_rows = max(1, rows)
        return batch

    def _fitting(self, first):
        """Returns the requests that can be in one batch with the first one, in the order in which they came."""
        if first.key is None:
            return [first]
        batch, rows = [], 0
        for request in self._waiting:
            if request.key == first.key:
                if rows + request.rows > self._options.max_batch_size:
                    break
                batch.append(request)
                rows += request.rows
        return batch

    def _compute(self, batch: Sequence[_Request]) -> list[Any]:
        """Returns the outputs of each request, or its error."""
        started = time.perf_counter()
        try:
            found = _call(batch)
        except Exception as error:
            if len(batch) == 1:
                return [error]
            middle = len(batch) // 2
            return [*self._compute(batch[:middle]), *self._compute(batch[middle:])]
        self._on_batch(sum(request.rows for request in batch), time.perf_counter() - started)
        return found


def _batch_key(signature, tensors):
    """Returns what requests of one batch have in common, `None` for a request that is computed alone, and the rows."""
    batched = [name for name in tensors if signature.inputs[name].is_batched]
    sizes = {len(tensors[name]) for name in batched}
    rows = max(sizes, default=1)
    if not signature.is_batched or len(sizes) != 1 or not rows:
        return None, max(1, rows)
    parts: list[Any] = [id(signature)]
    for name, array in sorted(tensors.items()):
        parts.append((name, array.shape[1:]) if name in batched else (name, array.shape, repr(array.tolist())))
    return tuple(parts), rows


def _call(batch):
    """Returns the outputs of each request of a batch that is computed by one call."""
    signature = batch[0].signature
    if len(batch) == 1:
        return [signature(batch[0].tensors)]
    rows = [request.rows for request in batch]
    tensors = {
        name: np.concatenate([request.tensors[name] for request in batch])
        if signature.inputs[name].is_batched
        else first
        for name, first in batch[0].tensors.items()
    }
    outputs = signature(tensors)
    found: list[dict[str, np.ndarray]] = [{} for _ in batch]
    for name, array in outputs.items():
        parts = np.split(array, np.cumsum(rows)[:-1]) if array.ndim else [array] * len(batch)
        if array.ndim and len(array) != sum(rows):
            raise ValueError(f"the output {name} has {len(array)} rows for {sum(rows)} examples")
        for request, part in zip(found, parts):
            request[name] = part
    return found
