import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from toys import not_on_jax

import kerazoo as kz
from kerazoo.training import evaluate, fit

TENSORFLOW = keras.backend.backend() == "tensorflow"
FEATURES, CLASSES = 5, 3
SCALE = 2.0**20
TRACED = {"jit_compile": False}  # enough where no number of a compiled program is compared


def sequences(examples=37, seed=0):
    rng = np.random.default_rng(seed)
    rows = [rng.integers(1, 7, rng.integers(1, 8)) for _ in range(examples)]
    return kz.data.Corpus({"source": kz.data.Ragged.from_rows(rows), "targets": kz.data.Ragged.from_rows(rows)})


def batch_of_sequences(features, valid):
    real = ops.cast(features["targets"] > 0, "float32") * ops.cast(valid, "float32")[:, None]
    return {"source": features["source"], "targets": features["targets"]}, features["targets"], real


def vectors(examples=23, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (examples, FEATURES)).astype(np.uint8)
    return kz.data.Corpus({"pixels": pixels, "label": (pixels[:, 0] // 86).astype(np.int32)})


def batch_of_vectors(features, valid):
    return ops.cast(features["pixels"], "float32") / 255.0, features["label"], ops.cast(valid, "float32")


@keras.saving.register_keras_serializable(package="tests")
class Tagger(keras.Model):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.embedding = keras.layers.Embedding(7, 5)
        self.dropout = keras.layers.Dropout(dropout, seed=3)
        self.head = keras.layers.Dense(7)

    def call(self, inputs, training=False):
        source = ops.mean(self.embedding(inputs["source"]), axis=1, keepdims=True)
        return self.head(self.dropout(self.embedding(inputs["targets"]) + source, training=training))


def tagger(dropout=0.0, seed=1, optimizer=None):
    keras.utils.set_random_seed(seed)
    model = Tagger(dropout)
    model.compile(
        optimizer or keras.optimizers.Adam(0.02),
        kz.training.SparseCrossentropy(),
        weighted_metrics=[kz.training.TokenAccuracy()],
    )
    return model


def classifier(optimizer="adam", seed=1, dtype=None, **layer):
    keras.utils.set_random_seed(seed)
    layers = [
        keras.layers.Dense(7, activation="relu", dtype=dtype, **layer),
        keras.layers.Dense(CLASSES, dtype=dtype, **layer),
    ]
    model = keras.Sequential(layers)
    if dtype == "mixed_float16":  # Keras looks at the policy of the model, which has no argument for it here
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.get(optimizer), initial_scale=SCALE)
    model.compile(optimizer, kz.training.SparseCrossentropy(), weighted_metrics=[kz.training.TokenAccuracy()])
    return model


def batch_by_batch(model, corpus, batch_fn, plan, epochs):
    """What the programs must equal: one call of `train_on_batch` for each batch."""
    for epoch in epochs:
        for batch in plan.epoch(epoch):
            features, valid = corpus.batch(batch.rows, plan.shapes[batch.shape_index].lengths)
            data = batch_fn({name: ops.convert_to_tensor(value) for name, value in features.items()}, valid)
            data = keras.tree.map_structure(ops.convert_to_numpy, data)
            logs = model.train_on_batch(*data, return_dict=True)
    return logs


def assert_same(model, other, tolerance=1e-5):
    pairs = list(zip(model.variables, other.variables, strict=True))
    pairs += zip(model.optimizer.variables, other.optimizer.variables, strict=True)
    for one, two in pairs:
        np.testing.assert_allclose(
            ops.convert_to_numpy(one.value), ops.convert_to_numpy(two.value), tolerance, tolerance, err_msg=one.path
        )


class Record(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.steps, self.epochs, self.seen = [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.begin = batch

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append((self.begin, batch))
        self.seen.append({name: self.params[name] for name in ("step", "epoch", "position", "examples", "tokens")})

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, logs))


@pytest.mark.parametrize("steps", [3, *([pytest.param(None, marks=pytest.mark.slow)] if TENSORFLOW else [])])
def test_equals_train_on_batch_over_several_shapes(steps):
    corpus = sequences()
    plan = kz.data.Plan.of(corpus, batch_size=5, max_shapes=2, consecutive=4)
    assert len(plan.shapes) == 2
    model, expected = tagger(), tagger()
    fit(model, corpus, batch_of_sequences, plan, epochs=2, steps_per_execution=steps, jit_compile=steps is not None)
    batch_by_batch(expected, corpus, batch_of_sequences, plan, range(2))
    assert_same(model, expected)


OPTIMIZERS = {
    "clipping": (
        lambda: keras.optimizers.Adam(kz.training.WarmupCosine(0.1, 3, 20), global_clipnorm=0.01),
        {"kernel_regularizer": keras.regularizers.L1L2(0.01, 0.02), "activity_regularizer": "l2"},
        1e-5,
    ),
    "accumulation": (
        lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
        {"dtype": "mixed_bfloat16"},
        2e-2,
    ),
    "float16": (lambda: "adam", {"dtype": "mixed_float16"}, 5e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_train_on_batch_with(name):
    make, layer, tolerance = OPTIMIZERS[name]
    corpus = vectors()
    plan = kz.data.Plan.of(corpus, batch_size=5)
    model, expected = classifier(make(), **layer), classifier(make(), **layer)
    fit(model, corpus, batch_of_vectors, plan, epochs=2, steps_per_execution=3, jit_compile=name != "clipping")
    batch_by_batch(expected, corpus, batch_of_vectors, plan, range(2))
    assert_same(model, expected, tolerance)
    if name == "float16":  # the first gradients overflow and are left out, then the scale fits
        assert 2.0**11 < float(model.optimizer.dynamic_scale.value) < SCALE


def layers():
    return [
        keras.Input((FEATURES,)),
        keras.layers.Dense(4, "tanh", activity_regularizer="l2"),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(1),
    ]


def regression(eager=True):
    """Batch statistics, a penalty on activities, a loss and a metric without weights: all of them count rows."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(layers())
    model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"], run_eagerly=eager, jit_compile=False)
    return model


def check_against_model_fit(examples, batch_size, unseen, eager):
    rng = np.random.default_rng(examples)
    parts = [rng.normal(size=(count, FEATURES)).astype("float32") for count in (examples, unseen)]
    parts = [(inputs, np.square(inputs[:, :1]) * 3) for inputs in parts]
    corpora = [kz.data.Corpus({"x": inputs, "y": targets}) for inputs, targets in parts]
    plans = [kz.data.Plan.of(corpus, batch_size=batch_size, shuffle=False) for corpus in corpora]
    model, expected = regression(eager), regression(eager)
    history = fit(
        model,
        corpora[0],
        lambda features, valid: (features["x"], features["y"]),
        plans[0],
        epochs=2,
        validation_data=(corpora[1], plans[1]),
        jit_compile=False,
    ).history
    options = {"batch_size": min(batch_size, examples), "shuffle": False, "epochs": 2, "verbose": 0}
    wanted = expected.fit(*parts[0], validation_data=parts[1], validation_batch_size=batch_size, **options).history
    assert set(history) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_allclose(history[name], values, 1e-5, err_msg=name)
    assert_same(model, expected)


@pytest.mark.slow  # the next test has one of the sizes
@not_on_jax
@given(examples=st.integers(2, 9), batch_size=st.integers(2, 4), unseen=st.integers(1, 5))
@settings(max_examples=4, deadline=None, derandomize=True)
def test_equals_model_fit_for_every_remainder(examples, batch_size, unseen):
    check_against_model_fit(examples, batch_size, unseen, eager=True)


def test_compiled_programs_equal_model_fit_with_a_remainder():
    check_against_model_fit(examples=11, batch_size=4, unseen=5, eager=False)


def test_dropout_draws_anew_in_every_step():
    corpus = sequences()
    plan = kz.data.Plan.of(corpus, batch_size=5, max_shapes=1)
    model, expected = tagger(dropout=0.5), tagger(dropout=0.5)
    expected.jit_compile = True  # XLA draws other numbers than TensorFlow from the same seed
    fit(model, corpus, batch_of_sequences, plan, steps_per_execution=4)
    batch_by_batch(expected, corpus, batch_of_sequences, plan, range(1))
    assert_same(model, expected)
    state = ops.convert_to_numpy(model.dropout.seed_generator.state.value)
    assert state[1] == plan.steps


def test_logs_and_callbacks_are_those_of_fit():
    corpus, dev = vectors(), vectors(11, seed=1)
    plan, dev_plan = kz.data.Plan.of(corpus, batch_size=5), kz.data.Plan.of(dev, batch_size=3, shuffle=False)
    record, model = Record(), classifier()
    history = fit(
        model,
        corpus,
        batch_of_vectors,
        plan,
        epochs=2,
        callbacks=[record],
        validation_data=(dev, dev_plan),
        steps_per_execution=2,
        validation_freq=2,
        **TRACED,
    )
    assert record.steps == [(0, 1), (2, 3), (4, 4)] * 2
    assert record.seen[1] == {"step": 4, "epoch": 0, "position": 4, "examples": 20, "tokens": 0}
    assert 0 < record.params["compile_seconds"] < float("inf")
    assert record.seen[-1] == {"step": 10, "epoch": 1, "position": 5, "examples": 46, "tokens": 0}
    assert [epoch for epoch, _ in record.epochs] == [0, 1]
    assert set(record.epochs[0][1]) == {"loss", "accuracy"}
    assert set(record.epochs[1][1]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history.history["accuracy"] == [logs["accuracy"] for _, logs in record.epochs]
    features, valid = dev.batch(np.arange(11))
    inputs, targets, weights = map(ops.convert_to_numpy, batch_of_vectors(features, valid))
    expected = model.evaluate(inputs, targets, sample_weight=weights, return_dict=True, verbose=0)
    measured = evaluate(model, dev, batch_of_vectors, dev_plan, **TRACED)
    assert measured["accuracy"] == pytest.approx(expected["accuracy"]) == history.history["val_accuracy"][0]
    assert measured["loss"] == pytest.approx(history.history["val_loss"][0])


def test_nothing_is_traced_twice():
    corpus = sequences()
    plan = kz.data.Plan.of(corpus, batch_size=5, max_shapes=2, consecutive=3)
    shapes = []

    def batch_fn(features, valid):
        shapes.append(tuple(features["source"].shape))
        return batch_of_sequences(features, valid)

    model = tagger()
    fit(model, corpus, batch_fn, plan, epochs=3, validation_data=(corpus, plan), seconds_per_execution=1e-3, **TRACED)
    # One trace of each shape for training and for validation; before them, one that creates the variables.
    wanted = {(len(batch.rows), plan.shapes[batch.shape_index].lengths["source"]) for batch in plan.epoch(0)}
    assert set(shapes) == wanted and len(wanted) == len(plan.shapes) + 1
    assert len(shapes) == 2 * len(wanted) + 1


def test_early_stopping_and_stop_training():
    corpus = vectors()
    plan = kz.data.Plan.of(corpus, batch_size=5)
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=1, mode="max", restore_best_weights=True)
    record = Record()
    options = {"epochs": 9, "jit_compile": False}
    validation = (corpus, plan)
    fit(classifier(), corpus, batch_of_vectors, plan, callbacks=[stop, record], validation_data=validation, **options)
    assert [epoch for epoch, _ in record.epochs] == [0, 1]

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    record = Record()
    fit(classifier(), corpus, batch_of_vectors, plan, callbacks=[Stop(), record], steps_per_execution=2, **options)
    assert record.steps == [(0, 1)]


@not_on_jax
def test_backup_and_restore_of_keras_goes_on_with_its_epoch(tmp_path):
    class Fail(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power failure")

    corpus, record = vectors(), Record()
    plan, backup = kz.data.Plan.of(corpus, batch_size=5), keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    options = {"epochs": 3, "jit_compile": False}
    first, second = classifier(), classifier()
    for model in (first, second):  # Keras demands it
        model.build((None, FEATURES))
        model.optimizer.build(model.trainable_variables)
    with pytest.raises(RuntimeError, match="power failure"):
        fit(first, corpus, batch_of_vectors, plan, callbacks=[backup, Fail()], **options)
    fit(second, corpus, batch_of_vectors, plan, callbacks=[backup, record], **options)
    assert [epoch for epoch, _ in record.epochs] == [2]


def test_a_callback_may_change_the_learning_rate():
    class Freeze(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.optimizer.learning_rate = 0.0
            self.kept = [np.array(weight) for weight in self.model.get_weights()]

    corpus, freeze = vectors(), Freeze()
    model = classifier(keras.optimizers.SGD(0.5))
    start = model.build((None, FEATURES)) or model.get_weights()
    plan = kz.data.Plan.of(corpus, batch_size=5)
    fit(model, corpus, batch_of_vectors, plan, epochs=2, callbacks=[freeze], steps_per_execution=2)
    assert np.abs(freeze.kept[0] - start[0]).max() > 0
    np.testing.assert_array_equal(model.get_weights()[0], freeze.kept[0])


@not_on_jax
def test_a_callback_may_evaluate_on_data_of_its_own():
    rng = np.random.default_rng(4)
    own = rng.random((4, FEATURES)), rng.integers(0, CLASSES, 4)

    class Evaluate(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.found = self.model.evaluate(*own, verbose=0, return_dict=True)["loss"]

    corpus, callback = vectors(), Evaluate()
    plan, model = kz.data.Plan.of(corpus, batch_size=5), classifier()
    fit(model, corpus, batch_of_vectors, plan, callbacks=[callback], validation_data=(corpus, plan), **TRACED)
    assert callback.found == pytest.approx(model.evaluate(*own, verbose=0, return_dict=True)["loss"])


@not_on_jax
def test_plain_fit_works_before_and_after():
    corpus = vectors()
    plan, model = kz.data.Plan.of(corpus, batch_size=5), classifier()
    inputs, targets, weights = map(ops.convert_to_numpy, batch_of_vectors(corpus.features, np.ones(23, bool)))
    for _ in range(2):
        model.fit(inputs, targets, sample_weight=weights, verbose=0)
        before = model.train_function
        fit(model, corpus, batch_of_vectors, plan, **TRACED)
        assert model.train_function is before


@not_on_jax
def test_keras_takes_other_validation_data():
    corpus = vectors()
    data = tuple(np.asarray(part) for part in batch_of_vectors(corpus.features, np.ones(23, bool)))
    plan = kz.data.Plan.of(corpus, batch_size=5)
    history = fit(classifier(), corpus, batch_of_vectors, plan, validation_data=data, **TRACED).history
    assert np.isfinite(history["val_loss"][0])


def test_goes_on_inside_an_epoch():
    corpus = vectors()
    plan, model, expected = kz.data.Plan.of(corpus, batch_size=3), classifier(), classifier()
    fit(expected, corpus, batch_of_vectors, plan, epochs=2, **TRACED)

    class Stop(keras.callbacks.Callback):
        every_steps = 3

        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = self.params["step"] == 3

    fit(model, corpus, batch_of_vectors, plan, epochs=2, callbacks=[Stop()], steps_per_execution=100, **TRACED)
    record = Record()
    resume = {"epoch": 0, "position": 3, "step": 3}
    fit(model, corpus, batch_of_vectors, plan, epochs=2, callbacks=[record], resume=resume, **TRACED)
    assert record.steps[0][0] == 3
    assert record.seen[-1]["step"] == 2 * plan.steps
    assert_same(model, expected)


@not_on_jax
@pytest.mark.parametrize("skip", [[[0, 1, 3], [1, 4, 9], [1, 0, 1]], [[0, 0, 5]]])
def test_batches_that_are_left_out_are_no_steps(skip):
    corpus, record = vectors(), Record()
    plan, model, expected = kz.data.Plan.of(corpus, batch_size=5), classifier(), classifier()
    start = {"epoch": 0, "position": 0, "step": 0, "skip": skip}
    fit(model, corpus, batch_of_vectors, plan, epochs=2, resume=start, callbacks=[record], jit_compile=False)
    expected.build((None, FEATURES))
    left = [(epoch, index) for epoch in range(2) for index in range(5)]
    left = [each for each in left if not any(each[0] == e and a <= each[1] < b for e, a, b in skip)]
    for epoch, index in left:
        features, valid = corpus.batch(plan.epoch(epoch)[index].rows)
        inputs, targets, weights = batch_of_vectors(features, valid)
        expected.train_on_batch(inputs, targets, sample_weight=weights)
    assert_same(model, expected)
    assert record.seen[-1]["step"] == len(left) and record.params["skip"] == skip


@not_on_jax
def test_eager_models_run_step_by_step():
    corpus = vectors(7)
    plan, model, expected = kz.data.Plan.of(corpus, batch_size=5), classifier(), classifier()
    model.run_eagerly = True
    fit(model, corpus, batch_of_vectors, plan, steps_per_execution=2)
    batch_by_batch(expected, corpus, batch_of_vectors, plan, range(1))
    assert_same(model, expected)


@pytest.mark.skipif(not TENSORFLOW, reason="JAX compiles everything with XLA or not at all")
def test_model_that_xla_refuses_trains_without_it(capsys):
    import tensorflow as tf

    class Strange(keras.layers.Layer):
        def call(self, inputs):
            words = tf.strings.as_string(inputs)
            return tf.reshape(tf.strings.to_number(words), tf.shape(inputs))

    keras.utils.set_random_seed(1)
    model = keras.Sequential([Strange(), keras.layers.Dense(CLASSES)])
    model.compile("sgd", kz.training.SparseCrossentropy())
    corpus = vectors()
    plan = kz.data.Plan.of(corpus, batch_size=5)
    history = fit(model, corpus, batch_of_vectors, plan, epochs=2, validation_data=(corpus, plan)).history
    assert np.isfinite(history["loss"]).all()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"XLA cannot compile {model.name}, so it runs without XLA: ") and "AsString" in said[0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"plan": None}, ValueError, r"fit: `plan` of a corpus must have `epoch`; got plan=None"),
        ({"data": [1]}, ValueError, r"fit: `data` of a corpus must have `features`; got data=\[1\]"),
        ({"batch_fn": 3}, ValueError, r"a corpus needs a function `batch_fn`; got batch_fn=3"),
        ({"epochs": 0}, ValueError, r"fit: `epochs` must be an integer above 0; got epochs=0"),
        ({"steps_per_execution": -1}, ValueError, r"fit: `steps_per_execution` must be .*got steps_per_execution=-1"),
        (
            {"seconds_per_execution": 0},
            ValueError,
            r"fit: `seconds_per_execution` must be .*got seconds_per_execution=0",
        ),
        ({"model": keras.Sequential(name="raw")}, ValueError, r"fit: the model must be compiled first; got 'raw'"),
    ],
)
def test_bad_arguments_are_refused(change, error, message):
    corpus = vectors()
    arguments = {
        "model": classifier(),
        "data": corpus,
        "batch_fn": batch_of_vectors,
        "plan": kz.data.Plan.of(corpus, batch_size=5),
    }
    with pytest.raises(error, match=message):
        fit(**{**arguments, **change})


@pytest.mark.skipif(not TENSORFLOW, reason="JAX compiles with XLA or not at all")
def test_xla_compiles_recurrent_models(capfd):
    """A recurrence that is traced outside of XLA has a gradient of unknown size, which XLA refuses."""
    corpus = sequences(13)
    model = kz.models.LSTMSeq2Seq(7, 7, embedding_dim=3, units=5, attention="additive")
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    plan = kz.data.Plan.of(corpus, batch_size=13, max_shapes=1)
    fit(model, corpus, batch_of_sequences, plan)
    assert "XLA cannot compile" not in capfd.readouterr().err
