"""The command under load: nothing is lost, a killed server loses connections alone, SIGTERM loses nothing.

python -m pytest tests/serve/test_load.py -m slow -n 0
"""

import http.client
import json
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

tf = pytest.importorskip("tensorflow")
for package in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(package)

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Reversed(tf.Module):
    """A text backwards, with some work."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="source")])
    def serve(self, source):
        letters = tf.strings.unicode_split(source, "UTF-8")
        product = tf.random.stateless_normal([256, 256], [1, 2])
        for _ in range(8):
            product = tf.tanh(product @ product)
        text = tf.strings.reduce_join(tf.reverse(letters.to_tensor(""), [1]), axis=1)
        return {"answer": text, "work": tf.fill(tf.shape(source), product[0, 0])}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "reversed"
    tf.saved_model.save(Reversed(), str(folder))
    return folder


def start(folder, port=0, *flags):
    """Returns the process of a server and its port."""
    arguments = [f"--model={folder}", f"--port={port}", *flags]
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.serve", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    match = re.search(r"reversed on http://127\.0\.0\.1:(\d+)", process.stdout.readline())
    assert match, process.wait(10)
    return process, int(match[1])


class Load:
    """Threads that send texts until they are ended, and what became of each."""

    def __init__(self, port, threads):
        self.port, self.ended = port, threading.Event()
        self.right, self.wrong, self.lost = 0, [], []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._send, args=(number,)) for number in range(threads)]
        for thread in self.threads:
            thread.start()

    def _send(self, number):
        connection, count = None, 0
        while not self.ended.is_set():
            count += 1
            text = f"text {number} {count}"
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                connection.request("POST", "/v1/models/reversed:predict", json.dumps({"instances": [text]}))
                response = connection.getresponse()
                values = json.loads(response.read())
            except (OSError, http.client.HTTPException) as error:
                connection = None
                with self.lock:
                    self.lost.append(error)
                time.sleep(0.05)
                continue
            is_right = response.status == 200 and values["predictions"][0]["answer"] == text[::-1]
            with self.lock:
                self.right += is_right
                self.wrong += [] if is_right else [(response.status, values)]

    def wait_for(self, count):
        """Waits for further right responses."""
        goal, end = self.right + count, time.monotonic() + 120
        while self.right < goal:
            assert time.monotonic() < end
            time.sleep(0.02)

    def end(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(60)


def test_two_hundred_at_once_are_all_served(folder):
    process, port = start(folder)
    load = Load(port, 200)
    load.wait_for(1000)
    load.end()
    process.terminate()
    assert process.wait(60) == 0
    assert "the accepted requests are finished" in process.stdout.read()
    assert not load.wrong and not load.lost


def test_a_killed_server_that_starts_again_loses_connections_alone(folder):
    process, port = start(folder)
    load = Load(port, 20)
    for _ in range(2):
        load.wait_for(100)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process, _ = start(folder, port)
    load.wait_for(100)
    load.end()
    process.terminate()
    assert process.wait(60) == 0
    assert load.lost and not load.wrong
    assert all(isinstance(error, OSError | http.client.HTTPException) for error in load.lost)


def test_sigterm_under_load_finishes_every_request_that_was_accepted(folder):
    process, port = start(folder)
    load = Load(port, 20)
    load.wait_for(200)
    process.terminate()
    assert process.wait(60) == 0
    load.end()
    assert not load.wrong
    # A connection that is closed between two requests, or refused, lost nothing that was accepted.
    lost = [error for error in load.lost if isinstance(error, http.client.IncompleteRead | TimeoutError)]
    assert not lost


def test_memory_stays_flat(folder):
    process, port = start(folder)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def memory():
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            return float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)[1])

        def send(count):
            for number in range(count):
                body = json.dumps({"instances": [f"text {number}"] * (1 + number % 7)})
                connection.request("POST", "/v1/models/reversed:predict", body)
                assert connection.getresponse().read().startswith(b'{"predictions"')

        send(1000)
        before = memory()
        send(3000)
        assert memory() - before < 20e6
    finally:
        process.kill()
