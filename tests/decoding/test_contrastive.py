"""Contrastive search against recomputing everything for every candidate."""

import numpy as np
import pytest
from keras import ops
from toys import END, SourceToy, Toy, tokens

from kerazoo import decoding


def recompute(model, length, top_k, alpha, prompt=(), bias=0.0):
    """Contrastive search in plain Python."""
    generated = list(prompt)
    while len(generated) < length and (len(generated) == len(prompt) or generated[-1] != END):
        log_probs = model.log_probs(generated, bias)
        likely = sorted(tokens(model), key=lambda v: -log_probs[v])[:top_k]
        if len(generated) + 1 == length:
            return [*generated, likely[0]]
        past = [model.numpy_hidden(generated[:i], bias) for i in range(len(generated) + 1)]

        def worth(v, generated=generated, past=past, log_probs=log_probs):
            new = model.numpy_hidden([*generated, v], bias)
            alike = max(new @ old / np.linalg.norm(new) / np.linalg.norm(old) for old in past)
            return (1 - alpha) * np.exp(log_probs[v]) - alpha * alike

        generated.append(max(likely, key=worth))
    return generated


@pytest.mark.parametrize("top_k, alpha", [(4, 0.6), (2, 0.3), (9, 1.0)])
def test_equals_recomputation(top_k, alpha):
    model = SourceToy(vocabulary_size=7, seed=4, sharpness=0.8)
    sources, prompts = [[3, 4, 5], [6], [5, 3, 3]], [[], [4, 6], [3]]
    search = decoding.Contrastive(top_k, alpha)
    found = decoding.generate(model, sources, prompts, search, max_length=11)
    for row in range(3):
        bias = model.bias(sources[row])
        expected = recompute(model, 11, top_k, alpha, prompts[row], bias)
        assert found.sequences(keep_end=True)[row][0] == expected
        after = range(len(prompts[row]), len(expected))
        total = sum(model.log_probs(expected[:i], bias)[expected[i]] for i in after)
        assert found.scores[row, 0] == pytest.approx(total, rel=1e-4)


def test_without_novelty_it_is_greedy_and_keeps_rules():
    model = Toy(seed=2)
    greedy = decoding.generate(model, prompt=[[3], []], max_length=9)
    found = decoding.generate(model, prompt=[[3], []], search="contrastive", alpha=0.0, max_length=9)
    np.testing.assert_array_equal(found.tokens, greedy.tokens)
    ruled = decoding.generate(model, search="contrastive", alpha=1.0, max_length=5, no_repeat_ngram=1, forbidden=[3])
    sequence = ruled.sequences(keep_end=True)[0][0]
    assert len(set(sequence)) == len(sequence) and 3 not in sequence


class Blind(Toy):
    def step(self, tokens, cache, index):
        logits, new = super().step(tokens, cache, index)
        return logits, {"state": new["state"], "memory": ops.convert_to_tensor([0.0])}


def test_refuses():
    with pytest.raises(ValueError, match="Contrastive: .* needs a model whose `step` returns the vectors"):
        decoding.generate(Blind(), search="contrastive", max_length=4)
    with pytest.raises(ValueError, match="`alpha` must be a number .* got alpha=1.5"):
        decoding.Contrastive(alpha=1.5)
    with pytest.raises(ValueError, match="`top_k` must be an integer above 0; got top_k=0"):
        decoding.Contrastive(top_k=0)
