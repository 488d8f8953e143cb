"""Subwords, folding, word vectors and vocabularies, as they are typed."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = ["black", "white", "small", "large"], ["cat", "dog", "emu"], ["sits", "sleeps", "ﬁnds"]


def command(name, *arguments, code=0, stdin=None):
    """Runs a command in a fresh process and returns its output and errors; fails on another exit code."""
    done = subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        input=stdin,
        capture_output=True,
        timeout=300,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, f"exit code {done.returncode}, expected {code}\n{out}\n{err}"
    assert not code or len(err.strip().splitlines()) <= 5
    return out, err


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with subwords of one vocabulary, cut anew in each epoch, made once through the command line."""
    folder = tmp_path_factory.mktemp("table")
    lines = [f"The {a} {b} {c}\tDas {a[::-1]} {b} {c}\n" for a in WORDS[0] for b in WORDS[1] for c in WORDS[2]]
    for split in ("train", "dev", "test"):
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    arguments = [
        "--model=lstm_seq2seq", "--task=tsv", f"--data_dir={folder}", "--source_tokens=subwords",
        "--target_tokens=subwords", "--vocabulary_size=283", "--joint_vocabulary", "--subword_dropout=0.2",
        "--normalization=nfkc", "--case=lower", "--set=units=7", "--set=embedding_dim=5", "--batch_size=12",
        "--cache_dir=", "--notensorboard",
    ]
    out, err = command("run", *arguments, "--epochs=2", f"--run_dir={folder}/run")
    return folder, arguments, out, err


def test_subwords_train_answer_and_export(finished):
    folder, arguments, out, _ = finished
    assert "token_error_rate" in out
    saved = json.loads((folder / "run" / "task" / "source.json").read_text(encoding="utf-8"))
    assert (saved["tokenizer"], saved["case"], saved["normalization"]) == ("subwords", "lower", "nfkc")
    asked = "The black cat ﬁnds\nTHE BLACK CAT FINDS\n".encode()
    answers, _ = command("predict", f"--run_dir={folder}/run", stdin=asked)
    assert len(answers.splitlines()) == 2 and len(set(answers.splitlines())) == 1
    assert "the same answers" in command("export", f"--run_dir={folder}/run", f"--to={folder}/saved")[0]
    _, err = command("run", *arguments, "--epochs=3", "--nomeasure", f"--run_dir={folder}/run")
    assert "Goes on in epoch 3" in err


def test_another_vocabulary_is_refused(finished, tmp_path):
    folder, arguments, *_ = finished
    changed = [each.replace("--case=lower", "--case=keep") for each in arguments]
    command("run", *changed, "--epochs=1", "--nomeasure", f"--run_dir={tmp_path}/other")
    shutil.copytree(folder / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", tmp_path / "run" / "checkpoints")
    for name, flags in (("evaluate", []), ("run", [*arguments, "--epochs=9"])):
        _, err = command(name, *flags, f"--run_dir={tmp_path}/run", code=4)
        assert "was trained with another source vocabulary: hash" in err and '"case": null' in err
    path = tmp_path / "other" / "task" / "target.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"case": null', '"case": "upper"'), encoding="utf-8")
    _, err = command("evaluate", f"--run_dir={tmp_path}/other", code=3)
    assert "target.json: not the vocabulary of this task: hash" in err and "(283 ids)" in err and "line 3 is" in err


def test_word_vectors_start_the_embedding(finished):
    folder, *_ = finished
    (folder / "en.vec").write_text("2 3\nblack 1 2 3\ncat 4 5 6\n")
    words = [
        "--model=lstm_seq2seq", "--task=tsv", f"--data_dir={folder}", "--source_tokens=words", "--target_tokens=words",
        f"--source_vectors={folder}/en.vec", "--set=units=7", "--epochs=1", "--nomeasure", "--cache_dir=",
    ]
    _, err = command("run", *words, "--set=embedding_dim=3", f"--run_dir={folder}/words")
    assert "en.vec: vectors of 18.2% of the source vocabulary." in err
    _, err = command("run", *words, "--set=embedding_dim=4", f"--run_dir={folder}/wide", code=2)
    assert "got 3 numbers a word in" in err and "Try --set=embedding_dim=3" in err
    (folder / "en.vec").write_text("2 3\nblack 1 2 3\ncat 4 5\n")
    _, err = command("run", *words, "--set=embedding_dim=3", f"--run_dir={folder}/bad", code=3)
    assert "en.vec:3: expected a word and 3 numbers, got 3 values" in err
    assert not (folder / "bad" / "run.json").exists()
