"""Users' own models: the logs and weights of `fit` are those of `Model.fit` on the same batches, step by step."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo.training import evaluate, fit

TENSORFLOW = keras.backend.backend() == "tensorflow"
EXAMPLES, FEATURES, CLASSES, BATCH, STEPS = 31, 5, 3, 7, 2


def arrays():
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(EXAMPLES, FEATURES)).astype("float32")
    labels = (np.abs(inputs[:, 0]) * 2).astype("int32") % CLASSES
    return inputs, labels


def vector_metric():
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(CLASSES, "softmax")])
    metrics = [keras.metrics.F1Score(average=None, name="f1"), "accuracy"]
    model.compile("sgd", "categorical_crossentropy", metrics=metrics, steps_per_execution=STEPS)
    inputs, labels = arrays()
    return model, (inputs, np.eye(CLASSES, dtype="float32")[labels])


@keras.saving.register_keras_serializable(package="tests")
class Activity(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(0.1 * ops.mean(ops.square(inputs)))
        return inputs


def several_outputs():
    inputs = keras.Input((FEATURES,))
    hidden = Activity()(keras.layers.Dense(2, "tanh")(inputs))
    outputs = {
        "label": keras.layers.Dense(CLASSES, name="label")(hidden),
        "size": keras.layers.Dense(1, name="size", kernel_regularizer="l2")(hidden),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        "adam",
        {"label": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"},
        loss_weights={"label": 0.7, "size": 1.3},
        metrics={"label": ["accuracy"], "size": ["mae"]},
        steps_per_execution=STEPS,
    )
    inputs, labels = arrays()
    # Keras on TensorFlow weighs its losses by the size of the batch until that changes; here it does not.
    inputs, labels = inputs[: EXAMPLES // BATCH * BATCH], labels[: EXAMPLES // BATCH * BATCH]
    return model, (inputs, {"label": labels, "size": inputs[:, :1] * 2})


class OwnStep(keras.Model):
    """Logs what is no metric: the loss of the last batch, its gradient's first part, and a constant."""

    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(1)
        self.mean = keras.metrics.Mean(name="mean_loss")

    def call(self, inputs):
        return self.head(inputs)

    if TENSORFLOW:

        def train_step(self, data):
            import tensorflow as tf

            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
            self.mean.update_state(loss)
            return {"own": loss, "first": gradients[0][:, 0], "mean": self.mean.result(), "constant": 3.0}

    else:

        def train_step(self, state, data):
            import jax

            trainable, non_trainable, optimizer, metrics = state
            x, y = data
            (loss, (_, _, non_trainable, metrics)), gradients = jax.value_and_grad(
                self.compute_loss_and_updates, has_aux=True
            )(trainable, non_trainable, metrics, x, y, None, training=True, optimizer_variables=optimizer)
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            index = [variable.path for variable in self.metrics_variables].index(self.mean.variables[0].path)
            own = metrics[index : index + 2]
            own = self.mean.stateless_update_state(own, loss)
            metrics = [*metrics[:index], *own, *metrics[index + 2 :]]
            logs = {"own": loss, "first": gradients[0][:, 0], "mean": self.mean.stateless_result(own), "constant": 3.0}
            return logs, (trainable, non_trainable, optimizer, metrics)


def own_step():
    model = OwnStep()
    model.compile(keras.optimizers.SGD(0.05), "mse", steps_per_execution=STEPS)
    inputs, labels = arrays()
    return model, (inputs, labels[:, None].astype("float32"))


class Adversarial(keras.Model):
    """Two networks, two optimizers, two gradient tapes and no `call`."""

    def __init__(self):
        super().__init__()
        self.generator = keras.layers.Dense(FEATURES)
        self.discriminator = keras.Sequential([keras.layers.Dense(2, "relu"), keras.layers.Dense(1)])
        self.generator_loss = keras.metrics.Mean(name="generator_loss")
        self.discriminator_loss = keras.metrics.Mean(name="discriminator_loss")

    def compile(self, generator_optimizer, discriminator_optimizer, **options):
        super().compile(optimizer=discriminator_optimizer, **options)
        self.generator_optimizer = generator_optimizer

    @property
    def metrics(self):
        return [self.generator_loss, self.discriminator_loss]

    def train_step(self, data):
        import tensorflow as tf

        inputs, _ = data
        noise = inputs[:, ::-1]
        with tf.GradientTape() as tape:
            scores = self.discriminator(self.generator(noise)), self.discriminator(inputs)
            loss = ops.mean(ops.softplus(scores[0])) + ops.mean(ops.softplus(-scores[1]))
        variables = self.discriminator.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        self.discriminator_loss.update_state(loss)
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.softplus(-self.discriminator(self.generator(noise))))
        variables = self.generator.trainable_variables
        self.generator_optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        self.generator_loss.update_state(loss)
        return {metric.name: metric.result() for metric in self.metrics}


