"""Exports in other formats than a SavedModel: the same outputs as the live model, and the refusals."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

import keras  # noqa: E402
from test_export import CASES, small, small_sizes, tasks  # noqa: E402, F401 (a fixture)

import kerazoo as kz  # noqa: E402
from kerazoo import _checks  # noqa: E402
from kerazoo.export import ctranslate2_model, verification  # noqa: E402
from kerazoo.run import export_formats  # noqa: E402
from kerazoo.run.exported_predictor import ExportedPredictor  # noqa: E402
from kerazoo.run.model_building import build_model  # noqa: E402
from kerazoo.run.predictor import Predictor  # noqa: E402

if keras.backend.backend() != "tensorflow":
    pytest.skip("tokenizers are exported with TensorFlow", allow_module_level=True)

SMALL = {"num_encoder_layers": 2, "num_decoder_layers": 3, "hidden_dim": 14, "num_heads": 2, "intermediate_dim": 11}
# Options that CTranslate2 reads from the specification or from the weights.
VARIANTS = {
    "pre": {"tie_output": True, "output_bias": True},
    "post, learned": {
        "norm": "post",
        "positions": "learned",
        "embedding_normalization": True,
        "activation": "gelu",
        "share_encoder_layers": True,
        "tie_output": True,
        "output_bias": True,
    },
    "rotary, grouped": {
        "positions": "rotary",
        "normalization": "rms",
        "activation": "swiglu",
        "num_key_value_heads": 1,
        "head_dim": 6,
        "tie_output": False,
    },
}


@pytest.fixture(scope="module")
def task():
    return kz.tasks.create("reverse", length=5, examples=211)


def made(task, **options):
    """A small Transformer whose weights are random and whose padding and start are improbable, as after training."""
    keras.utils.set_random_seed(7)
    model = build_model("transformer_seq2seq_tiny", task, {**SMALL, **options})
    random = np.random.default_rng(0)
    for variable in model.variables:
        if "bias" in variable.path or "beta" in variable.path:
            variable.assign(random.normal(0, 0.3, variable.shape))
    bias = model.output_bias if model.tie_output else model.head.bias
    bias.assign(np.where(np.arange(model.vocabulary_size) < 2, -30.0, 0.5 * random.normal(size=bias.shape)))
    return model


def run_here(code, cases, names):
    """Runs the program of CTranslate2 in this process."""
    from kerazoo.export import run_ctranslate2

    del code, names
    found = [run_ctranslate2.Model(case["directory"])(case["inputs"], **case["options"]) for case in cases]
    return [{name: run_ctranslate2.to_json(value) for name, value in each.items()} for each in found]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "pre" else pytest.mark.slow) for name in VARIANTS]
)
@pytest.mark.usefixtures("run_eagerly")
def test_ctranslate2_repeats_greedy_search_and_beams(name, task, tmp_path, monkeypatch):
    pytest.importorskip("ctranslate2")
    predictor = Predictor(made(task, **VARIANTS[name]), task)
    path = kz.export.export_ctranslate2(predictor.model, task, tmp_path / "saved")
    monkeypatch.setattr(verification, "run_fresh", run_here)
    cases = export_formats.ctranslate2_cases(predictor, ["gaa", "j", "abcde"])
    compared = kz.export.write_verified(path, cases, {"task": task.hash}, "ctranslate2")
    assert [counts["answers"]["equal"] for counts in compared.values()] == [3, 3]
    assert {each.name for each in path.iterdir()} >= {"model.bin", "tokenizer", "run_ctranslate2.py", "VERIFY.json"}
    exported, raw = ExportedPredictor(path, task), ["abcde", "gaa", "j"]
    assert exported(raw, max_length=4) == predictor(raw, max_length=4)
    beam = {"search": "beam", "num_beams": 3}
    assert exported(raw, **beam) == predictor(raw, length_penalty="none", **beam)
    with pytest.raises(ValueError, match="greedy and beam; got 'sample'"):
        exported(raw, search="sample")
    with pytest.raises(ValueError, match="takes no n_best"):
        exported(raw, n_best=2)


@pytest.mark.usefixtures("run_eagerly")
def test_ctranslate2_goes_on_with_prompts_and_is_measured_in_int8(tmp_path, monkeypatch):
    pytest.importorskip("ctranslate2")
    (tmp_path / "text.txt").write_text("the cat and the dog\n" * 41)
    task = kz.tasks.create("text", data_dir=tmp_path / "text.txt", length=13)
    sizes = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2}
    model = build_model("transformer_lm_tiny", task, sizes)
    table = model.target_embedding.table.embeddings
    table.assign(np.asarray(table.value) * 8)  # so that the probabilities differ
    predictor = Predictor(model, task)
    monkeypatch.setattr(verification, "run_fresh", run_here)
    cases = export_formats.ctranslate2_cases(predictor, ["the", "a", "the cat and the dog"])
    for quantize in (None, "int8"):
        path = kz.export.export_ctranslate2(model, task, tmp_path / str(quantize), quantize)
        compared = kz.export.write_verified(path, cases[:1], {}, "ctranslate2", exact=quantize is None)
        record = json.loads((path / "VERIFY.json").read_text())
        assert record["exact"] == (quantize is None) and record["passed"]
        assert quantize or compared["greedy"]["tokens"]["equal"] == 3
        assert kz.verify(path)["passed"]


def test_what_ctranslate2_cannot_hold_is_refused_at_once(task, tmp_path):
    lstm = build_model("lstm_seq2seq", task, {"units": 7, "embedding_dim": 5})
    message = "`format`='ctranslate2' cannot hold this LSTMSeq2Seq: .*encoder must be one Transformer.*'saved_model'"
    with pytest.raises(ValueError, match=message):
        kz.export.export_ctranslate2(lstm, task, tmp_path / "saved")
    for options, reason in [
        ({"copy": True}, "copies no tokens"),
        ({"sentences": True}, "must read each token"),
        ({"positions": "rotary", "head_dim": 4, "max_position_gap": 3}, "must be consecutive"),
        ({"activation": "elu"}, "activation must be one of relu, gelu"),
    ]:
        model = build_model("transformer_seq2seq_tiny", task, {**SMALL, **options})
        assert reason in ctranslate2_model.unfit(model, task)
    with pytest.raises(ValueError, match="`quantize` must be one of .*int8.*; got quantize='int3'"):
        kz.export.export_ctranslate2(made(task, tie_output=False), task, tmp_path / "saved", "int3")
    with pytest.raises(ValueError, match="`quantize` is for format='ctranslate2' and 'litert'; got quantize='int8'"):
        export_formats.check("safetensors", "int8")
    with pytest.raises(ValueError, match="takes the options of a search when it is called; got num_beams, search"):
        export_formats.export_ctranslate2(Predictor(lstm, task), tmp_path, None, {"search": "beam", "num_beams": 3})
    assert not list(tmp_path.iterdir())


def test_safetensors_make_the_model_again(task, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    from kerazoo.export import run_safetensors

    model = build_model("lstm_seq2seq_attention", task, {"units": 7, "embedding_dim": 5})
    predictor, record = (
        Predictor(model, task),
        {"model": "lstm_seq2seq_attention", "model_options": {"units": 7, "embedding_dim": 5}},
    )
    path = export_formats.export_safetensors(predictor, record, tmp_path / "saved", {})
    again = run_safetensors.load(path)
    (case,) = export_formats.safetensors_cases(predictor, ["abc", "j"], ["cba", "j"])
    np.testing.assert_array_equal(np.asarray(again(case.inputs, training=False)), case.outputs["outputs"])
    assert kz.tasks.restore(path / "task").hash == task.hash
    outputs = verification.to_json({"outputs": case.outputs["outputs"]})
    monkeypatch.setattr(verification, "run_fresh", lambda *_: [outputs])
    assert kz.export.write_verified(path, [case], {}, "safetensors")["call"]["outputs"]["equal"] == 2
    with pytest.raises(ValueError, match="holds weights alone; got search"):
        export_formats.export_safetensors(predictor, record, tmp_path / "other", {"search": "beam"})
    small = build_model("transformer_seq2seq_tiny", task, {**SMALL, "hidden_dim": 32})
    kz.compress.quantize(small)
    with pytest.raises(ValueError, match="got a model whose weights are stored in few bits"):
        kz.transfer.save_weights(small, tmp_path / "w.safetensors")


def run_network_here(code, cases, names):
    """Runs the program of ONNX and LiteRT in this process."""
    from kerazoo.export import run_network

    del code, names
    found = []
    for case in cases:
        inputs = {name: run_network.from_json(value) for name, value in case["inputs"].items()}
        name = None if case["signature"] in ("step", "predict") else case["signature"]
        outputs = run_network.Model(case["directory"])(inputs, name)
        found.append({name: run_network.to_json(value) for name, value in outputs.items()})
    return found


SEQ2SEQ = {"units": 7, "embedding_dim": 5}
# name of the case -> model, kind of the digits or `None` for texts, options, format, quantization
NETWORKS = {
    "classifier, onnx": ("cnn_classifier", "classifier", {}, "onnx", None),
    "classifier, litert": ("cnn_classifier", "classifier", {}, "litert", None),
    "classifier, litert int8": ("cnn_classifier", "classifier", {}, "litert", "int8"),
    "lstm, onnx": ("lstm_seq2seq_attention", None, SEQ2SEQ, "onnx", None),
    "lstm, litert": ("lstm_seq2seq_attention", None, SEQ2SEQ, "litert", None),
    "autoencoder, onnx": ("dense_autoencoder", "autoencoder", {}, "onnx", None),
    "autoencoder, litert float16": ("dense_autoencoder", "autoencoder", {}, "litert", "float16"),
    "transformer, onnx": ("transformer_seq2seq_tiny", None, SMALL, "onnx", None),
    "transformer, litert": ("transformer_seq2seq_tiny", None, SMALL, "litert", None),
    "transformer, litert int8": ("transformer_seq2seq_tiny", None, {**SMALL, "hidden_dim": 32}, "litert", "int8"),
}
QUICK = ("classifier, onnx", "classifier, litert", "lstm, onnx")


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NETWORKS]
)
def test_a_network_repeats_the_live_model(name, task, tmp_path, monkeypatch):
    """`python -m pytest -m slow tests/test_export_formats.py` runs all of them."""
    row, kind, options, format, quantize = NETWORKS[name]
    pytest.importorskip("tf2onnx" if format == "onnx" else "ai_edge_litert")
    keras.utils.set_random_seed(7)
    task = task if kind is None else kz.tasks.create("digits", kind)
    predictor = Predictor(build_model(row, task, options), task)
    raw = task.examples("dev", limit=3)[0]
    path, faults = export_formats.export_network(format, predictor, tmp_path / "saved", quantize, {})
    monkeypatch.setattr(verification, "run_fresh", run_network_here)
    cases = export_formats.network_cases(predictor, raw, faults)
    compared = kz.export.write_verified(path, cases, {"task": task.hash}, format, exact=quantize is None)
    expected = {"predict", "embed"} if kind else {"step", *({"generate"} - set(faults))}
    assert set(compared) == expected and (format == "litert" or not faults)
    ending = "onnx" if format == "onnx" else "tflite"
    assert {each.stem for each in path.glob(f"*.{ending}")} == expected | ({"start"} if not kind else set())
    if quantize is None:
        found, live = ExportedPredictor(path, task)(raw), predictor(raw)
        assert kind == "autoencoder" or found == live
        assert kind != "autoencoder" or np.allclose(found, live, atol=1e-4)


def test_a_network_takes_no_beam(task, tmp_path):
    predictor = Predictor(build_model("lstm_seq2seq", task, SEQ2SEQ), task)
    with pytest.raises(ValueError, match="holds a greedy search and the steps of others; got num_beams, search"):
        export_formats.export_network("onnx", predictor, tmp_path / "a", None, {"search": "beam", "num_beams": 3})


def test_a_function_that_does_not_convert_is_named(task, tmp_path, monkeypatch):
    from kerazoo.export import network_files

    def fail(name, signature):
        raise RuntimeError("no such operation\nand more")

    model = build_model("lstm_seq2seq", task, SEQ2SEQ)
    functions = dict.fromkeys(("start", "step", "generate"))
    message = "`format`='onnx' cannot hold this LSTMSeq2Seq: start does not convert: no such operation. .*'saved_model'"
    with pytest.raises(ValueError, match=message):
        network_files._write(model, task, tmp_path / "saved", functions, fail, "onnx", {"max_length": None})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_lacks_the_package_is_told_what_to_install(task, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ctranslate2", None)
    with pytest.raises(_checks.SetupError, match=r'pip install "kerazoo\[ctranslate2\]"'):
        kz.export.export_ctranslate2(made(task, tie_output=False), task, tmp_path / "saved")


# Case of test_export.py -> what CTranslate2, ONNX, LiteRT and safetensors make of it.
OUTCOMES = {
    "cnn_classifier": ("refused: it reads and writes texts alone", "verified", "verified", "verified"),
    "mlp_classifier": ("refused: it reads and writes texts alone", "verified", "verified", "verified"),
    "transformer_classifier": ("refused: it reads and writes texts alone", "verified", "verified", "verified"),
    "text_classifier": ("refused: it reads and writes texts alone", "verified", "verified", "verified"),
    "dense_autoencoder_binary": ("refused: it reads and writes texts alone", "verified", "verified", "verified"),
    "dense_autoencoder": ("refused: it reads and writes texts alone", "verified", "verified", "verified"),
    "dense_variational_autoencoder": ("refused: it reads and writes texts alone", "verified", "verified", "verified"),
    "linear_forecaster": (
        "refused: it reads and writes texts alone",
        "verified",
        "refused: it has no operation AddV2, Mul, RealDiv, Sub of float64",
        "verified",
    ),
    "patch_forecaster": (
        "refused: it reads and writes texts alone",
        "verified",
        "refused: it has no operation AddV2, Mul, RealDiv, Sub of float64",
        "verified",
    ),
    "bag_dual_encoder": ("refused: it reads and writes texts alone", "verified", "verified", "verified"),
    "LSTMSeq2Seq": ("refused: its encoder must be one Transformer", "verified", "verified", "verified"),
    "TransformerSeq2Seq": ("verified", "verified", "verified", "verified"),
    "lstm_lm": ("refused: its decoder must be a Transformer over tokens", "verified", "verified", "verified"),
    "TransformerLM": ("verified", "verified", "verified", "verified"),
    "PixelLM": (
        "refused: it reads and writes texts alone",
        "verified",
        "refused: its inputs have no fixed shape",
        "verified",
    ),
    "PixelSeq2Seq": ("refused: it reads and writes texts alone", "verified", "verified", "verified"),
}

FORMATS = ("ctranslate2", "onnx", "litert", "safetensors")


def any_program_here(code, cases, names):
    """Runs the program of any format in this process."""
    from kerazoo.export import run_safetensors

    if "import ctranslate2" in code:
        return run_here(code, cases, names)
    if "import kerazoo\n" not in code:
        return run_network_here(code, cases, names)
    found = []
    for case in cases:
        inputs = {name: run_safetensors.from_json(value) for name, value in case["inputs"].items()}
        outputs = np.asarray(run_safetensors.load(case["directory"])(inputs, training=False), "float32")
        found.append({"outputs": verification.to_json(outputs)})
    return found


def outcome(format, name, task, folder):
    """Returns `"verified"`, with the functions that do not convert, or why a format is refused."""
    row, _, _, overrides = CASES[name]
    biased = format == "ctranslate2" and "output_bias" in kz.catalog.arguments(row)
    model = small(row, task, **overrides, **({"output_bias": True} if biased else {}))
    if biased:  # an untrained model gives padding and the start token a probability, see `made`
        model.output_bias.assign(np.where(np.arange(model.vocabulary_size) < 2, -30.0, 0.0))
    predictor = Predictor(model, task)
    raw, references = task.examples("dev", limit=2)
    faults = {}
    try:
        if format == "ctranslate2":
            path = export_formats.export_ctranslate2(predictor, folder, None, {})
            cases = export_formats.ctranslate2_cases(predictor, [text for text in raw if text])
            cases = [dataclasses.replace(case, tolerance=1.0) for case in cases]
        elif format == "safetensors":
            record = {"model": row, "model_options": {**small_sizes(row), **overrides}}
            path = export_formats.export_safetensors(predictor, record, folder, {})
            cases = export_formats.safetensors_cases(predictor, raw, [each[0] for each in references])
        else:
            path, faults = export_formats.export_network(format, predictor, folder, None, {})
            cases = export_formats.network_cases(predictor, raw, faults)
    except ValueError as error:
        reason = re.search(r"cannot hold this \w+: (?:\w+ does not convert: )?(.*?)\. format=", str(error))
        return f"refused: {reason[1]}"
    kz.export.write_verified(path, cases, {}, format)
    return f"verified without `{'`, `'.join(faults)}`" if faults else "verified"


@pytest.mark.slow
@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", OUTCOMES)
def test_each_row_and_format_is_as_the_table_says(name, format, tasks, tmp_path, monkeypatch):  # noqa: F811
    """`python -m pytest -m slow tests/test_export_formats.py -k table` runs the table of docs/export.md."""
    monkeypatch.setattr(verification, "run_fresh", any_program_here)
    found = outcome(format, name, tasks[CASES[name][1]], tmp_path / "saved")
    assert found == OUTCOMES[name][FORMATS.index(format)]


def test_the_documentation_has_the_table():
    rows = ["| | ctranslate2 | onnx | litert | safetensors |", "|---|---|---|---|---|"]
    rows += [f"| `{CASES[name][0]}`, {CASES[name][1]} | {' | '.join(each)} |" for name, each in OUTCOMES.items()]
    page = pathlib.Path(__file__).parent.parent / "docs" / "export.md"
    assert "\n".join(rows) in page.read_text(encoding="utf-8")
