"""Search, the base class of all decoding strategies, and the tensor operations that they share."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras import ops

from kerazoo.decoding.context import DecodingContext, StepContext
from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.shortlist import Shortlist
from kerazoo.decoding.stop_strings import StopStrings


@dataclasses.dataclass(frozen=True)
class Search:
    """Base class of the decoding strategies.

    A search holds its hypotheses in a dictionary of tensors with the batch as first axis, which `initial_state` makes
    and `update` replaces at each position. It has `"tokens"`, the W unfinished hypotheses of each source, int32
    [B, W, T].

    Args:
        constraints: callable or sequence of callables of `kerazoo.decoding.constraints`. Applied in order. Defaults to
            none.
        stop_strings: `StopStrings`. A sequence also ends where its text contains one of them. Defaults to `None`.
        shortlist: `Shortlist`. The tokens among which the search chooses. It excludes stop strings, and constraints
            that name tokens. Defaults to `None`: all.
    """

    constraints: Any = dataclasses.field(default=(), kw_only=True)
    stop_strings: StopStrings | None = dataclasses.field(default=None, kw_only=True)
    shortlist: Shortlist | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        given = self.constraints
        object.__setattr__(self, "constraints", tuple(given) if isinstance(given, list | tuple) else (given,))
        for constraint in self.constraints:
            if not callable(constraint):
                raise TypeError(
                    f"{type(self).__name__}: `constraints` must be callables of kerazoo.decoding; got {constraint!r}."
                )
        if not isinstance(self.stop_strings, StopStrings | None):
            raise TypeError(
                f"{type(self).__name__}: `stop_strings` must be a kerazoo.decoding.StopStrings, which holds the bytes "
                f"of each token; got {self.stop_strings!r}."
            )
        self._check_shortlist()

    def _check_shortlist(self):
        owner = type(self).__name__
        if self.shortlist is None:
            return
        if not isinstance(self.shortlist, Shortlist):
            raise TypeError(f"{owner}: `shortlist` must be a kerazoo.decoding.Shortlist; got {self.shortlist!r}.")
        # What names tokens by their ids cannot be used where tokens are positions of the shortlist.
        others = [type(each).__name__ for each in self.constraints if getattr(each, "names_tokens", True)]
        others += ["StopStrings"] * (self.stop_strings is not None) + [owner] * bool(self.models)
        if others:
            raise ValueError(
                f"{owner}: `shortlist` works with greedy search, sampling, beams and contrastive search, and with "
                f"constraints that name no tokens; got {', '.join(others)} as well. Leave one of them out."
            )

    @property
    def beams_per_source(self) -> int:
        """Number of hypotheses W of each source that the model decodes in parallel."""
        return 1

    @property
    def num_results(self) -> int:
        """Number of sequences N that are returned for each source."""
        return 1

    @property
    def required_outputs(self) -> Mapping[str, str]:
        """Those of `StepContext.attention` and `.hidden` that are required, each with the option that requires it."""
        return {}

    @property
    def models(self) -> tuple[Decodable, ...]:
        """Further models that the search runs. Such a search has a loop of its own, `run`."""
        return ()

    @property
    def reads_source(self) -> bool:
        """Whether `DecodingContext.source` is required: for a draft model, or for the tokens of a shortlist."""
        return bool(self.models) or self.shortlist is not None

    def new_seed(self) -> int:
        """Returns the seed of one call."""
        return 0

    def without_seed(self) -> "Search":
        """Returns the search that is compiled, which must not depend on the seed."""
        return self

    def initial_state(self, batch_size: Any, max_length: int, **observed: Any) -> dict[str, Any]:
        """Returns the state before the first position.

        Args:
            batch_size: int or scalar tensor. Number of sources B.
            max_length: int. Maximum number of tokens of a sequence.
            **observed: Zeros of the shape of each of `required_outputs`.
        """
        raise NotImplementedError

    def update(
        self, state: dict[str, Any], log_probs: Any, constrained: Any, context: StepContext
    ) -> tuple[dict[str, Any], Any]:
        """Decodes one position.

        Args:
            state: What `initial_state` or `update` returned.
            log_probs: float32 [B, W, V]. Log-probabilities of the model.
            constrained: float32 [B, W, V]. The same after the constraints.
            context: `StepContext`.

        Returns:
            The new state, and which hypothesis each new one continues, int32 [B, W], or `None` if each continues
            itself.
        """
        raise NotImplementedError

    def is_finished(self, state: dict[str, Any]) -> Any:
        """Returns which sources need no more tokens, bool [B]."""
        raise NotImplementedError

    def result(self, state: dict[str, Any]) -> dict[str, Any]:
        """Returns `tokens` [B, N, T], `lengths`, `scores` [B, N] and `token_scores` [B, N, T], best first.

        Values after each length are undefined, and a hypothesis that does not exist has the score `LOWEST`.
        """
        raise NotImplementedError

    def run(self, model: Decodable, max_length: int, context: DecodingContext) -> dict[str, Any]:
        """Returns what `result` returns, for a search with `models`."""
        raise NotImplementedError

    def initial_stop_state(self, shape: tuple) -> dict[str, Any]:
        """Returns the part of a state that finds stop strings, for hypotheses of `shape`."""
        return {} if self.stop_strings is None else {"stop_state": ops.zeros(shape, "int32")}

    def next_stop_state(self, state: dict[str, Any], parents: Any, tokens: Any, vocabulary_size: int) -> dict[str, Any]:
        """Returns that part after `tokens` [B, K], which continue `parents` [B, K], or each its own for `None`."""
        if self.stop_strings is None:
            return {}
        before = state["stop_state"] if parents is None else pick(state["stop_state"], parents)
        return {"stop_state": self.stop_strings.next_state(before, tokens, vocabulary_size)}

    def is_end(self, stop_state: dict[str, Any], tokens: Any, end_ids: tuple[int, ...]) -> Any:
        """Returns which hypotheses end with `tokens`, after which their stop state is `stop_state`."""
        ended = is_any(tokens, end_ids)
        if self.stop_strings is None:
            return ended
        return ops.logical_or(ended, self.stop_strings.is_complete(stop_state["stop_state"]))


def write(buffer: Any, index: Any, values: Any) -> Any:
    """Returns `buffer` [..., T] with `values` [...] at position `index`."""
    here = ops.arange(buffer.shape[-1], dtype="int32") == index
    return ops.where(here, ops.expand_dims(values, -1), buffer)


def is_any(tokens: Any, ids: tuple[int, ...]) -> Any:
    """Returns where `tokens` is one of `ids`."""
    found = tokens == ids[0]
    for other in ids[1:]:
        found = ops.logical_or(found, tokens == other)
    return found


def pick(values: Any, indices: Any) -> Any:
    """Takes along axis 1: `values` [B, M, ...] at `indices` [B, K] gives [B, K, ...]."""
    # One gather over the rows of all sources: `take_along_axis` is dozens of operations on TensorFlow.
    size = ops.shape(values)[1]
    first = ops.arange(ops.shape(indices)[0], dtype="int32")[:, None] * size
    flat = ops.reshape(values, (-1, *ops.shape(values)[2:]))  # [B * M, ...]
    return ops.take(flat, first + indices, axis=0)


def argmax(scores: Any) -> Any:
    """Returns the index of the largest of `scores` [..., V], the first of equals, int32 [...].

    XLA compiles `ops.argmax` to a loop over single numbers on a CPU; two reductions are four times as fast.
    """
    indices = ops.arange(scores.shape[-1], dtype="int32")
    largest = scores >= ops.max(scores, axis=-1, keepdims=True)
    return ops.min(ops.where(largest, indices, scores.shape[-1] - 1), axis=-1)
