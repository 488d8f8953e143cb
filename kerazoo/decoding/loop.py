"""The one loop of all searches, in `keras.ops`: it runs as it is, and inside any compiled function."""

import keras
from keras import ops

from kerazoo.decoding.constraints import LOWEST, Context
from kerazoo.decoding.decoding_state import (
    PARTS,
    inherit,
    loop_variables,
    reorder,
    repeat_for_beams,
    same_shapes,
    start_cache,
)
from kerazoo.decoding.search import Now, is_any
from kerazoo.decoding.seen import like_seen, see


def decode(
    model,
    search,
    max_length: int,
    encoded=None,
    prompt=None,
    prompt_lengths=None,
    limits=None,
    valid=None,
    rows=None,
    seed=0,
    end_ids=None,
    source=None,
) -> dict:
    """Searches for what `model` would write; all arguments but the first three may be tensors of a graph.

    This is what `generate` compiles, and what an exported signature calls. Padding and the start token are never
    chosen. Prompts are read at once where the model can, and by the steps that write where they differ in length, so
    rows with prompts or sources of different lengths share a batch and get what each would get alone.

    Args:
        model: A `Decodable`.
        search: A `Search`, such as `Greedy()`.
        max_length: Places for tokens, the prompt included: a static bound, while `limits` may vary from call to call.
        encoded: What `model.encode` returned, a nest with the batch as first axis; None without a source.
        prompt: First tokens of each answer, int32 [B, P] with P at most `max_length`; needed without a source.
        prompt_lengths: How many of them count, int32 [B]; all by default.
        limits: Most tokens of each answer, the prompt included, int32 [B] or a scalar; `max_length` by default.
        valid: Whether a row is wanted, booleans [B]; the others fill up a batch and keep nobody waiting.
        rows: Numbers that tell the sources apart when tokens are drawn, int32 [B]; 0, 1, 2 ... by default.
        seed: An int32 scalar for searches that draw.
        end_ids: The tokens that end a sequence; `(model.end_id,)` by default.
        source: What was encoded, for a search that runs further models.

    Returns:
        A dictionary of tensors, N hypotheses for each source, best first: `tokens` int32 [B, N, max_length] with the
        prompt and the end token, padding after it; `lengths` int32 [B, N] of them; `scores` float32 [B, N], by which
        the search ranks; `token_scores` float32 [B, N, max_length], the log-probability of every token, 0 for the
        prompt.
    """
    facts = make_facts(encoded, max_length, prompt, prompt_lengths, limits, valid, rows, seed)
    ends = tuple(end_ids or (model.end_id,))
    if search.models:  # it has a loop of its own
        return search.run(model, max_length, encoded, source, facts, ends, facts["source_lengths"])
    progress = begin(model, search, max_length, encoded, facts)
    progress = advance(model, search, ends, progress, facts)
    return search.finish(progress["carry"], model.pad_id)


def make_facts(encoded, max_length, prompt, prompt_lengths, limits, valid, rows, seed):
    """What is known of each source before the loop, with defaults filled in; arguments as those of `decode`."""
    ones = ops.ones((ops.shape(prompt if encoded is None else keras.tree.flatten(encoded)[0])[0],), "int32")
    if prompt is None:
        prompt, prompt_lengths = ops.expand_dims(ones * 0, 1), ones * 0
    prompt = ops.convert_to_tensor(prompt, "int32")
    width = prompt.shape[1]
    return {
        "prompt": prompt if width else ops.expand_dims(ones * 0, 1),  # [B, P]
        "prompt_lengths": ones * width if prompt_lengths is None else ops.convert_to_tensor(prompt_lengths, "int32"),
        "limits": ones * (max_length if limits is None else ops.convert_to_tensor(limits, "int32")),
        "valid": ones > 0 if valid is None else ops.convert_to_tensor(valid, "bool"),
        "rows": ops.cumsum(ones, axis=0) - 1 if rows is None else ops.convert_to_tensor(rows, "int32"),
        **_of_source(encoded),
        "seed": ops.convert_to_tensor(seed, "int32"),
    }


