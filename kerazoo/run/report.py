"""What a run says: the headline before training, the report after it, and what to type next."""

import sys


def say(text):
    """Prints a line for the person who watches, on standard error."""
    print(text, file=sys.stderr, flush=True)


def headline(record, model, corpus, dev_corpus, plan, seconds):
    """Returns what is trained on what: sizes, batches, and how much of them is padding."""
    examples = f"{len(corpus):,}" if hasattr(corpus, "features") else f"about {plan.examples:,} streamed"
    several = "s" if len(plan.shapes) > 1 else ", packed" if plan.shapes[0].segments else ""
    return (
        f"{record['model']}: {model.count_params():,} parameters; {record['task']}: {examples} training and "
        f"{len(dev_corpus):,} dev examples, read in {seconds:.1f} s; {plan.steps:,} steps an epoch in "
        f"{len(plan.shapes)} batch shape{several}, {plan.valid_fraction:.0%} of the positions valid{_notes(corpus)}"
    )


def _notes(corpus):
    """Returns how many examples were cut off or left out while the corpus was made."""
    counts = [f"{count:,} {name}" for name, count in getattr(corpus, "notes", {}).items() if count]
    return "; " + ", ".join(counts) if counts else ""


def flag_file(record, command):
    """Returns the flag file that repeats the run."""
    head = f"# python -m experiments.run --flagfile=run.flags\n# kerazoo {record['kerazoo']}\n"
    return head + "".join(f"{line}\n" for line in command)


def next_commands(run, task):
    """Returns the commands that use the run."""
    modalities = {feature.modality for feature in task.inputs or (task.targets,)}
    example = " kerazoo tensorflow" if modalities == {"text"} and len(task.input_columns) == 1 else " INPUT"
    example = " FILE" if modalities <= {"image", "series"} else example
    lines = [
        f"python -m experiments.predict --run_dir={run.path}{example}",
        f"python -m experiments.evaluate --run_dir={run.path}",
        f"python -m experiments.export --run_dir={run.path} --to={run.path}/saved_model",
    ]
    return "Next:\n  " + "\n  ".join(lines)


def markdown(record, result, split, table):
    """Returns `report.md`."""
    rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in result["metrics"].items())
    return (
        f"# {record['model']} on {record['task']}\n\n"
        f"{result['examples']:,} {split} examples in {result['seconds']:.1f} s.\n\n"
        f"| measure | {split} |\n|---|---|\n{rows}\n\n```\n{table}\n```\n\n"
        "`run.flags` repeats the run, `metrics.jsonl` has one line per epoch.\n"
    )
