"""Training on batches that come from outside, in blocks of equal shapes."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo.training import evaluate, fit

TENSORFLOW = keras.backend.backend() == "tensorflow"


def batches(count=7, seed=0, rows=3):
    rng = np.random.default_rng(seed)
    inputs = rng.random((count, rows, 5)).astype("float32")
    return [(one, one.sum(-1, keepdims=True)) for one in inputs]


def model(seed=1, steps=1):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=steps)
    return model


class Record(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.steps, self.known = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.begin = batch

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append((self.params["epoch"], self.begin, batch, self.params["step"]))
        self.known.append(self.params["steps"])


class StopAt(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.every_steps = step

    def on_train_batch_end(self, batch, logs=None):
        if self.params["step"] == self.every_steps:
            self.model.stop_training = True
            self.state = {name: self.params[name] for name in ("epoch", "position", "step")}


def trained(*epochs):
    expected = model()
    for inputs, targets in itertools.chain(*epochs):
        expected.train_on_batch(inputs, targets)
    return expected


def check(found, expected):
    for one, two in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, 1e-5, 1e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_list_of_batches(steps):
    record, found = Record(), model(steps=steps)
    own = steps if steps == 1 else None  # what `compile` says is used unless `fit` says otherwise
    options = {"steps_per_execution": own, "jit_compile": steps > 1}
    history = fit(found, batches(), epochs=2, callbacks=[record], **options).history
    check(found, trained(batches(), batches()))
    firsts = range(0, 7, steps)
    once = [(first, min(first + steps, 7) - 1) for first in firsts]
    expected = [(e, first, last, 7 * e + last + 1) for e in range(2) for first, last in once]
    assert record.steps == expected
    assert len(history["loss"]) == 2
    assert found.train_function is None


def test_every_epoch_may_have_its_own_batches():
    found = model()
    asked = []

    def data(epoch):
        asked.append(epoch)
        return batches(3 + epoch, seed=epoch)

    record = Record()
    resume = {"epoch": 1, "position": 2, "step": 5}
    fit(found, data, epochs=3, callbacks=[record], resume=resume, steps_per_execution=1, jit_compile=False)
    assert asked == [1, 2]
    assert [step[:2] for step in record.steps] == [(1, 2), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4)]
    assert record.steps[-1][-1] == 5 + 2 + 5
    assert record.known == [None, 4, None, None, None, None, 5]  # the length is known once the end is read


def test_runs_of_equal_shapes_share_a_block():
    data = [*batches(3), *batches(4, rows=2), *batches(1), *batches(1, rows=1)]
    record, found = Record(), model()
    traced = []

    class Traced(keras.layers.Layer):
        def call(self, inputs):
            traced.append(inputs.shape[0])
            return inputs

    keras.utils.set_random_seed(1)
    found = keras.Sequential([Traced(), keras.layers.Dense(1)])
    found.compile(keras.optimizers.SGD(0.1), "mse")
    fit(found, data, epochs=2, callbacks=[record], steps_per_execution=4, jit_compile=False)
    check(found, trained(data, data))
    assert [step[1:3] for step in record.steps] == [(0, 2), (3, 6), (7, 7), (8, 8)] * 2
    assert sorted(set(traced[2:] if TENSORFLOW else traced)) == [1, 2, 3]
    assert len(traced) <= 5  # once for each shape, and once or twice to create the variables


def test_structures_without_targets_or_weights():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.head = keras.layers.Dense(1)

        def call(self, inputs):
            return self.head(inputs["a"]) + ops.sum(inputs["b"], axis=1, keepdims=True)

    def train(data):
        keras.utils.set_random_seed(1)
        made = Own()
        made.compile("sgd", "mse")
        fit(made, data, jit_compile=False)
        return made.get_weights()[0]

    data = [({"b": x, "a": x * 2}, y) for x, y in batches(3)]
    expected = train(data)
    np.testing.assert_array_equal(train([[x, y, None] for x, y in data]), expected)
    weighted = train([(x, y, np.zeros(3, "float32")) for x, y in data])
    assert not np.array_equal(weighted, expected)


@pytest.mark.parametrize("steps", [1, 3])
def test_tf_data(steps):
    tf = pytest.importorskip("tensorflow")

    def data(epoch):
        made = batches(7, seed=epoch)
        return tf.data.Dataset.from_tensor_slices(tuple(np.stack(part) for part in zip(*made)))

    record, found = Record(), model(steps=steps)
    options = {"resume": {"position": 1}, "steps_per_execution": steps, "jit_compile": steps > 1}
    history = fit(found, data, epochs=2, callbacks=[record], validation_data=data(0), **options).history
    check(found, trained(batches(7)[1:], batches(7, seed=1)))
    assert [step[0] for step in record.steps] == [0] * -(-6 // steps) + [1] * -(-7 // steps)
    assert history["val_loss"][1] == pytest.approx(evaluate(found, data(0))["loss"])


def shuffled(tf):
    inputs = np.random.default_rng(3).random((23, 5)).astype("float32")
    examples = tf.data.Dataset.from_tensor_slices((inputs, inputs.sum(-1, keepdims=True)))
    return examples.shuffle(11, seed=5).map(lambda x, y: (x * 2, y), num_parallel_calls=2).batch(5).prefetch(2)


@pytest.mark.parametrize("steps_per_epoch", [None, 4])
def test_a_seeded_shuffle_goes_on_at_the_exact_batch(steps_per_epoch):
    tf = pytest.importorskip("tensorflow")
    options = {"epochs": 3, "steps_per_epoch": steps_per_epoch, "steps_per_execution": 2, "jit_compile": False}
    whole, found, stop, record = model(), model(), StopAt(7), Record()
    fit(whole, shuffled(tf), **options)
    fit(found, shuffled(tf), callbacks=[stop], **options)
    assert stop.state == {"epoch": 1, "position": 7 - (steps_per_epoch or 5), "step": 7}
    fit(found, shuffled(tf), callbacks=[record], resume=stop.state, **options)
    assert record.steps[0][0] == 1 and record.steps[-1][-1] == 3 * (steps_per_epoch or 5)
    check(found, whole)


def test_data_without_an_end_takes_steps_per_epoch():
    def numbered():
        for index in itertools.count():
            yield batches(1, seed=index)[0]

    record, found = Record(), model()
    fit(found, numbered(), epochs=2, steps_per_epoch=4, callbacks=[record], steps_per_execution=3, jit_compile=False)
    check(found, trained(itertools.islice(numbered(), 8)))
    assert [step[:3] for step in record.steps] == [(0, 0, 2), (0, 3, 3), (1, 0, 2), (1, 3, 3)]
    assert set(record.known) == {4}
    found = model()
    fit(found, batches(3), initial_epoch=1, epochs=2, steps_per_epoch=4, jit_compile=False)  # goes round
    check(found, trained([batches(3)[index] for index in (1, 2, 0, 1)]))


@pytest.mark.skipif(not TENSORFLOW, reason="needs TensorFlow")
def test_tf_data_without_an_end_is_refused_without_steps():
    with pytest.raises(ValueError, match=r"fit: a data set without an end needs `steps_per_epoch`; got .*=None"):
        fit(model(), shuffled(__import__("tensorflow")).repeat())


def test_the_stream_of_a_source():
    rows = np.random.default_rng(2).random((23, 5)).astype("float32")

    def plan():
        chunks = [kz.data.Chunk({"x": part}) for part in np.array_split(rows, 4)]
        stream = kz.data.Stream(lambda: chunks, lambda chunk: ({"x": chunk.columns["x"]}, {}))
        return kz.data.StreamPlan(stream, 7, batch_size=5, seed=3)

    def batch_fn(features, valid):
        return features["x"], ops.sum(features["x"], axis=1, keepdims=True), ops.cast(valid, "float32")

    found, expected = model(), model()
    changes = []

    def change(features, step):
        changes.append(int(step))
        return features

    fit(found, plan(), batch_fn, epochs=2, augment=change, jit_compile=False)
    made = plan()
    for epoch in range(2):
        for batch in made.batches(epoch, batch_fn):
            expected.train_on_batch(*map(ops.convert_to_numpy, batch))
    check(found, expected)
    assert changes == [(epoch << 20) + step for epoch in range(2) for step in range(5)]


@pytest.mark.skipif(not TENSORFLOW, reason="JAX has no text")
def test_text_reaches_a_model_that_runs_without_xla(capsys):
    import tensorflow as tf

    class Length(keras.layers.Layer):
        def call(self, inputs):
            return ops.cast(tf.strings.length(inputs), "float32")

    keras.utils.set_random_seed(1)
    found = keras.Sequential([keras.Input((1,), dtype="string"), Length(), keras.layers.Dense(1)])
    found.compile("sgd", "mse")
    data = [(np.array([[text], ["ab"]]), np.ones((2, 1), "float32")) for text in ("a", "abc", "abcde")]
    record, signature = Record(), (tf.TensorSpec((None, 1), tf.string), tf.TensorSpec((None, 1)))
    dataset = tf.data.Dataset.from_generator(lambda: data, output_signature=signature)
    fit(found, data, callbacks=[record], validation_data=dataset, steps_per_execution=2)
    assert [step[1:3] for step in record.steps] == [(0, 1), (2, 2)]  # texts of any length are of one shape
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1 and "so it runs without XLA" in said[0]


def test_validation_and_early_stopping():
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=0, mode="max")
    options = {"callbacks": [stop], "validation_data": batches(2)[0], "jit_compile": False}
    history = fit(model(), batches(), epochs=9, **options).history
    assert len(history["val_loss"]) == 2


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ((pair for pair in batches()), {}, TypeError, r"an iterable of batches that can be read again.*got generator"),
        (3, {}, TypeError, r"fit: `data` must be a corpus, arrays, an iterable .*got int"),
        ([], {}, ValueError, r"fit: the data of epoch 0 holds no batch"),
        (batches(), {"batch_fn": len}, ValueError, r"`batch_fn` must be None without a corpus; got data of list"),
        (batches(), {"plan": 7}, ValueError, r"`data` of a corpus must have `features`; got data=\[\("),
        (batches(), {"steps_per_epoch": -1}, ValueError, r"`steps_per_epoch` must be .* above 0; got .*=-1"),
    ],
)
def test_bad_data_is_refused(data, options, error, message):
    with pytest.raises(error, match=message):
        fit(model(), data, **options)


@pytest.mark.skipif(not TENSORFLOW, reason="needs TensorFlow")
def test_ragged_tensors_are_refused():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensors(tf.ragged.constant([[1.0], [2.0, 3.0]]))
    with pytest.raises(ValueError, match=r"fit: batches must hold dense tensors; got RaggedTensorSpec.*to_tensor"):
        fit(model(), data)


class Batches(keras.utils.PyDataset):
    """Batches whose order changes after each epoch."""

    def __init__(self, batches, num_batches):
        super().__init__()
        self.given, self.events, self.num = list(batches), [], num_batches

    num_batches = property(lambda self: self.num)

    def __getitem__(self, index):
        self.events.append(index)
        return self.given[index]

    def on_epoch_begin(self):
        self.events.append("begin")

    def on_epoch_end(self):
        self.events.append("end")
        self.given = self.given[::-1]


def test_a_dataset_of_keras_is_read_by_its_indices():
    data, found = Batches(batches(4), 4), model()
    unseen = Batches(batches(2, seed=1), 2)
    history = fit(found, data, epochs=2, shuffle=False, validation_data=unseen, steps_per_execution=3)
    check(found, trained(batches(4), batches(4)[::-1]))
    assert data.events == ["begin", 0, 1, 2, 3, "end"] * 2 and unseen.events == ["begin", 0, 1, "end"] * 2
    assert evaluate(found, unseen)["loss"] == pytest.approx(history.history["val_loss"][-1])
    shuffled = Batches(batches(4), 4)
    fit(model(), shuffled, epochs=2)
    first, second = shuffled.events[1:5], shuffled.events[7:11]
    assert sorted(first) == sorted(second) == [0, 1, 2, 3] and first != second
    with pytest.raises(ValueError, match="fit: a data set without an end needs `steps_per_epoch`"):
        fit(model(), Batches(batches(2), None))
