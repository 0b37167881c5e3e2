"""Runs in the environment of a program of bioimage.io, not in ours: what it makes of a package and of images.

``python client.py PACKAGE IMAGES.npy OUT.npz WAY ...``: images are NCHW, each is predicted alone. A way is "blocked" or
"whole", then ":raw" (the package standardises) or ":standardized" (that is left out).
"""

import sys

import numpy as np

#: block = smallest + 10 steps, what bioimageio.core takes by itself
STEPS = 10


def main(package: str, images: str, out: str, *ways: str) -> None:
    from bioimageio.core import Sample, Tensor, create_prediction_pipeline  # pytest imports this file, and lacks it
    from bioimageio.spec import load_model_description

    pipeline = create_prediction_pipeline(load_model_description(package), weights_format="torchscript")
    found = {}
    for way in ways:
        cut, _, given = way.partition(":")
        results = []
        for number, image in enumerate(np.load(images)):
            tensor = Tensor.from_numpy(image[None], dims=["batch", "channel", "y", "x"])
            sample = Sample(members={"image": tensor}, stat={}, id=str(number))
            left_out = given == "standardized"
            if cut == "blocked":
                done = pipeline.predict_sample_with_blocking(sample, skip_preprocessing=left_out, ns=STEPS)
            else:
                done = pipeline.predict_sample_without_blocking(sample, skip_preprocessing=left_out)
            results.append(np.asarray(done.members["probability"].data)[0])
        found[way] = np.stack(results)
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
