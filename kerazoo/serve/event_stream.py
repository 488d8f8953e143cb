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
STEPS = ("start", "step", "choose", "detokenize")  # the signatures for decoding step by step
IDS = ("start_id", "pad_id", "max_length")
CHOSEN = ("token", "token_score", "is_last")  # what `choose` returns beside the text
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
    """Decodes one text token by token by the signatures `start`, `step` and `choose` of an exported model.

    Args:
        servable: `Servable`.
        start_id: int. The token before the first one.
        pad_id: int. The padding token.
        max_length: int. The largest number of tokens, the prompt included.
        search: string. The name of the search of `choose`. Defaults to `"greedy"`.
    """

    servable: Servable
    start_id: int
    pad_id: int
    max_length: int
    search: str = "greedy"

    def events(self, tensors: Mapping[str, np.ndarray], as_rows: bool) -> Iterator[bytes]:
        """Yields the events of a text as its tokens are computed.

        The events are those of `of_outputs`, with `{"incremental": true, "search": "greedy"}` at the start. The result
        has the text of each token as `tokens` in addition, and as `alignment` [T, S] how much each token attends to
        each position of the source, if the model has attention.

        Args:
            tensors: dict from names to arrays of one row.
            as_rows: bool. Whether the result is a list of predictions, or the outputs by name.
        """
        yield event("start", {"incremental": True, "search": self.search})
        decoded, sent = _Decoded(), ""
        for is_last in self._steps(tensors, decoded):
            complete = decoded.text if is_last else decoded.text.rstrip(INCOMPLETE)
            if complete.startswith(sent) and len(complete) > len(sent):
                yield event("token", {"row": 0, "text": complete[len(sent) :]})
                sent = complete
        name, parts = self._texts([[token] for token in decoded.tokens])
        outputs = {
            name: _text_array([decoded.text]),
            "score": np.array([decoded.score], "float32"),
            "tokens": _text_array(parts)[None],
        }
        if decoded.alignment:
            outputs["alignment"] = np.stack(decoded.alignment)[None].astype("float32")
        write = rest_format.write_rows if as_rows else rest_format.write_columns
        yield event_of_json("result", write(outputs))

    def _texts(self, rows):
        """Returns the name of the output of texts, and the text of each row of token ids."""
        ((name, texts),) = self.servable.signatures["detokenize"]({"tokens": np.array(rows, "int32")}).items()
        return name, [text.decode("utf-8", "replace") for text in texts]

    def _steps(self, tensors, decoded):
        """Adds a token to what is decoded again and again, and yields after each whether it is the last one."""
        start, step, choose = (self.servable.signatures[name] for name in ("start", "step", "choose"))
        cache = start(tensors)
        cache.pop("tokens", None)  # of the prompt of a language model, whose length is beside it
        prompt_length = int(cache.pop("lengths", [0])[0])
        so_far = np.full((1, self.max_length), self.pad_id, "int32")
        before = np.array([self.start_id], "int32")
        for index in range(self.max_length):
            position = np.array(index, "int32")
            found = step({"tokens": before, "index": position, **cache})
            cache.update({name: array for name, array in found.items() if name in cache})
            if "attention" in found:
                decoded.alignment.append(found["attention"][0])
            chosen = choose({**tensors, "logits": found["logits"], "tokens": so_far, "index": position})
            before, score, (is_last,) = (chosen.pop(name) for name in CHOSEN)
            so_far[0, index] = before[0]
            decoded.tokens.append(int(before[0]))
            decoded.score += float(score[0])
            (text,) = next(iter(chosen.values()))
            decoded.text = text.decode("utf-8", "replace")
            if is_last or index >= prompt_length:
                yield bool(is_last)
            if is_last:
                return


@dataclasses.dataclass
class _Decoded:
    """The tokens so far, their text and log-probability, and the attention of each."""

    tokens: list[int] = dataclasses.field(default_factory=list)
    text: str = ""
    score: float = 0.0
    alignment: list[np.ndarray] = dataclasses.field(default_factory=list)


def _text_array(texts):
    array = np.empty(len(texts), object)
    array[:] = [text.encode() for text in texts]
    return array


def step_decoder(servable: Servable) -> StepDecoder | None:
    """Returns the decoder of a model that was exported with the signatures for steps, `None` for other models."""
    if not set(STEPS) <= set(servable.signatures):
        return None
    try:
        record = json.loads(_files.read_file(servable.folder / RECORD, MAX_RECORD_BYTES))
        (case,) = [case for case in record["cases"] if case["signature"] == "step"]
        samples = str(record.get("search", {}).get("search")).lower().startswith("sample")
        ids = {name: int(case["options"][name]) for name in IDS}
        return StepDecoder(servable, **ids, search="sample" if samples else "greedy")
    except (OSError, ValueError, LookupError, TypeError):
        return None  # it was not verified, so nothing says what the ids are
