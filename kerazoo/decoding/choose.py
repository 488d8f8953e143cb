"""One position of a search that never revises a token, from logits that the caller has computed."""

import dataclasses
from typing import Any

from keras import ops

from kerazoo.decoding.context import DecodingContext
from kerazoo.decoding.decode import decode_position
from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.restricted_model import RestrictedModel, restrict
from kerazoo.decoding.sampling import Greedy, Sample
from kerazoo.decoding.search import Search

_SHARED = ("constraints", "stop_strings", "shortlist")


def token_by_token(search: Search) -> Search:
    """Returns the search that is nearest to `search` and never revises a token.

    Greedy search and one sample are returned as they are, several samples become one, and every other search becomes
    greedy with the same constraints, stop strings and shortlist.

    Args:
        search: `Search`.
    """
    if isinstance(search, Sample):
        return dataclasses.replace(search, n_best=1)
    if isinstance(search, Greedy):
        return search
    return Greedy(**{name: getattr(search, name) for name in _SHARED if hasattr(search, name)})


def choose(
    model: Decodable, search: Search, context: DecodingContext, logits: Any, tokens: Any, index: Any
) -> dict[str, Any]:
    """Returns the tokens of one position, which a search chooses as it does within its own loop.

    Args:
        model: `Decodable`. Its step computed the logits; it is not called.
        search: `Search`, such as `token_by_token` returns.
        context: `DecodingContext` of B sources, with `encoded` or `prompt`; see `decode`.
        logits: float `[B, V]`. Those of the position.
        tokens: int32 `[B, L]`. The tokens before the position, the prompt included; those from `index` on are not read.
        index: int32 scalar. The position.

    Returns:
        A dictionary of `tokens`, int32 `[B, L]` with the new ones at `index`, and padding after it; `token_scores`,
        float32 `[B]`, their log-probabilities, 0 for those of the prompt; and `is_last`, bool `[B]`, whether the
        sequence ends with it.
    """
    tokens, index = ops.convert_to_tensor(tokens, "int32"), ops.convert_to_tensor(index, "int32")
    max_length = tokens.shape[1]
    context = context.complete(model, max_length)
    restricted, context, to_tokens = restrict(_GivenLogits(model, logits), search, context)
    before = restricted.to_positions(tokens) if isinstance(restricted, RestrictedModel) else tokens
    state = search.initial_state(ops.shape(tokens)[0], max_length)
    if search.stop_strings is not None:
        state["stop_state"] = _stop_state(search.stop_strings, before, context.prompt_lengths, index, logits.shape[-1])
    variables = {"index": index, "state": (), "search": {**state, "tokens": before[:, None]}}
    found = decode_position(restricted, search, context, {}, variables)[0]["search"]
    is_written = ops.arange(max_length, dtype="int32") <= index
    return {
        "tokens": ops.where(is_written, to_tokens(found["tokens"])[:, 0], model.pad_id),
        "token_scores": ops.take(found["token_scores"][:, 0], index, axis=1),
        "is_last": found["done"][:, 0],
    }


def _stop_state(stop_strings, tokens, prompt_lengths, index, vocabulary_size):
    """Returns the state of the stop strings [B, 1] after the tokens before a position, without those of the prompt."""

    def body(position, state):
        read = stop_strings.next_state(state, ops.take(tokens, position, axis=1), vocabulary_size)
        return ops.where(position < prompt_lengths, state, read)

    return ops.fori_loop(0, index, body, ops.zeros_like(prompt_lengths))[:, None]


class _GivenLogits(Decodable):
    """A model of one position, whose logits are there."""

    def __init__(self, model, logits):
        self.pad_id, self.start_id, self.end_id = model.pad_id, model.start_id, model.end_id
        self.vocabulary_size, self.max_length, self.has_encoder = logits.shape[-1], model.max_length, model.has_encoder
        self.logits = logits

    def step(self, tokens, cache, index):
        del tokens, index
        return self.logits, cache
