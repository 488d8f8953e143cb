"""Answers as they come: a compiled block of positions at a time, its state carried from block to block."""

import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import programs
from kerazoo.decoding.generate import read_call
from kerazoo.decoding.loop import advance, begin, make_facts
from kerazoo.decoding.search import Search


def stream(
    model,
    source=None,
    prompt=None,
    search: Search | str = "greedy",
    max_length: int | None = None,
    block: int = 8,
    end_ids: tuple | None = None,
    jit: bool | None = None,
    **options,
):
    """Yields what `model` writes, while it writes.

    Args:
        model: A `Decodable`.
        source, prompt, search, max_length, end_ids, jit, **options: As in `kerazoo.decoding.generate`. The search must
            never take back what it has written: greedy search, or one sample for each source.
        block: Positions that one compiled call writes. Small ones show the first token sooner, large ones write more
            tokens a second; the tokens are the same.

    Yields:
        Lists with the new token ids of each source, `[source][token]`: prompts and end tokens are left out, and a
        source that is finished has no more. Joined they are what `generate` returns.

    Raises:
        ValueError: the search may take back what it has written; and what `generate` raises. Both at once, before the
            first token is asked for.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("lstm_seq2seq", units=8, embedding_dim=8)
    for news in kz.decoding.stream(model, [[5, 6, 7], [8]], max_length=12, block=4):
        print(news)
    ```
    """
    _checks.positive_int("stream", "block", block)
    call = read_call(model, source, prompt, search, max_length, 0, end_ids, options)
    jit = model.prefers_jit if jit is None else jit
    if call.search.lines > 1 or call.search.models:
        raise ValueError(
            f"stream: `search` must never take back what it has written; got {type(call.search).__name__}, which "
            "chooses among several answers. Try search='greedy' or search='sample', or generate instead."
        )
    return _blocks(model, call, block, jit)


def _blocks(model, call, block, jit):
    source, inputs = call.inputs()
    opening, going_on = _programs(model, call, jit)
    progress, facts = opening(programs.encode(model, source, jit), *inputs)
    shown = call.prompt_lengths.copy()
    while True:
        progress, carry = going_on(progress, facts, np.array(block, "int32"))
        tokens, lengths, done = (ops.convert_to_numpy(carry[name])[: call.rows, 0] for name in _SHOWN)
        yield [row[start:end] for row, start, end in zip(_plain(tokens, lengths, call), shown, lengths)]
        shown = np.maximum(shown, lengths)
        if done.all():
            return


_SHOWN = ("tokens", "lengths", "done")


def _plain(tokens, lengths, call):
    """The tokens of each source as lists, without an end token."""
    rows = []
    for row, length, prompt in zip(tokens.tolist(), lengths, call.prompt_lengths):
        ended = length > prompt and row[length - 1] in call.end_ids
        rows.append(row[: length - 1] if ended else row[:length])
    return rows


def _programs(model, call, jit):
    search, places, ends = call.search.without_seed(), call.places, call.end_ids

    def opening(encoded, prompt, prompt_lengths, rows, valid, limit, seed):
        encoded = programs.something(encoded)
        facts = make_facts(encoded, places, prompt, prompt_lengths, limits=limit, valid=valid, rows=rows, seed=seed)
        facts = {name: () if value is None else value for name, value in facts.items()}
        return begin(model, search, places, encoded, facts), facts

    def going_on(progress, facts, most):
        facts = {name: programs.something(value) for name, value in facts.items()}
        progress = advance(model, search, ends, progress, facts, most)
        return progress, {name: progress["carry"][name] for name in _SHOWN}

    what = f"{type(search).__name__} for up to {places} tokens"
    key = (search, places, ends)
    return (
        programs.kept((model,), ("open", *key), opening, jit, f"the beginning of {what}"),
        programs.kept((model,), ("go on", *key), going_on, jit, what),
    )


class Joined:
    """Text from tokens that come in blocks, without half a character.

    Args:
        show: Function from a list of lists of token ids to their texts.
        rows: Number of sources.

    Call arguments:
        news: What `stream` yields.

    Returns:
        The new text of each source: what the tokens so far are written as, less what was returned before. While the
        last characters may still change, because their bytes are not all there, they are held back.
    """

    def __init__(self, show, rows):
        self.show, self.tokens, self.given = show, [[] for _ in range(rows)], [""] * rows

    def __call__(self, news, last=False):
        self.tokens = [[*old, *new] for old, new in zip(self.tokens, news)]
        fresh = []
        for row, text in enumerate(self.show(self.tokens)):
            whole = text if last else text.rstrip("\ufffd")
            # A text may only grow: what was given cannot be taken back.
            if not whole.startswith(self.given[row]):
                whole = self.given[row]
            fresh.append(whole[len(self.given[row]) :])
            self.given[row] = whole
        return fresh
