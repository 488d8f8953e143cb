"""A server over HTTP: predictions, status, metadata, metrics, refusals, new versions, streams, and an orderly end."""

import http.client
import json
import pathlib
import re
import shutil
import threading
import time

import pytest

tf = pytest.importorskip("tensorflow")
for package in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(package)

from commands import refused  # noqa: E402

import kerazoo as kz  # noqa: E402
from kerazoo import _checks  # noqa: E402


class Spelling(tf.Module):
    """Texts to other texts with a score, as a model that generates."""

    def __init__(self, suffix):
        super().__init__()
        self.suffix = tf.Variable(suffix)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="source")])
    def serve(self, source):
        tf.debugging.assert_none_equal(source, "refused", message="a word that the graph refuses")
        score = tf.cast(tf.strings.length(source), tf.float32) / 10
        return {"answer": tf.strings.join([source, self.suffix], " - "), "score": score}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float64, name="x"), tf.TensorSpec([None], tf.string)])
    def scale(self, x, unit):
        return {"sums": tf.reduce_sum(x, 1), "unit": unit, "rate": 7}


def save(folder, suffix="one"):
    module = Spelling(suffix)
    tf.saved_model.save(module, str(folder), {"serving_default": module.serve, "scale": module.scale})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save(folder / "spelling" / "3", "three")
    save(folder / "other", "other")
    return folder


class Client:
    """Requests on one connection to a server that runs in a thread."""

    def __init__(self, models, **options):
        self.messages = []
        options = {"port": 0, "poll_seconds": 0.05, **options}
        self.server = kz.serve.ModelServer(models, kz.serve.ServingOptions(**options), self.messages.append)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        self.server.wait_until_ready()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)

    def request(self, method, path, body=None, **headers):
        """Returns the status and the JSON of the response, or its text."""
        body = json.dumps(body) if isinstance(body, dict) else body
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        text = response.read().decode()
        self.headers = response.headers
        is_json = response.headers.get("content-type") == "application/json"
        return response.status, json.loads(text) if is_json else text

    def predict(self, path, **body):
        return self.request("POST", f"/v1/models/{path}", body)

    def close(self):
        self.connection.close()
        self.server.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def client(folder):
    limits = {"max_batch_size": 5, "max_text_length": 23, "max_body_bytes": 1000, "timeout": 10.0}
    client = Client([folder / "spelling", folder / "other"], **limits)
    yield client
    client.close()


def test_rows_give_predictions_and_columns_give_outputs(client):
    status, found = client.predict("spelling:predict", instances=["ab", "ü"])
    assert status == 200
    rows = [{"answer": "ab - three", "score": 0.2}, {"answer": "ü - three", "score": 0.2}]
    assert found == {"predictions": rows}
    status, found = client.predict("spelling/versions/3:predict", inputs={"source": ["ab"]})
    assert (status, found) == (200, {"outputs": {"answer": ["ab - three"], "score": [0.2]}})
    values = {"x": [[1, 2.5], [3, 4]], "unit": ["m", "s"]}
    status, found = client.predict("other:predict", signature_name="scale", inputs=values)
    assert (status, found) == (200, {"outputs": {"rate": 7, "sums": [3.5, 7.0], "unit": ["m", "s"]}})


def test_status_metadata_and_list_have_the_form_of_tensorflow_serving(client):
    available = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert client.request("GET", "/v1/models/spelling") == (200, {"model_version_status": [available]})
    assert client.request("GET", "/v1/models/spelling/versions/3") == (200, {"model_version_status": [available]})
    status, found = client.request("GET", "/v1/models")
    assert status == 200
    assert [(each["name"], each["version"]) for each in found["models"]] == [("spelling", "3"), ("other", "1")]
    assert found["models"][0]["signatures"] == ["scale", "serving_default"]
    status, found = client.request("GET", "/v1/models/spelling/metadata")
    assert status == 200 and found["model_spec"] == {"name": "spelling", "signature_name": "", "version": "3"}
    definition = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["inputs"]["source"]["dtype"] == "DT_STRING"
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert definition["inputs"]["source"]["tensor_shape"] == shape
    assert sorted(definition["outputs"]) == ["answer", "score"]
    assert definition["method_name"] == "tensorflow/serving/predict"


