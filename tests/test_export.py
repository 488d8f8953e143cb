"""Exported models: the same answers in a fresh process that has only TensorFlow, and the refusals."""

import json
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

import keras  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

import kerazoo as kz  # noqa: E402
from kerazoo import _checks  # noqa: E402
from kerazoo.export import run_saved_model, saved_model, verification  # noqa: E402
from kerazoo.run import export_run  # noqa: E402
from kerazoo.run.model_building import build_model  # noqa: E402
from kerazoo.run.predictor import Predictor  # noqa: E402
from kerazoo.serve import event_stream, servable  # noqa: E402

if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is written with TensorFlow", allow_module_level=True)

# Small sizes by the name of the argument, so that one table serves every row of the catalog.
SMALL = {
    "embedding_dim": 5,
    "num_layers": 2,
    "num_encoder_layers": 1,
    "num_decoder_layers": 2,
    "hidden_dim": 14,
    "num_heads": 2,
    "intermediate_dim": 11,
}
TEXTS = ["abc", "g", "jihgfed", "zz"]
WORDS = ["the cat", "", "le chat noir", "ünknown"]


def one_row_of_each_class():
    """Returns (class, kind) -> row of the catalog: rows that differ in sizes alone are exported alike."""
    rows = {}
    for name in kz.list_models("*"):
        spec = kz.describe(name)
        rows.setdefault((spec.class_name, spec.kind), name)
    return rows


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A small task for each kind of model."""
    folder = tmp_path_factory.mktemp("data")
    lines = [f"the cat{'s' * i}\tenglish\nle chat{'s' * i}\tfrançais" for i in range(41)]
    (folder / "table.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = {"data_dir": folder / "table.tsv"}
    (folder / "series.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 11}\n" for i in range(149)))
    return {
        "seq2seq": kz.tasks.create("reverse", length=7, examples=503),
        "language_model": kz.tasks.create("tsv", "language_model", length=23, **table),
        "classifier": kz.tasks.create("digits", "classifier"),
        "binary_classifier": kz.tasks.create("digits", "binary_classifier"),
        "autoencoder": kz.tasks.create("digits", "autoencoder"),
        "text": kz.tasks.create("tsv", "classifier", **table),
        "pixels": kz.tasks.create("digits", "language_model"),
        "pixels of a class": kz.tasks.create("digits", "seq2seq", levels=5),
        "tagged": kz.tasks.create(
            "tsv",
            "seq2seq",
            data_dir=f"{folder}/table.tsv#tag=to;source=0;target=1,{folder}/table.tsv#tag=from;source=1;target=0",
            max_length=7,
            truncate="start",
        ),
        "dual_encoder": kz.tasks.create("pairs", header=False, **table),
        "forecaster": kz.tasks.create("forecast", data_dir=folder / "series.csv", window=17, horizon=5),
    }


def raw_inputs(task):
    if not task.tokenizers:
        return task.examples("dev", limit=5)[0]
    if task.kind == "dual_encoder":
        return list(zip(WORDS, WORDS[::-1]))
    if len(task.input_columns) > 1:
        return [("to", "the cats"), ("from", ""), ("from", "deutsch"), ("to", "ü")]
    return TEXTS if task.kind == "seq2seq" else WORDS


def columns(task, raw):
    """Returns raw inputs by the names of the signature."""
    return {"lines": raw} if task is None else task.pack(raw)


def small_sizes(name):
    if name.startswith("bag"):
        return {"encoder.units": 7}
    sizes = {key: value for key, value in SMALL.items() if key in kz.catalog.arguments(name)}
    return {**sizes, "units": 7} if kz.describe(name).class_name in ("LSTMSeq2Seq", "LSTMLM") else sizes


def small(name, task, **overrides):
    keras.utils.set_random_seed(7)
    return build_model(name, task, {**small_sizes(name), **overrides})


# Row of the catalog -> search and its options, constructor arguments; the others are exported as they are.
SPECIAL = {
    "LSTMSeq2Seq": (
        {"search": "beam", "num_beams": 3, "no_repeat_ngram": 2},
        {"bidirectional": True, "attention": "multiplicative", "num_layers": 2, "copy": True},
    ),
    "TransformerSeq2Seq": ({}, {"positions": "learned"}),
    "PixelLM": ({}, {}),
    "PixelSeq2Seq": ({}, {}),
    "TransformerLM": ({"search": "sample", "top_k": 5, "seed": 3}, {}),
}
# name of the case -> row of the catalog, key of the task, search and its options, constructor arguments
CASES = {
    (cls if cls in SPECIAL else row): (row, kind, *SPECIAL.get(cls, ({}, {})))
    for (cls, kind), row in one_row_of_each_class().items()
    if kind != "masked_language_model"  # what fills gaps is exported in tests/tasks/test_pretraining.py
}
SAMPLED = {"search": "sample", "seed": 3, "forbidden": (2,)}
CASES["PixelLM"] = ("pixel_lstm", "pixels", SAMPLED, {})
CASES["PixelSeq2Seq"] = ("pixel_transformer_seq2seq", "pixels of a class", SAMPLED, {})
CASES["text_classifier"] = ("transformer_classifier", "text", {}, {})
STOP = ["t", "h", ".*", "é"]  # the first two are in the prompts as well
STOPPED = {"search": "sample", "seed": 3, "max_length": 19, "stop_strings": STOP}
CASES["stopped"] = ("transformer_lm_tiny", "language_model", STOPPED, {})
CASES["tagged"] = ("lstm_seq2seq", "tagged", {}, {})
# Others are like them; `python -m pytest -m slow tests/test_export.py` has them.
REPEATED = ("PixelLM", "lstm_lm", "patch_forecaster", "tagged", "transformer_classifier")


ECHOED = ["汉字 E\u0301", "ab"]


class Echo(tf.Module):
    """The text that tokenizers make of their own ids."""

    def __init__(self):
        super().__init__()
        self.tokenizers = {
            "bytes": kz.text.ByteTokenizer(),
            "characters": kz.text.CharacterTokenizer.fit(["ab", "汉字", "é"]),
            "subwords": kz.text.BytePairTokenizer(["a b"], normalization="nfkc"),
            "words": kz.text.WordTokenizer(["ab", "é"], stop_words=["汉字"], case="lower"),
            "words_and_punctuation": kz.text.WordAndPunctuationTokenizer(["ab", "汉字"]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def echo(self, lines):
        return {name: each.detokenize(each.encode(lines)) for name, each in self.tokenizers.items()}


@pytest.fixture(scope="module")
def exported(tasks, tmp_path_factory, with_slow_cases):
    """Every case exported: name -> (folder, model, task, raw inputs, options), and what a fresh process answers."""
    cases, folder = {}, tmp_path_factory.mktemp("exported")
    for name, (row, key, options, overrides) in CASES.items():
        if name in REPEATED and not with_slow_cases:
            continue
        task = tasks[key]
        model = small(row, task, **overrides)
        # The other signatures are those of the tests below.
        path = saved_model.export(model, task, folder / name, signatures=["embed"], **options)
        cases[name] = (path, model, task, raw_inputs(task), options)
    path = folder / "echo"
    module = Echo()
    tf.saved_model.save(module, str(path), {"serving_default": module.echo})
    cases["echo"] = (path, None, None, ECHOED)
    served = verification.fresh_outputs([(path, columns(task, raw)) for path, _, task, raw, *_ in cases.values()])
    return {name: (*case, outputs) for (name, case), outputs in zip(cases.items(), served, strict=True)}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in REPEATED else ()) for name in CASES if name != "stopped"],
)
def test_fresh_process_with_only_tensorflow_gives_the_live_answers(exported, name):
    _, model, task, raw, options, served = exported[name]
    inputs = task.encode(raw)
    if task.kind in ("seq2seq", "language_model"):
        live = model.generate(**inputs, max_length=task.max_length, **options)
        key = task.targets.outputs[0]
        np.testing.assert_array_equal(served[key], task.decode(live.best()))
        np.testing.assert_allclose(served["score"], live.scores[:, 0], rtol=1e-4, atol=1e-4)
        assert set(served) == {key, "score"}
        return
    logits = np.asarray(model(inputs, training=False))
    if task.kind == "autoencoder":
        np.testing.assert_allclose(served["reconstruction"], np.stack(task.decode(logits)), rtol=1e-4, atol=1e-5)
        assert np.shape(served["reconstruction"]) == (5, 8, 8, 1)
        return
    if task.kind == "forecaster":
        np.testing.assert_allclose(served["forecast"], np.stack(task.decode(logits)), rtol=1e-4, atol=1e-5)
        return
    if task.kind == "dual_encoder":
        np.testing.assert_allclose(served["similarity"], task.decode(logits), rtol=1e-4, atol=1e-5)
        return
    assert served["label"] == task.decode(logits)
    assert set(served["label"]) <= set(task.targets.names)
    probabilities = np.array(served["probabilities"])
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    if task.kind == "binary_classifier":
        np.testing.assert_allclose(probabilities[:, 1:], 1 / (1 + np.exp(-logits)), rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_allclose(probabilities, np.asarray(keras.ops.softmax(logits)), rtol=1e-4, atol=1e-5)
    assert served["classes"] == [task.targets.names] * len(probabilities)


def test_tokenizers_inside_a_saved_model_need_tensorflow_alone(exported):
    assert exported["echo"][-1] == {
        "bytes": ["汉字 E\u0301", "ab"],
        "characters": ["汉字\ufffd\ufffd\ufffd", "ab"],
        "subwords": ["汉字 É", "ab"],
        "words": ["<unknown>", "ab"],
        "words_and_punctuation": ["汉字 <unknown>", "ab"],
    }


def test_verify_compares_with_the_live_answers(exported, monkeypatch, tmp_path):
    folder, model, task, raw, _, served = exported["mlp_classifier"]
    shutil.copytree(folder, tmp_path / "saved")
    predictions = Predictor(model, task)(raw)
    monkeypatch.setattr(
        verification, "run_fresh", lambda *_: [{"label": served["label"]}]
    )  # which a fresh process gave
    cases = [verification.Case("serving_default", task.pack(raw), {"label": predictions})]
    compared = verification.write_verified(tmp_path / "saved", cases, {"split": "dev"})
    assert compared["serving_default"]["label"]["equal"] == 5
    assert kz.verify(tmp_path / "saved") == {"passed": True, "compared": compared, "changed": []}
    (tmp_path / "saved" / "more").write_text("x")
    assert kz.verify(tmp_path / "saved")["changed"] == ["more"]
    wrong = [verification.Case("serving_default", task.pack(raw), {"label": [*predictions[:4], "q"]})]
    message = "saved: serving_default gives label=.* for an array of .*, the live model 'q'"
    with pytest.raises(_checks.CheckpointError, match=message):
        verification.write_verified(tmp_path / "saved", wrong, {})
    with pytest.raises(_checks.CheckpointError, match=message):
        kz.verify(tmp_path / "saved")
    assert kz.verify(tmp_path / "saved", min_equal=0.8)["passed"]
    record = json.loads((tmp_path / "saved" / "VERIFY.json").read_text())
    assert record["passed"] is False and record["files"].keys() >= {"saved_model.pb", "more"}
    with pytest.raises(_checks.CheckpointError, match="has no VERIFY.json, with which it could be compared"):
        kz.verify(folder)


def test_numbers_are_compared_by_name_and_with_a_tolerance(exported, monkeypatch, tmp_path):
    _, _, task, raw, _, served = exported["dense_autoencoder"]
    images = served["reconstruction"]
    monkeypatch.setattr(verification, "run_fresh", lambda *_: [verification.to_json({"reconstruction": images})])
    monkeypatch.setattr(verification, "check_operations", lambda folder: {})  # there is no SavedModel here
    for difference, tolerance in ((1e-6, None), (1e-3, 1e-2)):
        case = verification.Case("serving_default", task.pack(raw), {"reconstruction": images + difference})
        if tolerance is None:
            verification.write_verified(tmp_path, [case], {})
            continue
        with pytest.raises(_checks.CheckpointError, match="reconstruction"):
            verification.write_verified(tmp_path, [case], {})
        assert kz.verify(tmp_path, tolerance)["passed"]


def test_results_of_equal_scores_may_change_their_order():
    live = {"answers": [["a", "b"]], "scores": np.array([[-1.0, -2.0]]), "tokens": np.array([[[3], [4]]])}
    case = verification.Case("generate", {"source": ["x"]}, live)
    other = {**live, "answers": [["a", "c"]], "tokens": np.array([[[3], [5]]])}
    counts, difference = verification._compare(case, other, 1.0)
    assert difference == "" and counts["ties"] == 1
    counts, difference = verification._compare(case, {**other, "scores": np.array([[-1.0, -2.1]])}, 1.0)
    assert difference.startswith("generate gives answers=['a', 'c'] for 'x', the live model ['a', 'b']")


def test_verify_refuses_what_does_not_load(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="does not exist"):
        tf.saved_model.load(str(tmp_path / "empty"))
    with pytest.raises(_checks.CheckpointError, match="empty: the SavedModel is not loaded: .* No such file"):
        verification.fresh_outputs([(tmp_path / "empty", {"source": ["a"]})])
    monkeypatch.setattr(verification, "check_operations", lambda folder: {})
    monkeypatch.setattr(verification, "program_of", lambda format: "raise OSError('empty is not')")  # imports nothing
    with pytest.raises(_checks.CheckpointError, match="empty: cannot be run in a fresh process: OSError: empty is not"):
        verification.fresh_outputs([(tmp_path / "empty", {"source": ["a"]})])
    (tmp_path / "VERIFY.json").write_text('{"cases": 3}')
    with pytest.raises(_checks.CheckpointError, match="VERIFY.json: cannot be read"):
        kz.verify(tmp_path)


def test_signature_has_a_dynamic_batch_and_says_what_it_takes(exported):
    for name, key, spec in [
        ("LSTMSeq2Seq", "source", tf.TensorSpec([None], tf.string)),
        ("TransformerLM", "prompt", tf.TensorSpec([None], tf.string)),
        ("dense_autoencoder", "source", tf.TensorSpec([None, 8, 8, 1], tf.uint8)),
    ]:
        serve = tf.saved_model.load(exported[name][0]).signatures["serving_default"]
        (taken,) = serve.structured_input_signature[1].items()
        assert taken[0] == key and taken[1].shape.as_list() == spec.shape.as_list() and taken[1].dtype == spec.dtype
        if name == "LSTMSeq2Seq":  # one row gives what it gives in a batch, and so does none
            answer = serve(source=tf.constant(["jihgfed"]))["answer"].numpy()[0].decode(errors="replace")
            assert answer == exported[name][5]["answer"][2]
            assert serve(source=tf.constant([], tf.string))["answer"].shape == (0,)


def test_a_dual_encoder_has_a_signature_for_one_text(exported):
    folder, model, task, raw, _, served = exported["bag_dual_encoder"]
    signatures = tf.saved_model.load(folder).signatures
    assert set(signatures) == {"serving_default", "embed"}
    first, second = (signatures["embed"](text=tf.constant(texts))["vector"].numpy() for texts in zip(*raw))
    np.testing.assert_allclose(np.sum(first * second, axis=1), served["similarity"], atol=1e-5)
    np.testing.assert_allclose(first, Predictor(model, task).embed(WORDS), atol=1e-6)


SHORT = ("LSTMSeq2Seq", "mlp_classifier")
ALL = [pytest.param(name, marks=() if name in SHORT else pytest.mark.slow) for name in CASES]


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("name", ALL)
def test_all_signatures_repeat_the_live_model(name, tasks, tmp_path, monkeypatch):
    """`python -m pytest -m slow tests/test_export.py` runs every row of the catalog."""
    row, key, options, overrides = CASES[name]
    task = tasks[key]
    predictor = Predictor(small(row, task, **overrides), task)
    path = saved_model.export(predictor.model, task, tmp_path / "saved", **options)
    run_here = lambda _, cases, __: [run_saved_model.outputs(**case) for case in cases]  # noqa: E731
    monkeypatch.setattr(verification, "run_fresh", run_here)
    raw, references, _ = export_run.examples(task, with_references=True)
    cases = export_run.live_cases(predictor, raw[:3], references[:3], kz.export.OPTIONAL, None, options)
    compared = verification.write_verified(path, cases, {"search": {"search": options.get("search")}})
    expected = {"serving_default"}
    if task.targets.generated:
        text = task.targets.modality == "text"
        expected |= {"generate", "step"} | ({"score", "logits"} if text else set())
    expected |= {"embed"} if hasattr(predictor.model, "pool") else set()
    expected |= {"logits"} if task.targets.modality == "label" else set()
    expected |= {"serving_files"} if task.file_signature else set()
    assert set(compared) == expected
    served = tf.saved_model.load(path).signatures
    assert set(served) == expected | ({"start", "choose", "detokenize"} & set(served) if "step" in expected else set())
    card = (path / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{signature}` |" in card for signature in served) and "was not evaluated" in card
    if "detokenize" in served:  # a server decodes step by step
        functions = {signature: servable.Signature({}, {}, function) for signature, function in served.items()}
        decoder = event_stream.step_decoder(types.SimpleNamespace(folder=path, signatures=functions))
        tensors = {name: np.array(values, object) for name, values in task.pack(raw[:1]).items()}
        *_, last = decoder.events(tensors, as_rows=True)
        # A beam is streamed by greedy search with the same constraints.
        streamed = {key: x for key, x in {**options, "search": decoder.search}.items() if key != "num_beams"}
        (prediction,) = json.loads(last.partition(b"data: ")[2])["predictions"]
        assert [prediction[task.targets.outputs[0]]] == predictor(raw[:1], **streamed)


def test_a_signature_that_samples_takes_seed_and_temperature(tasks, tmp_path):
    model, task = small("lstm_lm", tasks["language_model"]), tasks["language_model"]
    path = saved_model.export(model, task, tmp_path / "saved", search="sample", seed=3, signatures=["generate"])
    generate = tf.saved_model.load(path).signatures["generate"]
    options = {"max_length": tf.constant(19), "temperature": tf.constant(1.0)}
    one, same, other = (
        generate(prompt=tf.constant(["the"]), seed=tf.constant(seed), **options)["answers"].numpy().tolist()
        for seed in (5, 5, 6)
    )
    assert one == same != other
    short = generate(prompt=tf.constant(["the"]), seed=tf.constant(5), **{**options, "max_length": tf.constant(6)})
    assert (short["tokens"].numpy()[..., 6:] == 0).all() and short["answers"].shape == (1, 4)
    cold = generate(prompt=tf.constant(["the"]), seed=tf.constant(5), **{**options, "temperature": tf.constant(0.0)})
    assert len(set(cold["answers"].numpy()[0].tolist())) == 1  # the most probable tokens
    definition = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    defaults = definition.meta_graphs[0].signature_def["generate"].defaults
    assert {name: tf.make_ndarray(value).item() for name, value in defaults.items()} == {
        "max_length": task.max_length, "seed": 3, "temperature": 1.0
    }  # fmt: skip


def test_columns_with_the_names_of_other_inputs_are_refused(tmp_path):
    (tmp_path / "train.tsv").write_text("tokens\tindex\tanswer\n" + "ab\tx\tba\n" * 3)
    task = kz.tasks.create(
        "table", data_dir=str(tmp_path), inputs="text:tokens,text:index", targets="text:answer",
        source_tokens="characters", target_tokens="characters",
    )  # fmt: skip
    model = small("lstm_seq2seq", task)
    with pytest.raises(ValueError, match="signatures `logits`, `step`; got index, tokens. Name those to write"):
        saved_model.export(model, task, tmp_path / "saved", signatures=["embed", "logits", "step"])


def test_unknown_signatures_are_refused(tasks, tmp_path):
    model, task = small("mlp_classifier", tasks["classifier"]), tasks["classifier"]
    with pytest.raises(ValueError, match="`signatures` must be one of .*generate.*; got .*'nbest'"):
        saved_model.export(model, task, tmp_path / "saved", signatures=["nbest"])


def test_a_prompt_that_leaves_no_room_is_its_own_answer(exported):
    long = "the cat" * 5
    folder, model, task, _, options, _ = exported["TransformerLM"]
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    served = serve(prompt=tf.constant(["the cat", long]))
    alone = serve(prompt=tf.constant(["the cat"]))
    assert served["text"].numpy().tolist() == [alone["text"].numpy()[0], long.encode()]
    assert served["score"].numpy()[1] == 0 and served["score"].numpy()[0] == pytest.approx(alone["score"].numpy()[0])
    texts = Predictor(model, task)(["the cat", long], **options)
    assert texts == [text.decode(errors="replace") for text in served["text"].numpy()]


def test_a_source_that_is_too_long_is_cut(exported, tmp_path):
    folder, model, task, *_ = exported["TransformerSeq2Seq"]
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    served = serve(source=tf.constant(["ab", "abcdefghij" * 60]))["answer"].numpy().tolist()
    cut = ("abcdefghij" * 60)[:512]
    assert served == [serve(source=tf.constant([text]))["answer"].numpy()[0] for text in ("ab", cut)]
    with pytest.raises(ValueError, match="`max_length` must be at most 512, .*; got max_length=513"):
        saved_model.export(model, task, tmp_path / "long", max_length=513)
    assert not list(tmp_path.iterdir())


def test_folder_appears_whole_or_not_at_all(tasks, tmp_path, monkeypatch):
    model, task = small("mlp_classifier", tasks["classifier"]), tasks["classifier"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(_checks.SetupError, match="export: .*full exists and is not an empty folder. Choose a new one."):
        saved_model.export(model, task, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    assert (saved_model.export(model, task, tmp_path / "empty") / "saved_model.pb").is_file()

    def fail(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(_checks.SetupError, match="half: cannot be written: No space left on device"):
        saved_model.export(model, task, tmp_path / "half")
    (tmp_path / "file").write_text("")
    with pytest.raises(_checks.SetupError, match="below: cannot be written"):
        saved_model.export(model, task, tmp_path / "file" / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "full"]


def test_search_is_checked(tasks, tmp_path):
    model, task = small("lstm_seq2seq", tasks["seq2seq"]), tasks["seq2seq"]
    with pytest.raises(ValueError, match="Unknown search 'bean'"):
        saved_model.export(model, task, tmp_path / "a", search="bean")
    with pytest.raises(ValueError, match="`max_length` must be an integer above 0; got max_length=0"):
        saved_model.export(model, task, tmp_path / "a", max_length=0)
    with pytest.raises(ValueError, match="`search` must need no second model; got search='speculative'. Use"):
        saved_model.export(model, task, tmp_path / "a", search="speculative", draft=model)
    model, task = small("mlp_classifier", tasks["classifier"]), tasks["classifier"]
    with pytest.raises(ValueError, match="export: MLPClassifier does not generate, so it takes no search, num_beams."):
        saved_model.export(model, task, tmp_path / "a", search="beam", num_beams=3)


def test_stop_strings_end_an_exported_answer(exported):
    """As they end a prediction: after the prompt, and whatever characters of regular expressions they have."""
    folder, model, task, raw, _, served = exported["stopped"]
    predictor, raw = Predictor(model, task), sorted(raw, key=len)
    whole = predictor(raw, search="sample", seed=3, max_length=19)
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    served = [text.decode(errors="replace") for text in serve(prompt=tf.constant(raw))["text"].numpy()]
    assert served == predictor(raw, search="sample", seed=3, max_length=19, stop_strings=STOP)
    assert any(len(text) < len(uncut) for text, uncut in zip(served, whole))
    assert all(text.startswith(prompt) for text, prompt in zip(served, ["", "the cat"]))


def test_another_backend_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(_checks.SetupError, match="the backend is jax. Set KERAS_BACKEND=tensorflow for this command"):
        saved_model.export(None, None, "nowhere")


def test_fresh_process_may_not_have_our_modules():
    """The proof would prove nothing if the process that answers imported kerazoo along the way."""
    program = verification.program_of("saved_model").replace("import tensorflow as tf", "import kerazoo")
    done = subprocess.run(
        [sys.executable, "-c", program, "/dev/null"], input=json.dumps([]), capture_output=True, text=True
    )
    assert "kerazoo was imported" in done.stderr
