"""Requests that arrive together are computed together, each gets its own rows, and the bounds hold."""

import asyncio
import threading
import time

import numpy as np
import pytest

from kerazoo.serve.batch_queue import Batcher
from kerazoo.serve.request_error import RequestError
from kerazoo.serve.rest_format import TensorInfo
from kerazoo.serve.serving_options import ServingOptions

ROWS = TensorInfo(np.dtype("float32"), (None, None))
FACTOR = TensorInfo(np.dtype("float32"), (), default=np.array(2, "float32"))


class Doubled:
    """A signature that records its batches; the value 13 is refused, and a gate can hold it up."""

    is_batched = True
    inputs = {"x": ROWS, "factor": FACTOR}

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, tensors):
        self.gate.wait(10)
        x = tensors["x"]
        self.batches.append(len(x))
        if (x == 13).any():
            raise RequestError(400, "13 is refused")
        return {"y": x * tensors.get("factor", 2), "rate": np.array(7)}


def row(*values, **more):
    return {"x": np.array([values], "float32"), **{name: np.array(value) for name, value in more.items()}}


def run(scenario, **options):
    """Runs a coroutine of a batcher and a signature."""

    async def main():
        signature = Doubled()
        batcher = Batcher(ServingOptions(**options))
        try:
            return await asyncio.wait_for(scenario(batcher, signature), 20)
        finally:
            signature.gate.set()
            await batcher.finish()

    return asyncio.run(main())


async def started(batcher, signature, tensors):
    """Starts a request whose batch is being computed when this returns."""
    signature.gate.clear()
    task = asyncio.create_task(batcher.compute(signature, tensors))
    while not batcher._running:
        await asyncio.sleep(0.001)
    return task


def test_requests_that_wait_are_one_batch_and_each_gets_its_rows():
    async def scenario(batcher, signature):
        first = await started(batcher, signature, row(1, 2))
        many = [asyncio.create_task(batcher.compute(signature, row(i, i + 1))) for i in range(5, 12)]
        two = asyncio.create_task(batcher.compute(signature, {"x": np.array([[20, 21], [22, 23]], "float32")}))
        await asyncio.sleep(0.01)
        signature.gate.set()
        for task, value in zip([first, *many], [1, *range(5, 12)]):
            outputs = await task
            assert outputs["y"].tolist() == [[2 * value, 2 * value + 2]]
            assert outputs["rate"] == 7
        assert (await two)["y"].tolist() == [[40, 42], [44, 46]]
        assert signature.batches == [1, 9]

    run(scenario)


def test_a_batch_has_at_most_its_size_and_one_shape_and_one_option():
    async def scenario(batcher, signature):
        first = await started(batcher, signature, row(1))
        tensors = [row(2), row(3), row(4, 5), row(6), row(7, factor=3.0), row(8), row(9, factor=3.0)]
        tasks = [asyncio.create_task(batcher.compute(signature, each)) for each in tensors]
        await asyncio.sleep(0.01)
        signature.gate.set()
        found = [(await task)["y"].tolist() for task in [first, *tasks]]
        assert found == [[[2]], [[4]], [[6]], [[8, 10]], [[12]], [[21]], [[16]], [[27]]]
        assert signature.batches == [1, 3, 1, 2, 1]

    run(scenario, max_batch_size=3, max_delay=0)


def test_a_refused_value_is_the_fault_of_its_own_request_alone():
    async def scenario(batcher, signature):
        first = await started(batcher, signature, row(1))
        tasks = [asyncio.create_task(batcher.compute(signature, row(i))) for i in (11, 12, 13, 14, 15)]
        await asyncio.sleep(0.01)
        signature.gate.set()
        found = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert [str(each) if isinstance(each, Exception) else each["y"][0, 0] for each in found] == [
            2, 22, 24, "13 is refused", 28, 30,
        ]  # fmt: skip

    run(scenario)


def test_too_many_waiting_rows_are_refused_with_429():
    async def scenario(batcher, signature):
        first = await started(batcher, signature, row(1))
        tasks = [asyncio.create_task(batcher.compute(signature, row(i))) for i in range(3)]
        await asyncio.sleep(0.01)
        with pytest.raises(RequestError, match="3 rows wait already, at most 3 may") as error:
            await batcher.compute(signature, row(5))
        assert error.value.status == 429
        signature.gate.set()
        assert [(await task)["y"][0, 0] for task in [first, *tasks]] == [2, 0, 2, 4]

    run(scenario, max_queue=3)


def test_a_request_whose_time_is_over_gets_504_and_is_not_computed():
    async def scenario(batcher, signature):
        first = await started(batcher, signature, row(1))
        with pytest.raises(RequestError, match="no predictions after 0.05 seconds") as error:
            await batcher.compute(signature, row(2))
        assert error.value.status == 504 and batcher.waiting_rows == 0
        signature.gate.set()
        with pytest.raises(RequestError):
            await first
        assert (await batcher.compute(signature, row(3)))["y"][0, 0] == 6
        assert signature.batches == [1, 1]

    run(scenario, timeout=0.05)


def test_a_lone_request_does_not_wait_for_others():
    async def scenario(batcher, signature):
        start = time.monotonic()
        for value in range(3):
            await batcher.compute(signature, row(value))
        assert time.monotonic() - start < 5

    run(scenario, max_delay=9.0, timeout=60.0)


def test_a_batch_waits_for_as_many_rows_as_the_last_one_had():
    async def scenario(batcher, signature):
        first = await started(batcher, signature, row(1))
        tasks = [asyncio.create_task(batcher.compute(signature, row(i))) for i in range(3)]
        await asyncio.sleep(0.01)
        signature.gate.set()
        await asyncio.gather(first, *tasks)
        tasks = []
        for value in range(3):
            tasks.append(asyncio.create_task(batcher.compute(signature, row(value))))
            await asyncio.sleep(0.02)
        await asyncio.gather(*tasks)
        assert signature.batches == [1, 3, 3]

    run(scenario, max_delay=5.0)


def test_zero_rows_and_signatures_without_rows_are_computed_alone():
    async def scenario(batcher, signature):
        outputs = await batcher.compute(signature, {"x": np.zeros((0, 3), "float32")})
        assert outputs["y"].shape == (0, 3)
        signature.is_batched = False
        first = await started(batcher, signature, row(1))
        tasks = [asyncio.create_task(batcher.compute(signature, row(i))) for i in range(3)]
        await asyncio.sleep(0.01)
        signature.gate.set()
        await asyncio.gather(first, *tasks)
        assert signature.batches == [0, 1, 1, 1, 1]

    run(scenario)
