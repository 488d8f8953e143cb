"""The searches whose speed is compared, and the sizes of the models that they decode with."""

import dataclasses

import numpy as np

VOCABULARY_SIZE, HIDDEN_DIM, NUM_LAYERS, SOURCE_LENGTH, NUM_BEAMS = 8192, 256, 4, 64, 4


@dataclasses.dataclass(frozen=True)
class Case:
    """A search with a model, `"transformer"` or `"lstm"`, for `batch` sources of random tokens at once.

    Every prediction has `new_tokens` tokens; a beam has `NUM_BEAMS` hypotheses.
    """

    model: str
    search: str
    batch: int
    new_tokens: int

    @property
    def num_beams(self) -> int:
        return NUM_BEAMS if self.search == "beam" else 1

    def sources(self) -> np.ndarray:
        """Returns the tokens of the sources, int32 [B, S]."""
        rng = np.random.default_rng(0)
        return rng.integers(4, VOCABULARY_SIZE - 1, (self.batch, SOURCE_LENGTH)).astype("int32")

    def weights_of_a_token(self) -> int:
        """Returns the number of weights that a token is multiplied with."""
        # Keys and values of the source are computed once, so a block has six products for its two attentions.
        block = 6 * HIDDEN_DIM**2 + 2 * HIDDEN_DIM * 4 * HIDDEN_DIM
        recurrence = 2 * HIDDEN_DIM * 4 * HIDDEN_DIM + 2 * HIDDEN_DIM * HIDDEN_DIM
        return {"transformer": NUM_LAYERS * block, "lstm": recurrence}[self.model] + HIDDEN_DIM * VOCABULARY_SIZE


CASES = {
    f"{model} {search} {batch} of {new_tokens}": Case(model, search, batch, new_tokens)
    for model, search, batch, new_tokens in [
        *[(model, search, batch, 64) for model in ("transformer", "lstm") for search in ("greedy", "beam")
          for batch in (1, 16)],
        ("transformer", "greedy", 256, 64),
        ("lstm", "greedy", 256, 64),
        ("transformer", "greedy", 1, 512),
        ("transformer", "greedy", 16, 512),
        ("transformer", "beam", 1, 512),
    ]
}  # fmt: skip
