"""Shortlist: the few target tokens among which a search chooses, by the tokens of the source."""

import functools
import hashlib
import os
import zipfile
from typing import Any

import numpy as np
from keras import ops

from kerazoo import _checks, _files
from kerazoo.decoding.word_translations import word_translations

ARRAYS = ("candidates", "probabilities", "frequent")
NUMBERS = ("size", "vocabulary_size")


class Shortlist:
    """The target tokens among which a search chooses, in place of the whole vocabulary.

    The sources of a batch share one list of `size` tokens: the special tokens, the `frequent` ones, those of the
    prompts, and the `candidates` of the tokens of the sources, the most probable first. Logits of other tokens are not
    computed, which makes each step faster where the vocabulary is large and the batch small. The price is quality: a
    token outside of the list is never generated, and a prediction may depend on the other sources of its batch.
    Probabilities are those among the tokens of the list.

    `Shortlist.fit` makes one from pairs of token ids; `search="beam", shortlist=Shortlist.load(FILE)` uses it.

    Args:
        frequent: int array `[F]`. Tokens that are in every list, the most frequent first.
        candidates: int array `[V_source, C]`. The target tokens that each source token is translated to. Defaults to
            `None`, for models without a source.
        probabilities: float array `[V_source, C]`. How often. Defaults to `None`: equal ones.
        size: int, above 0. Number of tokens K of a list. If there are more, the last of those above are left out.
            Defaults to `1024`.
        vocabulary_size: int, above 0. Number of target tokens V.
        tokenizer_hash: str. The `hash` of the tokenizer of the targets, which users of the list compare. Defaults to
            `""`: not known.

    Raises:
        ValueError: if shapes do not fit, or a token is not in the vocabulary.

    Example:

    ```python
    import kerazoo as kz

    pairs = [[5, 6], [6, 7]], [[8, 9], [9, 10]]
    shortlist = kz.decoding.Shortlist.fit(*pairs, source_vocabulary_size=11, vocabulary_size=13, size=8)
    model = kz.create("lstm_seq2seq", source_vocabulary_size=11, target_vocabulary_size=13, units=8)
    found = model.generate([[5, 7]], shortlist=shortlist, max_length=6)
    ```

    Reference:
        L'Hostis, Grangier and Auli (2016), Vocabulary Selection Strategies for Neural Machine Translation,
        arXiv:1610.00072.
    """

    def __init__(
        self,
        frequent: Any,
        candidates: Any = None,
        probabilities: Any = None,
        *,
        size: int = 1024,
        vocabulary_size: int,
        tokenizer_hash: str = "",
    ):
        self.size = _checks.positive_int("Shortlist", "size", size)
        self.vocabulary_size = _checks.positive_int("Shortlist", "vocabulary_size", vocabulary_size)
        self.tokenizer_hash = str(tokenizer_hash)
        self.frequent = self._tokens("frequent", frequent, 1)
        self.candidates = self._tokens("candidates", np.zeros((0, 1)) if candidates is None else candidates, 2)
        given = np.ones(self.candidates.shape) if probabilities is None else probabilities
        self.probabilities = np.asarray(given, "float32")
        if self.probabilities.shape != self.candidates.shape or not np.isfinite(self.probabilities).all():
            raise ValueError(
                "Shortlist: `probabilities` must be finite numbers in the shape of `candidates`, "
                f"{self.candidates.shape}; got shape {self.probabilities.shape}."
            )

    def _tokens(self, name, values, rank):
        values = np.asarray(values)
        if values.ndim != rank or (values.size and not 0 <= values.min() <= values.max() < self.vocabulary_size):
            raise ValueError(
                f"Shortlist: `{name}` must be token ids from 0 to {self.vocabulary_size - 1}, an array of rank {rank}; "
                f"got {values.tolist()!r:.80}."
            )
        return values.astype("int32")

    @classmethod
    def fit(
        cls,
        sources: Any,
        targets: Any,
        *,
        source_vocabulary_size: int,
        vocabulary_size: int,
        num_candidates: int = 20,
        num_frequent: int = 500,
        size: int = 1024,
        iterations: int = 5,
        tokenizer_hash: str = "",
    ) -> "Shortlist":
        """Returns the shortlist of pairs, with the translations that `word_translations` finds.

        Args:
            sources: list of rows of token ids, without padding.
            targets: the same of the targets, one for each source.
            source_vocabulary_size: int. Number of source tokens.
            vocabulary_size: int. Number of target tokens.
            num_candidates: int, above 0. Number of target tokens for each source token. Defaults to `20`.
            num_frequent: int, at least 0. Number of the most frequent target tokens. Defaults to `500`.
            size: int. See `Shortlist`. Defaults to `1024`.
            iterations: int, above 0. See `word_translations`. Defaults to `5`.
            tokenizer_hash: str. See `Shortlist`. Defaults to `""`.
        """
        _checks.positive_int("Shortlist.fit", "num_candidates", num_candidates)
        _checks.non_negative_int("Shortlist.fit", "num_frequent", num_frequent)
        found = word_translations(sources, targets, vocabulary_size, iterations)
        order = np.lexsort((-found.probabilities, found.sources))
        source = found.sources[order]
        rank = np.arange(len(order)) - np.searchsorted(source, source)
        kept = order[rank < num_candidates]
        cells = found.sources[kept], rank[rank < num_candidates]
        candidates = np.zeros((source_vocabulary_size, num_candidates), "int32")
        probabilities = np.zeros(candidates.shape, "float32")
        candidates[cells], probabilities[cells] = found.targets[kept], found.probabilities[kept]
        counts = np.bincount(np.concatenate([np.zeros(0, "int64"), *targets]).astype("int64"), minlength=1)
        frequent = np.argsort(-counts, kind="stable")[:num_frequent]
        return cls(
            frequent[counts[frequent] > 0],
            candidates,
            probabilities,
            size=size,
            vocabulary_size=vocabulary_size,
            tokenizer_hash=tokenizer_hash,
        )

    def select(self, source: Any = None, prompt: Any = None, first: int = 0) -> Any:
        """Returns the tokens of a batch in ascending order, int32 `[K]`.

        Args:
            source: int `[B, S]`. Token ids of the sources; padding has no candidates. Defaults to `None`.
            prompt: int `[B, P]`. Tokens of prompts. Defaults to `None`.
            first: int. The tokens 0 to `first - 1` are there first of all. Defaults to `0`.
        """
        importance = np.zeros(self.vocabulary_size, "float32")
        importance[self.frequent] = 2.0 + np.linspace(0.5, 0.0, len(self.frequent), endpoint=False)
        importance[:first] = 3.0
        importance = ops.convert_to_tensor(importance)
        if source is not None and len(self.candidates):
            source = ops.reshape(ops.cast(source, "int32"), (-1,))
            found = (
                ops.take(ops.convert_to_tensor(table), source, axis=0)
                for table in (self.candidates, self.probabilities)
            )
            importance = ops.maximum(importance, self._largest(*found))
        if prompt is not None:
            importance = ops.maximum(importance, self._largest(prompt, ops.full_like(prompt, 1.5, dtype="float32")))
        return ops.sort(ops.cast(ops.top_k(importance, self.size)[1], "int32"))

    def _largest(self, tokens, values):
        """Returns the largest of the `values` of each token of the vocabulary, -inf for those that do not occur."""
        tokens, values = ops.reshape(ops.cast(tokens, "int32"), (-1,)), ops.reshape(values, (-1,))
        return ops.segment_max(values, tokens, num_segments=self.vocabulary_size)

    def save(self, file: str | os.PathLike) -> None:
        """Writes the shortlist into a file of NumPy's format `.npz`."""
        arrays = {name: getattr(self, name) for name in (*ARRAYS, *NUMBERS, "tokenizer_hash")}
        with _files.new_file(file) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, **arrays)

    @classmethod
    def load(cls, file: str | os.PathLike) -> "Shortlist":
        """Returns the shortlist that `save` wrote.

        Raises:
            DataError: if the file cannot be read or holds no shortlist.
        """
        try:
            with np.load(file, allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in ARRAYS}
                numbers = {name: int(arrays[name]) for name in NUMBERS}
                return cls(**found, **numbers, tokenizer_hash=str(arrays["tokenizer_hash"]))
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or "it is no shortlist"
            raise _checks.DataError(
                f"Shortlist: cannot read {os.fspath(file)}: {reason}. Make it with "
                "`python -m experiments.shortlist` or `Shortlist.save`."
            ) from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shortlist) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @functools.cached_property
    def _key(self):
        """What programs are kept by: a digest of the arrays."""
        digest = hashlib.sha256(b"".join(getattr(self, name).tobytes() for name in ARRAYS)).hexdigest()
        return digest, self.candidates.shape, self.size, self.vocabulary_size
