"""The models whose training is compared: sizes, random examples, and the multiplications of one example."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Case:
    """A model of a kind and its sizes; an epoch has `steps` steps of `batch_size` examples.

    `source_length` is 0 where there is no encoder. Transformers have an inner width of four times `hidden_dim`;
    `hidden_dim` is the width of the embedding of an LSTM. The table of the encoder-decoder's embeddings is that of its
    head. A case is `large` that takes minutes a step on two cores.
    """

    kind: str
    batch_size: int
    steps: int
    vocabulary_size: int = 10
    hidden_dim: int = 128
    units: int = 0
    num_layers: int = 0
    num_heads: int = 4
    source_length: int = 0
    target_length: int = 1
    large: bool = False

    @property
    def unit(self) -> str:
        return "samples" if self.kind == "dense" else "tokens"

    @property
    def units_of_a_step(self) -> int:
        """Target tokens or samples of one step."""
        return self.batch_size * self.target_length

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the examples of an epoch: `source` (pixels for the dense network), `targets`."""
        rng, count = np.random.default_rng(0), self.steps * self.batch_size
        if self.kind == "dense":
            pixels = rng.integers(0, 256, (count, 784)).astype("uint8")
            return {"source": pixels, "targets": rng.integers(0, 10, count).astype("int32")}
        sizes = {"source": self.source_length, "targets": self.target_length}
        return {
            name: rng.integers(3, self.vocabulary_size, (count, length)).astype("int32")
            for name, length in sizes.items()
            if length
        }

    def multiplications(self) -> float:
        """Returns the multiplications with weights, and in attention, of the forward pass of one step."""
        D, S, T = self.hidden_dim, self.source_length, self.target_length
        if self.kind == "dense":
            return self.batch_size * (784 * 128 + 128 * 10)
        head = T * D * self.vocabulary_size
        if self.kind == "lstm":
            cell = 4 * self.units * (D + self.units)
            return self.batch_size * ((S + T) * cell + T * self.units * self.vocabulary_size)
        block = 12 * D * D
        decoder = T * block + 2 * D * T * T
        if self.kind == "decoder":
            return self.batch_size * (self.num_layers * decoder + head)
        cross = 2 * (S + T) * D * D + 2 * D * S * T
        encoder = S * block + 2 * D * S * S
        return self.batch_size * (self.num_layers * (encoder + decoder + cross) + head)


CASES = {
    "dense": Case("dense", 32, 1875),
    "decoder": Case("decoder", 16, 4, 8192, 256, num_layers=4, target_length=128),
    "encoder-decoder": Case("encoder-decoder", 32, 4, 8192, 256, num_layers=4, source_length=64, target_length=64),
    "lstm": Case("lstm", 64, 100, 1000, 256, units=128, source_length=10, target_length=10),
    "lstm-large": Case("lstm", 64, 4, 8192, 256, units=512, source_length=32, target_length=32),
    "decoder-large": Case("decoder", 16, 8, 32768, 768, num_layers=12, num_heads=12, target_length=512, large=True),
}
