"""Where a network computes: the device that a name means, if this machine has it."""

import torch


def resolve_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: `cpu`, `cuda`, `cuda:1` or another that PyTorch knows; `auto` is the GPU where there is one.

    Raises:
        ValueError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not _is_there(name):
        raise ValueError(f"--device {name}: no such device was found on this machine; use cpu or auto")
    return torch.device(name)


def _is_there(name: str) -> bool:
    try:
        device = torch.device(name)
        count: int = torch.get_device_module(device).device_count()
    except RuntimeError:  # no name that PyTorch knows, or of a device that it was built without
        return False
    return (device.index or 0) < count