def begin(model, search, max_length, encoded, facts):
    """Returns the progress before the first position: a dictionary of tensors, of which `advance` returns the next."""
    batch_size, width = ops.shape(facts["prompt"])[0], facts["prompt"].shape[1]
    cache = start_cache(model, batch_size, max_length, encoded, search.lines)
    carry = search.begin(batch_size, max_length, **like_seen(model, search, cache, batch_size))
    # The loop writes prompts anyway; this is for what is read ahead.
    prompt = ops.pad(facts["prompt"], ((0, 0), (0, max_length - width)))[:, None]
    progress = {"index": ops.convert_to_tensor(0, "int32"), **cache}
    if model.supports_parallel_decoding and not search.needs and width > 1:
        tokens = ops.concatenate([ops.full_like(facts["prompt"][:, :1], model.start_id), facts["prompt"][:, :-1]], 1)
        _, new = model.step_many(repeat_for_beams(tokens, search.lines), cache, progress["index"])
        progress.update(same_shapes(loop_variables(new), loop_variables(cache)))
        progress["index"] = ops.min(facts["prompt_lengths"])
    return {**progress, "carry": {**carry, "tokens": carry["tokens"] + prompt}}


def advance(model, search, ends, progress, facts, most=None):
    """Returns the progress after `most` more positions, or when every source is finished; without a bound by default.

    Args:
        model: A `Decodable`.
        search: A `Search`.
        ends: The tokens that end a sequence.
        progress: What `begin` or `advance` returned.
        facts: What `make_facts` returned.
        most: An int32 scalar, or None.
    """
    fixed = {name: progress[name] for name in ("memory",) if name in progress}
    loop = {name: value for name, value in progress.items() if name not in fixed}
    max_length = progress["carry"]["tokens"].shape[2]
    stop = max_length if most is None else ops.minimum(progress["index"] + most, max_length)

    def go_on(loop):
        waiting = ops.logical_not(ops.logical_or(search.finished(loop["carry"]), ops.logical_not(facts["valid"])))
        return ops.logical_and(loop["index"] < stop, ops.any(waiting))

    def body(loop):
        new = _position(model, search, ends, {**fixed, **loop}, facts)
        return (same_shapes(new, loop),)

    return {**fixed, **ops.while_loop(go_on, body, (loop,))[0]}


def _position(model, search, ends, progress, facts):
    """Makes one step of the model and lets the search write one position."""
    index, carry, lines = progress["index"], progress["carry"], search.lines
    last = ops.take(carry["tokens"], ops.maximum(index - 1, 0), axis=2)  # [B, W]
    last = ops.reshape(ops.where(index == 0, model.start_id, last), (-1,))  # [B * W]
    logits, cache = model.step(last, {name: progress[name] for name in PARTS if name in progress}, index)
    log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)  # [B * W, V]
    now = _now(index, facts, ends, see(cache, lines))
    ranked = _without(log_probs, sorted({model.pad_id, model.start_id} - set(ends)))
    if search.constraints:
        context = Context(
            ops.reshape(carry["tokens"], (-1, carry["tokens"].shape[2])),
            index,
            repeat_for_beams(now.written, lines),
            repeat_for_beams(facts["source_lengths"], lines),
            ends,
        )
        for constraint in search.constraints:
            ranked = constraint(ranked, context)
    grid = (-1, lines, log_probs.shape[-1])
    carry, parents = search.advance(carry, ops.reshape(log_probs, grid), ops.reshape(ranked, grid), now)
    new = {"index": index + 1, "carry": carry, **loop_variables(cache)}
    new["state"] = reorder(new["state"], parents, lines)
    if "beam_ancestry" in progress:
        new["beam_ancestry"] = inherit(progress["beam_ancestry"], parents, index)
    return new


def _now(index, facts, ends, seen):
    lengths = facts["prompt_lengths"]
    place = ops.minimum(index, facts["prompt"].shape[1] - 1)
    return Now(
        index=index,
        forced=index < lengths,
        prompt=ops.take(facts["prompt"], place, axis=1),
        written=ops.maximum(index - lengths, 0),
        most=ops.maximum(facts["limits"] - lengths, 1),
        last=index + 1 >= facts["limits"],
        end_ids=ends,
        rows=facts["rows"],
        seed=facts["seed"],
        source_mask=facts["source_mask"],
        **seen,
    )


def _of_source(encoded):
    mask = encoded.get("mask") if isinstance(encoded, dict) else None
    return {"source_mask": mask, "source_lengths": None if mask is None else ops.sum(ops.cast(mask, "int32"), axis=1)}


def _without(log_probs, ids):
    if not ids:
        return log_probs
    return ops.where(is_any(ops.arange(log_probs.shape[-1], dtype="int32"), ids), LOWEST, log_probs)
