"""Generated: the sequences that a search returns."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Generated:
    """N generated sequences for each of B sources, best first.

    Args:
        tokens: int32 [B, N, T], where T is `max_length`. The prompt, the generated tokens, and the end token if it was
            reached; then padding.
        lengths: int32 [B, N]. Number of tokens without padding; 0 where there are fewer than N sequences.
        scores: float32 [B, N]. The values that the search ranks by: for `Beam` the log-probability after constraints
            over the length divisor, else the log-probability; -inf where there are fewer than N sequences.
        token_scores: float32 [B, N, T]. Log-probability of every generated token, 0 for prompt and padding.
        end_ids: tuple of int. Tokens that end a sequence.
        prompt_lengths: int32 [B]. Number of tokens of each prompt.
        alignment: float32 [B, N, T, S]. Attention of each token to each position of the source, padding of ragged
            sources included, 0 for padding of the target. Defaults to `None`, if it was not requested.
        acceptance_rate: float32 [B]. Share of the drafted tokens that were kept, for `Speculative`. Defaults to
            `None`.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray
    token_scores: np.ndarray
    end_ids: tuple[int, ...]
    prompt_lengths: np.ndarray
    alignment: np.ndarray | None = None
    acceptance_rate: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def log_probabilities(self) -> np.ndarray:
        """Log-probability of each sequence given its prompt, float32 [B, N]."""
        return self.token_scores.sum(-1)

    def best(self) -> np.ndarray:
        """Returns the tokens of the best sequence of each source, int32 [B, T]."""
        return self.tokens[:, 0]

    def sequences(self, keep_end: bool = False) -> list[list[list[int]]]:
        """Returns the sequences as lists of token ids, `[source][rank]`, without padding.

        Args:
            keep_end: bool. Whether the end token is included. Defaults to `False`.
        """
        rows = []
        for tokens, lengths, prompt_length in zip(self.tokens, self.lengths, self.prompt_lengths):
            sequences = [row[:length].tolist() for row, length in zip(tokens, lengths)]
            rows.append([s if keep_end else without_end(s, prompt_length, self.end_ids) for s in sequences])
        return rows

    @classmethod
    def concatenate(cls, parts: Sequence["Generated"]) -> "Generated":
        """Returns one result for the sources of several."""
        names = ("tokens", "lengths", "scores", "token_scores", "prompt_lengths")
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        alignments = [part.alignment for part in parts if part.alignment is not None]
        rates = [part.acceptance_rate for part in parts if part.acceptance_rate is not None]
        width = max((x.shape[-1] for x in alignments), default=0)
        alignments = [np.pad(x, [(0, 0)] * 3 + [(0, width - x.shape[-1])]) for x in alignments]
        return cls(
            end_ids=parts[0].end_ids,
            alignment=np.concatenate(alignments) if alignments else None,
            acceptance_rate=np.concatenate(rates) if rates else None,
            **joined,
        )


def without_end(tokens: list[int], prompt_length: int, end_ids: tuple[int, ...]) -> list[int]:
    """Returns `tokens` without the end token, if they end with one after the prompt."""
    return tokens[:-1] if len(tokens) > prompt_length and tokens[-1] in end_ids else tokens
