"""How this process was started: alone, or beside others by torchrun, by SLURM's srun or by Lightning.

Read from the environment, so that it is known before anything is imported that takes long.
"""

import os
from dataclasses import dataclass

# What makes PyTorch and Lightning believe that there are other processes to wait for.
_LAUNCH_VARIABLES = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
    "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
    "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_PROCID", "SLURM_LOCALID",
)  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """What a launcher tells each of its processes.

    Attributes:
        launcher: `torchrun` or `srun`.
        rank: number of this process among all, from 0.
        num_processes: all of them.
        num_nodes: machines that they are on, equally many on each.
        job: what names the job, through all its restarts; None where torchrun was given no `--rdzv-id` and has not made
            one up.
        restarted: whether these processes were started before and broke off. Of a torchrun on several machines only
            the one where a process failed knows it; all know the job.
    """

    launcher: str
    rank: int
    num_processes: int
    num_nodes: int
    job: str | None
    restarted: bool

    @property
    def per_node(self) -> int:
        """Processes of one machine."""
        return self.num_processes // self.num_nodes


def current_launch() -> Launch | None:
    """The launch that this process belongs to; none where it was started alone or by Lightning."""
    variables = os.environ
    if "TORCHELASTIC_RUN_ID" in variables:
        processes, per_node = int(variables["WORLD_SIZE"]), int(variables["LOCAL_WORLD_SIZE"])
        job = variables["TORCHELASTIC_RUN_ID"]
        restarted = int(variables.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
        return Launch(
            "torchrun",
            int(variables["RANK"]),
            processes,
            processes // per_node,
            None if job in ("", "none") else f"torchrun {job}",
            restarted,
        )
    # In a shell that SLURM gave, its variables are there too, but it starts no processes.
    interactive = variables.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_NTASKS" in variables and "SLURM_PROCID" in variables and not interactive:
        return Launch(
            "srun",
            int(variables["SLURM_PROCID"]),
            int(variables["SLURM_NTASKS"]),
            int(variables.get("SLURM_NNODES", "1")),
            f"SLURM {variables['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in variables else None,
            int(variables.get("SLURM_RESTART_COUNT", "0")) > 0,
        )
    return None


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints; the others of its launch only compute."""
    launch = current_launch()
    if launch is not None:
        return launch.rank == 0
    # Lightning starts further processes itself and tells them their place.
    return int(os.environ.get("LOCAL_RANK", "0")) == 0 and int(os.environ.get("NODE_RANK", "0")) == 0


def leave_launch() -> None:
    """Make this process one that was started alone: work of a single process must not wait for the others."""
    for name in _LAUNCH_VARIABLES:
        os.environ.pop(name, None)
