"""Translates or continues texts with an exported model of CTranslate2; the tokenizer needs TensorFlow.

from run_ctranslate2 import Model

model = Model("FOLDER")
print(model({"source": ["a text"]}, num_beams=4)["answers"])
"""

import base64
import json
import pathlib
import sys

import ctranslate2
import numpy as np
import tensorflow as tf


class Model:
    """An exported model; `compute_type` and `threads` are those of CTranslate2."""

    def __init__(self, folder, compute_type="default", threads=0):
        folder = pathlib.Path(folder)
        self.config = json.loads((folder / "kerazoo.json").read_text(encoding="utf-8"))
        self._tokenizer = tf.saved_model.load(str(folder / "tokenizer"))
        kind = ctranslate2.Translator if self.config["kind"] == "seq2seq" else ctranslate2.Generator
        self.model = kind(str(folder), device="cpu", compute_type=compute_type, intra_threads=threads)

    def __call__(self, inputs, num_beams=1, n_best=1, max_length=None):
        """Returns `answers` [B, N], `scores` [B, N] and `tokens` [B, N, T] for raw inputs by name."""
        encode = self._tokenizer.signatures["encode"]
        specs = encode.structured_input_signature[1]
        tensors = {name: tf.constant(values, specs[name].dtype) for name, values in inputs.items()}
        (ids,) = (value.numpy() for value in encode(**tensors).values())
        limit = max_length or self.config["max_length"]
        rows = [[str(token) for token in self.without_padding(row)] for row in ids]
        if self.config["kind"] == "seq2seq":
            found = self.translate(rows, limit, num_beams, n_best)
        else:
            found = self.resume(rows, limit, num_beams, n_best)
        return self.decoded(found, limit)

    def without_padding(self, row):
        """Returns the token ids of a row up to the last one that is no padding."""
        ends = np.flatnonzero(row != self.config["pad_id"])
        return row[: ends[-1] + 1] if len(ends) else row[:1]

    def options(self, num_beams, n_best):
        """Returns the options of a search that ranks by log-probability."""
        excluded = [[str(self.config[name])] for name in ("pad_id", "start_id")]
        return {
            "beam_size": num_beams,
            "num_hypotheses": n_best,
            "length_penalty": 0.0,
            "return_scores": True,
            "suppress_sequences": [each for each in excluded if each != [str(self.config["end_id"])]],
        }

    def translate(self, rows, limit, num_beams, n_best):
        """Returns tokens and scores of the predictions for the tokens of sources."""
        results = self.model.translate_batch(
            rows,
            max_decoding_length=limit,
            min_decoding_length=0,
            max_input_length=0,
            return_end_token=True,
            **self.options(num_beams, n_best),
        )
        return [(each.hypotheses, each.scores) for each in results]

    def resume(self, rows, limit, num_beams, n_best):
        """Returns tokens, the prompts included, and scores of texts that go on from the tokens of prompts."""
        found = {}
        rows = [row[: limit - 1] for row in rows]
        rows = [[] if row == [str(self.config["pad_id"])] else row for row in rows]
        for length in sorted({len(row) for row in rows}):
            numbers = [number for number, row in enumerate(rows) if len(row) == length]
            prompts = [[str(self.config["start_id"]), *rows[number]] for number in numbers]
            results = self.model.generate_batch(
                prompts,
                max_length=limit - length,
                include_prompt_in_result=False,
                return_end_token=True,
                **self.options(num_beams, n_best),
            )
            for number, each in zip(numbers, results):
                found[number] = [[*rows[number], *tokens] for tokens in each.sequences], each.scores
        return [found[number] for number in range(len(rows))]

    def decoded(self, found, limit):
        """Returns tokens and scores as arrays, and the texts."""
        count = max((len(tokens) for tokens, _ in found), default=1)
        ids = np.full((len(found), count, limit), self.config["pad_id"], np.int32)
        scores = np.full((len(found), count), np.finfo("float32").min, np.float32)
        for row, (tokens, values) in enumerate(found):
            for rank, each in enumerate(tokens):
                ids[row, rank, : len(each)] = [int(token) for token in each[:limit]]
                scores[row, rank] = values[rank]
        texts = self._tokenizer.signatures["detokenize"](tokens=tf.constant(ids.reshape(-1, limit)))
        (texts,) = (value.numpy() for value in texts.values())
        texts = [text.decode("utf-8", "replace") for text in texts]
        listed = [texts[row * count : (row + 1) * count] for row in range(len(found))]
        return {"answers": listed, "scores": scores, "tokens": ids}


def main():
    """Writes the outputs of the cases of standard input to the file of the first argument."""
    models, found = {}, []
    for case in json.load(sys.stdin):
        folder = case["directory"]
        models[folder] = models.get(folder) or Model(folder)
        outputs = models[folder](case["inputs"], **case["options"])
        found.append({name: to_json(value) for name, value in outputs.items()})
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(found, file)
    if "kerazoo" in sys.modules:
        sys.exit("kerazoo was imported")


def to_json(value):
    """Returns an array as values of JSON; lists of texts as they are."""
    if isinstance(value, list):
        return value
    data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"dtype": value.dtype.str, "shape": list(value.shape), "base64": data}


if __name__ == "__main__":
    main()
