"""Runs an exported network of ONNX or LiteRT; texts are tokenized with TensorFlow.

from run_network import Model

model = Model("FOLDER")
print(model({"source": ["a text"]}))
"""

import base64
import json
import pathlib
import sys

import numpy as np


class OnnxFunction:
    """A file of ONNX as a function from arrays to arrays by name, of any batch."""

    def __init__(self, path):
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]

    def __call__(self, inputs):
        return dict(zip(self.outputs, self.session.run(None, {name: inputs[name] for name in self.names})))


class LiteRTFunction:
    """A file of LiteRT as a function from arrays to arrays by name, of one example of a fixed length."""

    def __init__(self, path):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(path))
        self.run = interpreter.get_signature_runner(path.stem)
        self.shapes = {name: detail["shape"] for name, detail in self.run.get_input_details().items()}

    def __call__(self, inputs):
        padded = {}
        for name, shape in self.shapes.items():
            value = np.asarray(inputs[name])
            value = value[tuple(slice(0, size) for size in shape)]
            missing = [(0, size - had) for size, had in zip(shape, value.shape)]
            padded[name] = np.pad(value, missing) if missing else value
        return self.run(**padded)


class Model:
    """The functions of an exported folder."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.config = json.loads((folder / "kerazoo.json").read_text(encoding="utf-8"))
        self.functions = {path.stem: OnnxFunction(path) for path in sorted(folder.glob("*.onnx"))}
        self.is_fixed = not self.functions
        if self.is_fixed:
            self.functions = {path.stem: LiteRTFunction(path) for path in sorted(folder.glob("*.tflite"))}
        self.tokenizer = None
        if (folder / "tokenizer").is_dir():
            import tensorflow as tf

            self.tokenizer = tf.saved_model.load(str(folder / "tokenizer")).signatures

    def __call__(self, inputs, function=None):
        """Returns the outputs for raw inputs by name: of `predict`, or the greedy search by `start` and `step`.

        `function` names another one: `"generate"` for the whole search in one call, or `"embed"`.
        """
        inputs = self.encoded(inputs)
        count = len(next(iter(inputs.values())))
        rows = [slice(row, row + 1) for row in range(count)] if self.is_fixed else [slice(0, count)]
        parts = [self.outputs({name: x[part] for name, x in inputs.items()}, function) for part in rows]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def outputs(self, inputs, function):
        """Returns the outputs for encoded inputs, with the texts of tokens."""
        if function is None and self.config["generates"]:
            found = self.decode(inputs)
        else:
            found = self.functions[function or "predict"](inputs)
        if "tokens" in found and self.tokenizer is not None:
            import tensorflow as tf

            texts = self.tokenizer["detokenize"](tokens=tf.constant(found["tokens"]))
            found = {**found, "answer": next(iter(texts.values())).numpy()}
        if "classes" in self.config and "probabilities" in found:
            names = np.array(self.config["classes"], object)
            found = {**found, "label": names[found["probabilities"].argmax(axis=1)]}
        return found

    def encoded(self, inputs):
        """Returns raw inputs as the arrays that the functions take."""
        if self.tokenizer is None:
            return {name: np.asarray(value) for name, value in inputs.items()}
        import tensorflow as tf

        encode = self.tokenizer["encode"]
        specs = encode.structured_input_signature[1]
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in encode(**tensors).items()}

    def decode(self, inputs):
        """Returns the greedy `tokens` [B, T] and their log-probability `score` [B], by `start` and `step`."""
        start_id, end_id, pad_id = (self.config[name] for name in ("start_id", "end_id", "pad_id"))
        limit = self.config["max_length"]
        cache = self.functions["start"](inputs)
        batch = len(next(iter(inputs.values())))
        prompt = cache.pop("tokens", np.zeros((batch, 0), np.int32))
        lengths = np.minimum(cache.pop("lengths", np.zeros(batch, int)), limit - 1)
        tokens = np.full((batch, limit), pad_id, np.int32)
        score, done, before = np.zeros(batch), np.zeros(batch, bool), np.full(batch, start_id, np.int32)
        for index in range(limit):
            found = self.functions["step"]({"tokens": before, "index": np.array(index, np.int32), **cache})
            log_probs = log_softmax(found["logits"])
            cache.update({name.removeprefix("next_"): x for name, x in found.items() if name.startswith("next_")})
            allowed = np.where(np.isin(np.arange(log_probs.shape[1]), [pad_id, start_id]), -np.inf, 0.0)
            allowed[end_id] = 0.0
            forced = index < lengths
            before = np.argmax(log_probs + allowed, axis=1)
            if prompt.shape[1]:
                before = np.where(forced, prompt[:, min(index, prompt.shape[1] - 1)], before)
            before = before.astype(np.int32)
            tokens[:, index] = np.where(done, pad_id, before)
            score += np.where(done | forced, 0.0, log_probs[np.arange(batch), before])
            done |= ~forced & (before == end_id)
            if done.all():
                break
        return {"tokens": tokens, "score": score}


def log_softmax(logits):
    """Returns log-probabilities of logits [B, V]."""
    shifted = logits.astype("float64") - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def main():
    """Writes the outputs of the cases of standard input to the file of the first argument."""
    models, found = {}, []
    for case in json.load(sys.stdin):
        folder = case["directory"]
        models[folder] = models.get(folder) or Model(folder)
        inputs = {name: from_json(value) for name, value in case["inputs"].items()}
        name = case["signature"]
        outputs = models[folder](inputs, None if name in ("step", "predict") else name)
        found.append({name: to_json(value) for name, value in outputs.items()})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(found, file)
    if "kerazoo" in sys.modules:
        sys.exit("kerazoo was imported")


def from_json(value):
    """Returns the array, or the list of strings, of a case."""
    if isinstance(value, dict):
        return np.frombuffer(base64.b64decode(value["base64"]), value["dtype"]).reshape(value["shape"])
    return value


def to_json(value):
    """Returns an array as values of JSON: strings as text, numbers as their bytes."""
    value = np.asarray(value)
    if value.dtype == object:
        return [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in value]
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": value.dtype.str, "shape": list(value.shape), "base64": data}


if __name__ == "__main__":
    main()
