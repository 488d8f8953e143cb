"""The arguments that are passed into the decoding loop, to a search at each position, and to a constraint."""

import dataclasses
from typing import Any

import keras
from keras import ops

from kerazoo.decoding.protocol import Decodable


@dataclasses.dataclass(frozen=True)
class DecodingContext:
    """The inputs of one call of `decode`, for B sources; every tensor may be a tensor of a graph.

    Args:
        encoded: nest of tensors. What `model.encode` returned. Defaults to `None`, for a model without a source.
        source: nest of tensors. The arguments of `encode`, for a search with `reads_source`. Defaults to `None`.
        prompt: int32 [B, P]. First tokens of each sequence, P at most `max_length` of `decode`. Required without a
            source. Defaults to none.
        prompt_lengths: int32 [B]. Number of valid tokens of each prompt. Defaults to P.
        max_lengths: int32 [B] or scalar. Maximum number of tokens of each sequence, the prompt included. Defaults to
            `max_length` of `decode`.
        row_mask: bool [B]. `False` for padding rows, which the loop does not wait for. Defaults to `True`.
        row_ids: int32 [B]. Numbers that identify the sources when tokens are sampled. Defaults to 0, 1, 2 ...
        seed: int32 scalar. Seed of a search that samples. Defaults to `0`.
        end_ids: tuple of int. Tokens that end a sequence. Defaults to `(model.end_id,)`.
        source_mask: bool [B, S]. Valid positions of the source; set by `complete`. Defaults to `None`.
        source_lengths: int32 [B]. Number of valid positions of the source; set by `complete`. Defaults to `None`.
    """

    encoded: Any = None
    source: Any = None
    prompt: Any = None
    prompt_lengths: Any = None
    max_lengths: Any = None
    row_mask: Any = None
    row_ids: Any = None
    seed: Any = 0
    end_ids: tuple[int, ...] = ()
    source_mask: Any = None
    source_lengths: Any = None

    def complete(self, model: Decodable, max_length: int) -> "DecodingContext":
        """Returns the context with all defaults replaced by tensors."""
        rows = self.prompt if self.encoded is None else keras.tree.flatten(self.encoded)[0]
        ones = ops.ones((ops.shape(rows)[0],), "int32")
        prompt, prompt_lengths = self.prompt, self.prompt_lengths
        if prompt is None:
            prompt, prompt_lengths = ops.expand_dims(ones * 0, 1), ones * 0
        prompt = ops.convert_to_tensor(prompt, "int32")
        width = prompt.shape[1]
        mask = self.encoded.get("mask") if isinstance(self.encoded, dict) else None
        return dataclasses.replace(
            self,
            prompt=prompt if width else ops.expand_dims(ones * 0, 1),
            prompt_lengths=ones * width if prompt_lengths is None else ops.convert_to_tensor(prompt_lengths, "int32"),
            max_lengths=ones * (max_length if self.max_lengths is None else _int32(self.max_lengths)),
            row_mask=ones > 0 if self.row_mask is None else ops.convert_to_tensor(self.row_mask, "bool"),
            row_ids=ops.cumsum(ones, axis=0) - 1 if self.row_ids is None else _int32(self.row_ids),
            seed=_int32(self.seed),
            end_ids=tuple(self.end_ids) or (model.end_id,),
            source_mask=mask,
            source_lengths=None if mask is None else ops.sum(ops.cast(mask, "int32"), axis=1),
        )


@dataclasses.dataclass(frozen=True)
class StepContext:
    """The arguments of a search at one position, for B sources; a scalar is the same for all of them.

    Args:
        index: int32 scalar. The position that is decoded.
        forced: bool [B]. Whether the prompt determines this position.
        prompt_token: int32 [B]. The token of the prompt at this position.
        num_generated: int32 [B]. Number of tokens after the prompt so far.
        max_new_tokens: int32 [B]. Maximum number of tokens after the prompt.
        is_last: bool [B]. Whether this is the last position.
        end_ids: tuple of int. Tokens that end a sequence.
        row_ids: int32 [B]. A number that no other source has.
        seed: int32 scalar.
        source_mask: bool [B, S]. Valid positions of the source. Defaults to `None`, for a source without a mask.
        attention: float32 [B, W, S]. Attention of each hypothesis to the source. `None` if the model returns none.
            Defaults to `None`.
        hidden: float [B, W, D]. The vectors that the logits are computed from. `None` if the model returns none.
            Defaults to `None`.
    """

    index: Any
    forced: Any
    prompt_token: Any
    num_generated: Any
    max_new_tokens: Any
    is_last: Any
    end_ids: tuple[int, ...]
    row_ids: Any
    seed: Any
    source_mask: Any = None
    attention: Any = None
    hidden: Any = None


@dataclasses.dataclass(frozen=True)
class ConstraintContext:
    """The arguments of a constraint at one position; a row is one hypothesis.

    Args:
        tokens: int32 [R, T]. The tokens so far; positions from `index` on are undefined.
        index: int32 scalar. The position that is decoded.
        num_generated: int32 [R]. Number of tokens after the prompt so far.
        source_lengths: int32 [R]. Number of valid positions of the source; `None` for a source without a mask.
        end_ids: tuple of int. Tokens that end a sequence.
    """

    tokens: Any
    index: Any
    num_generated: Any
    source_lengths: Any
    end_ids: tuple[int, ...]


def _int32(value):
    return ops.convert_to_tensor(value, "int32")
