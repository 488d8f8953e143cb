"""Arrays and the arguments of Keras: `fit` equals `Model.fit`, and says what a wrong value is."""

import keras
import numpy as np
import pytest
from keras import ops
from toys import not_on_jax

import kerazoo as kz
from kerazoo import _checks
from kerazoo.training import evaluate, fit

TENSORFLOW = keras.backend.backend() == "tensorflow"
EXAMPLES, FEATURES, CLASSES = 11, 5, 3


def arrays(examples=EXAMPLES, seed=0):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(examples, FEATURES)).astype("float32")
    return inputs, (np.abs(inputs[:, 0]) * 2).astype("int64") % CLASSES


def classifier(loss=None, outputs=CLASSES, seed=1, **compiled):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(outputs)])
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weighted = [keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="weighted")] if outputs > 1 else []
    compiled = {"run_eagerly": True, "metrics": ["accuracy"], "weighted_metrics": weighted, **compiled}
    model.compile(keras.optimizers.SGD(0.1), loss, **compiled)
    return model


def assert_equal(model, history, expected, wanted):
    assert set(history) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(history[name], values, 1e-5, err_msg=name)
    for one, two in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, 1e-5, 1e-6)


WEIGHTS = np.linspace(0, 2, EXAMPLES).astype("float32")
ARGUMENTS = {
    "plain": {},
    "validation_split": {"validation_split": 0.3},
    "sample_weight": {"sample_weight": WEIGHTS, "validation_split": 0.3},
    "class_weight": {"class_weight": {0: 0.5, 1: 3.0}, "validation_data": arrays(4, seed=2)},
    "initial_epoch": {"initial_epoch": 1},
    "weighted validation": {"validation_data": (*arrays(4, seed=2), np.array([1.0, 0.0, 2.0, 1.0], "float32"))},
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arrays_equal_model_fit_with(name):
    options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0, **ARGUMENTS[name]}
    model, expected = classifier(), classifier()
    history = fit(model, arrays(), **options).history
    assert_equal(model, history, expected, expected.fit(*arrays(), **options).history)


def test_nests_of_arrays_and_shuffling():
    inputs, labels = arrays()
    keras.utils.set_random_seed(1)
    parts = {name: keras.Input((FEATURES,), name=name) for name in ("second", "first")}
    outputs = keras.layers.Dense(CLASSES)(keras.layers.Subtract()([parts["first"], parts["second"]]))
    model = keras.Model(parts, outputs)
    model.compile("sgd", classifier().loss, run_eagerly=True)
    data = {"second": inputs, "first": inputs * 3}, labels
    assert np.isfinite(fit(model, data, batch_size=4).history["loss"][0])
    found = evaluate(model, data, batch_size=4)
    assert found["loss"] == pytest.approx(model.evaluate(*data, verbose=0), 1e-5)
    orders = [
        np.concatenate([b.rows for b in kz.training.arrays.Arrays("fit", data, 4, True).epoch(e)]) for e in (0, 1)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(EXAMPLES)) and not np.array_equal(*orders)


def batches(count=3):
    inputs, labels = arrays(4 * count)
    return [(inputs[i : i + 4], labels[i : i + 4], np.full(4, i + 1.0, "float32")) for i in range(0, 4 * count, 4)]


def test_weights_of_batches_and_classes_multiply():
    model, expected = classifier(), classifier()
    table = np.array([0.5, 3.0, 1.0], "float32")
    fit(model, batches(), class_weight={0: 0.5, 1: 3.0})
    for inputs, labels, weights in batches():
        expected.train_on_batch(inputs, labels, sample_weight=weights * table[labels])
    assert_equal(model, {}, expected, {})


@pytest.mark.parametrize("shape", ["classes", "column", "one-hot"])
def test_class_weights_of_targets_of_each_shape(shape):
    inputs, labels = arrays(3)
    targets = {"classes": labels, "column": labels[:, None], "one-hot": np.eye(CLASSES)[labels]}[shape]
    found = kz.training.class_weights.ClassWeights("fit", {1: 7.0})((inputs, targets))
    np.testing.assert_array_equal(ops.convert_to_numpy(found[2]), np.where(labels == 1, 7.0, 1.0))


