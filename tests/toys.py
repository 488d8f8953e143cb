"""Small decoders with random tables, in `keras.ops` for the searches and in NumPy for the proofs."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from kerazoo import _backend
from kerazoo.decoding import Decodable

PAD, START, END = 0, 1, 2

# For cases in which JAX runs the same `keras.ops` as TensorFlow, at the cost of more compilations.
JAX = keras.backend.backend() == "jax"
not_on_jax = pytest.mark.skipif(JAX, reason="another case shows it on JAX")


def jitted(function, variables=()):
    """The function as one program on JAX, where an eager call compiles every operation; unchanged elsewhere."""
    return _backend.compile(function, variables) if JAX else function


class Toy(Decodable):
    """A decoder whose logits depend on all that was generated, and on the source where it has one.

    The next state is tanh(A h + E[token]); logits are B h, sharpened. `numpy_logits` is the same without Keras.
    """

    pad_id, start_id, end_id = PAD, START, END

    def __init__(self, vocabulary_size=7, size=5, seed=0, sharpness=3.0, dtype="float32"):
        rng = np.random.default_rng(seed)
        self.size, self.vocabulary_size, self.dtype = size, vocabulary_size, dtype
        self.a = rng.normal(size=(size, size)).astype("float32")
        self.e = rng.normal(size=(vocabulary_size, size)).astype("float32")
        self.b = (sharpness * rng.normal(size=(size, vocabulary_size))).astype("float32")
        self.traces = 0

    def start(self, batch_size, max_length, encoded=None, num_beams=1):
        memory = {} if encoded is None else {"bias": encoded["sequence"][:, 0]}
        return {"state": {"h": ops.zeros((batch_size, self.size))}, "memory": memory}

    def step(self, tokens, cache, index):
        self.traces += 1
        h = ops.matmul(cache["state"]["h"], self.a) + ops.take(ops.convert_to_tensor(self.e), tokens, axis=0)
        if cache["memory"]:
            bias = cache["memory"]["bias"]  # [B, size], shared by the hypotheses of a source
            num_beams = ops.shape(h)[0] // ops.shape(bias)[0]
            h = ops.reshape(h, (-1, num_beams, self.size)) + bias[:, None, :]
            h = ops.reshape(h, (-1, self.size))
        h = ops.tanh(h)
        new = {"state": {"h": h}, "memory": cache["memory"], "hidden": h}
        return ops.cast(ops.matmul(h, self.b), self.dtype), new

    def numpy_hidden(self, generated, bias=0.0):
        """The vector [size] after the tokens `generated`."""
        h = np.zeros(self.size, "float32")
        for token in [START, *generated]:
            h = np.tanh(h @ self.a + self.e[token] + bias)
        return h

    def numpy_logits(self, generated, bias=0.0):
        """Logits [V] of the next token after the tokens `generated`."""
        return self.numpy_hidden(generated, bias) @ self.b

    def log_probs(self, generated, bias=0.0):
        """Log-probabilities [V], float64."""
        logits = self.numpy_logits(generated, bias).astype("float64")
        return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


class SourceToy(Toy):
    """A toy that reads a source of token ids: their masked mean moves every state."""

    has_encoder = True
    source_pad_ids = {"source": PAD}

    def encode(self, source, training=False):
        mask = ops.not_equal(source, PAD)
        vectors = ops.take(ops.convert_to_tensor(self.e), source, axis=0) * ops.cast(mask, "float32")[:, :, None]
        mean = ops.sum(vectors, axis=1, keepdims=True) / ops.cast(ops.sum(mask, axis=1), "float32")[:, None, None]
        return {"sequence": mean, "mask": mask}

    def bias(self, source):
        return self.e[source].mean(0)


class LookingToy(SourceToy):
    """A toy that shows how much it looks at each position of its source."""

    def encode(self, source, training=False):
        return {**super().encode(source), "keys": ops.take(ops.convert_to_tensor(self.e), source, axis=0)}

    def start(self, batch_size, max_length, encoded=None, num_beams=1):
        cache = super().start(batch_size, max_length, encoded)
        return {**cache, "memory": {**cache["memory"], "keys": encoded["keys"], "mask": encoded["mask"]}}

    def step(self, tokens, cache, index):
        logits, new = super().step(tokens, cache, index)
        keys, mask = cache["memory"]["keys"], cache["memory"]["mask"]
        h = ops.reshape(new["hidden"], (ops.shape(keys)[0], -1, self.size))  # [B, W, size]
        scores = ops.where(mask[:, None, :], ops.matmul(h, ops.transpose(keys, (0, 2, 1))), -1e9)
        attention = ops.softmax(scores, axis=-1)
        return logits, {**new, "attention": ops.reshape(attention, (-1, ops.shape(attention)[-1]))}

    def numpy_attention(self, generated, source):
        """Attention [S] of the token that follows `generated`."""
        scores = self.e[source] @ self.numpy_hidden(generated, self.bias(source))
        return np.exp(scores) / np.exp(scores).sum()


def tokens(model):
    """What a search may write."""
    return [v for v in range(model.vocabulary_size) if v not in (PAD, START)]


def all_sequences(model, length, prompt=(), bias=0.0):
    """Yields (sequence, log-probability of what follows the prompt) for every sequence of at most `length` tokens."""
    inner = [v for v in tokens(model) if v != END]
    for n in range(length - len(prompt) + 1):
        for middle in itertools.product(inner, repeat=n):
            generated = [*prompt, *middle]
            total = sum(model.log_probs(generated[:i], bias)[generated[i]] for i in range(len(prompt), len(generated)))
            if len(generated) == length:
                yield generated, total
            else:
                yield [*generated, END], total + model.log_probs(generated, bias)[END]


def predict_eagerly(model, inputs):
    """Does what `keras.Model.predict_on_batch` does, without a program that would run once."""
    return ops.convert_to_numpy(model(inputs, training=False))


def write_run(path, model, options, task):
    """Writes the run of a model with random weights.

    Args:
        path: path. The new folder.
        model: string. The name of the model.
        options: dict. Its arguments.
        task: `kerazoo.tasks.Task`. One that is fitted.
    """
    from kerazoo.run import RunDirectory, TrainingOptions, model_building, predictor, variants

    run = RunDirectory(path)
    record = {"kerazoo": "0", "import": [], "model": model, "model_options": options}
    record |= {"training": TrainingOptions().to_dict()}
    record |= {"task": task.name, "task_options": task.options, "made_of": {"run_dir": ""}}
    built = model_building.build_model(model, task, options)
    variants.write_run(run, record, predictor.Predictor(built, task), run.baseline, True)
