"""What the tasks of classes share: loss and metrics of yes or no, names of classes, accuracy and F1 of answers."""

import numpy as np


def binary_crossentropy(label_smoothing=0.0):
    """Returns the loss of yes-or-no logits, averaged over the weights."""
    import keras

    return keras.losses.BinaryCrossentropy(
        from_logits=True, label_smoothing=label_smoothing, reduction="mean_with_sample_weight"
    )


def metrics(num_classes, average="macro"):
    """Returns the metrics for `weighted_metrics`: accuracy and F1."""
    from kerazoo.training.metrics import F1, TokenAccuracy

    return [TokenAccuracy(name="accuracy"), F1(max(num_classes, 2), average=average)]


def show(names, prediction):
    """Returns the name of the class of each row of logits, `[C]` or, for yes or no, `[1]`."""
    rows = [np.asarray(row) for row in prediction]
    return [names[int(row[0] > 0) if len(row) == 1 else int(np.argmax(row))] for row in rows]


def measure(owner, names, answers, references):
    """Returns `accuracy` and `f1`, the mean over the classes that occur, of names against lists of one name."""
    if len(answers) != len(references) or not len(answers):
        raise ValueError(
            f"{owner}: `answers` and `references` must be equally long and not empty; got {len(answers)} answers, "
            f"{len(references)} references."
        )
    place = {name: index for index, name in enumerate(names)}
    given = np.array([place[answer] for answer in answers])
    true = np.array([place[accepted[0]] for accepted in references])
    scores = []
    for label in np.unique(np.concatenate([given, true])):
        hits = np.sum((given == label) & (true == label))
        scores.append(2 * hits / (np.sum(given == label) + np.sum(true == label)))
    return {"accuracy": float(np.mean(given == true)), "f1": float(np.mean(scores))}
