"""Files made to do harm, through the public functions that load: each is refused in words, and none does anything.

What would be executed writes the file `executed`; what would be read from elsewhere is the file `secret`. After each
case the first is missing and the second unchanged, and no memory was taken that a file merely claims.
"""

import hashlib
import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

import kerazoo as kz
from kerazoo import _checks, _files
from kerazoo.export import verification
from kerazoo.export.operations import ALLOWED, RESTORING, SAVING

LARGE = 2**27  # bytes that a small file claims or unpacks to
MEMORY = 2**26  # that loading one may take


class Executing:
    """An object whose unpickling writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.write_text, (self.path, "executed")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small run, with a vocabulary."""
    folder = tmp_path_factory.mktemp("trained")
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text("text\tlabel\n" + "ab cd\tgood\nef\tbad\n" * 8)
    options = {"data_dir": folder, "inputs": "text:text", "targets": "label:label"}
    training = {"epochs": 1, "xla": False, "batch_size": 8, "max_shapes": 1, "optimizer": "sgd"}
    kz.run.train("bag+classifier", "table", folder / "run", {"encoder.units": 5}, options, training,
                 evaluate=False, tensorboard=False)  # fmt: skip
    return folder / "run"


@pytest.fixture(scope="module")
def model(trained):
    return kz.load(trained).model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel that only computes."""
    tf = pytest.importorskip("tensorflow")

    class Doubling(tf.Module):
        def __init__(self):
            super().__init__()
            self.factor = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None], name="source")])
        def __call__(self, source):
            return {"value": self.factor * source}

    folder = tmp_path_factory.mktemp("saved") / "doubling"
    module = Doubling()
    tf.saved_model.save(module, os.fspath(folder), signatures=module.__call__)
    return folder


@pytest.fixture
def harmless(tmp_path):
    """The folder of a case, in which nothing is executed, read from outside or taken much memory for."""
    executed, secret = tmp_path / "executed", tmp_path / "secret"
    secret.write_text("secret")
    modules = set(sys.modules)
    tracemalloc.start()
    yield tmp_path
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not executed.exists() and secret.read_text() == "secret"
    assert not {"antigravity", "this"} & (set(sys.modules) - modules)
    assert peak < MEMORY, f"{peak:,} bytes were taken"


# Runs.


def change(path, **values):
    _files.write_record(path, {**_files.read_record(path), **values})


def checkpoint(run):
    (folder,) = (run / "checkpoints").iterdir()
    return folder


def with_sum(folder, name, content):
    """Replaces a file of a checkpoint together with its SHA-256, as somebody would who made all of it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / name).write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def npz(arrays, compression=zipfile.ZIP_STORED):
    """The bytes of an `.npz` file of named contents, which need not be arrays."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, each in arrays.items():
            archive.writestr(name, each)
    return content.getvalue()


def header(shape, dtype="<f4"):
    """The beginning of an `.npy` file."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def pickled(path):
    return header((1,), "|O") + pickle.dumps(np.array([Executing(path)], object))


def a_lambda(run, folder):
    code = {"class_name": "__lambda__", "config": {"value": "4wEAAAAAAAAAAAAAAAEAAAADAAAA8wAAAAA="}}
    change(run / "run.json", model_options={"encoder.activation": code, "encoder.units": code})


def a_lambda_layer(run, folder):
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "os.system"}}
    change(run / "run.json", model_options={"encoder.units": layer})


def a_foreign_class(run, folder):
    change(run / "run.json", model="os:system", model_options={"command": f"touch {folder / 'executed'}"})


def a_foreign_module(run, folder):
    change(run / "run.json", **{"import": ["antigravity"]})


def a_task_elsewhere(run, folder):
    change(run / "task" / "task.json", name="../../secret")


def an_unknown_option(run, folder):
    change(run / "run.json", model_options={"hook": "os.system"})


def a_checkpoint_elsewhere(run, folder):
    shutil.move(checkpoint(run), folder / checkpoint(run).name)
    (run / "checkpoints" / "step-000000001").symlink_to(next(folder.glob("step-*")))


def a_link_to_a_secret(run, folder):
    (run / "report.md").symlink_to(folder / "secret")


def swapped_weights(run, folder):
    path = checkpoint(run) / "model.npz"
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)


def pickled_weights(run, folder):
    names = zipfile.ZipFile(checkpoint(run) / "model.npz").namelist()
    with_sum(checkpoint(run), "model.npz", npz(dict.fromkeys(names, pickled(folder / "executed"))))