REFUSALS = [
    ("POST", "spelling:predict", {"instances": ["a"] * 6}, 413, "Input `source` must have at most 5 rows; got 6."),
    ("POST", "spelling:predict", {"instances": ["a" * 24]}, 400, "at most 23 characters; got 'aaa"),
    ("POST", "spelling:predict", {"instances": ["a" * 1000]}, 413, "must have at most 1,000 bytes; got 1,019."),
    ("POST", "spelling:predict", {"instances": [3]}, 400, "Input `source` must be strings"),
    ("POST", "spelling:predict", b"{", 400, "The body must be JSON"),
    ("POST", "spelling:predict", {"instances": ["a"], "signature_name": "no"}, 400,
     "`signature_name` must be one of scale, serving_default; got 'no'."),
    ("POST", "spelling:predict", {"inputs": {}}, 400, "lacks the input `source`"),
    ("POST", "spelling:predict", {"instances": ["ok", "refused"]}, 400,
     "a word that the graph refuses"),
    ("POST", "none:predict", {"instances": ["a"]}, 404, "There is no model 'none'; there are spelling, other."),
    ("POST", "spelling/versions/2:predict", {"instances": ["a"]}, 404, "version 3 loaded; got version 2"),
    ("POST", "spelling:classify", {"instances": ["a"]}, 404, "use /v1/models/NAME:predict or :stream"),
    ("POST", "spelling", {"instances": ["a"]}, 404, "use /v1/models/NAME:predict or :stream"),
    ("GET", "spelling:predict", None, 404, "There is no /v1/models/spelling:predict"),
    ("GET", "spelling/versions/9", None, 404, "Model spelling has no version 9."),
    ("DELETE", "spelling", None, 405, "DELETE is not for /v1/models/spelling."),
]  # fmt: skip


@pytest.mark.parametrize("method, path, body, status, message", REFUSALS, ids=[row[4][:40] for row in REFUSALS])
def test_what_cannot_be_served_gets_4xx_and_a_reason(client, method, path, body, status, message):
    found = client.request(method, f"/v1/models/{path}", body)
    assert found[0] == status and message in found[1]["error"]
    assert client.request("GET", "/healthz") == (200, {"status": "ok"})


def test_a_server_of_this_machine_refuses_other_names(client):
    assert client.request("GET", "/healthz", host="evil.example:8501")[0] == 403
    assert client.request("GET", "/healthz", host="localhost:9")[0] == 200


def test_metrics_count_requests_and_rows(client):
    def value(name):
        _, text = client.request("GET", "/metrics")
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    ok = 'kerazoo_requests_total{method="predict",model="other",status="200"}'
    rows = 'kerazoo_batch_rows_sum{model="other"}'
    before = value(ok), value(rows)
    client.predict("other:predict", instances=["a", "b", "c"])
    client.predict("other:predict", instances=[1])
    assert (value(ok), value(rows)) == (before[0] + 1, before[1] + 3)
    assert value('kerazoo_model_version{model="spelling"}') == 3
    assert value('kerazoo_requests_total{method="predict",model="",status="404"}') >= 0


def test_a_stream_has_the_words_of_the_finished_text_and_then_the_result(client):
    status, text = client.predict("spelling:stream", instances=["ab  c"])
    assert status == 200 and client.headers["content-type"].startswith("text/event-stream")
    events = [re.fullmatch(r"event: (\w+)\ndata: (.*)", part).groups() for part in text.strip().split("\n\n")]
    names, values = zip(*[(name, json.loads(data)) for name, data in events])
    assert names == ("start", "token", "token", "token", "token", "result")
    assert values[0] == {"incremental": False}
    assert "".join(value["text"] for value in values[1:-1]) == "ab  c - three"
    assert values[-1] == {"predictions": [{"answer": "ab  c - three", "score": 0.5}]}
    status, found = client.predict("spelling:stream", instances=[5])
    assert status == 400 and "must be strings" in found["error"]


def test_the_page_loads_nothing_from_elsewhere(client):
    for name, kind in (("", "text/html"), ("page.js", "text/javascript"), ("page.css", "text/css")):
        status, text = client.request("GET", f"/{name}")
        assert status == 200 and client.headers["content-type"].startswith(kind)
        assert not re.findall(r"(?:src|href|url)\W{1,3}(?:https?:)?//", text)
        assert "script-src 'self'" in client.headers["content-security-policy"]
    assert client.request("GET", "/nothing")[0] == 404
    assert client.request("GET", "/..%2fapplication.py")[0] == 404


