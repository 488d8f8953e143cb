"""Predictions as server-sent events: the parts of a text in turn, then all outputs.

Reference: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kerazoo import _files
from kerazoo.serve import rest_format
from kerazoo.serve.request_error import RequestError
from kerazoo.serve.servable import Servable

PART = re.compile(r"\s*\S+|\s+$")  # a word with the blanks before it
RECORD = "VERIFY.json"  # of an export, which has the token ids for decoding step by step
MAX_RECORD_BYTES = 1 << 28
STEPS = ("start", "step", "detokenize")  # the signatures for decoding step by step
IDS = ("start_id", "end_id", "pad_id", "max_length")
INCOMPLETE = "\ufffd"  # of a character whose last bytes are still to come


def event(name: str, values: Any) -> bytes:
    """Returns an event with values of JSON."""
    return event_of_json(name, rest_format.dump(values))


def event_of_json(name: str, data: bytes) -> bytes:
    """Returns an event with JSON, which has no line breaks."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def of_outputs(outputs: Mapping[str, np.ndarray], as_rows: bool) -> Iterator[bytes]:
    """Yields the events of predictions that are complete: the words of each text, then the outputs.

    The events are `start` with `{"incremental": false}`, because the model had finished before the first word was sent,
    `token` with `{"row": 0, "text": "..."}`, and `result` with what a request for predictions at once gives.

    Args:
        outputs: dict from names to arrays.
        as_rows: bool. Whether the result is a list of predictions, or the outputs by name.

    Raises:
        RequestError: if there is no output of texts.
    """
    result = rest_format.write_rows(outputs) if as_rows else rest_format.write_columns(outputs)
    texts = _texts(outputs)
    yield event("start", {"incremental": False})
    for row, text in enumerate(texts):
        for part in PART.findall(text):
            yield event("token", {"row": row, "text": part})
    yield event_of_json("result", result)


def _texts(outputs: Mapping[str, np.ndarray]) -> list[Any]:
    """Returns the first text of each row."""
    for name, array in sorted(outputs.items()):
        if array.dtype == object and array.ndim in (1, 2):
            values = rest_format.plain_values(name, array)
            return [row[0] if array.ndim == 2 and row else row for row in values]
    raise RequestError(400, f"A stream needs an output of texts; the signature has {', '.join(outputs)}. Use :predict.")


@dataclasses.dataclass(frozen=True)
class StepDecoder:
    """Decodes one text greedily by the signatures `start` and `step` of an exported model.

    Args:
        servable: `Servable`.
        start_id: int. The token before the first one.
        end_id: int. The token that ends a text.
        pad_id: int. The padding token.
        max_length: int. The largest number of tokens, the prompt included.
    """

    servable: Servable
    start_id: int
    end_id: int
    pad_id: int
    max_length: int

    def events(self, tensors: Mapping[str, np.ndarray], as_rows: bool) -> Iterator[bytes]:
        """Yields the events of a text as its tokens are computed.

        The events are those of `of_outputs`, with `{"incremental": true, "search": "greedy"}` at the start.

        Args:
            tensors: dict from names to arrays of one row.
            as_rows: bool. Whether the result is a list of predictions, or the outputs by name.
        """
        yield event("start", {"incremental": True, "search": "greedy"})
        name, sent, outputs = "", "", {}
        for tokens, score, is_last in self._steps(tensors):
            (name, text), = self._text(tokens).items()  # fmt: skip
            if not is_last:
                text = text.rstrip(INCOMPLETE)
            if text.startswith(sent) and len(text) > len(sent):
                yield event("token", {"row": 0, "text": text[len(sent) :]})
                sent = text
            outputs = {name: np.array([text.encode()], object), "score": np.array([score], "float32")}
        write = rest_format.write_rows if as_rows else rest_format.write_columns
        yield event_of_json("result", write(outputs))

    def _text(self, tokens):
        found = self.servable.signatures["detokenize"]({"tokens": np.array([tokens], "int32")})
        return {name: array[0].decode("utf-8", "replace") for name, array in found.items()}

    def _steps(self, tensors):
        """Yields the tokens so far, the sum of the log-probabilities of the generated ones, and whether they end."""
        cache = self.servable.signatures["start"](tensors)
        prompt = [int(token) for token in cache.pop("tokens", np.zeros((1, 0)))[0]]
        prompt = prompt[: min(int(cache.pop("lengths", [0])[0]), self.max_length - 1)]
        step, tokens, score, before = self.servable.signatures["step"], [], 0.0, self.start_id
        for index in range(self.max_length):
            position = {"tokens": np.array([before], "int32"), "index": np.array(index, "int32")}
            found = step({**position, **cache})
            logits = found.pop("logits")[0].astype("float64")
            cache.update({name: array for name, array in found.items() if name in cache})
            if index < len(prompt):
                before = prompt[index]
                tokens.append(before)
                continue
            log_probs = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            log_probs[[each for each in (self.pad_id, self.start_id) if each != self.end_id]] = -np.inf
            before = int(np.argmax(log_probs))
            tokens.append(before)
            score += log_probs[before]
            is_last = before == self.end_id or index + 1 == self.max_length
            yield tokens, score, is_last
            if is_last:
                return


def step_decoder(servable: Servable) -> StepDecoder | None:
    """Returns the decoder of a model that was exported with the signatures for steps, `None` for other models."""
    if not set(STEPS) <= set(servable.signatures):
        return None
    try:
        record = json.loads(_files.read_file(servable.folder / RECORD, MAX_RECORD_BYTES))
        options = next(case["options"] for case in record["cases"] if case["signature"] == "step")
        return StepDecoder(servable, **{name: int(options[name]) for name in IDS})
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return None  # it was not verified, so nothing says what the ids are
