"""Cellpose 3 from random weights, by the defaults of its function ``train_seg``.

``cellpose_env/bin/python -m benchmarks.peers.cells.cellpose_peer --split SPLIT --output_dir OUT``
in an environment of its own. Its learning rate depends on the number of epochs, so a few are timed beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.peers.cells.files import cpu_minutes, not_installed, options_of, read_training, segment, write_facts

try:
    from cellpose import models, train
except ModuleNotFoundError as error:
    raise SystemExit(not_installed(error, "cellpose==3.1.1.2")) from error

#: epochs that are timed
_TIMED = 3


def main(argv: Sequence[str] | None = None) -> None:
    options = options_of((__doc__ or "").split("\n")[0], argv)
    torch.manual_seed(options.seed)
    pairs = list(read_training(options.split).values())
    images, labels = [image for image, _ in pairs], [label.astype(np.int32) for _, label in pairs]
    began = cpu_minutes()

    def trained(epochs: int) -> models.CellposeModel:
        model = models.CellposeModel(gpu=False, pretrained_model=False)
        given = {"train_data": images, "train_labels": labels, "channels": [0, 0], "n_epochs": epochs}
        train.train_seg(model.net, **given, save_path=options.output_dir)
        return model

    model = trained(1)
    once = cpu_minutes() - began  # flows of all labels are computed beforehand, each time
    epochs, began = 1 + _TIMED, cpu_minutes()
    model = trained(epochs)
    an_epoch = max((cpu_minutes() - began - once) / _TIMED, 1e-6)
    in_time = int((options.minutes - once) / an_epoch)
    if in_time > epochs:
        epochs, began = in_time, cpu_minutes()
        model = trained(epochs)
    diameter = float(model.net.diam_labels.detach().cpu().numpy().ravel()[0])
    write_facts(
        *(options, ("cellpose", "torch", "numpy")),
        epochs=epochs,
        steps=epochs * -(-len(images) // 8),
        cpu_minutes=cpu_minutes() - began,
        diameter=diameter,
    )
    segment(options, lambda image: model.eval(image, channels=[0, 0], diameter=diameter)[0])


if __name__ == "__main__":
    main()
