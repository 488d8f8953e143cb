"""From the options of a training to its batches: how they are planned, changed at random, and fed."""

from kerazoo.run import report

RESIDENT_BYTES = 1 << 30  # more than this is streamed instead of being copied to the device


def plans(options, corpus, dev):
    """Returns the plans of the training and of the dev examples."""
    from kerazoo import data

    size = {"tokens": options.batch_tokens} if options.batch_tokens else {"batch_size": options.batch_size}
    if options.feed == "stream":
        plan = _stream_plan(options, corpus, size)
    elif options.packing:
        plan = data.PackedPlan.of(corpus, seed=options.seed, **size)
    else:
        plan = data.Plan.of(corpus, max_shapes=options.max_shapes, seed=options.seed, **size)
    # Each shape is compiled, which takes longer than what a second one saves on a dev set.
    return plan, data.Plan.of(dev, max_shapes=1, shuffle=False, **size)


def _stream_plan(options, stream, size):
    from kerazoo import data

    if not isinstance(stream, data.Stream):
        raise ValueError(f"TrainingOptions: feed='stream' needs a task that reads in chunks; got {stream}.")
    if options.packing:
        raise ValueError("TrainingOptions: a stream is not packed; got feed='stream' with packing=True. Leave one out.")
    report.say(
        f"feed=stream: {options.shuffle_buffer:,} examples are shuffled among each other. A run that goes on reads the "
        "data again up to its place: approximate, unless the same examples come in the same order."
    )
    return data.StreamPlan(
        stream, options.shuffle_buffer, limit=options.limit, seed=options.seed, max_shapes=options.max_shapes, **size
    )


def augment(options, corpus):
    """Returns what changes the features of training batches, or None."""
    from kerazoo import data

    if not options.augment:
        return None
    return data.Augment(options.augment, corpus, seed=options.seed, packed=options.packing)


def choose_feed(corpus):
    """Returns where the batches of a corpus come from unless told otherwise: `"device"` or `"tf.data"`."""
    return "device" if corpus.nbytes <= RESIDENT_BYTES else "tf.data"


def stream(corpus, plan, batch_fn, epoch, change):
    """Returns the batches of an epoch of a corpus, or of a stream's plan, made ahead of the training step.

    TensorFlow makes them in its own pipeline; the other backends get them from NumPy and need no TensorFlow for it.
    """
    import keras

    from kerazoo import data

    if isinstance(plan, data.StreamPlan):
        return plan.batches(epoch, batch_fn, change)
    feed = data.dataset if keras.backend.backend() == "tensorflow" else data.batches
    return feed(corpus, plan, batch_fn, epoch=epoch, augment=change)
