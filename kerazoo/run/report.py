"""The texts of a run: the summary before training, the report after it, and the next commands."""

import os
import sys
from collections.abc import Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from kerazoo.run.directory import RunDirectory
    from kerazoo.tasks import Task


def log(text: str) -> None:
    """Prints a line on standard error."""
    print(text, file=sys.stderr, flush=True)


def headline(record: Mapping, model: "keras.Model", corpus: Any, dev_corpus: Sized, plan: Any, seconds: float) -> str:
    """Returns one line about the model, the data and the batches of a training run."""
    examples = f"{len(corpus):,}" if hasattr(corpus, "features") else f"about {plan.examples:,} streamed"
    suffix = "s" if len(plan.shapes) > 1 else ", packed" if plan.shapes[0].segments else ""
    return (
        f"{record['model']}: {model.count_params():,} parameters; {record['task']}: {examples} training and "
        f"{len(dev_corpus):,} dev examples, read in {seconds:.1f} s; {plan.steps:,} steps an epoch in "
        f"{len(plan.shapes)} batch shape{suffix}, {plan.valid_fraction:.0%} of the positions valid{_notes(corpus)}"
    )


def _notes(corpus):
    """Returns how many examples were truncated or skipped when the corpus was prepared."""
    counts = [f"{count:,} {name}" for name, count in getattr(corpus, "notes", {}).items() if count]
    return "; " + ", ".join(counts) if counts else ""


def flag_file(record: Mapping, command: Iterable[str]) -> str:
    """Returns the flag file that repeats the run."""
    head = f"# python -m experiments.run --flagfile=run.flags\n# kerazoo {record['kerazoo']}\n"
    return head + "".join(f"{line}\n" for line in command)


def next_commands(run: "RunDirectory", task: "Task") -> str:
    """Returns the commands that use the run."""
    modalities = {feature.modality for feature in task.inputs or (task.targets,)}
    example = "kerazoo tensorflow" if modalities == {"text"} and len(task.input_columns) == 1 else "INPUT"
    example = "FILE" if modalities <= {"image", "series"} else example
    lines = [
        f"{_command('predict', run_dir=run.path)} {example}",
        _command("evaluate", run_dir=run.path),
        _command("export", run_dir=run.path, to=run.path / "saved_model"),
    ]
    return "Next:\n  " + "\n  ".join(lines)


def _command(script: str, **flags: str | os.PathLike) -> str:
    return " ".join([f"python -m experiments.{script}", *(f"--{name}={value}" for name, value in flags.items())])


def markdown(record: Mapping, result: Mapping, split: str, table: str) -> str:
    """Returns the content of `report.md`."""
    rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in result["metrics"].items())
    return (
        f"# {record['model']} on {record['task']}\n\n"
        f"{result['examples']:,} {split} examples in {result['seconds']:.1f} s.\n\n"
        f"| metric | {split} |\n|---|---|\n{rows}\n\n```\n{table}\n```\n\n"
        "`run.flags` repeats the run, `metrics.jsonl` has one line per epoch.\n"
    )
