"""Groups of hypotheses that keep out of each other's way, so that the answers differ."""

from keras import ops

from kerazoo.decoding.constraints import LOWEST
from kerazoo.decoding.search import pick


def advance(advance_group, groups, carry, log_probs, ranked, now):
    """Lets one group after another make its hypotheses longer, and tells each what those before it took.

    Args:
        advance_group: Takes the carry, `log_probs`, `ranked` of one group, `now`, and how often each token was taken
            by the groups before, float32 [B, V] or None; returns the new carry, the parents, and what it took itself.
        groups: Number of groups, which divides the number W of hypotheses.
        carry: Tensors [B, W, ...], and `done` [B, groups].
        log_probs, ranked, now: As a search gets them.

    Returns:
        The carry and the parents [B, W] of all groups.
    """
    size = ranked.shape[1] // groups
    parts, all_parents, taken = [], [], None
    for group in range(groups):
        lines = slice(group * size, (group + 1) * size)
        mine = {name: carry[name][:, group] if name == "done" else x[:, lines] for name, x in carry.items()}
        new, parents, took = advance_group(mine, log_probs[:, lines], ranked[:, lines], now, taken)
        parts.append({**new, "done": new["done"][:, None]})
        all_parents.append(parents + group * size)
        taken = took if taken is None else taken + took
    joined = {name: ops.concatenate([part[name] for part in parts], axis=1) for name in carry}
    return joined, ops.concatenate(all_parents, axis=1)


def taken(tokens, real, vocabulary_size, groups):
    """Returns how many of the `real` hypotheses took each token, float32 [B, V]; None where nobody asks."""
    if groups == 1:
        return None
    return ops.sum(ops.one_hot(ops.where(real, tokens, -1), vocabulary_size, dtype="float32"), axis=1)


def best(carry, groups, n_best):
    """Returns scores [B, N] and places [B, N] of the best finished hypotheses, equally many of each group."""
    scores = carry["done_scores"]  # [B, W], sorted within each group
    if groups == 1:
        places = ops.zeros_like(scores[:, :n_best], dtype="int32") + ops.arange(n_best, dtype="int32")
        return scores[:, :n_best], places
    size = scores.shape[1] // groups
    scores = ops.where(_found_before(carry), LOWEST, scores)
    each, places = ops.top_k(ops.reshape(scores, (-1, groups, size)), -(-n_best // groups))
    places = ops.cast(places, "int32") + ops.arange(groups, dtype="int32")[:, None] * size
    scores, order = ops.top_k(ops.reshape(each, (-1, each.shape[1] * each.shape[2])), n_best)
    places = ops.reshape(places, (-1, places.shape[1] * places.shape[2]))
    return scores, pick(places, ops.cast(order, "int32"))


def _found_before(carry):
    """Which finished hypotheses stand in front of themselves already, booleans [B, W]."""
    tokens, lengths = carry["done_tokens"], carry["done_lengths"]
    same = ops.all(tokens[:, :, None] == tokens[:, None, :], axis=-1)  # [B, W, W]
    same = ops.logical_and(same, lengths[:, :, None] == lengths[:, None, :])
    place = ops.arange(tokens.shape[1], dtype="int32")
    return ops.any(ops.logical_and(same, place[None, :] < place[:, None]), axis=2)
