"""Run directories from elsewhere: whatever is in them, loading one runs no code, follows no link and ends in words."""

import hashlib
import json
import os
import shutil
import sys

import pytest

import kerazoo as kz
from kerazoo import _checks, _files

REFUSED = (_checks.CheckpointError, _checks.SetupError)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of a text classifier, which has a vocabulary."""
    folder = tmp_path_factory.mktemp("trained")
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text("text\tlabel\n" + "ab cd\tgood\nef\tbad\ncd ef\tgood\nab\tbad\n" * 4)
    options = {"data_dir": folder, "inputs": "text:text", "targets": "label:label"}
    model = {"num_layers": 1, "hidden_dim": 4, "num_heads": 2, "intermediate_dim": 6}
    training = {"epochs": 1, "xla": False, "batch_size": 8, "max_shapes": 1, "optimizer": "sgd"}
    kz.run.train("transformer_classifier", "table", folder / "run", model, options, training,
                 evaluate=False, tensorboard=False)  # fmt: skip
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(trained, tmp_path / "run")


def change(path, **values):
    _files.write_record(path, {**_files.read_record(path), **values})


def test_an_unchanged_copy_predicts(run):
    assert set(kz.load(run)(["ab cd", "ef"])) <= {"good", "bad"}


def test_no_module_is_imported_that_nobody_named(run, monkeypatch):
    (run / "evil_module.py").write_text("raise SystemExit('executed')")
    (run.parent / "own_module.py").write_text("x = 1")
    monkeypatch.syspath_prepend(run)
    monkeypatch.syspath_prepend(run.parent)
    before = set(sys.modules)
    for name in ("evil_module", "antigravity", "run.evil_module"):
        change(run / "run.json", **{"import": [name]})
        with pytest.raises(
            _checks.CheckpointError, match=f"importing it runs its code. If it is your own: imports='{name}'"
        ):
            kz.load(run)
    assert not {"evil_module", "antigravity"} & (set(sys.modules) - before)
    change(run / "run.json", **{"import": ["own_module"]})
    kz.load(run, imports="own_module")
    kz.load(run)  # imported by now
    monkeypatch.delitem(sys.modules, "own_module")


@pytest.mark.parametrize("name", ["run.json", "task/task.json", "task/source.json", "checkpoints", "lock", "x"])
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_links_and_pipes_are_refused(run, name, kind):
    path = run / name
    if path.exists():
        os.rename(path, run.parent / "elsewhere")
    (run.parent / "elsewhere").touch(exist_ok=True)
    path.symlink_to(run.parent / "elsewhere") if kind == "link" else os.mkfifo(path)
    with pytest.raises(_checks.CheckpointError, match=f"{name} is a (symbolic link|device, pipe or socket)"):
        kz.load(run)


SIZES = [
    {"hidden_dim": 10**9}, {"hidden_dim": 10**12}, {"num_layers": 10**6}, {"num_layers": 10**30},
    {"intermediate_dim": 10**10}, {"hidden_dim": 2 * 10**5, "num_heads": 10**5},
]  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES)
def test_sizes_are_bounded_by_the_weights_that_are_there(run, sizes):
    options = _files.read_record(run / "run.json")["model_options"]
    change(run / "run.json", model_options={**options, **sizes})
    with pytest.raises(
        _checks.CheckpointError, match="describes another model than the saved weights|no model that can be"
    ):
        kz.load(run)


RECORDS = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"{}", b'{"model": 3}',
    b"9" * 5000, b'{"model": "x", "task": "y", "model_options": [], "task_options": {}, "training": {}, "import": []}',
]  # fmt: skip


@pytest.mark.parametrize("content", RECORDS)
@pytest.mark.parametrize("name", ["run.json", "task/task.json", "task/source.json"])
def test_records_of_any_form_are_refused_in_words(run, name, content):
    (run / name).write_bytes(content)
    with pytest.raises(_checks.CheckpointError):
        kz.load(run)


@pytest.mark.parametrize(
    "values",
    [
        {"model": "../x"}, {"model": "nothing"}, {"model": "lstm_seq2seq"}, {"model": "os:system"},
        {"model": "dense+classifier"}, {"model_options": {"units": {"a": 1}}}, {"model_options": {"num_layers": -1}},
        {"model_options": {"activation": "eval"}}, {"model_options": {"hidden_dim": "x"}}, {"import": [3]},
        {"model_options": {"activation": {"class_name": "function", "module": "os", "config": "system"}}},
        {"model_options": {"activation": {"class_name": "__lambda__", "config": {"value": "4wEA"}}}},
    ],
)  # fmt: skip
def test_values_of_any_kind_in_the_record_are_refused_in_words(run, values):
    options = _files.read_record(run / "run.json")["model_options"]
    if "model_options" in values:
        values = {"model_options": {**options, **values["model_options"]}}
    change(run / "run.json", **values)
    with pytest.raises(REFUSED):
        kz.load(run)


@pytest.mark.parametrize(
    "values",
    [
        {"state": {}}, {"state": 3}, {"kind": "seq2seq"},
        {"state": {"source": {"longest": 10**12}, "targets": {"names": ["a"], "parity": 0}}},
        {"state": {"source": None, "targets": None}}, {"tokenizers": {"source": {"hash": 3}}}, {"tokenizers": []},
        {"tokenizers": {"source": {"hash": "x", "size": 3, "lines": "eJw"}}}, {"name": "tfds:evil"}, {"name": 3},
        {"options": []}, {"options": {"inputs": "text:" + "x," * 10**5}},
    ],
)  # fmt: skip
def test_values_of_any_kind_in_the_task_are_refused_in_words(run, values):
    change(run / "task" / "task.json", **values)
    with pytest.raises(REFUSED):
        kz.load(run)


def test_no_file_outside_is_read(run):
    secret = run.parent / "secret.json"
    secret.write_text("{}")
    state = _files.read_record(run / "task" / "task.json")
    change(run / "task" / "task.json", tokenizers={**state["tokenizers"], "../../secret": {"hash": "x", "size": 1}})
    kz.load(run)  # roles that the task lacks are not looked for
    (folder,) = (run / "checkpoints").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["../../../secret.json"] = hashlib.sha256(b"{}").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    kz.load(run)
    os.rename(folder, run.parent / folder.name)
    with pytest.raises(_checks.CheckpointError, match="there is no checkpoint here"):
        kz.load(run)


def test_every_flipped_bit_is_found_or_harmless(run):
    """Of files that no manifest covers; the model and the task stay those of the run."""
    expected = kz.load(run)
    for name in ("run.json", "task/task.json", "task/source.json"):
        content = (run / name).read_bytes()
        for position in range(0, 8 * len(content), 1 + len(content) // 2):
            changed = bytearray(content)
            changed[position // 8] ^= 1 << position % 8
            (run / name).write_bytes(changed)
            try:
                found = kz.load(run)
            except _checks.CheckpointError:
                continue
            assert found.task.hash == expected.task.hash
            assert [v.shape for v in found.model.weights] == [v.shape for v in expected.model.weights]
        (run / name).write_bytes(content)
