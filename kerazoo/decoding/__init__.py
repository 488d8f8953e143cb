"""Search over `start` and `step`: greedy, by chance, with a beam. Nothing here knows what kind of model it serves."""

from kerazoo.decoding.beam import Beam
from kerazoo.decoding.constraints import (
    Allowed,
    Context,
    Forbidden,
    MaxLength,
    MinLength,
    NoRepeatNgram,
    RepetitionPenalty,
)
from kerazoo.decoding.generate import generate
from kerazoo.decoding.loop import decode
from kerazoo.decoding.names import make_search
from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.result import Generated
from kerazoo.decoding.search import Now, Search
from kerazoo.decoding.select import Greedy, Sample

__all__ = [
    "Allowed",
    "Beam",
    "Context",
    "Decodable",
    "Forbidden",
    "Generated",
    "Greedy",
    "MaxLength",
    "MinLength",
    "NoRepeatNgram",
    "Now",
    "RepetitionPenalty",
    "Sample",
    "Search",
    "decode",
    "generate",
    "make_search",
]
