"""From pictures to weights: examples, augmentation, step, loss, loop, checkpoints, processes, metrics."""
