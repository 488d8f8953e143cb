"""Exports a run: the trained model with its tokenizers as a SavedModel, verified in a fresh process."""

from kerazoo.run import answer


def export(run_dir, directory, checkpoint="best", verify=True):
    """Writes a run as a SavedModel whose signature takes raw input and returns answers.

    Args:
        run_dir: The run's folder.
        directory: The new folder of the SavedModel.
        checkpoint: `"best"` or `"last"`.
        verify: Whether a fresh process that imports only TensorFlow must give the same answers to some dev examples.
    """
    from kerazoo import export as exporter

    answerer = answer.load(run_dir, checkpoint=checkpoint)
    exporter.export(answerer.model, answerer.task, directory)
    return answerer
