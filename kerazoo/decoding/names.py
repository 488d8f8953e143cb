"""Searches and constraints by the names that options have."""

import dataclasses

from kerazoo import _checks
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
from kerazoo.decoding.search import Search
from kerazoo.decoding.select import Greedy, Sample
from kerazoo.decoding.speculative import Speculative
from kerazoo.decoding.stop import StopStrings

SEARCHES = {
    "greedy": Greedy,
    "sample": Sample,
    "beam": Beam,
    "contrastive": Contrastive,
    "speculative": Speculative,
}

# Constraints by the name of an option, for `generate(..., no_repeat_ngram=3)`.
CONSTRAINTS = {
    "allowed": Allowed,
    "forbidden": Forbidden,
    "max_ratio": lambda ratio: MaxLength(ratio=ratio),
    "min_length": MinLength,
    "no_repeat_ngram": NoRepeatNgram,
    "prefix": ForcedPrefix,
    "repetition_penalty": RepetitionPenalty,
}


def make_search(search: Search | str = "greedy", **options) -> Search:
    """Returns a search from its name and options.

    Args:
        search: `"greedy"`, `"sample"`, `"beam"`, `"contrastive"`, `"speculative"`, or an object, which then
            takes no options.
        **options: Arguments of the search, and of constraints by name: `allowed`, `forbidden`, `max_ratio` (of the
            source), `min_length`, `no_repeat_ngram`, `prefix`, `repetition_penalty`. `stop_strings` may be plain
            strings beside `pieces`, what each token is written as (`tokenizer.token_bytes`).

    Example:

    ```python
    from kerazoo import decoding

    search = decoding.make_search("beam", width=5, no_repeat_ngram=3)
    assert search == decoding.Beam(width=5, constraints=(decoding.NoRepeatNgram(3),))
    ```
    """
    if isinstance(search, Search):
        if options:
            raise ValueError(f"generate: {search} takes its options itself; got {', '.join(options)} beside it.")
        return search
    if search not in SEARCHES:
        raise _checks.unknown("search", search, SEARCHES, ", ".join(SEARCHES))
    cls = SEARCHES[search]
    if "stop_strings" in options:
        options["stop_strings"] = _stop_strings(options["stop_strings"], options.pop("pieces", None))
    fields = [field.name for field in dataclasses.fields(cls)]
    for option in options:
        if option not in fields and option not in CONSTRAINTS:
            known = [*fields, *CONSTRAINTS]
            raise _checks.unknown(f"option of search {search!r}:", option, known, ", ".join(known))
    named = [CONSTRAINTS[name](value) for name, value in options.items() if name in CONSTRAINTS and value is not None]
    plain = {name: value for name, value in options.items() if name in fields}
    return cls(**{**plain, "constraints": (*plain.get("constraints", ()), *named)})


def _stop_strings(strings, pieces):
    if strings is None or isinstance(strings, StopStrings):
        return strings
    if pieces is None:
        raise ValueError(
            f"generate: `stop_strings` needs `pieces`, what each token is written as; got stop_strings={strings!r} "
            "alone. Pass pieces=tokenizer.token_bytes."
        )
    return StopStrings(strings, pieces)
