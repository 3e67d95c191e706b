"""Keeps Lightning's advertisements and notes on things we chose on purpose out of the terminal."""

import logging
import warnings

# Each pattern with the reason why its message says nothing to a user of ours.
_HARMLESS = (
    r".*treespec, LeafSpec.*",  # between Lightning and torch
    r".*smaller than the logging interval.*",  # metrics.jsonl has a line for every epoch anyway
    r".*Total length of `list` across ranks is zero.*",  # a pretraining has no validation
    r".*Consider setting `persistent_workers=True`.*",  # each epoch makes its loader anew
    r".*does not have many workers.*",  # num_workers is the configuration's
    r"Grad strides do not match bucket view strides.*",  # along dimensions of one element
    r"FSDP2-wrapped module .* returned a view tensor.*",  # nothing writes into a head's output
    r".*ended before the epoch ended and your dataloader is not resumable.*",  # ClipStreams begins where it ended
)


def quieten_lightning() -> None:
    """Silence the messages listed here; warnings and errors of other kinds still show."""
    for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in _HARMLESS:
        warnings.filterwarnings("ignore", message=pattern)
