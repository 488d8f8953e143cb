"""Search over `start` and `step`: greedy, by chance, with a beam. Nothing here knows what kind of model it serves."""

from kerazoo.decoding.beam import Beam
from kerazoo.decoding.constraints import (
    Allowed,
    Context,
    Forbidden,
    ForcedPrefix,
    MaxLength,
    MinLength,
    NoRepeatNgram,
    RepetitionPenalty,
)
from kerazoo.decoding.contrastive import Contrastive
from kerazoo.decoding.ensemble import Ensemble
from kerazoo.decoding.generate import generate
from kerazoo.decoding.loop import decode
from kerazoo.decoding.names import make_search
from kerazoo.decoding.protocol import Decodable
from kerazoo.decoding.replay import align
from kerazoo.decoding.result import Generated
from kerazoo.decoding.score import Scored, score
from kerazoo.decoding.search import Now, Search
from kerazoo.decoding.select import Greedy, Sample
from kerazoo.decoding.speculative import Speculative
from kerazoo.decoding.stop import StopStrings
from kerazoo.decoding.stream import Joined, stream

__all__ = [
    "Allowed",
    "Beam",
    "Context",
    "Contrastive",
    "Decodable",
    "Ensemble",
    "Forbidden",
    "ForcedPrefix",
    "Generated",
    "Greedy",
    "Joined",
    "MaxLength",
    "MinLength",
    "NoRepeatNgram",
    "Now",
    "RepetitionPenalty",
    "Sample",
    "Scored",
    "Search",
    "Speculative",
    "StopStrings",
    "align",
    "decode",
    "generate",
    "make_search",
    "score",
    "stream",
]
