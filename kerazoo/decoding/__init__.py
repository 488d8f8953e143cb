"""Search over `start` and `step` of a model: greedy, sampling, beams. Nothing here depends on the kind of model."""

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
from kerazoo.decoding.context import ConstraintContext, DecodingContext, StepContext
from kerazoo.decoding.continuous import ContinuousDecodable, GeneratedValues, decode_values, generate_values
from kerazoo.decoding.contrastive import Contrastive
from kerazoo.decoding.decode import decode
from kerazoo.decoding.ensemble import Ensemble
from kerazoo.decoding.generate import generate
from kerazoo.decoding.protocol import Decodable, SourceModel
from kerazoo.decoding.result import Generated
from kerazoo.decoding.sampling import Greedy, Sample
from kerazoo.decoding.score import Scored, align, score
from kerazoo.decoding.search import Search
from kerazoo.decoding.searches import make_search
from kerazoo.decoding.shortlist import Shortlist
from kerazoo.decoding.speculative import Speculative
from kerazoo.decoding.stop_strings import StopStrings
from kerazoo.decoding.stream import IncrementalDetokenizer, stream

__all__ = [
    "Allowed",
    "Beam",
    "ConstraintContext",
    "ContinuousDecodable",
    "Contrastive",
    "Decodable",
    "DecodingContext",
    "Ensemble",
    "Forbidden",
    "ForcedPrefix",
    "Generated",
    "GeneratedValues",
    "Greedy",
    "IncrementalDetokenizer",
    "MaxLength",
    "MinLength",
    "NoRepeatNgram",
    "RepetitionPenalty",
    "Sample",
    "Scored",
    "Search",
    "Shortlist",
    "SourceModel",
    "Speculative",
    "StepContext",
    "StopStrings",
    "align",
    "decode",
    "decode_values",
    "generate",
    "generate_values",
    "make_search",
    "score",
    "stream",
]
