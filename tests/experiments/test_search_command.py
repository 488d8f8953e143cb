"""Semantic search as it is typed: train, search with arguments and standard input, measure."""

import json

import pytest
from commands import in_process, refused

TITLES = ["heat in slabs", "flow past a plate", "shock waves", "wings of birds", "buckling of shells", "ice on wings"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A dual encoder of titles and texts, trained on all of them, and their files."""
    folder = tmp_path_factory.mktemp("search")
    lines = [f"d{n}\t{title}\tWhat is known of {title.split()[0]}, and so on.\n" for n, title in enumerate(TITLES)]
    (folder / "docs.tsv").write_text("".join(lines))
    (folder / "queries.tsv").write_text("".join(f"q{n}\t{title}?\n" for n, title in enumerate(TITLES)))
    (folder / "qrels.tsv").write_text("".join(f"q{n}\td{n}\t1\n" for n in range(len(TITLES))))
    _, err = in_process(
        "run", "--model=bag_dual_encoder", "--task=pairs", f"--data_dir={folder}/docs.tsv", "--source_column=1",
        "--target_column=2", "--held_out=0", "--epochs=2", "--batch_size=6", "--learning_rate=0.1",
        "--set=encoder.units=13", "--max_shapes=1", "--noxla", "--cache_dir=", "--notensorboard",
        f"--run_dir={folder}/run",
    )  # fmt: skip
    assert "6 training and no dev examples" in err or "last state is kept as the best" in err
    vocabulary = json.loads((folder / "run" / "task" / "source.json").read_text())
    assert vocabulary["tokenizer"] == "words_and_punctuation" and "heat" in vocabulary["vocabulary"]
    return [f"--run_dir={folder}/run", f"--collection={folder}/docs.tsv", "--text_column=1,2"], folder


def test_arguments_and_lines_of_standard_input_are_queries(finished):
    flags, _ = finished
    out, _ = in_process("search", *flags, "--k=2", "heat, in slabs!")
    assert [line.split("\t")[0] for line in out.splitlines()][0] == "d0" and len(out.splitlines()) == 2
    lines = b"ice on wings\n\nshock waves\n"
    assert "-:2: a query is blank. Leave such lines out by --bad_lines=skip." in refused(
        "search", *flags, stdin=lines, code=3
    )
    out, _ = in_process("search", *flags, "--k=1", "--bad_lines=skip", "--batch_size=2", stdin=lines)
    assert [line.split("\t")[:2] for line in out.splitlines()] == [["1", "d5"], ["3", "d2"]]


def test_judged_queries_measure_the_search(finished):
    flags, folder = finished
    judged = [f"--queries={folder}/queries.tsv", f"--qrels={folder}/qrels.tsv", "--name=titles", "--hybrid=tune"]
    out, _ = in_process("search", *flags, *judged)
    result = json.loads((folder / "run" / "evaluation-titles.json").read_text())
    assert result["queries"] == 6 and result["metrics"]["mrr"] == 1 and "hybrid" in out
    assert "--qrels needs --queries=FILE" in refused("search", *flags, judged[1])
