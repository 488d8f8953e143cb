"""Images: to their class, to yes or no, or to themselves."""

import dataclasses

import numpy as np

from kerazoo.tasks import classes
from kerazoo.tasks.base import Known, Task
from kerazoo.tasks.pixels import TOP, standard


@dataclasses.dataclass(frozen=True, eq=False)
class ImageTask(Task):
    """What the tasks of images share. Columns: `image`, uint8 `[N, H, W, C]`, `label`, int `[N]`, and `names`."""

    raw_dtype = "uint8"

    def load(self, split):
        """Returns the `Corpus` of a split, with `image` uint8 `[N, H, W, C]` and `label` int32 `[N]`."""
        def convert(chunk):
            return {"image": chunk.columns["image"], "label": np.asarray(chunk.columns["label"], np.int32)}, {}

        return self.prepared(split, convert)

    def graph_encode(self, images):
        """Returns the model's inputs for images `[B, H, W, C]`: uint8 of 0 to 255, or float of 0 to 1."""
        import tensorflow as tf

        images = tf.convert_to_tensor(images)
        scaled = tf.cast(images, tf.float32)
        return {"source": self._fitted(scaled / TOP if images.dtype.is_integer else scaled)}

    def encode(self, raw):
        """Returns the model's inputs for a list of images `[H, W, C]`, uint8 or float, as NumPy arrays."""
        shape = tuple(self.facts["shape"])
        images = [np.asarray(image) for image in raw]
        for image in images:
            if image.shape != shape:
                raise ValueError(f"task {self.name}: an image must have shape {shape}; got {image.shape}.")
        stacked = np.stack([scaled(image) for image in images]) if images else np.zeros((0, *shape), np.float32)
        return {"source": self._fitted(stacked)}

    def read(self, lines):
        """Returns the images of the files named in `lines`, scaled to the size of the training images."""
        from kerazoo.data.image_files import read_image

        return [read_image(path, self.facts["shape"]) for path in lines]

    def _learn(self):
        if self.options.get("preprocess") == "standardise":
            return Known(standard(self.chunks("train")))
        columns = next(self.chunks("train")).columns
        return Known({"shape": list(columns["image"].shape[1:]), "names": list(columns["names"])})

    def _source(self, features):
        from keras import ops

        return self._fitted(ops.cast(features["image"], "float32") / TOP)  # [B, H, W, C]

    def _fitted(self, images):
        if "deviation" not in self.facts:
            return images
        mean, deviation = (np.array(self.facts[name], np.float32) for name in ("mean", "deviation"))
        return (images - mean) / deviation

    def _weights(self, valid):
        from keras import ops

        return ops.cast(valid, "float32")  # [B]


class ClassifierTask(ImageTask):
    """Learns the class of an image."""

    monitor = ("val_accuracy", "max")

    def sizes(self):
        """Returns the constructor arguments of a model that the data dictates."""
        return {"input_shape": tuple(self.facts["shape"]), "num_classes": len(self.facts["names"])}

    def batch(self, features, valid):
        """Returns `(inputs, targets, weights)`: images in [0, 1], class ids `[B]`, 1 for every real example."""
        return {"source": self._source(features)}, self._labels(features), self._weights(valid)

    def loss(self, label_smoothing=0.0):
        """Returns the cross-entropy of the classes."""
        from kerazoo.training.losses import SparseCrossentropy

        return SparseCrossentropy(label_smoothing=label_smoothing)

    def metrics(self):
        """Returns the metrics for `weighted_metrics`: accuracy and F1 averaged over the classes."""
        return classes.metrics(len(self.facts["names"]))

    def examples(self, split, limit=None):
        """Returns the images, uint8 `[H, W, C]`, and the name of the class of each."""
        features = self.load(split).features
        labels = self._classes(np.asarray(features["label"][:limit]))
        return list(features["image"][:limit]), [[self._names[label]] for label in labels.tolist()]

    def graph_decode(self, logits):
        """Returns the names of the classes, strings `[B]`, of logits `[B, C]`."""
        import tensorflow as tf

        return tf.gather(tf.constant(self._names), tf.argmax(logits, axis=-1))

    def show(self, prediction):
        """Returns the names of the classes of logits `[B, C]`."""
        return classes.show(self._names, prediction)

    def measure(self, answers, references):
        """Returns `accuracy` and `f1`, the mean over the classes, of names against lists of accepted names."""
        return classes.measure(f"task {self.name}", self._names, answers, references)

    @property
    def _names(self):
        return self.facts["names"]

    def _labels(self, features):
        from keras import ops

        return ops.cast(features["label"], "int32")

    def _classes(self, labels):
        return labels


