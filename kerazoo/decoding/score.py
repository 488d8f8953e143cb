"""Forced decoding of given targets: log-probabilities, perplexity and alignment."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import programs, prompts
from kerazoo.decoding.decoding_state import loop_variables, same_shapes, start_cache
from kerazoo.decoding.protocol import Decodable, check_decodable


@dataclasses.dataclass(frozen=True)
class Scored:
    """The scores of B given targets.

    Args:
        token_scores: float32 [B, T]. Log-probability of each token given those before it; 0 for padding.
        lengths: int32 [B]. Number of tokens without padding.
        alignment: float32 [B, T, S]. Attention of each token to the source, 0 for padding. Defaults to `None`, if it
            was not requested.
    """

    token_scores: np.ndarray
    lengths: np.ndarray
    alignment: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray:
        """Log-probability of each whole target, float32 [B]."""
        return self.token_scores.sum(1)

    @property
    def perplexities(self) -> np.ndarray:
        """Perplexity of each target, float32 [B]; 1 for a target without tokens."""
        return np.exp(-self.scores / np.maximum(self.lengths, 1)).astype("float32")

    @property
    def perplexity(self) -> float:
        """Perplexity of all tokens together."""
        return float(np.exp(-self.token_scores.sum(dtype="float64") / max(int(self.lengths.sum()), 1)))


def score(
    model: Decodable,
    source: Any,
    targets: Any,
    *,
    alignment: bool = False,
    batch_size: int | None = None,
    jit_compile: bool = False,
) -> Scored:
    """Returns the log-probabilities of given targets.

    The end token counts where the targets have it. A model with `supports_teacher_forcing` reads all positions at once;
    any other model, and every model if `alignment` is requested, reads them step by step, with the same result.

    Args:
        model: `Decodable`, such as the generative models of `kerazoo.models`.
        source: See `kerazoo.decoding.generate`; `None` for a language model.
        targets: list of rows of token ids, or array padded with `pad_id`, without the start token.
        alignment: bool. Whether to return the attention of each token to the source. Defaults to `False`.
        batch_size: int. Maximum number of rows that are scored at once. Defaults to all.
        jit_compile: bool. Whether TensorFlow compiles with XLA. Defaults to `False`.

    Returns:
        `Scored`.

    Raises:
        TypeError: if `model` is not `Decodable`.
        ValueError: if sizes do not fit, the model has fewer positions than a target, or has no attention to return.

    Example:

    ```python
    import kerazoo as kz

    model = kz.create("lstm_seq2seq_attention", units=8, embedding_dim=8)
    found = kz.decoding.score(model, [[5, 6, 7], [8]], [[9, 2], [4, 4, 2]], alignment=True)
    assert found.token_scores.shape == (2, 3) and found.alignment.shape == (2, 3, 3)
    print(found.scores, found.perplexity)
    ```
    """
    check_decodable("score", model)
    model.build_from_inputs()
    source = prompts.read_source(model, source)
    tokens, lengths = prompts.read_tokens("targets", targets, model.pad_id, model.vocabulary_size)
    width, rows = tokens.shape[1], prompts.num_rows(source)
    if model.max_length is not None and width > model.max_length:
        raise ValueError(
            f"score: `targets` must have at most {model.max_length} tokens, the positions of the model; "
            f"got {width} tokens."
        )
    if rows is not None and rows != len(tokens):
        raise ValueError(f"score: `targets` must have a row for each source; got {len(tokens)} for {rows} sources.")
    tokens = prompts.pad_length(tokens, prompts.length_bucket(width, model.max_length), model.pad_id)
    size = len(tokens) if batch_size is None else _checks.positive_int("score", "batch_size", batch_size)
    program = _program(model, rows is not None, bool(alignment), jit_compile)
    parts = []
    for start in range(0, len(tokens), max(size, 1)):
        arrays = keras.tree.map_structure(lambda x, start=start: x[start : start + size], (source, tokens))
        count = len(arrays[1])
        padded = prompts.batch_bucket(count)
        found = program(*keras.tree.map_structure(lambda x, padded=padded: prompts.pad_rows(x, padded), arrays))
        parts.append({name: ops.convert_to_numpy(value)[:count, :width] for name, value in found.items()})
    return _concatenate(parts, lengths, width, _source_width(model, source))


def align(model: Decodable, encoded: Any, tokens: Any, lengths: Any = None) -> Any:
    """Returns the attention of each token of given sequences to the source.

    Args:
        model: `Decodable` whose `step` returns `"attention"`.
        encoded: What `model.encode` returned for B sources.
        tokens: int32 [B, N, T]. N sequences for each source.
        lengths: int32 [B, N]. Number of tokens without padding. Defaults to `None`, for T.

    Returns:
        float32 [B, N, T, S]. Each row sums to one over the valid positions of the source; padding is 0 if `lengths` are
        given.

    Raises:
        ValueError: if the model returns no attention.
    """
    _, attention = forced_decoding(model, encoded, tokens, return_attention=True)
    if lengths is None:
        return attention
    valid = ops.arange(tokens.shape[2], dtype="int32") < lengths[:, :, None]
    return ops.where(valid[..., None], attention, 0.0)


def forced_decoding(model: Decodable, encoded: Any, tokens: Any, return_attention: bool = False) -> tuple[Any, Any]:
    """Runs a model over given sequences, step by step.

    Args:
        model: `Decodable`.
        encoded: What `model.encode` returned for B sources; `None` without a source.
        tokens: int32 [B, N, T]. N sequences for each source.
        return_attention: bool. Whether to return the attention. Defaults to `False`.

    Returns:
        The log-probability of each token given those before it, float32 [B, N, T]; and the attention of each token to
        the source, float32 [B, N, T, S], or `None`.
    """
    count, length = tokens.shape[1:]
    rows = ops.reshape(tokens, (-1, length))  # [B * N, T]
    cache = start_cache(model, ops.shape(tokens)[0], length, encoded, count)
    outputs = {"scores": ops.zeros_like(rows, dtype="float32")}
    first = ops.full_like(rows[:, 0], model.start_id)
    if return_attention:
        # Only the shape of this step is used, so that a compiled program never runs it.
        _, new = model.step(first, cache, ops.convert_to_tensor(0, "int32"))
        if new.get("attention") is None:
            raise ValueError(
                f"alignment needs a model whose `step` returns attention to a source; got {type(model).__name__}, "
                "which does not."
            )
        outputs["attention"] = ops.zeros_like(new["attention"])[:, None] + ops.zeros((length, 1))

    def body(index, variables, outputs):
        before = ops.where(index == 0, first, ops.take(rows, ops.maximum(index - 1, 0), axis=1))
        logits, new = model.step(before, {**cache, **variables}, index)
        log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        targets = ops.expand_dims(ops.take(rows, index, axis=1), 1)
        scores = ops.take_along_axis(log_probs, targets, axis=1)  # [B * N, 1]
        here = ops.arange(length, dtype="int32") == index
        updated = {"scores": ops.where(here, scores, outputs["scores"])}
        if return_attention:
            updated["attention"] = ops.where(here[:, None], new["attention"][:, None], outputs["attention"])
        return index + 1, same_shapes(loop_variables(new), variables), same_shapes(updated, outputs)

    start = ops.convert_to_tensor(0, "int32")
    variables = (start, loop_variables(cache), outputs)
    _, _, outputs = ops.while_loop(lambda index, *_: index < length, body, variables)
    grid = (-1, count, length)
    scores = ops.reshape(outputs["scores"], grid)
    if not return_attention:
        return scores, None
    return scores, ops.reshape(outputs["attention"], (*grid, ops.shape(outputs["attention"])[-1]))


def _program(model, has_source, alignment, jit_compile):
    """Returns the compiled function from sources and targets to log-probabilities."""

    def run(source, tokens):
        if model.supports_teacher_forcing and not alignment:
            inputs = source if isinstance(source, dict) else {"source": source} if has_source else {}
            logits = ops.cast(model({**inputs, "targets": tokens}, training=False), "float32")
            log_probs = ops.log_softmax(logits, axis=-1)  # [B, T, V]
            return {"token_scores": ops.take_along_axis(log_probs, tokens[:, :, None], axis=2)[:, :, 0]}
        encoded = model.encode(source, training=False) if has_source else None
        scores, attention = forced_decoding(model, encoded, tokens[:, None], return_attention=alignment)
        outputs = {"alignment": attention[:, 0]} if alignment else {}
        return {"token_scores": scores[:, 0], **outputs}

    key = ("score", has_source, alignment)
    return programs.cached_program((model,), key, run, jit_compile, "scores of given targets")


def _source_width(model, source):
    """Returns the length of the longest source without padding, `None` where the sources are not padded here."""
    inputs = source if isinstance(source, dict) else {"source": source}
    pad_id = model.source_pad_ids.get("source")
    if pad_id is None or "source_2" in inputs:
        return None
    return int(np.flatnonzero((inputs["source"] != pad_id).any(axis=0)).max(initial=-1)) + 1


def _concatenate(parts, lengths, width, source_width):
    """Returns one result, with zeros for padding."""
    valid = np.arange(width) < lengths[:, None]  # [B, T]
    parts = parts or [{"token_scores": np.zeros((0, width), "float32")}]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    alignment = found.get("alignment")
    if alignment is not None:
        alignment = np.where(valid[:, :, None], alignment[:, :, :source_width], 0).astype("float32")
    return Scored(np.where(valid, found["token_scores"], 0).astype("float32"), lengths, alignment)
