"""The loop of all searches, written with `keras.ops`: it runs eagerly and inside any compiled function."""

import functools
from typing import Any

from keras import ops

from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.context import ConstraintContext, DecodingContext, StepContext
from kerazoo.decoding.decoding_state import (
    PARTS,
    inherit,
    loop_variables,
    observed_outputs,
    reorder,
    repeat_for_beams,
    same_shapes,
    start_cache,
    zeros_like_observed,
)
from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.restricted_model import restrict
from kerazoo.decoding.search import Search, is_any


def decode(model: Decodable, search: Search, max_length: int, context: DecodingContext) -> dict[str, Any]:
    """Runs a search.

    `generate` compiles this function, and an exported signature calls it. Padding and the start token are never chosen.
    Prompts are read at once if the model supports it, and by the steps of the loop where they differ in length. So rows
    with prompts or sources of different lengths share a batch and get the result that each would get alone.

    Args:
        model: `Decodable`. The model.
        search: `Search`, such as `Greedy()`.
        max_length: int. Maximum number of tokens of a sequence, the prompt included. A static bound; `max_lengths` of
            the context may vary from call to call.
        context: `DecodingContext`. The encoded sources, the prompts and the seed.

    Returns:
        A dictionary of tensors with N hypotheses for each source, best first:

        - `tokens`: int32 [B, N, max_length]. The prompt, the generated tokens and the end token, then padding.
        - `lengths`: int32 [B, N]. Number of tokens without padding; 0 for a hypothesis that does not exist.
        - `scores`: float32 [B, N]. The values that the search ranks by; -inf for a hypothesis that does not exist.
        - `token_scores`: float32 [B, N, max_length]. The log-probability of every generated token, else 0.
        - `acceptance_rate`: float32 [B], for `Speculative` only. Share of the drafted tokens that were kept.
    """
    context = context.complete(model, max_length)
    if search.models:
        return mask_result(search.run(model, max_length, context), model.pad_id)
    model, context, to_tokens = restrict(model, search, context)
    variables = start_loop(model, search, max_length, context)
    variables = run_loop(model, search, variables, context)
    found = mask_result(search.result(variables["search"]), model.pad_id)
    return {**found, "tokens": to_tokens(found["tokens"])}


def mask_result(result: dict[str, Any], pad_id: int) -> dict[str, Any]:
    """Pads tokens and token scores after each length, and gives hypotheses that do not exist length 0 and score -inf.

    Args:
        result: What `Search.result` returned.
        pad_id: int. The padding token.
    """
    exists = result["scores"] > LOWEST / 2
    lengths = ops.where(exists, result["lengths"], 0)
    valid = ops.arange(result["tokens"].shape[-1], dtype="int32") < lengths[:, :, None]
    return {
        **result,
        "tokens": ops.where(valid, result["tokens"], pad_id),
        "lengths": lengths,
        "scores": ops.where(exists, result["scores"], -float("inf")),
        "token_scores": ops.where(valid, result["token_scores"], 0.0),
    }


def start_loop(model: Decodable, search: Search, max_length: int, context: DecodingContext) -> dict[str, Any]:
    """Returns the loop variables before the first position: the index, the cache, and the state of the search.

    Args:
        model: `Decodable`.
        search: `Search`.
        max_length: int.
        context: `DecodingContext`, completed.
    """
    batch_size, width = ops.shape(context.prompt)[0], context.prompt.shape[1]
    cache = start_cache(model, batch_size, max_length, context.encoded, search.beams_per_source)
    observed = zeros_like_observed(model, search, cache, batch_size)
    state = search.initial_state(batch_size, max_length, **observed)
    # The loop writes the prompt, except for the positions that are read in parallel here.
    prompt = ops.pad(context.prompt, ((0, 0), (0, max_length - width)))[:, None]
    variables = {"index": ops.convert_to_tensor(0, "int32"), **cache}
    if model.supports_parallel_decoding and not search.required_outputs and width > 1:
        start = ops.full_like(context.prompt[:, :1], model.start_id)
        tokens = ops.concatenate([start, context.prompt[:, :-1]], 1)
        _, new = model.step_many(repeat_for_beams(tokens, search.beams_per_source), cache, variables["index"])
        variables.update(same_shapes(loop_variables(new), loop_variables(cache)))
        variables["index"] = ops.min(context.prompt_lengths)
    return {**variables, "search": {**state, "tokens": state["tokens"] + prompt}}


