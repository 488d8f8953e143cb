"""What a search asks of a model: to encode, to start, and to make one step. It asks nothing else."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Decodable(Protocol):
    """A model that writes one token at a time; anything with these members can be searched.

    A cache has three parts, nests of tensors. A search that keeps W hypotheses for each source has rows
    `b * W + w` for hypothesis w of source b:

    - `"state"`: what a step changes, W rows for each source. The search repeats what `start` returned W times, and
      reorders the rows when hypotheses are dropped.
    - `"memory"`: what all hypotheses of a source share (the encoded side). It is never copied or reordered.
    - `"history"`, if the model has one: what is written once at each position, such as keys and values. The model makes
      it for `lines` hypotheses, and it is never reordered either. With several lines the search puts `"ancestors"`
      beside it, int32 [B, W, L]: which line wrote each position of each hypothesis, its own from the present one on.

    The logits of `step` at `index` are those of position `index` of the targets, given the token before it: the search
    passes `start_id` at index 0. Repeated steps must give what the full pass of the model gives.

    Besides the members below, a search reads some more where the model has them:

    - `extend(tokens, cache, index)`: what `step` does for tokens [B * W, T] at once, with logits [B * W, T, V]. Only
      for models without `"state"`: positions beyond `index` may then be written a second time. Prompts are read with
      it, and drafts checked;
    - `encode(source, training=False)`: the encoded side, a nest with `"mask"` (booleans [B, S]) where it can;
    - `source_pad_id`: set if the source is token ids, so that shorter rows may be filled up with it;
    - `max_length`: the most positions that the model has, `max_source_length` those of its source.
    """

    pad_id: int
    start_id: int
    end_id: int

    def start(self, batch_size, max_length, encoded=None) -> dict[str, Any]:
        """Returns the cache for `batch_size` sources and at most `max_length` tokens; the batch may be a tensor.

        A model with a history also takes `lines`, the number of hypotheses of each source.
        """

    def step(self, tokens, cache, index) -> tuple[Any, dict[str, Any]]:
        """Returns logits [B, V] for position `index`, and the new cache, from the tokens [B] of the position before.

        The cache may also show, of this position alone, `"attention"` to the source, float32 [B, S], and `"hidden"`,
        the vectors [B, D] that the logits are made of.
        """
