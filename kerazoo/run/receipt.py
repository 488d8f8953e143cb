"""The receipt of a run: what its result depends on, and what it reached, as one file."""

import importlib.metadata
import json
import os
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kerazoo import _files
from kerazoo.data.splits import SPLITS

if TYPE_CHECKING:
    from kerazoo.run.directory import RunDirectory
    from kerazoo.tasks import Task
    from kerazoo.training import CheckpointStore

PACKAGES = (
    "kerazoo", "keras", "numpy", "tensorflow", "jax", "jaxlib", "tensorflow-datasets", "scikit-learn", "tokenizers",
    "pillow", "soundfile", "sacrebleu", "rouge-score",
)  # fmt: skip
OPTIONS = ("model", "model_options", "task", "task_options", "training", "found", "data", "import", "start")
RESULTS = ("metrics", "examples", "search", "signatures")


def write(run: "RunDirectory", record: Mapping, task: "Task", store: "CheckpointStore") -> None:
    """Writes `receipt.json` into a run.

    It has the options and the seed, the versions of packages, the machine, SHA-256 of the data, of what the task was
    fitted to, and of the weights of the best checkpoint, and the results of the evaluations with the signatures of
    their measures.

    Args:
        run: `RunDirectory`.
        record: dict. The record of the run.
        task: `kerazoo.tasks.Task`.
        store: `CheckpointStore` of the run.
    """
    import keras

    name = str(store.name("best"))
    values = {
        **{option: record[option] for option in OPTIONS if option in record},
        "seed": record["training"]["seed"],
        "command": record["calls"][-1]["command"],
        "backend": keras.backend.backend(),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "devices": keras.distribution.list_devices(),
        },
        "task_sha256": task.hash,
        "weights": {"checkpoint": name, "sha256": store.checksums(name)["model.npz"]},
        "results": {split: found for split in SPLITS if (found := _result(run.evaluation(split)))},
    }
    _files.write_record(run.receipt, values)


def _versions():
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = getattr(sys.modules.get(name), "__version__", None)  # a checkout that is not installed
            if version:
                found[name] = version
    return found


def _processor():
    """Returns the name of the processor, where Linux tells it."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _result(path: pathlib.Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: result[name] for name in RESULTS if name in result}
