"""Searches and constraints by name."""

import dataclasses
from typing import Any

from kerazoo.decoding.beam import Beam
from kerazoo.decoding.constraints import (
    Allowed,
    Forbidden,
    ForcedPrefix,
    MaxLength,
    MinLength,
    NoRepeatNgram,
    RepetitionPenalty,
)
from kerazoo.decoding.contrastive import Contrastive
from kerazoo.decoding.sampling import Greedy, Sample
from kerazoo.decoding.search import Search
from kerazoo.decoding.speculative import Speculative
from kerazoo.decoding.stop_strings import StopStrings
from kerazoo.registry import Registry

SEARCHES = Registry("search")
SEARCHES.add("greedy", Greedy)
SEARCHES.add("sample", Sample)
SEARCHES.add("beam", Beam)
SEARCHES.add("contrastive", Contrastive)
SEARCHES.add("speculative", Speculative)

# Constraints by the name of an option of any search, such as `generate(..., no_repeat_ngram=3)`.
CONSTRAINTS = Registry("constraint")
CONSTRAINTS.add("allowed", Allowed)
CONSTRAINTS.add("forbidden", Forbidden)
CONSTRAINTS.add("max_ratio", lambda ratio: MaxLength(ratio=ratio))
CONSTRAINTS.add("min_length", MinLength)
CONSTRAINTS.add("no_repeat_ngram", NoRepeatNgram)
CONSTRAINTS.add("prefix", ForcedPrefix)
CONSTRAINTS.add("repetition_penalty", RepetitionPenalty)


def make_search(search: Search | str = "greedy", **options: Any) -> Search:
    """Returns a search from its name and options.

    Args:
        search: `"greedy"`, `"sample"`, `"beam"`, `"contrastive"`, `"speculative"`, or a `Search`, which takes no
            further options. Defaults to `"greedy"`.
        **options: Arguments of the search, and of constraints by name: `allowed`, `forbidden`, `max_ratio` (of the
            source), `min_length`, `no_repeat_ngram`, `prefix`, `repetition_penalty`. `stop_strings` may be strings if
            `token_bytes` holds the text of each token (`tokenizer.token_bytes`).

    Raises:
        ValueError: if the search or an option is unknown, or `token_bytes` is missing.

    Example:

    ```python
    from kerazoo import decoding

    search = decoding.make_search("beam", num_beams=5, no_repeat_ngram=3)
    assert search == decoding.Beam(num_beams=5, constraints=(decoding.NoRepeatNgram(3),))
    ```
    """
    if isinstance(search, Search):
        if options:
            raise ValueError(
                f"generate: `search` is an object, which takes its options itself; got {', '.join(options)} as well."
            )
        return search
    cls = SEARCHES.get(search)
    if "stop_strings" in options:
        options["stop_strings"] = _stop_strings(options["stop_strings"], options.pop("token_bytes", None))
    fields = [field.name for field in dataclasses.fields(cls)]
    SEARCHES.check_options(search, options, [*fields, *CONSTRAINTS])
    constraints = [
        CONSTRAINTS.get(name)(value) for name, value in options.items() if name in CONSTRAINTS and value is not None
    ]
    arguments = {name: value for name, value in options.items() if name in fields}
    if cls is Speculative and "draft" not in arguments:
        raise ValueError("generate: search='speculative' needs `draft`, a smaller model of the same kind; got none.")
    return cls(**{**arguments, "constraints": (*arguments.get("constraints", ()), *constraints)})


def _stop_strings(strings, token_bytes):
    if strings is None or isinstance(strings, StopStrings):
        return strings
    if token_bytes is None:
        raise ValueError(
            f"generate: `stop_strings` needs `token_bytes`, the text of each token; got stop_strings={strings!r} "
            "alone. Pass token_bytes=tokenizer.token_bytes."
        )
    return StopStrings(strings, token_bytes)
