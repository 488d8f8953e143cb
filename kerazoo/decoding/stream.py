"""Streaming: sequences in blocks of tokens, each from one call of a compiled program."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import programs
from kerazoo.decoding.decode import run_loop, start_loop
from kerazoo.decoding.generate import build_context, read_batch
from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.restricted_model import restrict
from kerazoo.decoding.result import without_end
from kerazoo.decoding.search import Search

_OUTPUTS = ("tokens", "lengths", "done")


def stream(
    model: Decodable,
    source: Any = None,
    prompt: Any = None,
    search: Search | str = "greedy",
    max_length: int | None = None,
    *,
    block: int = 8,
    end_ids: tuple[int, ...] | None = None,
    jit_compile: bool | None = None,
    **options: Any,
) -> Iterator[list[list[int]]]:
    """Yields the tokens that `model` generates, block by block.

    Args:
        model: `Decodable`.
        source: See `kerazoo.decoding.generate`. Defaults to `None`.
        prompt: See `kerazoo.decoding.generate`. Defaults to `None`.
        search: `Search` or its name. It must never revise a token: greedy search, or one sample for each source.
            Defaults to `"greedy"`.
        max_length: int. See `kerazoo.decoding.generate`. Defaults to `None`.
        block: int, above 0. Number of positions of one compiled call. Small blocks return the first token sooner, large
            ones return more tokens per second; the tokens are the same. Defaults to `8`.
        end_ids: tuple of int. See `kerazoo.decoding.generate`. Defaults to `None`.
        jit_compile: bool. See `kerazoo.decoding.generate`. Defaults to `None`.
        **options: Arguments of a search that is given by name, see `make_search`.

    Yields:
        The new token ids of each source, `[source][token]`, without prompts and end tokens; none for a source that is
        finished. All blocks together are what `generate` returns.

    Raises:
        ValueError: if the search may revise its tokens, and what `generate` raises; both at the call, before the first
            block is requested.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("lstm_seq2seq", units=8, embedding_dim=8)
    for tokens in kz.decoding.stream(model, [[5, 6, 7], [8]], max_length=12, block=4):
        print(tokens)
    ```
    """
    _checks.positive_int("stream", "block", block)
    batch = read_batch(model, source, prompt, search, max_length, 0, end_ids, options)
    jit_compile = model.prefers_jit if jit_compile is None else jit_compile
    if batch.search.beams_per_source > 1 or batch.search.models:
        raise ValueError(
            f"stream: `search` must never revise its tokens; got {type(batch.search).__name__}, which chooses among "
            "several sequences. Try search='greedy' or search='sample', or use generate."
        )
    return _blocks(model, batch, block, jit_compile)


def _blocks(model, batch, block, jit_compile):
    start, continue_ = _programs(model, batch, jit_compile)
    arrays = batch.arrays()
    encoded = programs.encoder_program(model, arrays["source"], jit_compile)(arrays["source"])
    if not batch.search.reads_source:
        arrays["source"] = ()
    variables = start(encoded, arrays)
    returned = batch.prompt_lengths.copy()
    while True:
        variables, outputs = continue_(variables, encoded, arrays, np.array(block, "int32"))
        tokens, lengths, done = (ops.convert_to_numpy(outputs[name])[: batch.rows, 0] for name in _OUTPUTS)
        rows = [row[:length].tolist() for row, length in zip(tokens, lengths)]
        rows = [without_end(row, length, batch.end_ids) for row, length in zip(rows, batch.prompt_lengths)]
        yield [row[first:] for row, first in zip(rows, returned)]
        returned = np.maximum(returned, lengths)
        if done.all():
            return


def _programs(model, batch, jit_compile):
    """Returns the program of the first call, and that of each block."""
    search, padded_length, end_ids = batch.program_key

    def restricted(encoded, arrays):
        return restrict(model, search, build_context(encoded, arrays, end_ids).complete(model, padded_length))

    def start(encoded, arrays):
        restricted_model, context, _ = restricted(encoded, arrays)
        return start_loop(restricted_model, search, padded_length, context)

    def continue_(variables, encoded, arrays, num_positions):
        restricted_model, context, to_tokens = restricted(encoded, arrays)
        variables = run_loop(restricted_model, search, variables, context, num_positions)
        outputs = {name: variables["search"][name] for name in _OUTPUTS}
        return variables, {**outputs, "tokens": to_tokens(outputs["tokens"])}

    description = f"{type(search).__name__} for up to {padded_length} tokens"
    return (
        programs.cached_program(
            (model,), ("start", batch.program_key), start, jit_compile, f"the start of {description}"
        ),
        programs.cached_program((model,), ("continue", batch.program_key), continue_, jit_compile, description),
    )


class IncrementalDetokenizer:
    """Turns blocks of tokens into text, without incomplete characters.

    Args:
        decode: callable. Takes a list of lists of token ids and returns their texts.
        num_rows: int. Number of sources.

    Call arguments:
        tokens: list of lists of int. What `stream` yields.
        last: bool. Whether no block follows. Defaults to `False`.

    Returns:
        The new text of each source. Its last characters are kept back while they may still change because some of
        their bytes are missing.
    """

    def __init__(self, decode: Callable[[list[list[int]]], list[str]], num_rows: int):
        self.decode = decode
        self.tokens: list[list[int]] = [[] for _ in range(num_rows)]
        self.returned = [""] * num_rows

    def __call__(self, tokens: list[list[int]], last: bool = False) -> list[str]:
        self.tokens = [[*old, *new] for old, new in zip(self.tokens, tokens)]
        new_texts = []
        for row, text in enumerate(self.decode(self.tokens)):
            complete = text if last else text.rstrip("\ufffd")
            # A text may only grow: what was returned cannot be revised.
            if not complete.startswith(self.returned[row]):
                complete = self.returned[row]
            new_texts.append(complete[len(self.returned[row]) :])
            self.returned[row] = complete
        return new_texts
