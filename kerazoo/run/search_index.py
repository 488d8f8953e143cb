"""Search by meaning: the vectors of a collection of texts, and the texts that are nearest to a query."""

import dataclasses
import functools
import hashlib
import importlib.util
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kerazoo import _checks
from kerazoo.data import read_records
from kerazoo.data.formats import ending
from kerazoo.data.lines import BadLines
from kerazoo.run import report
from kerazoo.run.embeddings import write_vectors

if TYPE_CHECKING:
    from kerazoo.run.predictor import Predictor
    from kerazoo.text import BM25

BLOCK = 1 << 24  # scores that are computed at once


class Found(NamedTuple):
    """A text that was found.

    Args:
        id: string. Its id in the collection.
        score: float. The cosine with the query, or what the scores of a hybrid search add up to.
        text: string.
    """

    id: str
    score: float
    text: str


@dataclasses.dataclass(frozen=True)
class Texts:
    """Texts with their ids: a collection or queries.

    Args:
        ids: list of strings, all different.
        texts: list of strings.
    """

    ids: list[str]
    texts: list[str]

    @property
    def hash(self) -> str:
        """Hash of all ids and texts."""
        return _hash(*(part for pair in zip(self.ids, self.texts) for part in pair))


def read_texts(
    path: str | os.PathLike,
    id_column: int | str | None = None,
    text_column: int | str | Sequence[int | str] | None = None,
    bad_lines: str = "stop",
    header: bool | None = None,
) -> Texts:
    """Reads texts with their ids.

    Args:
        path: string or path. A table, .tsv, .csv or .jsonl, or plain lines, .txt, whose ids are the numbers of the
            lines; plain or .gz.
        id_column: int or string. The column of the ids: number from 0, name, or field of JSON. Defaults to `0`, or
            `"id"` in JSON lines.
        text_column: int, string or list. The column of the text; several are joined by a blank. Defaults to `1`, or
            `"text"` in JSON lines.
        bad_lines: string. `"stop"` at a line without an id or a text, or `"skip"` it, and print how many there are.
            Defaults to `"stop"`.
        header: bool. Whether the first line names the columns. Defaults to whether it is recognised.

    Raises:
        DataError: if there is no such file, a line is bad, an id occurs twice, or there is no text.
    """
    from kerazoo.data.table_source import check_column

    kind = ending(path)
    ids: list[str] = []
    texts: list[str] = []
    lines: dict[str, str] = {}
    columns: list[Any] = [0] if kind == "txt" else ["id", "text"] if kind == "jsonl" else [0, 1]
    for index, given in enumerate((id_column, text_column)):
        if given is not None and kind == "txt":
            raise ValueError(f"read_texts: plain lines have no columns; got {given!r} for {os.fspath(path)}.")
        if given is not None:
            columns[index] = check_column("read_texts", ("id_column", "text_column")[index], given)
    bad = BadLines(bad_lines)
    for location, values in read_records(path, columns, bad, header):
        number = location.rpartition(":")[2]
        name = number if kind == "txt" else values[0]
        if name in lines:
            raise _checks.DataError(f"{location}: the id {name!r} is that of line {lines[name]} already.")
        lines[name] = number
        ids.append(name)
        texts.append(values[-1])
    if bad.count:
        report.log(f"{os.fspath(path)}: {bad.count:,} bad lines skipped.")
    if not ids:
        raise _checks.NoExamplesError(f"{os.fspath(path)}: all of its lines are bad.")
    return Texts(ids, texts)


