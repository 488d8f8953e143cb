"""What a model of speech recognition reads in generated sounds: the word error rate of speech generation."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kerazoo.run import load_run, report
from kerazoo.run import predictor as predictors

if TYPE_CHECKING:
    from kerazoo.tasks import Task

RECORDING, GRIFFIN_LIM = f"{report.BASELINE}recording", f"{report.BASELINE}griffin_lim"
ABOUT = "recording and griffin_lim are word error rates"


def open_recognizer(task: "Task", run_dir: str | os.PathLike) -> predictors.Predictor:
    """Returns the predictor of a run that reads the sounds which another task generates.

    Args:
        task: `kerazoo.tasks.Task`. The task that generates sounds of texts.
        run_dir: string or path. The run of speech recognition.

    Raises:
        ValueError: if the task generates no sound of one text, or the run does not read sound and write text.
    """
    if task.targets.modality != "sound" or [feature.modality for feature in task.inputs] != ["text"]:
        raise ValueError(
            f"{task.owner}: `recognizer` reads sounds that are generated of a text; got recognizer="
            f"{os.fspath(run_dir)!r} for a task that predicts {task.targets.modality}. Leave it out."
        )
    found = load_run.load(run_dir)
    modalities = [feature.modality for feature in (*found.task.inputs, found.task.targets)]
    if modalities != ["sound", "text"]:
        raise ValueError(
            f"{task.owner}: `recognizer` must be a run that reads sound and writes text, such as one of the task "
            f"spoken_numbers; got {os.fspath(run_dir)}, {' to '.join(modalities)}."
        )
    return found


def word_error_rates(
    recognizer: predictors.Predictor,
    task: "Task",
    texts: Sequence[str],
    recordings: Sequence[Sequence[np.ndarray]],
    sounds: Sequence[np.ndarray],
) -> dict[str, float]:
    """Returns the word error rates of what is read in generated sounds, and in recordings for comparison.

    Args:
        recognizer: `Predictor` of sound to text.
        task: `kerazoo.tasks.Task` of text to sound.
        texts: list of strings. What is spoken.
        recordings: list of lists with a recording of each text, samples.
        sounds: list of arrays. The generated sound of each text.

    Returns:
        A dict with `word_error_rate`, that of the generated sounds; `baseline.recording`, that of the recordings; and
        `baseline.griffin_lim`, that of the recordings on the way through their frames and back, which is what a
        perfect prediction would have.
    """
    from kerazoo.data.sound_files import resampled

    target = cast(Any, task.targets)
    read: Any = recognizer.task.inputs[0]
    references = [[text] for text in recognizer.task.targets.references(list(texts))]

    def rate(spoken):
        heard = [resampled(np.asarray(each, np.float32), target.sample_rate, read.sample_rate) for each in spoken]
        return recognizer.task.evaluate(recognizer(heard), references, ["word_error_rate"])["word_error_rate"]

    recorded = [each[0] for each in recordings]
    return {
        "word_error_rate": rate(sounds),
        RECORDING: rate(recorded),
        GRIFFIN_LIM: rate(target.through_frames(recorded)),
    }
