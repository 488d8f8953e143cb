"""Decoding step by step in the server: the text that the signatures give, in parts, and its score."""

import json
import pathlib
import re

import numpy as np
import pytest

from kerazoo.serve import event_stream
from kerazoo.serve.event_stream import StepDecoder, step_decoder

IDS = {"start_id": 1, "pad_id": 0, "max_length": 7}
LETTERS = "....aé\ufffd"


class Model:
    """The signatures of a model that writes the ids of `plan`, whatever token comes before."""

    def __init__(self, plan, folder=pathlib.Path("none"), prompt=()):
        self.plan, self.folder, self.prompt, self.read = plan, folder, list(prompt), []
        self.signatures = {"start": self.start, "step": self.step, "choose": self.choose, "detokenize": self.detokenize}

    def start(self, tensors):
        assert tensors == {"source": ["x"]}
        found = {"cache": np.zeros((1, 3)), "memory": np.ones((1, 2))}
        if self.prompt:
            found |= {"tokens": np.array([[*self.prompt, 0]]), "lengths": np.array([len(self.prompt)])}
        return found

    def step(self, tensors):
        index = int(tensors["index"])
        assert tensors["memory"].sum() == 2 and tensors["cache"].sum() == 3 * index
        self.read.append(int(tensors["tokens"][0]))
        logits = np.full((1, 7), index, "float32")
        return {"logits": logits, "cache": tensors["cache"] + 1, "attention": np.array([[index, 1.0]])}

    def choose(self, tensors):
        index, tokens = int(tensors["index"]), tensors["tokens"]
        assert tensors["source"] == ["x"] and tensors["logits"][0, 0] == index
        assert np.count_nonzero(tokens) == index and tokens.shape[1] <= 7
        prompt = self.prompt[: tokens.shape[1] - 1]
        token = [*prompt, *self.plan[len(prompt) :]][index]
        score = 0.0 if index < len(prompt) else -0.5
        text = self.detokenize({"tokens": [[*tokens[0][:index], token]]})["answer"]
        is_last = (token == 2 and index >= len(prompt)) or index + 1 == tokens.shape[1]
        return {
            "token": np.array([token], "int32"),
            "token_score": np.array([score]),
            "is_last": np.array([is_last]),
            "answer": text,
        }

    def detokenize(self, tensors):
        texts = ["".join(LETTERS[token] for token in row if token > 2) for row in tensors["tokens"]]
        return {"answer": np.array([text.encode() for text in texts], object)}


def events(model, as_rows=True, **ids):
    found = b"".join(StepDecoder(model, **{**IDS, **ids}).events({"source": ["x"]}, as_rows)).decode()
    parts = [re.fullmatch(r"event: (\w+)\ndata: (.*)", part).groups() for part in found.strip().split("\n\n")]
    return [(name, json.loads(data)) for name, data in parts]


def test_tokens_come_in_turn_until_the_end_token():
    model = Model([4, 5, 4, 2])
    found = events(model)
    assert found[0] == ("start", {"incremental": True, "search": "greedy"})
    assert found[1:-1] == [("token", {"row": 0, "text": text}) for text in "aéa"]
    assert model.read == [1, 4, 5, 4]
    (prediction,) = found[-1][1]["predictions"]
    assert prediction["answer"] == "aéa" and prediction["score"] == -2
    assert prediction["tokens"] == ["a", "é", "a", ""]
    assert prediction["alignment"] == [[0, 1], [1, 1], [2, 1], [3, 1]]
    assert events(model, as_rows=False)[-1][1]["outputs"]["answer"] == ["aéa"]


def test_a_prompt_is_read_and_the_largest_length_ends_a_text():
    model = Model([3, 3, 5, 4, 4, 4, 4], prompt=[5, 4])
    found = events(model)
    assert model.read == [1, 5, 4, 5, 4, 4, 4]
    assert [value["text"] for name, value in found if name == "token"] == ["éaé", "a", "a", "a", "a"]
    assert events(Model([5] * 7, prompt=[4] * 9), max_length=3)[-1][1]["predictions"][0]["answer"] == "aaé"


def test_the_bytes_of_a_character_wait_for_the_last_one():
    found = events(Model([4, 6, 2]))
    assert [value["text"] for name, value in found if name == "token"] == ["a", "\ufffd"]
    found = events(Model([6, 4, 2]))
    assert [value["text"] for name, value in found if name == "token"] == ["\ufffda"]


def test_ids_come_from_the_record_of_the_export(tmp_path):
    model = Model([2], tmp_path)
    assert step_decoder(model) is None
    cases = [{"signature": "score"}, {"signature": "step", "options": IDS}]
    (tmp_path / "VERIFY.json").write_text(json.dumps({"cases": cases}))
    decoder = step_decoder(model)
    assert (decoder.start_id, decoder.pad_id, decoder.max_length, decoder.search) == (1, 0, 7, "greedy")
    (tmp_path / "VERIFY.json").write_text(json.dumps({"cases": cases, "search": {"search": "sample", "seed": 0}}))
    assert step_decoder(model).search == "sample"
    (tmp_path / "VERIFY.json").write_text(json.dumps({"cases": [{"signature": "step", "options": {"pad_id": 1}}]}))
    assert step_decoder(model) is None
    del model.signatures["detokenize"]
    assert step_decoder(model) is None


def test_outputs_without_a_text_make_no_stream():
    outputs = {"value": np.array([1.0, 2.0])}
    with pytest.raises(ValueError, match="needs an output of texts; the signature has value"):
        list(event_stream.of_outputs(outputs, True))
    answers = {"answers": np.array([[b"one two", b"x"], [b"", b"y"]], object)}
    names = [part.split(b"\n")[0] for part in event_stream.of_outputs(answers, False)]
    assert names == [b"event: start", b"event: token", b"event: token", b"event: result"]
