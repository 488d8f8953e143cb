"""Names are loaded when they are used, and layers, models and decoding need no TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import pytest

import kerazoo as kz

# What `import tensorflow` does on a machine that has none.
NO_TENSORFLOW = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_import_is_light():
    code = "import sys, kerazoo; dir(kerazoo); print([m for m in ('keras', 'tensorflow', 'numpy') if m in sys.modules])"
    assert run(code) == "[]"


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'kerazoo' has no attribute 'leyers'"):
        kz.leyers  # noqa: B018


@pytest.mark.parametrize("name", kz.__all__)
def test_every_public_name_is_there(name):
    assert name in dir(kz)
    if name in ("data", "export", "load", "run", "tasks", "text") and "tensorflow" not in sys.modules:
        pytest.skip("needs TensorFlow")
    if importlib.util.find_spec(f"kerazoo.{kz._NAMES.get(name, name)}") is None:
        pytest.skip("not built yet")
    assert getattr(kz, name) is not None


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """The lines of one process without TensorFlow, which loads a file of Keras first."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model = kz.create("lstm+transformer", source_vocabulary_size=11, vocabulary_size=13)
    model.compile("sgd", kz.training.SparseCrossentropy())
    model.build_from_inputs()
    model.save(path)
    return run(NO_TENSORFLOW + f"path = {str(path)!r}\n" + LOADED + TRAINED, KERAS_BACKEND="jax").splitlines()


LOADED = """
import keras, kerazoo as kz
model = keras.saving.load_model(path)
print(type(model).__name__, type(model.loss).__name__, model.count_params())
"""

# Text is planned, packed, changed and learnt, and images are too.
TRAINED = """
import numpy as np
from keras import ops
rows = kz.data.Ragged.from_rows([[5, 6, 7], [8], [9, 9], [4, 5, 6, 7], [7, 8]])
corpus = kz.data.Corpus({'targets': rows})
def batch(features, valid):
    targets = ops.cast(features['targets'], 'int32')
    inputs = {'targets': features['targets_read'], 'targets_segments': features['targets_segments']}
    return inputs, targets, ops.cast(targets > 0, 'float32')
model = kz.create('transformer_lm_tiny', num_layers=1, hidden_dim=8, num_heads=1, vocabulary_size=11)
model.compile('sgd', kz.training.SparseCrossentropy(), metrics=[kz.training.SequenceAccuracy()])
change, plan = kz.data.Augment(['replacement'], corpus), kz.data.PackedPlan.of(corpus, batch_size=9)
kz.training.fit(model, corpus, batch, plan, augment=change)
feed = lambda epoch: kz.data.batches(corpus, plan, batch, epoch=epoch, augment=change)
history = kz.training.fit(model, feed).history
assert np.isfinite(history['loss'][0]), history
assert model.generate(prompt=[[5, 6, 7]], max_length=5).best().shape == (1, 5)
task = kz.tasks.create('digits')
dev = task.load('dev')
for features, valid in kz.data.batches(dev, kz.data.Plan.of(dev, batch_size=13)):
    inputs, labels, weights = task.batch(features, valid)
assert inputs['source'].shape[1:] == (8, 8, 1) and float(weights.sum()) > 0
logits = np.zeros((len(labels), 10), 'float32')
assert abs(float(task.loss()(labels, logits, sample_weight=weights)) - np.log(10)) < 1e-5
assert task.decode(logits[:1]) == ['0']
assert task.encode(task.examples('dev', 2)[0])['source'].shape[0] == 2
assert 'tensorflow' not in sys.modules
print('done')
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
def test_files_of_models_load_after_importing_keras_and_kerazoo(printed):
    count = kz.count_parameters("lstm+transformer", source_vocabulary_size=11, vocabulary_size=13)
    assert printed[0] == f"EncoderDecoder SparseCrossentropy {count}"


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs JAX")
def test_models_are_made_trained_and_searched_without_tensorflow(printed):
    assert printed[1:] == ["done"]
