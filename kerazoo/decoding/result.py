"""What a search returns, with a name for every part."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Generated:
    """The answers to B sources, N for each, best first.

    Args:
        tokens: int32 [B, N, T] with T the `max_length` asked for: the prompt, what was written, and the end token where
            it was reached; padding after that.
        lengths: int32 [B, N], tokens before the padding; 0 where there are fewer than N answers.
        scores: float32 [B, N], by which the search ranks: for `Beam` the log-probability after constraints over the
            length divisor, else the log-probability; -inf where there are fewer than N answers.
        token_scores: float32 [B, N, T], log-probability of every token that was written, 0 for prompt and padding.
        end_ids: The tokens that end a sequence.
        prompt_lengths: int32 [B], tokens of each prompt.
        alignment: float32 [B, N, T, S], how much each token looked at each position of the source, the filler of
            ragged sources included, 0 for padding; None unless asked for.
        accepted: float32 [B], share of the drafted tokens that the model kept, for `Speculative`; else None.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    scores: np.ndarray
    token_scores: np.ndarray
    end_ids: tuple
    prompt_lengths: np.ndarray
    alignment: np.ndarray | None = None
    accepted: np.ndarray | None = None

    def __len__(self):
        return len(self.tokens)

    @property
    def log_probabilities(self) -> np.ndarray:
        """Log-probability that the model gives each answer after its prompt, float32 [B, N]."""
        return self.token_scores.sum(-1)

    def best(self) -> np.ndarray:
        """Returns the tokens of the best answer to each source, int32 [B, T]."""
        return self.tokens[:, 0]

    def sequences(self, keep_end: bool = False) -> list[list[list[int]]]:
        """Returns the answers as lists of token ids: `[source][rank]`, without padding, and without the end token."""
        rows = []
        for tokens, lengths, prompt in zip(self.tokens, self.lengths, self.prompt_lengths):
            answers = [row[:length].tolist() for row, length in zip(tokens, lengths)]
            rows.append([a if keep_end else self._without_end(a, prompt) for a in answers])
        return rows

    def _without_end(self, answer, prompt):
        return answer[:-1] if len(answer) > prompt and answer[-1] in self.end_ids else answer

    @classmethod
    def join(cls, parts) -> "Generated":
        """Returns one result for the sources of several."""
        apart = ("end_ids", "alignment", "accepted")
        fields = [f.name for f in dataclasses.fields(cls) if f.name not in apart]
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in fields}
        looked = [part.alignment for part in parts if part.alignment is not None]
        if looked:
            width = max(x.shape[-1] for x in looked)
            looked = np.concatenate([np.pad(x, [(0, 0)] * 3 + [(0, width - x.shape[-1])]) for x in looked])
        accepted = [part.accepted for part in parts if part.accepted is not None]
        joined["accepted"] = np.concatenate(accepted) if accepted else None
        return cls(end_ids=parts[0].end_ids, alignment=looked if len(looked) else None, **joined)