class Index:
    """The vectors of a collection, and exact search for the nearest ones.

    The search compares a query with every vector, so it finds what there is. Where the package faiss is installed its
    flat index does it, else NumPy; both find the same, but for the order of texts with equal scores. A hybrid search
    needs the scores of all texts, which NumPy computes.

    Args:
        predictor: `Predictor` of a model with an encoder; a dual encoder is trained for it.
        collection: `Texts`.
        folder: string or path. Where the vectors are kept and looked for, under a name made of the collection and the
            weights. Defaults to `None`: nothing is kept.

    Example:

    ```python
    import kerazoo as kz

    texts = {"train": {"source": ["a cat", "a dog"] * 3, "target": ["the cat", "the dog"] * 3}}
    features = [kz.tasks.TextFeature(name, vocabulary=kz.tasks.Vocabulary("words")) for name in ("source", "target")]
    task = kz.tasks.Task(kz.data.MemorySource({**texts, "dev": texts["train"], "test": texts["train"]}), features,
                         kz.tasks.MatchFeature(), kind="dual_encoder")
    model = kz.create("bag,bag+dual_encoder", **task.sizes())
    index = kz.run.Index(kz.run.Predictor(model, task), kz.run.Texts(["1", "2"], ["the cat", "the dog"]))
    print(index.search(["cat"], k=1)[0][0].text)
    ```
    """

    def __init__(self, predictor: "Predictor", collection: Texts, folder: str | os.PathLike | None = None):
        self.predictor = predictor
        self.collection = collection
        self.reused = False  # whether the vectors were read from the folder
        path = None if folder is None else pathlib.Path(folder) / f"index-{self._key()}.npy"
        vectors = None if path is None else _read(path, len(collection.ids))
        if vectors is None:
            vectors = _unit(predictor.embed(collection.texts, side=_side(predictor)))
            if path is not None:
                write_vectors(path, vectors)
        else:
            self.reused = True
        self.vectors = vectors
        self._bm25: BM25 | None = None

    def _key(self):
        weights = hashlib.sha256()
        for variable in self.predictor.model.variables:
            weights.update(np.ascontiguousarray(np.asarray(variable)).tobytes())
        return _hash(self.collection.hash, self.predictor.task.hash, weights.hexdigest())[:16]

    @property
    def bm25(self) -> "BM25":
        """BM25 over the same collection."""
        from kerazoo.text import BM25

        if self._bm25 is None:
            self._bm25 = BM25(self.collection.texts)
        return self._bm25

    def search(self, queries: Sequence[str], k: int = 10, hybrid: float | None = None) -> list[list[Found]]:
        """Returns the `k` nearest texts of each query, the best first.

        Args:
            queries: list of strings.
            k: int, above 0. How many texts are found, at most all. Defaults to `10`.
            hybrid: float in [0, 1]. The weight of the model's scores in a sum with those of BM25, both divided by their
                deviation over the collection. Defaults to `None`: the model alone.

        Raises:
            ValueError: if a query is blank.
        """
        scores, rows = self.nearest(queries, k, hybrid)
        ids, texts = self.collection.ids, self.collection.texts
        return [
            [Found(ids[row], score, texts[row]) for score, row in zip(*pair)]
            for pair in zip(scores.tolist(), rows.tolist())
        ]

    def nearest(
        self, queries: Sequence[str], k: int = 10, hybrid: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores, float32 `[Q, k]`, and the rows in the collection, int64 `[Q, k]`, of `search`."""
        k = min(_checks.positive_int("Index", "k", k), len(self.collection.ids))
        if hybrid is None:
            return self._nearest_vectors(self._embedded(queries), k)
        weight = _checks.number("Index", "hybrid", hybrid, low=0, high=1)
        return best(fused(self.cosines(queries), self.bm25_scores(queries), weight), k)

    def _nearest_vectors(self, queries, k):
        """Returns the `k` largest dot products of each query with all vectors, and their rows."""
        if self._flat_index is not None and len(queries):
            return self._flat_index.search(queries, k)
        step = max(1, BLOCK // len(self.vectors))
        found = [best(queries[start : start + step] @ self.vectors.T, k) for start in range(0, len(queries), step)]
        scores, rows = zip(*found) if found else ([np.zeros((0, k), np.float32)], [np.zeros((0, k), np.int64)])
        return np.concatenate(scores), np.concatenate(rows)

    @functools.cached_property
    def _flat_index(self):
        """The flat index of faiss over the vectors, `None` where the package is not installed."""
        if importlib.util.find_spec("faiss") is None:
            return None
        import faiss  # pyright: ignore[reportMissingImports]  (optional)

        index = faiss.IndexFlatIP(self.vectors.shape[1])
        index.add(self.vectors)
        return index

    def cosines(self, queries: Sequence[str]) -> np.ndarray:
        """Returns the cosine of each query with each text, float32 `[Q, N]`."""
        return self._embedded(queries) @ self.vectors.T

    def bm25_scores(self, queries: Sequence[str]) -> np.ndarray:
        """Returns the score of BM25 of each text for each query, float32 `[Q, N]`."""
        return np.stack([self.bm25(query) for query in queries])

    def _embedded(self, queries):
        for number, query in enumerate(queries, 1):
            if not query.strip():
                raise ValueError(f"Index: a query must have a character that is no white space; got {query!r} as query "
                                 f"{number}.")  # fmt: skip
        return _unit(self.predictor.embed(queries))


def fused(scores: np.ndarray, words: np.ndarray, weight: float) -> np.ndarray:
    """Returns the weighted sum of two kinds of scores `[Q, N]`, each divided by its deviation over the collection."""
    one, two = (each / np.maximum(each.std(axis=1, keepdims=True), 1e-9) for each in (scores, words))
    return weight * one + (1 - weight) * two


def best(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the `k` largest scores of each row, the best first, and their columns; the first of equal ones."""
    size = scores.shape[1]
    rows = np.broadcast_to(np.arange(size), scores.shape)
    if k < size:
        rows = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    chosen = np.take_along_axis(scores, rows, axis=1)
    order = np.argsort(-chosen, axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _side(predictor):
    """Returns whose encoder reads the texts of a collection."""
    return "target" if predictor.task.kind == "dual_encoder" else "source"


def _unit(vectors):
    """Returns vectors of length one; those of zeros stay as they are."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _read(path, size):
    """Returns the vectors of a file, or `None` if it is not there or cannot be those of the collection."""
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == size and vectors.dtype == np.float32 else None


def _hash(*parts: str) -> str:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(f"{len(part)}:{part}".encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()
