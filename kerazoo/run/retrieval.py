"""Measures a search on queries with judged documents, beside BM25."""

import json
import os
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerazoo import _checks, _files
from kerazoo.data import read_lines
from kerazoo.data.plain_numbers import parse_number
from kerazoo.run.directory import RunDirectory
from kerazoo.run.search_index import Index, Texts, best, fused

MEASURED = ("ndcg@10", "graded_ndcg@10", "mrr", "recall@10")
DEPTH = 1000  # the texts of a ranking that count
WEIGHTS = tuple(step / 10 for step in range(11))  # of the model in a hybrid search, of which the best is chosen

Judgments = Mapping[str, Mapping[str, float]]  # query -> text -> gain


def read_judgments(path: str | os.PathLike, gains: Mapping[str, float] | None = None) -> dict[str, dict[str, float]]:
    """Reads which texts of a collection are relevant for which queries.

    Args:
        path: string or path. Lines of a query's id, a text's id and a grade, separated by tabs or blanks; or of four
            values with an unused second one, as TREC has them; plain or .gz.
        gains: dict. The gain of each grade by how the grade is written. Defaults to `None`: the grade itself, and 0
            for a negative one. A text is relevant where its gain is above 0.

    Returns:
        The gain of each judged text by the id of the query and that of the text.

    Raises:
        DataError: if a line has another number of values, a grade is no number or has no gain, a pair occurs twice, or
            the file is empty.
    """
    judged: dict[str, dict[str, float]] = {}
    for number, line in read_lines(path):
        values = line.split("\t") if "\t" in line else line.split()
        if len(values) not in (3, 4):
            raise _checks.DataError(
                f"{os.fspath(path)}:{number}: expected a query, a text and a grade, got {len(values)} values: {line!r}."
            )
        query, text, grade = values[0].strip(), values[-2].strip(), values[-1].strip()
        gain = parse_number(grade) if gains is None else gains.get(grade)
        if gain is None:
            rule = "must be a number" if gains is None else f"must have a gain, as {', '.join(gains)} do"
            raise _checks.DataError(f"{os.fspath(path)}:{number}: a grade {rule}; got {grade!r}.")
        if text in judged.setdefault(query, {}):
            raise _checks.DataError(f"{os.fspath(path)}:{number}: text {text!r} of query {query!r} is judged twice.")
        judged[query][text] = max(float(gain), 0.0)
    return judged


def is_dev(query: str) -> bool:
    """Returns whether a query is in the half on which a hybrid search may be tuned, by a hash of its id."""
    return zlib.crc32(query.encode("utf-8", "surrogatepass")) % 2 == 0


def evaluate_search(
    index: Index, queries: Texts, judgments: Judgments, hybrid: float | str | None = None
) -> dict[str, Any]:
    """Returns the measures of a search beside those of BM25, for all judged queries and for two halves of them.

    Args:
        index: `Index`.
        queries: `Texts`.
        judgments: dict. The gain of each judged text by query and text, see `read_judgments`.
        hybrid: float in [0, 1] or `"tune"`. A hybrid search is measured as well, with this weight of the model or the
            one that has the best `ndcg@10` on the dev half. Defaults to `None`.

    Returns:
        A dict: `"metrics"` has the measures of all queries, `"dev"` and `"test"` those of the halves (`is_dev`), each
        by name, with those of BM25 as `baseline.NAME` and those of the hybrid search as `hybrid.NAME`. `ndcg@10`
        counts every relevant text as 1, `graded_ndcg@10` by its gain; `mrr` looks at the first 1,000 texts.

    Raises:
        DataError: if no query is judged.
    """
    chosen = [row for row, name in enumerate(queries.ids) if any(judgments.get(name, {}).values())]
    if not chosen:
        raise _checks.DataError("evaluate_search: no query has a relevant text; do the ids of the queries agree?")
    names, texts = [queries.ids[row] for row in chosen], [queries.texts[row] for row in chosen]
    references = [[dict(judgments[name])] for name in names]
    dev = np.array([is_dev(name) for name in names])
    model, words = index.cosines(texts), index.bm25_scores(texts)
    rankings = {"": model, "baseline.": words}
    weight = _best_weight(index, model, words, references, dev) if hybrid == "tune" else hybrid
    if weight is not None:
        rankings["hybrid."] = fused(model, words, _checks.number("evaluate_search", "hybrid", weight, low=0, high=1))
    found = {
        prefix + name: values
        for prefix, scores in rankings.items()
        for name, values in _statistics(index, scores, references).items()
    }
    parts = {"metrics": np.ones(len(names), bool), "dev": dev, "test": ~dev}
    return {
        **{part: {name: float(values[rows].mean()) for name, values in found.items()}
           for part, rows in parts.items() if rows.any()},
        "queries": len(names),
        "documents": len(index.collection.ids),
        **({} if weight is None else {"hybrid": weight}),
    }  # fmt: skip


def publish_search(run: RunDirectory, name: str, result: Mapping) -> None:
    """Writes `evaluation-NAME.json` into the run and prints the measures as a table."""
    path = run.evaluation(name)
    _files.write_file(path, json.dumps(result, indent=2) + "\n")
    kinds = [kind for kind in ("", "hybrid.", "baseline.") if kind + MEASURED[0] in result["metrics"]]
    titles = {"": "model", "hybrid.": f"hybrid ({result.get('hybrid')})", "baseline.": "BM25"}
    rows = [["", *(titles[kind] for kind in kinds)]]
    for part in ("metrics", "dev", "test"):
        for measure in MEASURED if part in result else ():
            label = f"{measure} ({'all queries' if part == 'metrics' else part + ' half'})"
            rows.append([label, *(f"{result[part][kind + measure]:.4f}" for kind in kinds)])
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print(f"{result['queries']:,} queries, {result['documents']:,} documents; written to {path}")


def _statistics(index, scores, references):
    """Returns the measures of each query."""
    from kerazoo.tasks import MEASURES

    ids = index.collection.ids
    rankings = [[ids[row] for row in rows] for rows in best(scores, min(DEPTH, len(ids)))[1].tolist()]
    return {name: MEASURES.get(name).statistics(rankings, references) for name in MEASURED}


def _best_weight(index, model, words, references, dev):
    rows = np.flatnonzero(dev) if dev.any() else np.arange(len(dev))
    chosen = [references[row] for row in rows]

    def value(weight):
        return _statistics(index, fused(model[rows], words[rows], weight), chosen)["ndcg@10"].mean()

    return max(WEIGHTS, key=value)
