"""A server of a model under load: what is lost, how long requests take, what batches gain and what HTTP costs.

LitServe answers the same requests where it is installed.
"""

import contextlib
import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from typing import Any

from absl import flags

from experiments import command
from experiments.benchmarks.texts import random_texts
from experiments.benchmarks.timing import timed
from experiments.benchmarks.workers import request, start_all

FLAGS = flags.FLAGS
ROWS = 16  # of the requests that are compared with the loop over the signature
CLIENTS = 32  # that send at the same time for the throughput with batches
SECONDS = 5.0  # of a measured throughput
START_SECONDS = 120.0  # in which a server must be ready
JSON = "application/json"


def results() -> list[dict[str, Any]]:
    """Returns a row for each case, from one server of the model `--model`."""
    if FLAGS.model is None:
        raise command.UsageError("serve needs --model=FOLDER, a SavedModel that takes a text.")
    texts = random_texts(FLAGS.texts)
    with _server(FLAGS.model) as server:
        status, reply = server.connect()(texts[:1])
        if status != 200:
            raise command.InputError(f"{FLAGS.model}: must answer a text; got {reply.get('error', status)}")
        rows = [
            _parallel(server, texts, FLAGS.parallel),
            _in_a_row(server, texts, FLAGS.requests),
            *_throughputs(server, texts),
        ]
        rows.append(_overhead(server, texts))
    return rows + _peer_rows(texts)


def table(rows: list[dict[str, Any]]) -> str:
    """Returns the rows as lines of text."""
    return "\n".join(
        f"{row['case']}: " + ", ".join(f"{name} {value}" for name, value in row.items() if name != "case")
        for row in rows
    )


