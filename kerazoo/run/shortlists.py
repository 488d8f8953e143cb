"""The shortlist of a run, made of its training pairs, and how many tokens of unseen targets it holds."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from kerazoo.data import Corpus
from kerazoo.run import load_run

MEASURED = 200  # dev examples


class FittedShortlist(NamedTuple):
    """A shortlist, and what it holds of the targets of dev examples, each of which is a batch of its own.

    Args:
        shortlist: `kerazoo.decoding.Shortlist`.
        examples: int. Number of dev examples.
        tokens: float. Share of the tokens of their targets that are in the list of their source; 1.0 without examples.
        targets: float. Share of the targets all of whose tokens are.
    """

    shortlist: Any
    examples: int
    tokens: float
    targets: float


def fit_shortlist(
    run_dir: str | os.PathLike,
    num_candidates: int = 20,
    num_frequent: int = 500,
    size: int = 1024,
    data_dir: str | os.PathLike | None = None,
    imports: str | Sequence[str] = (),
) -> FittedShortlist:
    """Makes the shortlist of a run from its training examples, see `kerazoo.decoding.Shortlist`.

    Args:
        run_dir: string or path. The folder of a run that generates text.
        num_candidates: int. Number of target tokens for each source token. Defaults to `20`.
        num_frequent: int. Number of the most frequent target tokens. Defaults to `500`.
        size: int. Number of tokens of a list. Defaults to `1024`.
        data_dir: string or path. Where the data is now, if it moved. Defaults to `None`.
        imports: string or list of strings. Modules that `kerazoo.load` imports first. Defaults to `()`.

    Returns:
        A `FittedShortlist`. Without a source of token ids its shortlist has the most frequent tokens alone.

    Raises:
        ValueError: if the run generates no text, or its data is a stream.
    """
    from kerazoo import decoding

    predictor = load_run.load(run_dir, data_dir=data_dir, imports=imports)
    task, model = predictor.task, predictor.model
    if not predictor.generates or task.targets.modality != "text":
        raise ValueError(
            f"fit_shortlist: needs a run that generates text; got {task.owner}, which predicts {task.targets.modality}."
        )
    sources, targets = _rows(_corpus(task, "train"))
    source_size = model.source_vocabulary_sizes.get("source") if sources is not None else None
    shortlist = decoding.Shortlist.fit(
        [[]] * len(targets) if source_size is None else sources,
        targets,
        source_vocabulary_size=source_size or 0,
        vocabulary_size=model.vocabulary_size,
        num_candidates=num_candidates,
        num_frequent=num_frequent,
        size=size,
        tokenizer_hash=cast(Any, task.targets).tokenizer.hash,
    )
    dev = _corpus(task, "dev").sample(MEASURED) if "dev" in task.source.splits() else None
    return FittedShortlist(shortlist, *_held(shortlist, dev, source_size is not None))


def _corpus(task, split):
    """Returns the tokens of a split, which a run with a stream of files does not keep."""
    corpus = task.load(split)
    if not isinstance(corpus, Corpus):
        raise ValueError(f"fit_shortlist: needs examples in memory; got {task.owner} with streamed=True.")
    return corpus


def _rows(corpus):
    """Returns the rows of token ids of the sources, `None` if these are no tokens, and of the targets."""
    ragged = {name: corpus.features[name] for name in corpus.length_names}
    rows = {name: np.split(each.values, each.offsets[1:-1]) for name, each in ragged.items() if each.values.ndim == 1}
    return rows.get("source"), rows["targets"]


def _held(shortlist, corpus, has_source):
    """Returns the number of examples, and the shares of the tokens and of the targets that their lists hold."""
    if corpus is None or not len(corpus):
        return 0, 1.0, 1.0
    sources, targets = _rows(corpus)
    held = []
    for number, target in enumerate(targets):
        source = cast(Any, sources)[number][None] if has_source else None
        held.append(np.isin(target, np.asarray(shortlist.select(source))))
    return len(held), float(np.mean(np.concatenate(held))), float(np.mean([each.all() for each in held]))
