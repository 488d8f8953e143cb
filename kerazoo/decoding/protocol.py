"""What a search asks of a model: to encode, to start, and to make one step. It asks nothing else."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Decodable(Protocol):
    """A model that writes one token at a time; anything with these members can be searched.

    A cache is `{"state": nest, "memory": nest}` of tensors whose first axis is the batch. A search that keeps W
    hypotheses for each source repeats every row of `state` W times, reorders these rows when hypotheses are dropped,
    and hands the whole to `step`, where row `b * W + w` belongs to source `b`. The `memory` holds what all hypotheses
    of a source share (the encoded side); it keeps its B rows and is never copied or reordered.

    The logits of `step` at `index` are those of position `index` of the targets, given the token before it: the search
    passes `start_id` at index 0. Repeated steps must give what the full pass of the model gives.

    Besides the members below, a search reads three more where the model has them:

    - `encode(source, training=False)`: the encoded side, a nest with `"mask"` (booleans [B, S]) where it can;
    - `source_pad_id`: set if the source is token ids, so that shorter rows may be filled up with it;
    - `max_length`: the most positions that the model has, `max_source_length` those of its source.
    """

    pad_id: int
    start_id: int
    end_id: int

    def start(self, batch_size, max_length, encoded=None) -> dict[str, Any]:
        """Returns the cache for `batch_size` rows of at most `max_length` tokens; the batch may be a tensor."""

    def step(self, tokens, cache, index) -> tuple[Any, dict[str, Any]]:
        """Returns logits [B, V] for position `index`, and the new cache, from the tokens [B] of the position before."""
