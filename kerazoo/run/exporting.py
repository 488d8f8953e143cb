"""Exports a run: the trained model with its tokenizers as a SavedModel, verified in a fresh process."""

from kerazoo.run import answer

EXAMPLES = 16  # raw inputs whose answers the SavedModel must repeat


def export(run_dir, directory, checkpoint="best", verify=True, data_dir=None):
    """Writes a run as a SavedModel whose signature takes raw input and returns answers.

    Args:
        run_dir: The run's folder.
        directory: The new folder of the SavedModel.
        checkpoint: `"best"` or `"last"`.
        verify: Whether a fresh process that imports only TensorFlow must give the same answers to some dev examples.
        data_dir: Where the data lies now, if it moved; only `verify` reads it.

    Returns:
        The path of the SavedModel.
    """
    from kerazoo import export as exporter

    answerer = answer.load(run_dir, checkpoint=checkpoint, data_dir=data_dir)
    path = exporter.export(answerer.model, answerer.task, directory)
    if verify:
        raw, _ = answerer.task.examples("dev", limit=EXAMPLES)
        exporter.verify(path, raw, answerer(raw))
    return path
