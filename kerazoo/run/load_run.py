"""A run directory as a `Predictor`, or several of them as one."""

import os
import sys
from collections.abc import Sequence

from kerazoo import _checks, catalog
from kerazoo.run import anomalies, model_building
from kerazoo.run import directory as directories
from kerazoo.run.predictor import Predictor

RunPath = str | os.PathLike | Sequence[str | os.PathLike]  # one run, or those of an ensemble
CHECKPOINTS = ("best", "last", "average")


def load(
    run_dir: RunPath,
    checkpoint: str = "best",
    data_dir: str | os.PathLike | None = None,
    imports: str | Sequence[str] = (),
) -> Predictor:
    """Returns the `Predictor` of a finished or running training.

    A folder from elsewhere runs no code: a module of the user's own that its record names must be imported already, or
    be named in `imports`.

    Args:
        run_dir: string or path. The run's folder; or a list of them, whose models have the same vocabularies and
            predict together, by the mean of their probabilities.
        checkpoint: string. `"best"` for the state with the best dev result, `"last"` for the newest, `"average"` for
            the mean of the weights after the last epochs, of a run that was trained with `average_checkpoints`.
            Defaults to `"best"`.
        data_dir: string or path. Where the data is now, if it moved; predicting needs no data. Defaults to `None`.
        imports: string or list of strings. Modules to import first, which register the user's models. Defaults to
            `()`.

    Raises:
        CheckpointError: if there is no run, it needs a module that was not named, or its state is damaged or does not
            fit the model.
        ValueError: if the vocabularies of several runs differ.
    """
    catalog.import_modules([imports] if isinstance(imports, str) else imports)
    if not isinstance(run_dir, str | os.PathLike):
        return ensemble([load(each, checkpoint, data_dir) for each in run_dir])
    from kerazoo import transfer
    from kerazoo.training import checkpoints

    _checks.one_of("kerazoo.load", "checkpoint", checkpoint, CHECKPOINTS)
    run = directories.RunDirectory(run_dir)
    record, store = run.record(), checkpoints.CheckpointStore(run.checkpoints)
    _check_imports(run, record)
    try:
        task = _restored_task(run, data_dir)
        _check_depth(record, store)
        model = model_building.model_of(record, task, store)
        vocabularies = task.vocabularies
    except (_checks.CheckpointError, _checks.SetupError):
        raise
    except Exception as error:  # whatever the values of a damaged or malicious record lead to
        raise _checks.CheckpointError(f"{run.path}: describes no model that can be built: {error}") from error
    store = checkpoints.CheckpointStore(run.checkpoints, vocabularies=vocabularies)
    if checkpoint == "average":
        transfer.average_checkpoints(model, store, _num_averaged(run, record))
    else:
        store.restore(model, which=checkpoint)
    transfer.merge_lora(model)
    # The errors were measured with the best checkpoint.
    dev_errors = anomalies.load(run) if checkpoint == "best" and task.is_autoencoder else None
    return Predictor(model, task, dev_errors=dev_errors)


def _num_averaged(run, record):
    """Returns how many checkpoints a run keeps to be averaged."""
    count = record["training"].get("average_checkpoints", 0)
    if not count:
        raise _checks.CheckpointError(
            f"{run.path}: keeps no states to be averaged; got checkpoint='average'. Train it with "
            "average_checkpoints=5."
        )
    return count


def ensemble(predictors: Sequence[Predictor]) -> Predictor:
    """Returns what predicts by the mean of the probabilities of several models; of one that one."""
    if len(predictors) == 1:
        return predictors[0]
    from kerazoo import decoding

    models, hashes = [each.model for each in predictors], [each.task.hash for each in predictors]
    return Predictor(decoding.Ensemble(models, vocabulary_hashes=hashes), predictors[0].task)


def _check_imports(run, record):
    """Refuses a record that needs modules which nobody imported: importing them would run their code."""
    missing = [str(name) for name in record["import"] if name not in sys.modules]
    if missing:
        raise _checks.CheckpointError(
            f"{run.path}: was trained with the module {missing[0]!r}, and importing it runs its code. "
            f"If it is your own: imports={missing[0]!r}."
        )


def _restored_task(run, data_dir):
    from kerazoo import tasks

    try:
        return tasks.restore(run.task, data_dir=data_dir)
    except _checks.DataError as error:
        raise _checks.CheckpointError(f"{error} The command in {run.flags} writes it anew from the data.") from error


def _check_depth(record, store):
    """Refuses a record whose model has more layers than variables were saved."""
    saved = store.sizes()
    if saved is None:
        return  # `restore` tells what is missing
    for name, value in record["model_options"].items():
        count = len(value) if isinstance(value, list) else value if "layers" in name else 0
        if isinstance(count, int) and count > saved[0]:
            raise _checks.CheckpointError(
                f"{store.directory.parent}: describes another model than the saved weights are of: it has "
                f"{name}={value!r:.60}, and {saved[0]} variables are saved."
            )
