"""nnU-Net's own trainer, but for so many minutes.

Runs in nnU-Net's environment. Loss, optimizer, batches, augmentation and a training step are those of nnUNetTrainer;
what differs is when it ends, that the learning rate follows the clock, and that no minute goes into the validation of
every epoch, which with fold "all" would be on the training images.
"""

from __future__ import annotations

import time

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from benchmarks.peers.clock import timed_steps


class nnUNetTrainerMinutes(nnUNetTrainer):
    """Set ``minutes``, then call :meth:`run_training`.

    Attributes:
        minutes: of a core, for the training with augmentation; the making of data loaders and network is not counted.
        losses: of every step.
        seconds: that the steps took, by the clock.
        cpu_seconds: of this process in these steps.
    """

    minutes: float = 40.0

    def run_training(self) -> None:
        self.on_train_start()
        self.network.train()
        self.losses: list[float] = []
        start, used = time.perf_counter(), time.process_time()
        for progress in timed_steps(self.minutes):
            for group in self.optimizer.param_groups:
                group["lr"] = self.initial_lr * (1 - progress) ** 0.9  # as nnU-Net's PolyLRScheduler
            step = self.train_step(next(self.dataloader_train))
            self.losses.append(float(step["loss"]))
            self.print_to_log_file(
                f"step {len(self.losses)}, {100 * progress:.1f} % of the time, loss {step['loss']:.4f}"
            )
        self.seconds, self.cpu_seconds = time.perf_counter() - start, time.process_time() - used
        self.on_train_end()
