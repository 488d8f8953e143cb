"""Subwords, folding, word vectors and vocabularies, as they are typed."""

import json
import shutil

import numpy as np
import pytest
from commands import in_process, refused

import kerazoo as kz
from kerazoo.export import run_saved_model, verification

WORDS = ["black", "white", "small", "large"], ["cat", "dog", "emu"], ["sits", "sleeps", "ﬁnds"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with subwords of one vocabulary, cut anew in each epoch, made once through the command line."""
    folder = tmp_path_factory.mktemp("table")
    lines = [f"The {a} {b} {c}\tDas {a[::-1]} {b} {c}\n" for a in WORDS[0] for b in WORDS[1] for c in WORDS[2]]
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    arguments = [
        "--model=lstm_seq2seq",
        "--task=tsv",
        f"--data_dir={folder}",
        "--source_tokens=subwords",
        "--target_tokens=subwords",
        "--vocabulary_size=283",
        "--share_vocabulary",
        "--subword_dropout=0.2",
        "--normalization=nfkc",
        "--case=lower",
        "--set=units=7",
        "--set=embedding_dim=5",
        "--batch_size=12",
        "--cache_dir=",
        "--notensorboard",
        "--optimizer=sgd",
        "--max_shapes=1",
        "--noxla",
    ]
    out, err = in_process("run", *arguments, "--epochs=2", f"--run_dir={folder}/run")
    return folder, arguments, out, err


def test_subwords_train_answer_and_export(finished, tmp_path, monkeypatch):
    folder, _, out, err = finished
    assert "token_error_rate" in out and "resumes" not in err.lower()
    saved = json.loads((folder / "run" / "task" / "source.json").read_text(encoding="utf-8"))
    assert (saved["tokenizer"], saved["case"], saved["normalization"]) == ("subwords", "lower", "nfkc")
    folded, given = kz.load(folder / "run")(["the black cat finds", "THE black Cat ﬁnds"])
    assert folded == given
    # A process with TensorFlow alone reads the same file in `test_export.py`.
    monkeypatch.setattr(
        verification, "run_fresh", lambda _, cases, __: [run_saved_model.outputs(**case) for case in cases]
    )
    kz.run.export(folder / "run", tmp_path / "saved", signatures=["score"])
    assert "| `score` |" in (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")


def test_a_shortlist_is_made_used_and_exported(finished, tmp_path, monkeypatch):
    run = f"--run_dir={finished[0]}/run"
    path = tmp_path / "list.npz"
    out, _ = in_process("shortlist", run, f"--to={path}", "--size=31", "--num_frequent=20", "--num_candidates=3")
    assert f"{path}: lists of 31 of 283 target tokens" in out and "dev: the lists of 36 examples" in out
    given = f"--option=shortlist={path}"
    out, _ = in_process("predict", run, given, "the black cat sits")
    predictor = kz.load(finished[0] / "run")
    (found,) = predictor.predictions(["the black cat sits"], shortlist=path)[0]
    held = kz.decoding.Shortlist.load(path)
    source = predictor.task.encode(["the black cat sits"])["source"]
    assert out.rstrip("\n") == kz.run.printable(found.text) and len(held.frequent) == 20
    assert set(found.tokens) <= set(np.asarray(held.select(source, first=3)).tolist())
    monkeypatch.setattr(
        verification, "run_fresh", lambda _, cases, __: [run_saved_model.outputs(**case) for case in cases]
    )
    in_process("export", run, f"--to={tmp_path}/saved", given, "--option=no_repeat_ngram=3", "--signatures=")
    card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
    assert "`constraints=NoRepeatNgram(size=3)`, `shortlist=31 of 283 tokens`" in card
    message = refused("predict", run, f"--option=shortlist={finished[0]}/train.tsv", "x", code=3)
    assert "train.tsv: it is no shortlist. Make it with `python -m experiments.shortlist`" in message
    message = refused("predict", run, "--option=shortlist=5", "x")
    assert "`shortlist` must be a kerazoo.decoding.Shortlist; got 5" in message


def test_data_that_has_moved_is_asked_for(finished, tmp_path):
    folder, *_ = finished
    run = shutil.copytree(folder / "run", tmp_path / "run")
    for path in (run / "run.json", run / "task" / "task.json"):
        record = json.loads(path.read_text(encoding="utf-8").replace(str(folder), str(tmp_path / "gone")))
        record.pop("sha256", None)
        path.write_text(json.dumps(record), encoding="utf-8")
    remedy = "gone: no such file or folder. If the data has moved since the training, say where it is with --data_dir."
    assert refused("evaluate", f"--run_dir={run}", code=3).endswith(f"{remedy}\n")
    saved = tmp_path / "saved"
    told = refused("export", f"--run_dir={run}", f"--to={saved}", code=3)
    assert told.endswith(f"{remedy} Or leave out the comparison with --noverify.\n") and saved.exists()
    assert "no such file or folder.\n" in refused("evaluate", f"--run_dir={run}", "--data_dir=nowhere", code=3)
    out, _ = in_process("evaluate", f"--run_dir={run}", f"--data_dir={folder}", "--limit=2")
    assert "token_error_rate" in out


def test_another_vocabulary_is_refused(finished, tmp_path):
    folder, *_ = finished
    shutil.copytree(folder / "run", tmp_path / "run")
    held = kz.tasks.restore(tmp_path / "run" / "task")
    kz.tasks.create("tsv", "seq2seq", **{**held.options, "case": "keep"}).save(tmp_path / "run" / "task")
    err = refused("evaluate", f"--run_dir={tmp_path}/run", code=4)
    assert "has another source vocabulary: hash" in err and '"case": null' in err
    shutil.copytree(folder / "run" / "task", tmp_path / "run" / "task", dirs_exist_ok=True)
    path = tmp_path / "run" / "task" / "target.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"case": "lower"', '"case": "upper"'), encoding="utf-8")
    err = refused("evaluate", f"--run_dir={tmp_path}/run", code=4)
    assert "target.json: not the vocabulary of this task: hash" in err and "(283 ids)" in err and "line 3 is" in err


def test_word_vectors_of_another_width_are_refused(finished):
    folder, *_ = finished
    (folder / "en.vec").write_text("2 3\nblack 1 2 3\ncat 4 5 6\n")
    err = refused(
        "run",
        "--model=lstm_seq2seq",
        "--task=tsv",
        f"--data_dir={folder}",
        "--source_tokens=words",
        "--cache_dir=",
        f"--source_vectors={folder}/en.vec",
        "--set=embedding_dim=4",
        f"--run_dir={folder}/wide",
    )
    assert "got 3 numbers a word in" in err and "Try embedding_dim=3" in err
    assert not (folder / "wide" / "run.json").exists()
