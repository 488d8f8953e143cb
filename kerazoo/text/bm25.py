"""BM25: how well documents fit a query by the words that they share, the baseline of every search."""

import collections
import re
from collections.abc import Sequence

import numpy as np

from kerazoo import _checks

WORD = re.compile(r"\w+")


class BM25:
    """Scores documents for a query by the words that they share, weighted by how rare the words are.

    The score of a document is the sum over the words of the query of idf * f * (k1 + 1) / (f + k1 * (1 - b + b * l)),
    with f the occurrences of the word in the document, l the length of the document by the mean length, and idf =
    log(1 + (N - n + 0.5) / (n + 0.5)) for n of N documents with the word. Words are runs of letters, digits and
    underscores in lower case; nothing is stemmed and no word is left out.

    Args:
        texts: list of strings. The documents.
        k1: float, not negative. How fast further occurrences of a word stop to count. Defaults to `1.2`.
        b: float in [0, 1]. How much the length of a document counts. Defaults to `0.75`.

    Call arguments:
        query: string.

    Returns:
        float32 array `[N]`, the score of each document, 0 where no word is shared.

    Example:

    ```python
    import kerazoo as kz

    print(kz.text.BM25(["red fish", "a blue fish"])("blue"))
    ```

    Reference: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond.
    """

    def __init__(self, texts: Sequence[str], k1: float = 1.2, b: float = 0.75):
        _checks.number("BM25", "k1", k1, low=0)
        _checks.number("BM25", "b", b, low=0, high=1)
        self.size = len(texts)
        counts = [collections.Counter(words(text)) for text in texts]
        lengths = np.array([each.total() for each in counts], np.float64)
        norms = k1 * (1 - b + b * lengths / max(lengths.mean(), 1.0)) if self.size else lengths
        found: dict[str, tuple[list[int], list[int]]] = {}
        for row, each in enumerate(counts):
            for word, count in each.items():
                rows, occurrences = found.setdefault(word, ([], []))
                rows.append(row)
                occurrences.append(count)
        self.postings = {}  # word -> the rows of the documents that have it, and their scores
        for word, (rows, occurrences) in found.items():
            idf = np.log1p((self.size - len(rows) + 0.5) / (len(rows) + 0.5))
            many = np.array(occurrences, np.float64)
            self.postings[word] = np.array(rows), idf * many * (k1 + 1) / (many + norms[rows])

    def __call__(self, query: str) -> np.ndarray:
        scores = np.zeros(self.size, np.float64)
        for word in words(query):
            if word in self.postings:
                rows, values = self.postings[word]
                scores[rows] += values
        return scores.astype(np.float32)


def words(text: str) -> list[str]:
    """Returns the words of a text: runs of letters, digits and underscores, in lower case."""
    return WORD.findall(text.lower())
