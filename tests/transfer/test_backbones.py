"""Networks of `keras.applications` as encoders: outputs, files of weights of both kinds, and what is refused."""

import h5py
import keras
import numpy as np
import pytest
from keras import ops

import kerazoo as kz
from kerazoo import _checks
from kerazoo.layers import BackboneEncoder
from kerazoo.transfer import load_weights

SIZES = {"encoder.backbone": "MobileNet", "encoder.alpha": 0.25}
IMAGES = np.random.default_rng(3).uniform(size=(2, 64, 37, 3)).astype("float32")


@pytest.fixture(scope="module")
def network():
    """The network as Keras makes it, with weights that are not those of a new one."""
    keras.utils.set_random_seed(4)
    network = keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None, input_shape=(None, None, 3))
    for variable in network.variables:
        if "moving" in variable.path or variable.name in ("gamma", "beta"):
            variable.assign(np.random.default_rng(5).uniform(0.5, 1.5, variable.shape))
    return network


@pytest.fixture(scope="module")
def classifier():
    model = kz.create("backbone+classifier", num_classes=5, input_shape=(64, 37, 3), **SIZES)
    model.build_from_inputs()
    return model


def write_in_order(path, network, group="", extra=()):
    """Writes the weights of a model layer by layer, as Keras did before `.weights.h5`."""
    layers = [(layer.name, layer.weights) for layer in network.layers] + [(name, []) for name in extra]
    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        names = [name.encode() for name, _ in layers]
        for part, start in enumerate(range(0, len(names), 50)):  # as Keras divides long attributes
            root.attrs[f"layer_names{part}"] = names[start : start + 50]
        if group:  # which a short one is not
            for part in range(-(-len(names) // 50)):
                del root.attrs[f"layer_names{part}"]
            root.attrs["layer_names"] = names
        for name, weights in layers:
            each = root.create_group(name)
            each.attrs["weight_names"] = [f"{name}/{weight.name}:0".encode() for weight in weights]
            for weight in weights:
                each[f"{name}/{weight.name}:0"] = ops.convert_to_numpy(weight.value)
        if extra:
            each.attrs["weight_names"] = [f"{extra[-1]}/kernel:0".encode()]
            each[f"{extra[-1]}/kernel:0"] = np.ones((3, 5), "float32")
    return path


def values(model):
    return [np.array(ops.convert_to_numpy(variable.value)) for variable in model.variables]


@pytest.mark.parametrize("kind", ["in order", "model", "weights.h5"])
def test_files_of_the_network_give_its_outputs(network, classifier, tmp_path, kind):
    for variable in classifier.encoder.backbone.variables:
        variable.assign(np.ones(variable.shape))
    path = tmp_path / "network.weights.h5"
    if kind == "weights.h5":
        network.save_weights(path)
    else:
        write_in_order(path, network, "model_weights" if kind == "model" else "")
    head = np.array(ops.convert_to_numpy(classifier.head.kernel.value))
    report = load_weights(classifier, path)
    assert report.architecture == "Keras" and sum(report.loaded.values()) == network.count_params()
    assert set(report.kept) == {"head.kernel", "head.bias"} and np.array_equal(head, classifier.head.kernel)
    if kind != "model":
        pixels = keras.applications.mobilenet.preprocess_input(255 * IMAGES.copy())
        features = np.array(ops.convert_to_numpy(network(pixels, training=False)))
        encoded = classifier.encoder(IMAGES, training=False)
        np.testing.assert_allclose(encoded["sequence"], features.reshape(2, 2, 256), rtol=1e-4, atol=1e-4)
        assert np.all(encoded["mask"]) and encoded["mask"].shape == (2, 2)


def test_files_of_another_network_are_refused(network, classifier, tmp_path):
    before = values(classifier)
    path = write_in_order(tmp_path / "top.h5", network, extra=("predictions",))
    with pytest.raises(_checks.CheckpointError, match=r"55 layers with weights, the model 54. Take a file without the"):
        load_weights(classifier, path)
    wide = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="wide")])
    with pytest.raises(_checks.CheckpointError, match="it has 1 layers with weights, the model 54"):
        load_weights(classifier, write_in_order(tmp_path / "wide.h5", wide))
    path = write_in_order(tmp_path / "shape.h5", network)
    with h5py.File(path, "r+") as file:
        del file["conv1/conv1/kernel:0"]
        file["conv1/conv1/kernel:0"] = np.ones((3, 3, 3, 7), "float32")
    with pytest.raises(_checks.CheckpointError, match=r"layer conv1 has the shapes \[\(3, 3, 3, 7\)\], conv1 needs"):
        load_weights(classifier, path)
    with h5py.File(path, "r+") as file:
        del file["conv1/conv1/kernel:0"]
    with pytest.raises(_checks.CheckpointError, match="conv1/conv1/kernel:0 is named and is not there"):
        load_weights(classifier, path)
    assert all(np.array_equal(one, two) for one, two in zip(before, values(classifier)))