@pytest.mark.skipif(not TENSORFLOW, reason="needs TensorFlow")
def test_data_sets_without_an_end_train_and_validate():
    import tensorflow as tf

    numbers = tf.data.Dataset.counter().map(lambda n: (tf.fill([2, FEATURES], tf.cast(n, tf.float32)), tf.zeros(2)))
    seen = []

    class Seen(keras.layers.Layer):
        def call(self, inputs):
            seen.append(float(ops.convert_to_numpy(inputs)[0, 0]))
            return inputs

    model = keras.Sequential([Seen(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    options = {"steps_per_epoch": 3, "validation_data": numbers, "validation_steps": 2, "epochs": 2}
    assert len(fit(model, numbers, **options).history["val_loss"]) == 2
    assert seen == [0, 1, 2, 0, 1, 3, 4, 5, 0, 1]  # a validation begins with the first batch each time
    seen.clear()
    evaluate(model, numbers, steps=2)
    assert seen == [0, 1]
    with pytest.raises(
        ValueError, match=r"fit \(validation_data\): a data set without an end needs `validation_steps`; got"
    ):
        fit(model, batches(), validation_data=numbers)
    with pytest.raises(ValueError, match=r"evaluate: a data set without an end needs `steps`; got steps=None"):
        evaluate(model, numbers)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ((arrays()[0], arrays(5)[1]), {}, ValueError, r"fit: all arrays must have the same number .*data\[1\]': 5"),
        (
            ([1.0, 2.0], [0, 1]),
            {},
            TypeError,
            r"fit: a tuple must hold arrays, \(x, y\) or .*got data\[0\]\[0\] of type",
        ),
        (list(arrays()), {}, ValueError, r"fit: a batch must be \(inputs, targets\).*Arrays are a tuple, \(x, y\)"),
        (arrays(), {"batch_size": 0}, ValueError, r"fit: `batch_size` must be an integer above 0; got batch_size=0"),
        (arrays(), {"validation_split": 1.0}, ValueError, r"fit: `validation_split` must be a number in .*=1.0"),
        (arrays(), {"validation_split": 0.95}, ValueError, r"must leave examples in both parts; .*=0.95 of 11"),
        (batches(), {"validation_split": 0.5}, ValueError, r"fit: `validation_split` needs arrays, \(x, y\); got list"),
        (
            arrays(),
            {"validation_split": 0.5, "validation_data": arrays()},
            ValueError,
            r"give `validation_data` or `validation_split`; got both",
        ),
        (batches(), {"sample_weight": WEIGHTS}, ValueError, r"fit: `sample_weight` needs arrays, \(x, y\); got list"),
        (arrays(), {"class_weight": {-1: 2.0}}, ValueError, r"fit: `class_weight` must be .* at least 0; got .*=-1"),
        (
            arrays(),
            {"class_weight": {1: -2.0}},
            ValueError,
            r"fit: `class_weight\[1\]` must be .* at least 0; got .*-2",
        ),
        (
            [(np.ones((2, FEATURES), "float32"), {"a": np.ones(2)})],
            {"class_weight": {1: 2.0}},
            ValueError,
            r"fit: `class_weight` needs one class for each example; got targets of \{'a': \(2,\)\}",
        ),
    ],
)
def test_bad_arguments_are_refused(data, options, error, message):
    with pytest.raises(error, match=message):
        fit(classifier(run_eagerly=False), data, **options)


WRONG = {
    "arrays": lambda inputs, labels: ((inputs, labels), {}),
    "batches": lambda inputs, labels: ([(inputs[:4], labels[:4]), (inputs[4:8], labels[4:8])], {}),
    "corpus": lambda inputs, labels: (
        kz.data.Corpus({"x": inputs, "y": labels}),
        {
            "batch_fn": lambda features, valid: (features["x"], features["y"]),
            "plan": kz.data.Plan({}, examples=EXAMPLES, batch_size=4, shuffle=False),
        },
    ),
}


@not_on_jax
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("xla", [False, True])
def test_labels_out_of_range_are_named(kind, xla):
    inputs, labels = arrays()
    labels[6] = CLASSES  # classes that count from 1
    data, options = WRONG[kind](inputs, labels)
    place = r"row 2 of batch 1" if kind == "batches" else r"example 6 of batch 1"
    options |= {"batch_size": 4, "shuffle": False} if kind == "arrays" else {}
    with pytest.raises(_checks.DataError, match=rf"fit: labels must be from 0 to 2, as many .*; got 3 \({place}\)"):
        fit(classifier(run_eagerly=False), data, jit_compile=xla, **options)


@not_on_jax
def test_other_labels_and_tokens_out_of_range():
    inputs, labels = arrays(4)
    plain = {"run_eagerly": False}
    with pytest.raises(_checks.DataError, match=r"evaluate: labels must be from 0 to 1, .*; got -1.0 \(example 2"):
        signs = np.array([1.0, 1.0, -1.0, 1.0], "float32")[:, None]
        binary = classifier(keras.losses.BinaryCrossentropy(from_logits=True), 1, **plain)
        evaluate(binary, (inputs, signs), jit_compile=False)
    unweighted = (inputs, np.array([0, 1, -1, 2]), np.array([1.0, 1.0, 0.0, 1.0], "float32"))
    if not TENSORFLOW:  # a label of weight 0 is padding; TensorFlow's loss is NaN there
        assert np.isfinite(evaluate(classifier(**plain), unweighted)["loss"])
    model = kz.models.LSTMSeq2Seq(7, 9, embedding_dim=3, units=4)
    model.compile("sgd", kz.training.SparseCrossentropy())
    tokens = np.array([[3, 4], [7, 5]])
    with pytest.raises(_checks.DataError, match=r"token ids of 'source' must be from 0 to 6, .*; got 7 \(row 1 of"):
        fit(model, [({"source": tokens, "targets": tokens}, tokens)], jit_compile=False)