def a_bomb_as_weights(run, folder):
    names = zipfile.ZipFile(checkpoint(run) / "model.npz").namelist()
    content = npz({names[0]: bytes(LARGE)}, zipfile.ZIP_DEFLATED)
    with_sum(checkpoint(run), "model.npz", content)


def huge_shapes(run, folder):
    layout = json.loads((checkpoint(run) / "state.json").read_text())
    for each in layout["layouts"]["model"]:
        each["shape"] = [2**20 for _ in each["shape"]]
    with_sum(checkpoint(run), "state.json", json.dumps(layout).encode())


def huge_sizes(run, folder):
    change(run / "run.json", model_options={"encoder.units": 10**7})


RUNS = [a_lambda, a_lambda_layer, a_foreign_class, a_foreign_module, a_task_elsewhere, an_unknown_option,
        a_checkpoint_elsewhere, a_link_to_a_secret, swapped_weights, pickled_weights, a_bomb_as_weights, huge_shapes,
        huge_sizes]  # fmt: skip


@pytest.mark.parametrize("make", RUNS, ids=lambda make: make.__name__)
def test_a_hostile_run_is_refused(trained, harmless, make):
    run = shutil.copytree(trained, harmless / "run")
    make(run, harmless)
    tracemalloc.reset_peak()
    with pytest.raises((_checks.CheckpointError, _checks.SetupError)) as caught:
        kz.load(run)
    assert 20 < len(str(caught.value)) < 600 and "Traceback" not in str(caught.value)


# Files of weights.


def weights(model, **changed):
    """The bytes of a file of weights by the names of the variables, some of them changed."""
    arrays = {}
    for path, variable in kz.transfer.variables(model).items():
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(variable.shape, "float32"))
        arrays[f"{path}.npy"] = buffer.getvalue()
    return {**arrays, **changed}


def one_pickle(model, folder):
    return npz(weights(model, **{"head.bias.npy": pickled(folder / "executed")}))


def a_member_elsewhere(model, folder):
    return npz(weights(model, **{"../executed.npy": header((1,)) + bytes(4)}))


def a_huge_shape(model, folder):
    return npz(weights(model, **{"head.bias.npy": header((2**40,)) + bytes(4)}))


