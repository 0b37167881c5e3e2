"""Stands for ``python -m monai.bundle run``: leaves the files of a training or an evaluation, in a moment.

The variant, which the run's name tells, decides: "broken" fails, "slow" saves once and then waits for SIGTERM.
"""

import json
import shutil
import signal
import sys
import time
from pathlib import Path

#: any network: a study asks the networks of its runs what images they take
NETWORK = Path(__file__).parents[2] / "models" / "em_membranes.pt"
#: metric -> value of (variant's place in the alphabet, seed)
VALUES = {
    "pixel_error": lambda variant, seed: 0.1 + 0.01 * variant + 0.001 * seed,
    "iou": lambda variant, seed: 0.9 - 0.02 * variant - 0.003 * seed * seed,
}


def place(variant: str) -> int:
    return ord(variant[0]) - ord("a")


def train(options: dict[str, str]) -> int:
    folder = Path(options["output_dir"], options["run_name"])
    if (folder / "last.pt").exists() != ("resume" in options):
        print(f"error: resume does not fit {folder}")
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow_run_id.txt").write_text(f"id-of-{folder.name}\n")
    (folder / "last.pt").touch()
    if "broken" in folder.name:
        print("\n".join(f"line {number}" for number in range(30)))
        print("error: broken on purpose")
        return 3
    if "slow" in folder.name and "resume" not in options:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        (folder / "waiting").touch()
        time.sleep(60)
    (folder / "history.csv").write_text("name,value\ntrain/seconds_step,30\ntrain/loss,1\ntrain/seconds_data,6\n")
    shutil.copy(NETWORK, folder / "best.pt")
    (folder / "model.pt").touch()
    return 0


def evaluate(options: dict[str, str]) -> int:
    tags, folder = json.loads(options["tracker#tags"]), Path(options["evaluation_dir"])
    folder.mkdir(parents=True)
    (folder / "mlflow_run_id.txt").write_text(f"id-of-{options['tracker#run_name']}\n")
    lines = [f"{name},{value(place(tags['variant']), int(tags['seed']))}" for name, value in VALUES.items()]
    (folder / "summary.csv").write_text("\n".join(["metric,value", *lines, "loss,1.0"]))
    return 0


def main() -> int:
    run_id, *words = sys.argv[1:]
    options = dict(zip((word.removeprefix("--") for word in words[::2]), words[1::2], strict=True))
    journal = Path(options["output_dir"]) / "journal.txt"
    name = options.get("run_name") or options["tracker#run_name"]
    with journal.open("a") as file:
        file.write(f"{run_id} {name}{' again' if 'resume' in options else ''}\n")
    return (train if run_id == "training" else evaluate)(options)


if __name__ == "__main__":
    sys.exit(main())
