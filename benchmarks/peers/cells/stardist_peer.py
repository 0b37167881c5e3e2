"""StarDist 2D from random weights, as its example of training does it.

``stardist_env/bin/python -m benchmarks.peers.cells.stardist_peer --split SPLIT --output_dir OUT``
in an environment of its own. 32 rays, grid 2, patches of 256 px where the images allow, steps of 4; images are
normalised between their percentiles 1 and 99.8, mirrored, turned and changed in brightness; 15 % of the training images
steer the learning rate and choose both thresholds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.peers.cells.files import cpu_minutes, not_installed, options_of, read_training, segment, write_facts

try:
    import tensorflow as tf
    from csbdeep.utils import normalize
    from stardist import fill_label_holes
    from stardist.models import Config2D, StarDist2D
except ModuleNotFoundError as error:
    raise SystemExit(not_installed(error, "stardist==0.9.2", "tensorflow==2.21.*")) from error


def changed(image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The example's augmenter."""
    turns, axis = np.random.randint(4), np.random.randint(3)  # noqa: NPY002 - see seed
    image, label = np.rot90(image, turns), np.rot90(label, turns)
    if axis < 2:
        image, label = np.flip(image, axis), np.flip(label, axis)
    return image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2), label  # noqa: NPY002


class UntilTheEnd(tf.keras.callbacks.Callback):
    """Ends the training when its time is over."""

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self.end, self.steps = cpu_minutes() + minutes, 0

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.steps += 1
        if cpu_minutes() > self.end:
            self.model.stop_training = True


def main(argv: Sequence[str] | None = None) -> None:
    options = options_of((__doc__ or "").split("\n")[0], argv)
    tf.random.set_seed(options.seed)
    pairs = list(read_training(options.split).values())
    order = np.random.RandomState(options.seed).permutation(len(pairs))
    held = max(1, round(0.15 * len(pairs))) if len(pairs) > 1 else 0
    images = [normalize(image, 1, 99.8, axis=(0, 1)) for image, _ in pairs]
    labels = [fill_label_holes(label) for _, label in pairs]
    training, steering = order[held:], order[:held] if held else order
    side = min(256, *(min(image.shape[:2]) for image in images)) // 16 * 16
    config = Config2D(n_rays=32, grid=(2, 2), n_channel_in=1, train_patch_size=(side, side), train_batch_size=4)
    config.train_tensorboard = False
    model = StarDist2D(config, name="model", basedir=str(options.output_dir))
    model.prepare_for_training()
    began = cpu_minutes()
    clock = UntilTheEnd(options.minutes)
    model.callbacks.append(clock)
    given = [[array[number] for number in part] for part in (training, steering) for array in (images, labels)]
    model.train(*given[:2], validation_data=tuple(given[2:]), augmenter=changed, seed=options.seed)
    minutes = cpu_minutes() - began
    model.optimize_thresholds(*given[2:])
    write_facts(
        *(options, ("stardist", "tensorflow", "numpy")),
        steps=clock.steps,
        cpu_minutes=minutes,
        thresholds=[float(model.thresholds.prob), float(model.thresholds.nms)],
        patch_size=side,
    )
    segment(options, lambda image: model.predict_instances(normalize(image, 1, 99.8, axis=(0, 1)))[0])


if __name__ == "__main__":
    main()