class BinaryTask(ClassifierTask):
    """Learns one bit about an image: its class where there are two, whether its digit is odd where there are ten."""

    def sizes(self):
        """Returns the constructor arguments of a model that the data dictates: a single logit."""
        return {"input_shape": tuple(self.facts["shape"]), "num_classes": 1}

    def batch(self, features, valid):
        """Returns `(inputs, targets, weights)`: images in [0, 1], 0.0 or 1.0 `[B, 1]`, 1 for every real example."""
        from keras import ops

        bits = ops.expand_dims(ops.cast(self._classes(self._labels(features)), "float32"), -1)  # [B, 1]
        return {"source": self._source(features)}, bits, self._weights(valid)

    def loss(self, label_smoothing=0.0):
        """Returns the binary cross-entropy of the logit."""
        return classes.binary_crossentropy(label_smoothing)

    def metrics(self):
        """Returns the metrics for `weighted_metrics`: accuracy and F1 of the second class."""
        return classes.metrics(2, average="binary")

    def graph_decode(self, logits):
        """Returns the names of the classes, strings `[B]`, of logits `[B, 1]`."""
        import tensorflow as tf

        return tf.gather(tf.constant(self._names), tf.cast(logits[:, 0] > 0, tf.int32))

    def _learn(self):
        known = super()._learn()
        names = known.facts["names"]
        if len(names) != 2 and not all(name.isdecimal() for name in names):
            raise ValueError(
                f"task {self.name}: kind 'binary_classifier' needs 2 classes or digits; got {len(names)} classes: "
                f"{', '.join(names[:5])}. Try kind 'classifier'."
            )
        pair = names if len(names) == 2 else ["even", "odd"]
        return Known({**known.facts, "names": pair, "parity": len(names) != 2})

    def _classes(self, labels):
        return labels % 2 if self.facts["parity"] else labels


class ReconstructionTask(ImageTask):
    """Learns to give an image back after it went through a narrow code."""

    def sizes(self):
        """Returns the constructor arguments of a model that the data dictates."""
        shape = tuple(self.facts["shape"])
        return {"input_shape": shape, "output_size": int(np.prod(shape))}

    def batch(self, features, valid):
        """Returns `(inputs, targets, weights)`: images in [0, 1], the same flattened `[B, H * W * C]`, weights."""
        from keras import ops

        images = self._source(features)
        size = int(np.prod(self.facts["shape"]))
        return {"source": images}, ops.reshape(images, (-1, size)), self._weights(valid)

    def loss(self, label_smoothing=0.0):
        """Returns the binary cross-entropy of every pixel; `label_smoothing` is not for pixels and must be 0."""
        if label_smoothing:
            raise ValueError(
                f"task {self.name}: pixels take no label_smoothing; got label_smoothing={label_smoothing}."
            )
        return classes.binary_crossentropy()

    def metrics(self):
        """Returns no metrics: the loss says it all."""
        return []

    def examples(self, split, limit=None):
        """Returns the images, uint8 `[H, W, C]`, and each as its own reference."""
        images = list(self.load(split).features["image"][:limit])
        return images, [[image] for image in images]

    def graph_decode(self, logits):
        """Returns the images `[B, H, W, C]` in [0, 1] of logits `[B, H * W * C]`."""
        import tensorflow as tf

        return tf.reshape(tf.sigmoid(logits), [-1, *self.facts["shape"]])

    def show(self, prediction):
        """Returns the images `[H, W, C]` in [0, 1] of rows of logits `[H * W * C]`."""
        return [_sigmoid(row).reshape(self.facts["shape"]) for row in prediction]

    def measure(self, answers, references):
        """Returns `binary_crossentropy` and `mean_squared_error` of images in [0, 1] against lists of one image."""
        losses = [_pixel_losses(answer, scaled(accepted[0])) for answer, accepted in zip(answers, references)]
        return dict(zip(("binary_crossentropy", "mean_squared_error"), np.mean(losses, axis=0).tolist()))


KINDS = {"classifier": ClassifierTask, "binary_classifier": BinaryTask, "autoencoder": ReconstructionTask}


def scaled(image):
    """Returns an image as float32 in [0, 1]: integers are divided by 255, floats are taken as they are."""
    image = np.asarray(image)
    return image.astype(np.float32) / (np.float32(TOP) if image.dtype.kind in "iu" else np.float32(1))


def _sigmoid(logits):
    return 1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float32), -80, 80)))


def _pixel_losses(answer, image):
    answer = np.clip(np.asarray(answer, np.float64), 1e-7, 1 - 1e-7)
    crossentropy = -np.mean(image * np.log(answer) + (1 - image) * np.log(1 - answer))
    return crossentropy, np.mean((answer - image) ** 2)
