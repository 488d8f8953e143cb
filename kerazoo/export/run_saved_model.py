"""Runs signatures of a SavedModel with TensorFlow alone: a script that reads cases as JSON and writes their outputs.

`kerazoo.export.verify` starts it in a fresh process. `decode` shows how the signatures `start`, `step` and `choose`
decode token by token.
"""

import base64
import json
import sys

import numpy as np
import tensorflow as tf


def main():
    """Writes the outputs of the cases of standard input to the file of the first argument."""
    found = [outputs(**case) for case in json.load(sys.stdin)]
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(found, file)
    if "kerazoo" in sys.modules:
        sys.exit("kerazoo was imported")


def outputs(directory, signature, inputs, options=None):
    """Returns the outputs of a signature by name as values of JSON; with `options` what `decode` returns."""
    signatures = load(directory)
    inputs = {name: from_json(value) for name, value in inputs.items()}
    found = decode(signatures, inputs, **options) if options else call(signatures[signature], inputs)
    return {name: to_json(value) for name, value in found.items()}


_loaded = {}


def load(directory):
    """Returns the signatures of a SavedModel, which is loaded once."""
    if directory not in _loaded:
        _loaded[directory] = tf.saved_model.load(directory)
    return _loaded[directory].signatures


def call(serve, inputs):
    """Returns the outputs of a signature as NumPy arrays by name."""
    specs = serve.structured_input_signature[1]
    tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
    return {name: value.numpy() for name, value in serve(**tensors).items()}


def decode(signatures, inputs, start_id, pad_id, max_length):
    """Returns the `tokens` [B, T] and their log-probability `score` [B], by `start`, `step` and `choose`."""
    started = call(signatures["start"], inputs)
    cache = {name: value for name, value in started.items() if name not in ("tokens", "lengths")}  # of prompts
    batch = len(next(iter(inputs.values())))
    tokens = np.full((batch, max_length), pad_id, np.int32)
    score, done = np.zeros(batch), np.zeros(batch, bool)
    before = np.full(batch, start_id, np.int32)
    for index in range(max_length):
        found = call(signatures["step"], {"tokens": before, "index": index, **cache})
        logits = found.pop("logits")
        cache.update({name: value for name, value in found.items() if name in cache})
        found = call(signatures["choose"], {**inputs, "logits": logits, "tokens": tokens, "index": index})
        before = found["token"]
        tokens[:, index] = np.where(done, pad_id, before)
        score += np.where(done, 0.0, found["token_score"])
        done |= found["is_last"]
        if done.all():
            break
    return {"tokens": tokens, "score": score}


def from_json(value):
    """Returns the array, or the list of strings or bytes, that `to_json` wrote."""
    if isinstance(value, dict):
        data = base64.b64decode(value["base64"])
        return np.frombuffer(data, value["dtype"]).reshape(value["shape"]) if "dtype" in value else data
    return [from_json(each) for each in value] if isinstance(value, list) else value


def to_json(value):
    """Returns an array as values of JSON: strings as text, numbers as their bytes."""
    value = np.asarray(value)
    if value.dtype == object:
        return [to_json(each) if np.ndim(each) else each.decode("utf-8", "replace") for each in value]
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": value.dtype.str, "shape": list(value.shape), "base64": data}


if __name__ == "__main__":
    main()
