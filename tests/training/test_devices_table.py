"""The table of docs/devices.md: each cell is run on virtual devices of one processor."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import commands
import keras
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "devices.py"
BACKENDS = {
    "one device": ("tensorflow", "jax"),
    "mirrored": ("tensorflow",),
    "data parallel": ("jax",),
    "model parallel": ("jax",),
    "two processes": ("jax",),
}


def documented():
    """The rows of the table: `(model, placement)` -> {column: what it does}."""
    lines = [line for line in (ROOT / "docs" / "devices.md").read_text().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    start = next(index for index, row in enumerate(cells) if row[:2] == ["model", "placement"])
    rows = {}
    for row in cells[start + 2 :]:
        if len(row) != len(cells[start]):
            break
        rows[tuple(row[:2])] = dict(zip(cells[start][2:], row[2:]))
    return rows


def started(*names, options=()):
    line = [sys.executable, str(SCRIPT), *names, *options]
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env=environment, **pipes)


def finished(process):
    out, err = process.communicate(timeout=3000)
    assert process.returncode == 0, err[-3000:]
    return dict(json.loads(line) for line in out.splitlines() if line.startswith('["table'))


def test_the_table_has_every_cell():
    rows = documented()
    assert set(rows) == {(model, placement) for model in ("dense", "lstm", "transformer") for placement in BACKENDS}
    assert {cell for row in rows.values() for cell in row.values()} == {"works", "falls back", "refuses"}
    assert all(list(row) == ["XLA", "mixed precision", "accumulation", "resume", "decoding"] for row in rows.values())


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["mirrored", "data parallel"])
def test_a_row_is_what_the_table_says(placement):
    """The short form: the dense model on several devices of this backend, fed by a corpus, arrays and batches."""
    if keras.backend.backend() not in BACKENDS[placement]:
        pytest.skip(f"{placement} is not of this backend")
    found = finished(started(f"table/dense/{placement}", "arrays", "stream"))
    assert found == {f"table/dense/{placement}": documented()[("dense", placement)]}


@pytest.mark.slow
@pytest.mark.parametrize("placement", BACKENDS)
def test_rows_are_what_the_table_says(placement):
    if keras.backend.backend() not in BACKENDS[placement]:
        pytest.skip(f"{placement} is not of this backend")
    names = [f"table/{model}/{placement}" for model in ("dense", "lstm", "transformer")]
    if placement == "two processes":
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        both = [started(*names, options=[f"--process={number}", f"--port={port}"]) for number in range(2)]
        found, other = map(finished, both)
        assert found == other
    else:
        found = finished(started(*names))
    expected = {name: dict(documented()[tuple(name.split("/")[1:])]) for name in names}
    assert found == expected


def test_cluster_files():
    """The examples for Slurm and Kubernetes are well formed, and their command has flags that exist."""
    yaml = pytest.importorskip("yaml")
    service, job = yaml.safe_load_all((ROOT / "docs" / "cluster" / "kubernetes.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    name, pod = job["metadata"]["name"], job["spec"]["template"]["spec"]
    assert service["spec"] == {"clusterIP": "None", "selector": {"job-name": name}}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["completions"] == job["spec"]["parallelism"]
    (container,) = pod["containers"]
    (command,) = container["args"]
    assert container["command"] == ["/bin/sh", "-c"]
    assert f"--num_processes={job['spec']['completions']} " in command
    assert f"--coordinator={name}-0.{pod['subdomain']}:{container['ports'][0]['containerPort']} " in command
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    check_flags(command)

    path = ROOT / "docs" / "cluster" / "slurm.sbatch"
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    script = path.read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", script, re.MULTILINE))
    assert len(options) == script.count("#SBATCH")
    assert options["ntasks-per-node"] == options["gpus-per-node"], "JAX gives one GPU to each task"
    check_flags(script)


def check_flags(text):
    """The command line of `experiments.run` in a text is accepted."""
    given = re.search(r"python -m experiments\.run((?:\\\n|[^\n])*)", text)[1]
    given = re.findall(r"--\w+=\S+", given.replace("$JOB_COMPLETION_INDEX", "1"))
    assert len(given) >= 6
    out, _ = commands.in_process("run", *given, "--help")
    assert "--coordinator" in out
