"""What `experiments.benchmark` measures: training, feeding and decoding, each beside others in one run."""
