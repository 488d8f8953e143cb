"""Strings that end a sequence, matched token by token wherever they begin and end inside tokens."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True)
class StopStrings:
    """Ends a sequence as soon as its text contains one of several strings.

    The bytes of the text are matched by an automaton whose transition for each state and each whole token is in a
    table, so a search updates one integer for each hypothesis. The prompt does not count. The token in which a string
    ends is part of the result; `cut` shortens its text.

    Args:
        strings: str or iterable of str. The strings.
        token_bytes: iterable of bytes or str. The text of each token id; `token_bytes` of a tokenizer of
            `kerazoo.text`.

    Raises:
        ValueError: if there is no string, or an empty one.

    Example:

    ```python
    import kerazoo as kz

    stop = kz.decoding.StopStrings(["END", "\\n"], token_bytes=[b"", b"", b"", b"xE", b"N", b"Dy", b"\\n"])
    assert stop.cut("one two END three") == "one two "
    search = kz.decoding.Greedy(stop_strings=stop)
    ```

    Reference:
        Aho and Corasick (1975), Efficient string matching: an aid to bibliographic search, Communications of the ACM
        18(6).
    """

    strings: Any
    token_bytes: Any

    def __post_init__(self):
        strings = (self.strings,) if isinstance(self.strings, str | bytes) else tuple(self.strings)
        if not strings or not all(strings):
            raise ValueError(f"StopStrings: `strings` must be strings of at least one letter; got {self.strings!r}.")
        object.__setattr__(self, "strings", tuple(s.decode() if isinstance(s, bytes) else s for s in strings))
        token_bytes = tuple(text.encode() if isinstance(text, str) else text for text in self.token_bytes)
        object.__setattr__(self, "token_bytes", token_bytes)

    def cut(self, text: str) -> str:
        """Returns `text` up to the beginning of the first string that it contains."""
        found = [index for index in map(text.find, self.strings) if index >= 0]
        return text[: min(found)] if found else text

    @functools.cached_property
    def transitions(self) -> np.ndarray:
        """The state after each state and token, int32 [states, tokens + 1]; the last state is that of a match."""
        by_byte = automaton([s.encode() for s in self.strings])  # [states, 256]
        max_length = max(map(len, self.token_bytes), default=0)
        padded = np.full((len(self.token_bytes), max_length), -1, "int32")
        for row, piece in zip(padded, self.token_bytes):
            row[: len(piece)] = list(piece)
        states = np.repeat(np.arange(len(by_byte), dtype="int32")[:, None], len(padded), axis=1)
        for byte in padded.T:
            states = np.where(byte >= 0, by_byte[states, byte], states)
        # A model may have more outputs than there are pieces; their text is none of the strings.
        without_piece = np.zeros((len(by_byte), 1), "int32")
        without_piece[-1] = len(by_byte) - 1
        return np.concatenate([states, without_piece], axis=1)

    def _table(self, vocabulary_size):
        return self.transitions[:, np.minimum(np.arange(vocabulary_size), len(self.token_bytes))]

    def next_state(self, states: Any, tokens: Any, vocabulary_size: int) -> Any:
        """Returns the states after `tokens`, int32 of any shape; 0 is the state before the first token."""
        flat = ops.convert_to_tensor(self._table(vocabulary_size).reshape(-1))
        return ops.take(flat, states * vocabulary_size + tokens, axis=0)

    def is_complete(self, states: Any) -> Any:
        """Returns in which states a string is complete."""
        return states == len(self.transitions) - 1

    def completing(self, states: Any, vocabulary_size: int) -> Any:
        """Returns which tokens complete a string, bool [..., V]."""
        complete = self._table(vocabulary_size) == len(self.transitions) - 1
        return ops.take(ops.convert_to_tensor(complete), states, axis=0)


def automaton(words: Iterable[bytes]) -> np.ndarray:
    """Returns the next state for each state and byte, int32 [states, 256]; the last state is that of a match."""
    edges: list[dict[int, int]] = [{}]
    matches = set()
    for word in words:
        state = 0
        for byte in word:
            if byte not in edges[state]:
                edges[state][byte] = len(edges)
                edges.append({})
            state = edges[state][byte]
        matches.add(state)
    table = np.zeros((len(edges) + 1, 256), "int32")
    fallback = [0] * len(edges)  # the longest proper suffix of what a state has read that is a state too
    queue = [0]
    for state in queue:  # breadth first: the queue grows during the loop
        table[state] = table[fallback[state]]
        for byte, following in edges[state].items():
            fallback[following] = int(table[fallback[state], byte]) if state else 0
            table[state, byte] = following
            if fallback[following] in matches:
                matches.add(following)
            queue.append(following)
    table[np.isin(table, sorted(matches))] = len(edges)
    table[len(edges)] = len(edges)
    return table
