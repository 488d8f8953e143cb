"""What a model makes of answers that are given: log-probabilities, perplexity, alignment."""

import dataclasses

import keras
import numpy as np
from keras import ops

from kerazoo import _checks
from kerazoo.decoding import buckets, programs
from kerazoo.decoding.protocol import check_decodable
from kerazoo.decoding.ragged import read_source, read_tokens
from kerazoo.decoding.replay import replay


@dataclasses.dataclass(frozen=True)
class Scored:
    """What a model makes of B given targets.

    Args:
        token_scores: float32 [B, T], log-probability of each token given those before it; 0 for padding.
        lengths: int32 [B], tokens before the padding.
        alignment: float32 [B, T, S], attention of each token to the source, 0 for padding; None unless asked for.
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
        """Perplexity of each target, float32 [B]; 1 where there is no token."""
        return np.exp(-self.scores / np.maximum(self.lengths, 1)).astype("float32")

    @property
    def perplexity(self) -> float:
        """Perplexity of all tokens together."""
        return float(np.exp(-self.token_scores.sum(dtype="float64") / max(int(self.lengths.sum()), 1)))


def score(model, source, targets, alignment: bool = False, batch_size: int | None = None, jit: bool = False) -> Scored:
    """Returns the log-probabilities that `model` gives to given targets.

    Tokens are scored as they stand: the end token counts where the targets have it. A model that is called on sources
    and targets reads all positions at once, any other `Decodable`, and every model that is asked for its attention,
    reads them step by step; both give the same.

    Args:
        model: A `Decodable`, such as the generative models of `kerazoo.models`.
        source: As in `generate`; None for a language model.
        targets: Token ids without the start token, ragged lists or an array padded with `pad_id`.
        alignment: Whether to return the attention of each token to the source.
        batch_size: Most rows at once; all by default.
        jit: Whether TensorFlow compiles with XLA.

    Raises:
        ValueError: sizes that do not fit, more tokens than the model has positions, or no attention to return.

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
    source = () if source is None else read_source(model, source)
    tokens, lengths = read_tokens("targets", targets, model.pad_id)
    most, width = model.max_length, tokens.shape[1]
    if most is not None and width > most:
        raise ValueError(
            f"score: `targets` must have at most {most} tokens, the positions of the model; got {width} tokens."
        )
    if keras.tree.flatten(source) and len(keras.tree.flatten(source)[0]) != len(tokens):
        raise ValueError(
            f"score: `targets` must have a row for each source; got {len(tokens)} for "
            f"{len(keras.tree.flatten(source)[0])} sources."
        )
    tokens = buckets.fill_length(tokens, buckets.length_bucket(width, most), model.pad_id)
    chunk = len(tokens) if batch_size is None else _checks.positive_int("score", "batch_size", batch_size)
    program = _program(model, not isinstance(source, tuple), bool(alignment), jit)
    parts = []
    for start in range(0, len(tokens), max(chunk, 1)):
        some = slice(start, start + chunk)
        inputs = keras.tree.map_structure(lambda x, some=some: x[some], (source, tokens))
        rows = len(inputs[1])
        filled = keras.tree.map_structure(lambda x, n=rows: buckets.fill_rows(x, buckets.batch_bucket(n)), inputs)
        found = program(*filled)
        parts.append({name: ops.convert_to_numpy(value)[:rows, :width] for name, value in found.items()})
    return _join(parts, lengths, width, source, model.source_pad_id)


def _join(parts, lengths, width, source, source_pad_id):
    """One result, with zeros where there is no token."""
    real = np.arange(width) < lengths[:, None]  # [B, T]
    parts = parts or [{"token_scores": np.zeros((0, width), "float32")}]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    alignment = found.get("alignment")
    if alignment is not None:
        ids = source["source"] if isinstance(source, dict) else source
        if source_pad_id is not None:  # the filler of ragged sources goes
            there = np.flatnonzero((ids != source_pad_id).any(axis=0))
            alignment = alignment[:, :, : there.max(initial=-1) + 1]
        alignment = np.where(real[:, :, None], alignment, 0).astype("float32")
    return Scored(np.where(real, found["token_scores"], 0).astype("float32"), lengths, alignment)


def _program(model, has_source, alignment, jit):
    """The compiled function from sources and targets to log-probabilities."""

    def run(source, tokens):
        if model.supports_teacher_forcing and not alignment:
            inputs = source if isinstance(source, dict) else {"source": source} if has_source else {}
            logits = ops.cast(model({**inputs, "targets": tokens}, training=False), "float32")
            log_probs = ops.log_softmax(logits, axis=-1)  # [B, T, V]
            return {"token_scores": ops.take_along_axis(log_probs, tokens[:, :, None], axis=2)[:, :, 0]}
        encoded = model.encode(source, training=False) if has_source else None
        scores, attention = replay(model, encoded, tokens[:, None], look=alignment)
        shown = {"alignment": attention[:, 0]} if alignment else {}
        return {"token_scores": scores[:, 0], **shown}

    return programs.kept((model,), ("score", has_source, alignment), run, jit, "scores of given targets")
