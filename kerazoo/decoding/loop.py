"""The one loop of all searches, in `keras.ops`: it runs as it is, and inside any compiled function."""

import dataclasses

import keras
from keras import ops

from kerazoo.decoding.constraints import LOWEST, Context
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
    chosen. Prompts are read by the same steps that write, so rows with prompts of different lengths, or with sources
    of different lengths, share a batch and get what each would get alone.

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
    batch_size = ops.shape(prompt if encoded is None else keras.tree.flatten(encoded)[0])[0]
    facts = _facts(batch_size, max_length, prompt, prompt_lengths, limits, valid, rows)
    ends = tuple(end_ids or (model.end_id,))
    never = tuple(sorted({model.pad_id, model.start_id} - set(ends)))
    source_mask = encoded.get("mask") if isinstance(encoded, dict) else None
    source_lengths = _source_lengths(encoded)
    if search.models:  # it has a loop of its own
        return search.run(model, max_length, encoded, source, facts, ends, source_lengths)
    if source_lengths is not None:
        source_lengths = _for_each_line(source_lengths, search)  # [B * W]
    cache = model.start(batch_size, max_length, encoded)
    memory = cache["memory"]

    def go_on(index, state, carry):
        waiting = ops.logical_not(ops.logical_or(search.finished(carry), ops.logical_not(facts["valid"])))
        return ops.logical_and(index < max_length, ops.any(waiting))

    def body(index, state, carry):
        last = ops.take(carry["tokens"], ops.maximum(index - 1, 0), axis=2)  # [B, W]
        last = ops.reshape(ops.where(index == 0, model.start_id, last), (-1,))  # [B * W]
        logits, new = model.step(last, {"state": state, "memory": memory}, index)
        log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)  # [B * W, V]
        now = dataclasses.replace(_now(index, facts, ends, seed), source_mask=source_mask, **see(new, search.lines))
        ranked = _without(log_probs, never)
        if search.constraints:
            context = Context(
                ops.reshape(carry["tokens"], (-1, max_length)),
                index,
                _for_each_line(now.written, search),
                source_lengths,
                ends,
            )
            for constraint in search.constraints:
                ranked = constraint(ranked, context)
        grid = (-1, search.lines, log_probs.shape[-1])
        new_carry, parents = search.advance(carry, ops.reshape(log_probs, grid), ops.reshape(ranked, grid), now)
        new_state = new["state"] if parents is None else _reorder(new["state"], parents, search.lines)
        return index + 1, _same_shapes(new_state, state), _same_shapes(new_carry, carry)

    state = keras.tree.map_structure(lambda x: _for_each_line(x, search), cache["state"])
    carry = search.begin(batch_size, max_length, **like_seen(model, search, state, cache, batch_size))
    start = ops.convert_to_tensor(0, "int32")
    _, _, carry = ops.while_loop(go_on, body, (start, state, carry))
    return search.finish(carry, model.pad_id)


def _facts(batch_size, max_length, prompt, prompt_lengths, limits, valid, rows):
    """What is known of each source before the loop, with defaults filled in."""
    ones = ops.ones((batch_size,), "int32")
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
    }


def _now(index, facts, ends, seed):
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
        seed=seed,
    )


def _source_lengths(encoded):
    if not isinstance(encoded, dict) or encoded.get("mask") is None:
        return None
    return ops.sum(ops.cast(encoded["mask"], "int32"), axis=1)  # [B]


def _without(log_probs, ids):
    if not ids:
        return log_probs
    return ops.where(is_any(ops.arange(log_probs.shape[-1], dtype="int32"), ids), LOWEST, log_probs)


def _for_each_line(x, search):
    """Repeats every row for each hypothesis of its source."""
    return x if search.lines == 1 else ops.repeat(x, search.lines, axis=0)  # [B * W, ...]


def _reorder(state, parents, lines):
    """Lets row `b * W + w` of every tensor be what row `b * W + parents[b, w]` was."""
    first = ops.arange(ops.shape(parents)[0], dtype="int32")[:, None] * lines
    flat = ops.reshape(first + parents, (-1,))  # [B * W]
    return keras.tree.map_structure(lambda x: ops.take(x, flat, axis=0), state)


def _same_shapes(new, old):
    """Tells TensorFlow, which forgets static sizes on the way, that a step changes no shape."""

    def same(x, before):
        return x if tuple(x.shape) == tuple(before.shape) else ops.reshape(x, ops.shape(before))

    return keras.tree.map_structure(same, new, old)
