"""The tensors of BART in the names of Hugging Face: learned positions and normalized embeddings beside Marian's."""

import dataclasses

from kerazoo.transfer.marian import MARIAN
from kerazoo.transfer.tensor_names import Stack

SKIPPED_POSITIONS = 2  # rows of its tables that no position uses


def _stack(side: str, like: Stack | None) -> Stack:
    if like is None:
        raise ValueError(f"Marian has no {side}.")
    return dataclasses.replace(
        like,
        positions=f"{side}.embed_positions.weight",
        skipped_positions=SKIPPED_POSITIONS,
        embedding_norm=f"{side}.layernorm_embedding",
    )


BART = dataclasses.replace(
    MARIAN,
    name="BART",
    types=("bart",),
    encoder=_stack("encoder", MARIAN.encoder),
    decoder=_stack("decoder", MARIAN.decoder),
    needs={**MARIAN.needs, "embedding.positions": "learned", "embedding.normalization": "layer"},
    unused=r"classification_head\..*|qa_outputs\..*",
)
