"""Strings that end an answer, found token by token wherever they begin and end inside tokens."""

import dataclasses
import functools

import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True)
class StopStrings:
    """Ends an answer as soon as its text has one of several strings.

    The bytes of the text go through an automaton (Aho and Corasick, 1975) whose step for each state and each whole
    token stands in a table, so a search moves one integer for each hypothesis. The prompt does not count, and the
    token in which a string ends is part of the answer: `cut` shortens its text.

    Args:
        strings: The strings, one or several.
        pieces: What each token id is written as, bytes; `pieces` of a tokenizer of `kerazoo.text`.

    Raises:
        ValueError: There is no string, or an empty one.

    Example:

    ```python
    import kerazoo as kz

    stop = kz.decoding.StopStrings(["END", "\\n"], pieces=[b"", b"", b"", b"xE", b"N", b"Dy", b"\\n"])
    assert stop.cut("one two END three") == "one two "
    search = kz.decoding.Greedy(stop_strings=stop)
    ```

    Reference:
        Aho and Corasick (1975), Efficient string matching: an aid to bibliographic search, CACM 18(6).
    """

    strings: tuple
    pieces: tuple

    def __post_init__(self):
        strings = (self.strings,) if isinstance(self.strings, str | bytes) else tuple(self.strings)
        if not strings or not all(strings):
            raise ValueError(f"StopStrings: `strings` must be strings of at least one letter; got {self.strings!r}.")
        object.__setattr__(self, "strings", tuple(s.decode() if isinstance(s, bytes) else s for s in strings))
        object.__setattr__(self, "pieces", tuple(p.encode() if isinstance(p, str) else p for p in self.pieces))

    def cut(self, text: str) -> str:
        """Returns `text` up to where the first of the strings begins."""
        found = [place for place in map(text.find, self.strings) if place >= 0]
        return text[: min(found)] if found else text

    @functools.cached_property
    def _steps(self):
        """The state after each state and token, int32 [states, tokens + 1]; the last state is that of success."""
        by_byte = automaton([s.encode() for s in self.strings])  # [states, 256]
        longest = max(map(len, self.pieces), default=0)
        padded = np.full((len(self.pieces), longest), -1, "int32")
        for row, piece in zip(padded, self.pieces):
            row[: len(piece)] = list(piece)
        states = np.repeat(np.arange(len(by_byte), dtype="int32")[:, None], len(padded), axis=1)
        for byte in padded.T:
            states = np.where(byte >= 0, by_byte[states, byte], states)
        # A model may have more outputs than there are pieces; what they write is none of the strings.
        beyond = np.zeros((len(by_byte), 1), "int32")
        beyond[-1] = len(by_byte) - 1
        return np.concatenate([states, beyond], axis=1)

    def _table(self, vocabulary_size):
        return self._steps[:, np.minimum(np.arange(vocabulary_size), len(self.pieces))]

    def after(self, states, tokens, vocabulary_size):
        """Returns the states after `tokens`, int32 of any shape; 0 is the state before the first token."""
        flat = ops.convert_to_tensor(self._table(vocabulary_size).reshape(-1))
        return ops.take(flat, states * vocabulary_size + tokens, axis=0)

    def found(self, states):
        """Returns whether a string is complete."""
        return states == len(self._steps) - 1

    def completing(self, states, vocabulary_size):
        """Returns which token would complete a string, booleans [..., V]."""
        return ops.take(ops.convert_to_tensor(self._table(vocabulary_size) == len(self._steps) - 1), states, axis=0)


def automaton(words):
    """Returns the next state for each state and byte, int32 [states, 256]; the last state is that of success."""
    edges, success = [{}], set()
    for word in words:
        state = 0
        for byte in word:
            if byte not in edges[state]:
                edges[state][byte] = len(edges)
                edges.append({})
            state = edges[state][byte]
        success.add(state)
    table = np.zeros((len(edges) + 1, 256), "int32")
    back = [0] * len(edges)  # the longest proper end of what a state has read that is a state too
    waiting = [0]
    for state in waiting:  # from short to long: it grows while we go
        table[state] = table[back[state]]
        for byte, after in edges[state].items():
            back[after] = table[back[state], byte] if state else 0
            table[state, byte] = after
            if back[after] in success:
                success.add(after)
            waiting.append(after)
    table[np.isin(table, sorted(success))] = len(edges)
    table[len(edges)] = len(edges)
    return table