def two_optimizers():
    model = Adversarial()
    model.compile(keras.optimizers.Adam(0.02), keras.optimizers.SGD(0.1), steps_per_execution=STEPS)
    return model, arrays()


class Logs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.batches, self.epochs = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((batch, dict(logs)))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, dict(logs)))


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for (index, logs), (same, wanted) in zip(found, expected):
        assert index == same and set(logs) == set(wanted)
        for name, value in wanted.items():
            assert type(logs[name]) is type(value), name
            np.testing.assert_allclose(logs[name], value, 1e-4, 1e-5, err_msg=name)


def make(builder):
    keras.utils.set_random_seed(1)
    return builder()


def batches(data):
    starts = range(0, len(data[0]), BATCH)
    return [keras.tree.map_structure(lambda a, i=i: a[i : i + BATCH], data) for i in starts]


MODELS = [vector_metric, several_outputs, own_step, *([two_optimizers] if TENSORFLOW else [])]


@pytest.mark.parametrize("builder", MODELS)
def test_logs_equal_those_of_model_fit(builder):
    (model, data), (other, _), logs, expected = make(builder), make(builder), Logs(), Logs()
    compiled = builder in (own_step, two_optimizers)  # XLA compiles what users write themselves
    history = fit(model, batches(data), epochs=2, callbacks=[logs], jit_compile=compiled).history
    other.jit_compile = not TENSORFLOW
    wanted = other.fit(*data, batch_size=BATCH, shuffle=False, epochs=2, callbacks=[expected], verbose=0).history
    last = len(batches(data)) - 1
    assert [batch for batch, _ in logs.batches] == ([1, 3, 4] if last == 4 else [1, 3]) * 2
    # Keras counts whole executions, also where the last one has fewer steps.
    expected.batches = [(min(batch, last), values) for batch, values in expected.batches]
    assert_equal(logs.batches, expected.batches)
    assert_equal(logs.epochs, expected.epochs)
    assert_equal([(0, history)], [(0, wanted)])
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, 1e-4, 1e-5)


@pytest.mark.skipif(not TENSORFLOW, reason="this train_step is written with TensorFlow")
def test_a_model_with_two_optimizers_is_resumed(tmp_path):
    def fresh():
        model, data = make(two_optimizers)
        model.generator(data[0]), model.discriminator(data[0])
        model.built = True
        return model, batches(data)

    store = kz.training.CheckpointStore(tmp_path)
    (whole, data), (first, _), (other, _) = fresh(), fresh(), fresh()
    fit(whole, data, epochs=2, jit_compile=False)
    fit(first, data, epochs=1, jit_compile=False, callbacks=[kz.training.Checkpoints(store)])
    fit(other, data, epochs=2, jit_compile=False, resume=store.restore(other))
    assert int(other.generator_optimizer.iterations) == int(other.optimizer.iterations) == 2 * len(data)
    for one, two in zip(whole.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_vector_metrics_are_validated_evaluated_saved_and_shown(tmp_path, capsys):
    model, (inputs, labels) = make(vector_metric)
    corpus = kz.data.Corpus({"inputs": inputs, "labels": labels})
    plan = kz.data.Plan.of(corpus, batch_size=BATCH)
    callbacks = [
        kz.training.Progress(),
        kz.training.MetricsLog(tmp_path / "metrics.jsonl"),
        kz.training.Checkpoints(kz.training.CheckpointStore(tmp_path / "checkpoints"), monitor="val_loss"),
    ]

    def batch_fn(features, valid):
        return features["inputs"], features["labels"], ops.cast(valid, "float32")

    options = {"callbacks": callbacks, "validation_data": (corpus, plan), "jit_compile": False}
    history = fit(model, corpus, batch_fn, plan, **options).history
    assert np.shape(history["f1"]) == np.shape(history["val_f1"]) == (1, CLASSES)
    found = evaluate(model, corpus, batch_fn, plan, jit_compile=False)
    np.testing.assert_allclose(found["f1"], history["val_f1"][0], 1e-5)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    np.testing.assert_allclose(json.loads(line)["val_f1"], found["f1"], 1e-5)
    state = kz.training.CheckpointStore(tmp_path / "checkpoints").restore(model)
    np.testing.assert_allclose(state["history"][0]["val_f1"], found["f1"], 1e-5)
    assert f"val_f1 [{found['f1'][0]:.4g}, " in capsys.readouterr().err


def test_steps_per_execution_of_compile_is_used():
    model, data = make(vector_metric)
    logs = Logs()
    fit(model, batches(data), callbacks=[logs], steps_per_execution=3, jit_compile=False)  # the argument wins
    assert [batch for batch, _ in logs.batches] == [2, 3, 4]
