"""Training a run again, and comparing what it reaches."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from kerazoo import _checks
from kerazoo.run import directory as directories
from kerazoo.run import report

EQUAL = 1e-6  # relative difference of two numbers that count as equal


class Reproduced(NamedTuple):
    """A result that was stated, and that of the training again.

    Args:
        split: string. Which part of the data.
        measure: string. Its name.
        stated: float. The result that was stated.
        found: float. The result now.
        spread: float or `None`. How far they may differ; `None` if that is not stated.
        rounding: float. Half a unit of the last digit that is stated. Defaults to `0.0`.
    """

    split: str
    measure: str
    stated: float
    found: float
    spread: float | None
    rounding: float = 0.0

    @property
    def within(self) -> bool:
        """Whether the result lies within its spread; without one, whether both are equal."""
        allowed = (self.spread or 0.0) + self.rounding + EQUAL * abs(self.stated)
        return abs(self.found - self.stated) <= allowed

    def __str__(self) -> str:
        """Returns the comparison as a line of text."""
        text = f"{self.split} {self.measure}: stated {self.stated:.6g}, found {self.found:.6g}"
        if self.spread is None:
            equal = "equal" if self.within else f"they differ by {abs(self.found - self.stated):.3g}"
            return f"{text}: {equal}; no spread is stated"
        return f"{text}: {'within' if self.within else 'outside'} the spread of {self.spread:.3g}"


def reproduce(
    run_dir: str | os.PathLike,
    to: str | os.PathLike,
    data_dir: str | os.PathLike | None = None,
    spread: float | None = None,
    print_fn: Callable[[str], None] = report.log,
) -> list[Reproduced]:
    """Trains a run again from its record and compares the results on dev.

    Args:
        run_dir: string or path. The finished run.
        to: string or path. The folder of the new run.
        data_dir: string or path. Where the data is now, if it moved. Defaults to `None`.
        spread: float. How far the results may differ; `None` tells whether they are equal. Defaults to `None`.
        print_fn: function of a string that prints a line. Defaults to standard error.

    Returns:
        List of `Reproduced`, one for each measure.

    Raises:
        CheckpointError: if there is no run, it has no results on dev, or it was made of another run by `compress`.
    """
    from kerazoo.run import start, trainer

    run = directories.RunDirectory(run_dir)
    record = run.record()
    if made := record.get("made_of"):
        raise _checks.CheckpointError(
            f"{run.path}: was made of {made.get('run_dir')} by the step {made.get('step')}, and a training of its own "
            "would not give it. Compress that run again."
        )
    stated = results(run, "dev")
    moved = {} if data_dir is None else {"data_dir": data_dir}
    training = {**record["training"], **record.get("found", {})}
    del training["batch_size" if training["batch_tokens"] else "batch_tokens"]  # `train` takes one of them
    begin = record.get("start")
    trainer.train(
        record["model"],
        record["task"],
        to,
        model_options=record["model_options"],
        task_options={**record["task_options"], **moved},
        training=training,
        imports=record["import"],
        start=begin and start.Start.of(begin, record["import"]),
        print_fn=print_fn,
    )
    return compare_results(
        directories.RunDirectory(to), [("dev", name, value, spread) for name, value in stated.items()]
    )


def compare_results(run: directories.RunDirectory, stated: Sequence[tuple]) -> list[Reproduced]:
    """Returns the comparison of stated results with those of the evaluations of a run.

    Args:
        run: `RunDirectory`.
        stated: list of tuples of split, measure, value, spread, and where it is not 0 of the rounding of the value.

    Raises:
        CheckpointError: if the run has no such result.
    """
    rows = []
    for split, measure, value, spread, *rounding in stated:
        found = results(run, split)
        if measure not in found:
            raise _checks.CheckpointError(
                f"{run.evaluation(split)}: has no {measure!r}; it has {', '.join(sorted(found))}."
            )
        rows.append(Reproduced(split, measure, float(value), float(found[measure]), spread, *rounding))
    return rows


def results(run: directories.RunDirectory, split: str) -> Mapping[str, Any]:
    """Returns the measures of a run on a part of the data, without those of the baseline."""
    path = run.evaluation(split)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    except (OSError, ValueError, LookupError) as error:
        raise _checks.CheckpointError(f"{path}: cannot be read: {error}. Evaluate the run on {split} first.") from error
    return {
        name: value
        for name, value in found.items()
        if not name.startswith(report.BASELINE) and isinstance(value, float) and math.isfinite(value)
    }
