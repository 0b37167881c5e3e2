"""Plan, preprocess, train and predict with nnU-Net v2: ``python -m benchmarks.peers.nnunet_driver JOB.json``.

Runs in nnU-Net's environment, which need not be ours: beside nnU-Net it imports the standard library, numpy and torch.
The folders are those of nnU-Net's environment variables. What it found is written beside the job, into facts.json.
"""

from __future__ import annotations

import json
import os
import platform
import random
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.dataset_name_id_conversion import convert_id_to_dataset_name
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from benchmarks.peers.nnunet_trainer import nnUNetTrainerMinutes

CONFIGURATION, FOLD = "2d", "all"
_CPU = torch.device("cpu")


def main(job_file: str) -> None:
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    random.seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002 - what nnU-Net draws from
    torch.manual_seed(job["seed"])

    start = time.perf_counter()
    trainer = prepare(job["dataset_id"], job["gpu_memory_target"])
    trainer.minutes = job["minutes"]
    trainer.run_training()
    trained = time.perf_counter()
    predict(trainer, job["images"], job["predictions"])
    predicted = time.perf_counter()

    plan = trainer.configuration_manager
    facts = {
        "steps": len(trainer.losses),
        "losses": trainer.losses,
        "cpu_minutes": trainer.cpu_seconds / 60,
        "seconds": {
            "preparation": trained - start - trainer.seconds,
            "training": trainer.seconds,
            "inference": predicted - trained,
        },
        "settings": {
            "network": plan.network_arch_class_name,
            "features": list(plan.network_arch_init_kwargs["features_per_stage"]),
            "parameters": sum(weights.numel() for weights in trainer.network.parameters()),
            "patch_size": [int(side) for side in plan.patch_size],
            "batch_size": int(trainer.batch_size),
            "optimizer": f"SGD {trainer.initial_lr:g}, Nesterov momentum 0.99, falling as (1 - elapsed time)^0.9",
            "precision": "fp32, as nnU-Net computes on a CPU",
            "augmentation_processes": get_allowed_n_proc_DA(),
            "mirroring": [int(axis) for axis in trainer.inference_allowed_mirroring_axes],
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("nnunetv2", "torch", "batchgeneratorsv2", "numpy")},
        },
    }
    Path(job_file).with_name("facts.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")


def prepare(dataset_id: int, gpu_memory_target: float | None) -> nnUNetTrainerMinutes:
    """What ``nnUNetv2_plan_and_preprocess -c 2d`` does, then the trainer.

    It is made here and not found by nnU-Net by its name: that search imports every trainer there is, and some of them
    need torchvision.
    """
    extract_fingerprints([dataset_id], num_processes=1, check_dataset_integrity=True, show_progress_bar=False)
    identifier = plan_experiments([dataset_id], gpu_memory_target_in_gb=gpu_memory_target)
    preprocess([dataset_id], identifier, (CONFIGURATION,), (1,), show_progress_bar=False)
    # augment in the training process, so that it takes no more threads than asked for; planning refuses a 0
    os.environ["nnUNet_n_proc_DA"] = "0"  # noqa: SIM112 - nnU-Net's name
    preprocessed = Path(nnUNet_preprocessed) / convert_id_to_dataset_name(dataset_id)
    plans = json.loads((preprocessed / f"{identifier}.json").read_text(encoding="utf-8"))
    description = json.loads((preprocessed / "dataset.json").read_text(encoding="utf-8"))
    return nnUNetTrainerMinutes(plans | {"continue_training": False}, CONFIGURATION, FOLD, description, _CPU)


def predict(trainer: nnUNetTrainerMinutes, images: str, predictions: str) -> None:
    """What ``nnUNetv2_predict --save_probabilities`` does, in this process; its defaults, mirroring among them."""
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(device=_CPU, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    Path(predictions).mkdir(parents=True, exist_ok=True)
    predictor.predict_from_files_sequential(images, predictions, save_probabilities=True)


if __name__ == "__main__":  # nnU-Net spawns processes, which import this file again
    main(sys.argv[1])