def test_a_new_version_takes_over_and_one_that_does_not_load_does_not(folder, tmp_path):
    model = tmp_path / "spelling"
    shutil.copytree(folder / "spelling" / "3", model / "3")
    client = Client([model])
    outcomes, ended = [], threading.Event()

    def send():
        connection = http.client.HTTPConnection("127.0.0.1", client.server.port, timeout=20)
        while not ended.is_set():
            connection.request("POST", "/v1/models/spelling:predict", b'{"instances": ["a"]}')
            response = connection.getresponse()
            outcomes.append((response.status, json.loads(response.read())["predictions"][0]["answer"]))
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    broken = model / "5"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"\xff" * 99)
    wait_for(lambda: any("version 5 is not loaded" in each for each in client.messages))
    assert client.request("GET", "/v1/models/spelling/versions/5")[1]["model_version_status"][0]["state"] == "END"
    shutil.copytree(folder / "other", model / ".4")
    (model / ".4").rename(model / "4")
    wait_for(lambda: client.request("GET", "/v1/models")[1]["models"][0]["version"] == "4")
    wait_for(lambda: (200, "a - other") in outcomes)
    ended.set()
    for thread in threads:
        thread.join(20)
    states = {
        each["version"]: each["state"]
        for each in client.request("GET", "/v1/models/spelling")[1]["model_version_status"]
    }
    client.close()
    assert set(outcomes) == {(200, "a - three"), (200, "a - other")}
    assert states == {"5": "END", "4": "AVAILABLE", "3": "END"}
    assert sum("version 5 is not loaded" in each for each in client.messages) == 1


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_stopping_finishes_what_was_accepted(folder):
    client = Client([folder / "other"], max_delay=0.0)
    signature = client.server.models["other"].current.servable.signatures["serving_default"]
    arrived, gate, function = threading.Event(), threading.Event(), signature.function

    def slow(**tensors):
        arrived.set()
        gate.wait(10)
        return function(**tensors)

    object.__setattr__(signature, "function", slow)
    found = []
    thread = threading.Thread(target=lambda: found.append(client.predict("other:predict", instances=["a"])))
    thread.start()
    assert arrived.wait(10)
    client.server.stop()
    time.sleep(0.3)
    gate.set()
    thread.join(10)
    assert found == [(200, {"predictions": [{"answer": "a - other", "score": 0.1}]})]
    client.close()
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", client.server.port, timeout=5).connect()


def test_what_cannot_be_started_is_refused(folder, tmp_path):
    options = kz.serve.ServingOptions(port=0)
    with pytest.raises(_checks.CheckpointError, match="holds no SavedModel, neither itself nor"):
        kz.serve.ModelServer([tmp_path], options)
    with pytest.raises(_checks.CheckpointError, match="nothing: cannot be read: No such file"):
        kz.serve.ModelServer([tmp_path / "nothing"], options)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(_checks.CheckpointError, match="has no graph for serving"):
        kz.serve.ModelServer([tmp_path], options, list)
    with pytest.raises(ValueError, match="must have at least one folder; got none"):
        kz.serve.ModelServer([])
    with pytest.raises(ValueError, match="must be there once; got other for two folders"):
        kz.serve.ModelServer([folder / "other", pathlib.Path("other")])
    with pytest.raises(ValueError, match="must have letters, digits and _ . . - alone; got 'a b'"):
        kz.serve.ModelServer({"a b": folder})
    with pytest.raises(ValueError, match="`port` must be at most 65,535; got port=70000"):
        kz.serve.ServingOptions(port=70000)
    with pytest.raises(ValueError, match="`timeout` must be a number above 0; got timeout=0"):
        kz.serve.ServingOptions(timeout=0)
    client = Client([folder / "other"])
    with pytest.raises(_checks.SetupError, match=rf"port {client.server.port}: .*in use. Choose another `port`"):
        kz.serve.ModelServer([folder / "other"], kz.serve.ServingOptions(port=client.server.port))
    client.close()


def test_the_command_refuses_in_its_flags(folder, tmp_path):
    assert "--model=FOLDER is required" in refused("serve")
    assert "--model: two folders have one name" in refused("serve", "--model=a/x", "--model=b/x")
    assert "--timeout must be a number above 0; got --timeout=0" in refused("serve", "--model=x", "--timeout=0")
    assert "x: cannot be read: No such file" in refused("serve", f"--model={tmp_path}/x", "--port=0", code=4)
    nowhere = refused("serve", f"--model={folder}/other", "--host=no host", code=5)
    assert "cannot listen on --host 'no host', port 8501" in nowhere