def run_loop(
    model: Decodable,
    search: Search,
    variables: dict[str, Any],
    context: DecodingContext,
    num_positions: Any = None,
) -> dict[str, Any]:
    """Returns the loop variables after `num_positions` more positions, or when every source is finished.

    Args:
        model: `Decodable`.
        search: `Search`.
        variables: What `start_loop` or `run_loop` returned.
        context: `DecodingContext`, completed.
        num_positions: int32 scalar. Defaults to `None`, for no bound.
    """
    constants = {name: variables[name] for name in ("memory",) if name in variables}
    changing = {name: value for name, value in variables.items() if name not in constants}
    max_length = variables["search"]["tokens"].shape[2]
    stop = max_length if num_positions is None else ops.minimum(variables["index"] + num_positions, max_length)

    def condition(changing):
        finished = ops.logical_or(search.is_finished(changing["search"]), ops.logical_not(context.row_mask))
        return ops.logical_and(changing["index"] < stop, ops.any(ops.logical_not(finished)))

    body = functools.partial(decode_position, model, search, context, constants)
    sources, num_beams = variables["search"]["tokens"].shape[:2]
    with model.prepared_loop(None if sources is None else sources * num_beams):
        return {**constants, **ops.while_loop(condition, body, (changing,))[0]}


def decode_position(model, search, context, constants, changing):
    """Runs one step of the model and of the search, the body of the loop.

    Args:
        model: `Decodable`.
        search: `Search`.
        context: `DecodingContext`, completed.
        constants: dict. The loop variables that no step changes.
        changing: dict. All others.

    Returns:
        A tuple of those that change.
    """
    variables = {**constants, **changing}
    index, state, num_beams = variables["index"], variables["search"], search.beams_per_source
    last = ops.take(state["tokens"], ops.maximum(index - 1, 0), axis=2)  # [B, W]
    last = ops.reshape(ops.where(index == 0, model.start_id, last), (-1,))  # [B * W]
    logits, cache = model.step(last, {name: variables[name] for name in PARTS if name in variables}, index)
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)  # [B * W, V]
    step = step_context(index, context, observed_outputs(cache, num_beams))
    constrained = exclude_special_tokens(log_probs, model, context.end_ids)
    if search.constraints:
        constraint_context = ConstraintContext(
            tokens=ops.reshape(state["tokens"], (-1, state["tokens"].shape[2])),
            index=index,
            num_generated=repeat_for_beams(step.num_generated, num_beams),
            source_lengths=repeat_for_beams(context.source_lengths, num_beams),
            end_ids=context.end_ids,
        )
        for constraint in search.constraints:
            constrained = constraint(constrained, constraint_context)
    grid = (-1, num_beams, log_probs.shape[-1])
    state, parents = search.update(state, ops.reshape(log_probs, grid), ops.reshape(constrained, grid), step)
    new = {"index": index + 1, "search": state, **loop_variables(cache)}
    new["state"] = reorder(new["state"], parents, num_beams)
    if "beam_ancestry" in variables:
        new["beam_ancestry"] = inherit(variables["beam_ancestry"], parents, index)
    return (same_shapes(new, changing),)


def step_context(index: Any, context: DecodingContext, observed: dict[str, Any]) -> StepContext:
    """Returns the context of one position.

    Args:
        index: int32 scalar. The position.
        context: `DecodingContext`, completed.
        observed: What `observed_outputs` returned.
    """
    lengths = context.prompt_lengths
    column = ops.minimum(index, context.prompt.shape[1] - 1)
    return StepContext(
        index=index,
        forced=index < lengths,
        prompt_token=ops.take(context.prompt, column, axis=1),
        num_generated=ops.maximum(index - lengths, 0),
        max_new_tokens=ops.maximum(context.max_lengths - lengths, 1),
        is_last=index + 1 >= context.max_lengths,
        end_ids=context.end_ids,
        row_ids=context.row_ids,
        seed=context.seed,
        source_mask=context.source_mask,
        **observed,
    )


def exclude_special_tokens(log_probs: Any, model: Decodable, end_ids: tuple[int, ...]) -> Any:
    """Returns `log_probs` [..., V] with `LOWEST` for padding and the start token, unless they end a sequence."""
    ids = tuple(sorted({model.pad_id, model.start_id} - set(end_ids)))
    if not ids:
        return log_probs
    return ops.where(is_any(ops.arange(log_probs.shape[-1], dtype="int32"), ids), LOWEST, log_probs)
