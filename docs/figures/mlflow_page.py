"""Draw images/mlflow.png, the curves of three runs in MLflow: ``python docs/figures/mlflow_page.py ADDRESS``.

ADDRESS is the one that ``make mlflow`` prints, while it runs. The runs are, with 0.003, 0.001 and 0.0003 for LR,

    python -m monai.bundle run training --config_file configs/train.json --base_channels 4 --max_epochs 5
    --optimizer#lr LR --run_name lr-LR --publish never

It needs Chromium.
"""

from __future__ import annotations

import sys

from drawing import IMAGES, photograph

SIZE = (1800, 860)
#: without the assistant on the right, and without the charts below the first row
SHOWN = (0, 0, 1336, 652)


def main(address: str) -> None:
    # a mouse, as else each chart has its buttons on it
    mouse = "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"
    options = ["--virtual-time-budget=40000", f"--blink-settings={mouse}"]
    page = photograph(f"{address}&compareRunsMode=CHART", SIZE, *options)
    page.crop(SHOWN).save(IMAGES / "mlflow.png", optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
