"""A model whose tokens are the positions of a shortlist, so that any search runs over these alone."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from keras import ops

from kerazoo.decoding.context import DecodingContext
from kerazoo.decoding.decoding_state import repeat_for_beams
from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.search import Search


class RestrictedModel(Decodable):
    """A model whose tokens are positions of a shortlist.

    Args:
        model: `Decodable`.
        tokens: int32 `[K]`. The tokens of the shortlist, in ascending order.
        context: `DecodingContext`, completed, with the prompt in tokens.
        num_beams: int. Number of hypotheses of each source.
    """

    def __init__(self, model: Decodable, tokens: Any, context: DecodingContext, num_beams: int):
        self.model, self.tokens, self.vocabulary_size = model, tokens, tokens.shape[0]
        self.context, self.num_beams = context, num_beams
        self.pad_id, self.start_id, self.end_id = model.pad_id, model.start_id, model.end_id
        self.max_length = model.max_length
        self.has_encoder = model.has_encoder
        self.supports_parallel_decoding = model.supports_parallel_decoding
        self.logits: Callable[[Any], Any] | None = None

    def start(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self.model.start(*args, **kwargs)

    @contextlib.contextmanager
    def prepared_loop(self, num_rows: int | None) -> Iterator[None]:
        with self.model.prepared_loop(num_rows):
            self.logits = self.model.logits_of(self.tokens)
            yield

    def step(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        logits, cache = self.model.step(self._read(tokens[:, None], index)[:, 0], cache, index)
        if self.logits is None:
            return ops.take(logits, self.tokens, axis=-1), cache
        return self.logits(cache["hidden"]), cache  # the other logits are not used, and no compiler computes them

    def step_many(self, tokens: Any, cache: dict[str, Any], index: Any) -> tuple[Any, dict[str, Any]]:
        logits, cache = self.model.step_many(self._read(tokens, index), cache, index)
        return ops.take(logits, self.tokens, axis=-1), cache

    def _read(self, positions, index):
        """Returns the tokens [B * W, T] before the positions from `index` on."""
        columns = index - 1 + ops.arange(positions.shape[1], dtype="int32")  # [T]
        prompt = ops.take(self.context.prompt, ops.clip(columns, 0, self.context.prompt.shape[1] - 1), axis=1)
        is_prompt = ops.logical_and(columns >= 0, columns < self.context.prompt_lengths[:, None])
        prompt, is_prompt = repeat_for_beams((prompt, is_prompt), self.num_beams)
        return ops.where(is_prompt, prompt, ops.take(self.tokens, positions, axis=0))

    def to_positions(self, tokens: Any) -> Any:
        """Returns the positions of tokens [B, T] in the shortlist; of those that it does not hold that of padding."""
        positions = ops.cast(ops.searchsorted(self.tokens, ops.reshape(tokens, (-1,))), "int32")
        positions = ops.minimum(ops.reshape(positions, ops.shape(tokens)), self.tokens.shape[0] - 1)
        # A token of a prompt that found no room is read by the model, and padding for the search.
        return ops.where(ops.take(self.tokens, positions, axis=0) == tokens, positions, self.pad_id)

    def to_tokens(self, positions: Any) -> Any:
        """Returns the tokens of results [B, N, T]."""
        length, width = positions.shape[-1], self.context.prompt.shape[1]
        prompt = ops.pad(self.context.prompt, ((0, 0), (0, length - width)))
        is_prompt = ops.arange(length, dtype="int32") < self.context.prompt_lengths[:, None]
        return ops.where(is_prompt[:, None], prompt[:, None], ops.take(self.tokens, positions, axis=0))


def restrict(
    model: Decodable, search: Search, context: DecodingContext
) -> tuple[Decodable, DecodingContext, Callable[[Any], Any]]:
    """Returns a model and a context whose tokens are positions of a shortlist, and what turns positions into tokens.

    Args:
        model: `Decodable`.
        search: `Search`. With a `shortlist` or `None`, for the whole vocabulary.
        context: `DecodingContext`, completed.

    Raises:
        ValueError: if the shortlist is of another vocabulary, has candidates and there is no source of token ids, or
            has no room beside the special tokens.
    """
    shortlist = search.shortlist
    if shortlist is None:
        return model, context, lambda tokens: tokens
    if model.vocabulary_size != shortlist.vocabulary_size:
        raise ValueError(
            f"Shortlist: must be of the vocabulary of the model, which has {model.vocabulary_size} tokens; got one of "
            f"{shortlist.vocabulary_size}."
        )
    source = _source_tokens(shortlist, context.source)
    first = max(model.pad_id, model.start_id, *context.end_ids) + 1
    if shortlist.size >= shortlist.vocabulary_size:
        return model, context, lambda tokens: tokens
    if shortlist.size <= first:
        raise ValueError(
            f"Shortlist: `size` must be above {first}, for the tokens up to the last special one are always there; got "
            f"size={shortlist.size}."
        )
    # Since the tokens up to the last special one are all there, special tokens are at the positions of their ids.
    tokens = shortlist.select(source, context.prompt, first)  # [K]
    restricted = RestrictedModel(model, tokens, context, search.beams_per_source)
    return (
        restricted,
        dataclasses.replace(context, prompt=restricted.to_positions(context.prompt)),
        restricted.to_tokens,
    )


def _source_tokens(shortlist, source):
    """Returns the token ids of the source, `None` for a shortlist without candidates."""
    if not len(shortlist.candidates):
        return None
    tokens = source.get("source") if isinstance(source, dict) else source
    if tokens is None or "int" not in str(tokens.dtype) or len(tokens.shape) != 2:
        raise ValueError(
            "Shortlist: `candidates` are those of source tokens, and there is no source of token ids; got "
            f"{type(source).__name__}. Make a Shortlist with `frequent` alone."
        )
    return tokens
