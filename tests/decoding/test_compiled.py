"""Compiled searches give what eager ones give, and a program serves all calls of similar size."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import END, LookingToy, SourceToy, Toy

from kerazoo import decoding

SOURCES, PROMPTS = [[3, 4, 5], [6], [5, 3, 3, 4, 6]], [[], [4, 6], [3]]
STOP = decoding.StopStrings(["bca", "cc"], [b"", b"", b"", b"ab", b"b", b"ca", b"c"])
SEARCHES = {
    "greedy": decoding.Greedy(constraints=decoding.NoRepeatNgram(2), stop_strings=STOP),
    "sample": decoding.Sample(0.9, top_k=4, seed=3, n_best=3),
    "beam": decoding.Beam(5, n_best=3, constraints=(decoding.MinLength(2), decoding.RepetitionPenalty(1.3))),
    "groups": decoding.Beam(6, n_best=4, num_groups=2, coverage_penalty=0.2, stop_strings=STOP),
    "contrastive": decoding.Contrastive(3),
    "speculative": decoding.Speculative(LookingToy(seed=8), num_draft_tokens=2),
}


@pytest.mark.parametrize(
    "name, jit_compile",
    [(name, False) for name in SEARCHES] + [(name, True) for name in ("greedy", "sample", "beam", "speculative")],
)
def test_compiled_equals_eager(name, jit_compile, request):
    if keras.backend.backend() == "jax":
        pytest.skip("always compiled")
    model = LookingToy(seed=3, sharpness=1.0)
    arguments = {"search": SEARCHES[name], "max_length": 9, "jit_compile": jit_compile}
    compiled = decoding.generate(model, SOURCES, PROMPTS, **arguments)
    request.getfixturevalue("run_eagerly")
    vars(model).pop("_compiled_programs")
    eager = decoding.generate(model, SOURCES, PROMPTS, **arguments)
    np.testing.assert_array_equal(compiled.tokens, eager.tokens)
    np.testing.assert_array_equal(compiled.lengths, eager.lengths)
    np.testing.assert_allclose(compiled.scores, eager.scores, rtol=1e-4)
    np.testing.assert_allclose(compiled.token_scores, eager.token_scores, rtol=1e-4, atol=1e-5)


class EndsAtOnce(Toy):
    """Counts its steps, and always gives the end token."""

    def step(self, tokens, cache, index):
        self.traces += 1
        return ops.tile(ops.one_hot([END], self.vocabulary_size), (ops.shape(tokens)[0], 1)), cache


def test_stops_as_soon_as_all_are_finished():
    assert decoding.generate(EndsAtOnce(), max_length=17).lengths.tolist() == [[1]]
    if keras.backend.backend() == "jax":  # traces a loop even if nothing is compiled
        pytest.skip("no eager loop to count")
    model = EndsAtOnce()
    context = decoding.DecodingContext(prompt=ops.zeros((3, 0), "int32"))
    decoding.decode(model, decoding.Greedy(), 17, context)
    assert model.traces == 1


def test_nothing_compiles_twice_for_a_bucket():
    model = SourceToy(seed=3)
    decoding.generate(model, [[3, 4, 5, 6, 3]] * 3, max_length=13)
    traces = model.traces
    decoding.generate(model, [[3] * 8] * 4, max_length=16)  # 3 and 4 rows, 5 and 8 tokens, lengths 13 and 16
    assert model.traces == traces
    decoding.generate(model, [[3] * 2] * 3, [[4], [], [5, 5]], max_length=15)  # prompts of up to 8 tokens
    prompted = model.traces
    decoding.generate(model, [[3] * 7] * 4, [[4] * 8, [], [5], [6]], max_length=14)
    assert model.traces == prompted
    decoding.generate(model, [[3] * 9] * 4, max_length=16)
    assert model.traces > prompted
