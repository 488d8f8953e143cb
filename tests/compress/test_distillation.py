"""Distillation: the loss against NumPy, several teachers, hidden sequences, and what stays as it was."""

import keras
import numpy as np
import pytest

import kerazoo as kz

RNG = np.random.default_rng(7)
B, T, V = 3, 5, 7
# A few steps take less time than tracing; on JAX each operation would be compiled by itself.
EAGER = {"run_eagerly": keras.backend.backend() == "tensorflow", "jit_compile": False}


def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


class Constant(keras.Model):
    """A model whose outputs do not depend on its inputs."""

    def __init__(self, outputs):
        super().__init__()
        self.bias = self.add_weight(shape=outputs.shape, initializer="zeros")
        self.bias.assign(outputs)
        self.built = True

    def call(self, inputs, training=None):
        return keras.ops.convert_to_tensor(self.bias)


def losses(student, weights, **options):
    """The loss of training and that of validation."""
    y = np.zeros((B, T), "int32")
    x = np.zeros((B, 1), "float32")
    outputs = keras.ops.convert_to_tensor(student.bias)
    given = {"x": x, "y": y, "y_pred": outputs, "sample_weight": weights}
    return float(student.compute_loss(**given, training=True)), float(student.compute_loss(**given, training=False))


def test_the_distance_is_the_divergence_at_a_temperature_by_the_weights():
    one, two, own = (RNG.normal(size=(B, T, V)).astype("float32") for _ in range(3))
    weights = (RNG.random((B, T)) < 0.6).astype("float32")
    student = Constant(own)
    student.compile("sgd", kz.training.SparseCrossentropy())
    plain, _ = losses(student, weights)
    kz.compress.distil(student, [Constant(one), Constant(two)], weight=0.3, temperature=3.0)
    trained, validated = losses(student, weights)
    mean = (np.exp(log_softmax(one / 3)) + np.exp(log_softmax(two / 3))) / 2
    divergence = 9 * (mean * (np.log(mean) - log_softmax(own / 3))).sum(axis=-1)
    expected = 0.7 * plain + 0.3 * (divergence * weights).sum() / weights.sum()
    assert trained == pytest.approx(expected, rel=1e-5) and validated == pytest.approx(plain, rel=1e-6)


def test_one_logit_and_values():
    one, own = RNG.normal(size=(B, 1)).astype("float32"), RNG.normal(size=(B, 1)).astype("float32")
    p, q = 1 / (1 + np.exp(-one / 2)), 1 / (1 + np.exp(-own / 2))
    divergence = 4 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()
    for outputs, expected in (("classes", divergence), ("values", ((one - own) ** 2).mean())):
        student = Constant(own)
        student.compile("sgd", "mse")
        kz.compress.distil(student, Constant(one), weight=1.0, outputs=outputs)
        found = student.compute_loss(x=own, y=own, y_pred=keras.ops.convert_to_tensor(student.bias))
        assert float(found) == pytest.approx(expected, rel=1e-5)


class Small(keras.Model):
    """A model with an encoder of positions."""

    def __init__(self, units):
        super().__init__()
        self.encoder = kz.layers.DenseEncoder(units=(units,))
        self.head = keras.layers.Dense(V)

    def call(self, inputs, training=None):
        mask = keras.ops.any(inputs != 0, axis=-1)
        return self.head(self.encoder(inputs, padding_mask=mask)["sequence"])


def small(units):
    model = Small(units)
    model(np.ones((1, T, 11), "float32"))
    return model


def batch():
    x = RNG.normal(size=(13, T, 11)).astype("float32")
    x[2:, 3:] = 0
    return x, RNG.integers(0, V, (13, T)).astype("int32"), np.ones((13, T), "float32")


def test_a_student_comes_near_its_teacher_and_the_teacher_stays():
    teacher, student = small(19), small(7)
    before = [np.array(value) for value in teacher.get_weights()]
    count = len(student.trainable_variables)
    student.compile(keras.optimizers.Adam(0.05), kz.training.SparseCrossentropy(), **EAGER)
    kz.compress.distil(student, teacher, weight=1.0, hidden_weight=1.0)
    x, y, weights = batch()
    found = [float(student.train_on_batch(x, y, weights)) for _ in range(12)]
    assert found[-1] < 0.6 * found[0]
    assert all(np.array_equal(one, two) for one, two in zip(before, teacher.get_weights()))
    assert len(student.trainable_variables) == count


def test_equal_models_have_no_distance():
    teacher, student = small(7), small(7)
    student.set_weights(teacher.get_weights())
    student.compile("sgd", kz.training.SparseCrossentropy())
    kz.compress.distil(student, teacher, weight=1.0, hidden_weight=5.0)
    x, y, weights = batch()
    y_pred = student(x, training=True)
    assert float(student.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weights)) == pytest.approx(0, abs=1e-5)


def test_bad_arguments_are_refused():
    student = Constant(np.zeros((B, V), "float32"))
    student.compile("sgd", "mse")
    for options, message in (({"weight": 2}, "`weight` must be"), ({"temperature": 0}, "`temperature` must be"),
                             ({"outputs": "x"}, "`outputs` must be one of"),
                             ({"hidden_weight": 1.0}, "needs a model with one encoder")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            kz.compress.distil(student, student, **options)
    with pytest.raises(ValueError, match="one or more models"):
        kz.compress.distil(student, [])