class Server:
    """A server in a process of its own, and its clients."""

    def __init__(self, process, host, port, name):
        self.process, self.address, self.name = process, (host, port), name

    @property
    def path(self):
        """Where predictions are requested."""
        return f"/v1/models/{self.name}:predict"

    def is_healthy(self):
        """Returns whether the server answers."""
        connection = http.client.HTTPConnection(*self.address, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False

    def connect(self):
        """Returns a function from texts to the status and the predictions, or the message of an error."""
        connection = http.client.HTTPConnection(*self.address, timeout=120)

        def predict(texts):
            connection.request("POST", self.path, json.dumps({"instances": texts}), {"Content-Type": JSON})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

        return predict

    def metric(self, name):
        """Returns a figure of `/metrics`."""
        connection = http.client.HTTPConnection(*self.address, timeout=120)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return float(re.search(rf"^{re.escape(name)} (\S+)", text, re.MULTILINE)[1])

    def memory(self):
        """Returns the megabytes of memory of the server."""
        return round(self.metric("process_resident_memory_bytes") / 1e6, 1)

    def seconds(self, name):
        """Returns the seconds of all requests inside the server, or of all batches, and their number."""
        return [self.metric(f'kerazoo_{name}_seconds_{what}{{model="{self.name}"}}') for what in ("sum", "count")]


class PeerServer(Server):
    """The server of `experiments.benchmarks.litserve_server`."""

    path = "/predict"


@contextlib.contextmanager
def _peer(folder):
    """Starts LitServe with a model on a free port, and ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.benchmarks.litserve_server", folder, str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    server, end = PeerServer(process, "127.0.0.1", port, "litserve"), time.monotonic() + START_SECONDS
    try:
        while not server.is_healthy():
            if process.poll() is not None or time.monotonic() > end:
                raise command.InputError(f"{folder}: LitServe cannot serve it.")
            time.sleep(0.2)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
        process.wait(60)


def _peer_rows(texts):
    """Returns the rows of LitServe; none where it is not installed."""
    if importlib.util.find_spec("litserve") is None:
        print("without LitServe: install the extra `peers`", file=sys.stderr)
        return []
    with _peer(FLAGS.model) as server:
        rows = [
            _parallel(server, texts, FLAGS.parallel),
            *_throughputs(server, texts),
            {"case": f"{ROWS} rows", "over_http_ms": round(1000 * _seconds_of_rows(server, texts), 2)},
        ]
    return [{**row, "case": f"LitServe, {row['case']}"} for row in rows]


def _seconds_of_rows(server, texts):
    """Returns the median time of requests of 16 rows."""
    predict, found = server.connect(), []
    for number in range(10 * FLAGS.repeats + 2):
        rows = _rows(texts, number)
        found.append(timed(lambda rows=rows: predict(rows)))
    return statistics.median(found[2:])


@contextlib.contextmanager
def _server(folder):
    """Starts a server of a model on a free port, and ends it."""
    arguments = [f"--model=model={folder}", "--port=0", "--timeout=120"]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.serve", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        match = re.search(r"http://([\w.]+):(\d+)", process.stdout.readline())
        if match is None:
            raise command.InputError(f"{folder}: cannot be served; the reason is above.")
        yield Server(process, match[1], int(match[2]), "model")
    finally:
        process.terminate()
        process.wait(60)


def _counted(case, found, seconds):
    """Returns the row of a case of requests: (seconds, status) of each."""
    times = sorted(taken for taken, _ in found)
    statuses = sorted({status for _, status in found})
    return {
        "case": case,
        "requests": len(found),
        "not 200": sum(status != 200 for _, status in found),
        "statuses": " ".join(map(str, statuses)),
        "p50_ms": round(1000 * times[len(times) // 2], 2),
        "p99_ms": round(1000 * times[min(len(times) - 1, len(times) * 99 // 100)], 2),
        "per_second": round(len(found) / seconds, 1),
    }


def _send(predict, texts, found):
    """Sends one text and adds its time and status to what was found; 0 is a lost connection."""
    started = time.perf_counter()
    try:
        status = predict(texts)[0]
    except (OSError, http.client.HTTPException):
        status = 0
    found.append((time.perf_counter() - started, status))


def _in_threads(functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _parallel(server, texts, count):
    """Sends `count` requests at once."""
    found, barrier = [], threading.Barrier(count)

    def client(text):
        predict = server.connect()
        barrier.wait()
        _send(predict, [text], found)

    seconds = timed(lambda: _in_threads([lambda text=text: client(text) for text in _cycle(texts, count)]))
    return _counted(f"{count} at once", found, seconds)


def _in_a_row(server, texts, count):
    """Sends `count` requests on one connection, one after the other, and compares the memory on the way."""
    predict, found, memory = server.connect(), [], []
    started = time.perf_counter()
    for number, text in enumerate(_cycle(texts, count)):
        if number in (count // 5, count // 2):
            memory.append(server.memory())
        _send(predict, [text], found)
    row = _counted(f"{count} in a row", found, time.perf_counter() - started)
    first, middle, last = *memory, server.memory()
    return {**row, "memory_mb": f"{first} at a fifth, {middle} at half, {last} at the end"}


def _throughputs(server, texts):
    """Compares clients that send together with one that sends alone, in turn."""
    single, together = [], []
    for _ in range(FLAGS.repeats):
        single.append(_throughput(server, texts, 1))
        together.append(_throughput(server, texts, CLIENTS))
    one, many = statistics.median(single), statistics.median(together)
    return [
        {"case": "1 client", "per_second": round(one, 1)},
        {"case": f"{CLIENTS} clients", "per_second": round(many, 1), "times_one_client": round(many / one, 2)},
    ]


def _throughput(server, texts, clients):
    """Returns the predictions a second of some clients."""
    found, end = [], time.perf_counter() + SECONDS

    def client(offset):
        predict = server.connect()
        number = offset
        while time.perf_counter() < end:
            _send(predict, [texts[number % len(texts)]], found)
            number += clients

    seconds = timed(lambda: _in_threads([lambda offset=offset: client(offset) for offset in range(clients)]))
    return sum(status == 200 for _, status in found) / seconds


def _overhead(server, texts):
    """Compares requests of 16 rows with calls of the signature in a process that has TensorFlow alone, in turn."""
    workers = start_all("experiments.benchmarks.signature_calls", {"signature": {}}, FLAGS.model)
    worker, state = workers["signature"]
    if state != "ready":
        raise command.InputError(f"{FLAGS.model}: {state}.")
    predict, over_http, alone, before = server.connect(), [], [], {}
    for number in range(10 * FLAGS.repeats + 2):
        rows = _rows(texts, number)
        taken = timed(lambda rows=rows: predict(rows))
        called = request(worker, json.dumps(rows))
        if number == 1:  # the first ones prepare the graph
            before = {name: server.seconds(name) for name in ("request", "batch")}
        if number >= 2:
            over_http.append(taken)
            alone.append(called)
    worker.kill()
    served, signature = statistics.median(over_http), statistics.median(alone)
    means = {}
    for name, (first_sum, first_count) in before.items():
        total, count = server.seconds(name)
        means[name] = (total - first_sum) / (count - first_count)
    return {
        "case": f"{ROWS} rows",
        "over_http_ms": round(1000 * served, 2),
        "signature_ms": round(1000 * signature, 2),
        "overhead_percent": round(100 * (served / signature - 1), 1),
        "in_server_mean_ms": round(1000 * means["request"], 2),
        "in_model_mean_ms": round(1000 * means["batch"], 2),
        "signature_mean_ms": round(1000 * statistics.mean(alone), 2),
        "overhead_in_server_percent": round(100 * (means["request"] / means["batch"] - 1), 1),
    }


def _rows(texts, number):
    """Returns the texts of a request of 16 rows."""
    return [texts[(number * ROWS + row) % len(texts)] for row in range(ROWS)]


def _cycle(texts, count):
    return [texts[number % len(texts)] for number in range(count)]