def test_a_frozen_network_keeps_its_statistics(classifier):
    layers = kz.transfer.layers(classifier)
    assert "encoder.backbone.conv1_bn" in layers
    kz.training.set_trainable(layers["encoder.backbone"], False)
    before = values(classifier.encoder)
    classifier({"source": IMAGES}, training=True)
    assert all(np.array_equal(one, two) for one, two in zip(before, values(classifier.encoder)))
    assert {variable.name for variable in classifier.trainable_variables} == {"kernel", "bias"}
    kz.training.set_trainable(layers["encoder.backbone"], True)


def test_grey_images_and_a_decoder_that_attends():
    sizes = {"decoder.num_layers": 1, "decoder.hidden_dim": 8, "decoder.num_heads": 2, "decoder.intermediate_dim": 11}
    model = kz.create("backbone+transformer", vocabulary_size=13, **SIZES, **sizes)
    assert model.encoder.positions == "sinusoidal"
    inputs = {"source": IMAGES[:1, ..., :1], "targets": np.array([[3, 4, 5]], "int32")}
    assert model(inputs).shape == (1, 3, 13)
    again = BackboneEncoder.from_config(model.encoder.get_config())
    assert again.get_config() == model.encoder.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BackboneEncoder("MobileNetV3Smal"), "Unknown backbone .* Close names: MobileNetV3Small"),
        (lambda: BackboneEncoder("ResNet50", alpha=0.5), "`alpha` is of the MobileNets; got alpha=0.5 for ResNet50"),
        (lambda: BackboneEncoder("MobileNet", alpha=0), "`alpha` must be"),
        (
            lambda: kz.create("backbone+lstm", vocabulary_size=5, source_vocabulary_size=7),
            r"BackboneEncoder reads images.* got source_vocabulary_size=7",
        ),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_small_images_are_refused(classifier):
    with pytest.raises(ValueError, match=r"at least 32 pixels on a side; got shape \(2, 31, 32, 3\)"):
        classifier.encoder.build((2, 31, 32, 3))


@pytest.mark.slow  # python -m pytest -m slow tests/transfer/test_backbones.py -n 0
def test_weights_in_a_file_become_a_run_that_predicts_and_exports(network, tmp_path):
    image = pytest.importorskip("PIL.Image")
    for split, count in (("train", 8), ("dev", 2), ("test", 2)):
        for name, level in (("dark", 40), ("light", 200)):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                noise = np.random.default_rng(number).integers(0, 40, (32, 32, 3))
                image.fromarray((level + noise).astype("uint8")).save(folder / f"{number}.png")
    path = write_in_order(tmp_path / "mobilenet_notop.h5", network)
    options = {"epochs": 2, "batch_size": 16, "xla": False, "freeze": ("encoder.backbone",), "learning_rate": 0.01}
    found = kz.run.finetune(
        path, "images", "backbone+classifier", tmp_path / "run", model_options=SIZES,
        task_options={"data_dir": str(tmp_path / "data")}, training=options, tensorboard=False,
    )  # fmt: skip
    weights = found.model.encoder.backbone.get_weights()
    assert all(np.array_equal(one, two) for one, two in zip(network.get_weights(), weights))
    kz.run.export(tmp_path / "run", tmp_path / "saved")
    assert kz.load(tmp_path / "run")(found.task.examples("test")[0]) == found(found.task.examples("test")[0])
