"""A scheduler of dask whose workers are jobs of Slurm. It runs until it is ended, and its workers end with it."""

import signal

from dask_jobqueue import SLURMCluster

cluster = SLURMCluster(
    queue="cpu",  # as sinfo lists them; one kind of processor
    account="mine",
    walltime="04:00:00",
    cores=16,  # of a job
    processes=16,  # workers of a job, so one thread each
    memory="64GB",  # of a job; --plan says how much a worker needs
    interface="ib0",  # network between the nodes
    job_script_prologue=["cd $HOME/seamless-unet", "source .venv/bin/activate"],
)
cluster.scale(jobs=4)
print("--cluster", cluster.scheduler_address, flush=True)
signal.pause()