def a_bomb(model, folder):
    return npz(weights(model, **{"head.bias.npy": header((LARGE // 4,)) + bytes(LARGE)}), zipfile.ZIP_DEFLATED)


def a_keras_file(model, folder):
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "os.system"}}
    return npz({"config.json": json.dumps(layer), "metadata.json": "{}", "model.weights.h5": b"\x89HDF"})


def a_pickle(model, folder):
    return pickle.dumps(Executing(folder / "executed"))


def a_huge_header(model, folder):
    return struct.pack("<Q", 2**60) + b'{"a":{}}'


def huge_offsets(model, folder):
    text = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    return struct.pack("<Q", len(text)) + text


FILES = [one_pickle, a_member_elsewhere, a_huge_shape, a_bomb, a_keras_file, a_pickle, a_huge_header, huge_offsets]


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_a_hostile_file_of_weights_is_refused(model, harmless, make):
    before = [variable.numpy() for variable in model.weights]
    path = harmless / "weights"
    path.write_bytes(make(model, harmless))
    tracemalloc.reset_peak()
    with pytest.raises(_checks.CheckpointError, match="weights: "):
        kz.transfer.load_weights(model, path)
    for variable, value in zip(model.weights, before):
        np.testing.assert_array_equal(variable.numpy(), value)
    assert {each.name for each in harmless.iterdir()} == {"weights", "secret"}


# SavedModels.


def edited(saved, harmless, edit):
    """A copy of a SavedModel whose file was edited."""
    from tensorflow.core.protobuf import saved_model_pb2

    folder = shutil.copytree(saved, harmless / "saved")
    content = saved_model_pb2.SavedModel()
    content.ParseFromString((folder / "saved_model.pb").read_bytes())
    edit(content.meta_graphs[0], folder)
    (folder / "saved_model.pb").write_bytes(content.SerializeToString())
    return folder


def in_a_function(name):
    """Adds an operation to a function that is no saver."""

    def edit(graph, folder):
        function = next(f for f in graph.graph_def.library.function if "traced" not in f.signature.name)
        function.node_def.add(name="added", op=name)

    edit.__name__ = f"{name}_in_a_function"
    return edit


def write_in_the_graph(graph, folder):
    graph.graph_def.node.add(name="added", op="WriteFile")


def save_in_the_graph(graph, folder):
    graph.graph_def.node.add(name="added", op="SaveV2")


def a_save_that_restores(graph, folder):
    """The saver's function that runs when weights are restored writes as well."""
    for function in graph.graph_def.library.function:
        if "traced_restore" in function.signature.name:
            function.node_def.add(name="added", op="SaveV2")


def a_second_caller_of_the_saver(graph, folder):
    name = next(f.signature.name for f in graph.graph_def.library.function if "traced_save" in f.signature.name)
    node = graph.graph_def.node.add(name="added", op="StatefulPartitionedCall")
    node.attr["f"].func.name = name


def a_signature_that_saves(graph, folder):
    output = next(iter(graph.signature_def["serving_default"].outputs.values()))
    output.name = graph.saver_def.save_tensor_name


def an_asset_elsewhere(graph, folder):
    graph.asset_file_def.add(filename="../../secret")


def no_objects(graph, folder):
    graph.ClearField("object_graph_def")


def a_link(graph, folder):
    shutil.rmtree(folder / "variables")
    (folder / "variables").symlink_to(folder.parent)


def a_file_as_text(graph, folder):
    (folder / "saved_model.pbtxt").write_text("")


OPERATIONS = ["WriteFile", "ReadFile", "PyFunc", "EagerPyFunc", "PrintV2", "SaveV2", "RestoreV2", "MatchingFiles",
              "InitializeTableFromTextFileV2", "Evil>Operation"]  # fmt: skip
MODELS = [
    *map(in_a_function, OPERATIONS),
    write_in_the_graph,
    save_in_the_graph,
    a_save_that_restores,
    a_second_caller_of_the_saver,
    a_signature_that_saves,
    an_asset_elsewhere,
    no_objects,
    a_link,
    a_file_as_text,
]


@pytest.mark.parametrize("edit", MODELS, ids=lambda edit: edit.__name__)
def test_a_hostile_saved_model_is_refused_before_it_is_loaded(saved, harmless, monkeypatch, edit):
    import tensorflow as tf

    folder = edited(saved, harmless, edit)
    _files.write_record(folder / verification.RECORD, {"format": "saved_model", "cases": []})
    monkeypatch.setattr(tf.saved_model, "load", lambda *args: pytest.fail("it was loaded"))
    monkeypatch.setattr(verification, "run_fresh", lambda *args: pytest.fail("it was loaded"))
    for call in (
        lambda: kz.export.check_operations(folder),
        lambda: kz.export.verify(folder),
        lambda: verification.fresh_outputs([(folder, {"source": [1.0]})]),
        lambda: kz.export.measure_latency(folder, {"source": [1.0]}),
    ):
        with pytest.raises(_checks.CheckpointError, match="the SavedModel is not loaded: ") as caught:
            call()
    if edit.__name__.endswith("_in_a_function"):
        assert repr(edit.__name__.removesuffix("_in_a_function")) in str(caught.value)


def test_a_model_that_writes_a_file_is_refused(harmless):
    import tensorflow as tf

    class Writing(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], name="source")])
        def __call__(self, source):
            tf.io.write_file(os.fspath(harmless / "executed"), "executed")
            return {"value": source}

    folder, module = harmless / "saved", Writing()
    tf.saved_model.save(module, os.fspath(folder), signatures=module.__call__)
    with pytest.raises(_checks.CheckpointError, match="has the operation 'WriteFile'"):
        verification.fresh_outputs([(folder, {"source": [1.0]})])


def test_what_only_computes_is_counted(saved):
    found = kz.export.check_operations(saved)
    assert found["Mul"] == 1 and found["SaveV2"] == 1
    assert set(found) <= ALLOWED | SAVING | RESTORING
    (saved.parent / "none").mkdir(exist_ok=True)
    with pytest.raises(_checks.CheckpointError, match="saved_model.pb cannot be read: No such file"):
        kz.export.check_operations(saved.parent / "none")


def test_the_list_has_operations_of_tensorflow_that_have_no_effect():
    """Those with a state are known one by one: variables, tables, calls, and checks that raise."""
    from tensorflow.python.framework import op_def_registry

    found = {name: op_def_registry.get(name) for name in ALLOWED}
    stateful = {name for name, definition in found.items() if definition is not None and definition.is_stateful}
    assert stateful == {
        "Assert", "AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp", "Case", "CheckNumerics",
        "DisableCopyOnRead", "HashTableV2", "If", "LookupTableFindV2", "LookupTableImportV2", "LookupTableSizeV2",
        "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "StatefulPartitionedCall", "StatelessRandomGetAlg",
        "VarHandleOp", "VarIsInitializedOp", "VariableShape", "While",
    }  # fmt: skip
    assert not [name for name, definition in found.items() if definition is None]
