"""Builds a model of kerazoo from an exported folder of weights and runs it: `load("FOLDER")` is all that it needs."""

import base64
import json
import pathlib
import sys
from typing import Any

import numpy as np

import kerazoo

kz: Any = kerazoo  # whose names are loaded when they are first used


def load(folder):
    """Returns the model of a folder, with its weights."""
    folder = pathlib.Path(folder)
    described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    model = kz.create(described["model"], **described["options"])
    model.build_from_inputs()
    kz.transfer.load_weights(model, folder / "model.safetensors")
    return model


def main():
    """Writes the outputs of the cases of standard input to the file of the first argument."""
    found = []
    for case in json.load(sys.stdin):
        inputs = {name: from_json(value) for name, value in case["inputs"].items()}
        outputs = np.asarray(load(case["directory"])(inputs, training=False), "float32")
        data = base64.b64encode(np.ascontiguousarray(outputs).tobytes()).decode()
        found.append({"outputs": {"dtype": outputs.dtype.str, "shape": list(outputs.shape), "base64": data}})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(found, file)


def from_json(value):
    """Returns the array of its bytes."""
    return np.frombuffer(base64.b64decode(value["base64"]), value["dtype"]).reshape(value["shape"])


if __name__ == "__main__":
    main()
