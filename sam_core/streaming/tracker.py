"""A tracker: the weights, ready to open streams."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from sam_core.checkpoints.digest import digest_of
from sam_core.sam2 import Sam2
from sam_core.streaming.memory import POLICIES
from sam_core.streaming.renamed import with_new_names
from sam_core.streaming.settings import StreamSettings
from sam_core.streaming.stream import Stream


class Tracker:
    """SAM 2 or SAM 3's tracker on a device; any number of streams share it.

    Args:
        model: the network, in evaluation mode, on its device.
        name: name of its configuration.
        checkpoint: file of its weights; None for random ones.
        memory_policy: name, in `POLICIES`, of its streams' policy if they ask for none.
        **choices: its streams' settings if they do not say: those of `sam_core.streaming.settings.CHOICES`, and
            `pin_first_frame`.

    Raises:
        ValueError: no such policy or choice.
    """

    def __init__(
        self, model: Sam2, name: str, checkpoint: Path | None = None, memory_policy: str = "fifo", **choices: Any
    ) -> None:
        if memory_policy not in POLICIES:
            raise ValueError(f"There is no memory policy {memory_policy!r}; known are {', '.join(POLICIES)}.")
        self.choices = with_new_names(choices)
        StreamSettings(**self.choices)  # refuses what there is not
        self.model = model
        self.name = name
        self.checkpoint = checkpoint
        self.memory_policy = memory_policy

    @property
    def image_size(self) -> int:
        """Side of the model's square input in px."""
        return self.model.image_size

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """The networks' dtype."""
        return self.model.dtype

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 of the weights (`sam_core.checkpoints.digest`); computed when first asked for."""
        return digest_of(self.model)

    def open_stream(self, **settings: Any) -> Stream:
        """Open a stream; keyword arguments are those of `StreamSettings`.

        `policy`, `non_overlap`, `mask_refinement` and `click_augmentation` are the model's where they are not given or
        None.

        Raises:
            ValueError: a setting out of range.
            TypeError: no such setting.
            torch.cuda.OutOfMemoryError: the memory for `max_objects` objects does not fit.
        """
        own = {"policy": POLICIES[self.memory_policy](), **self.choices}
        settings = with_new_names(settings)
        settings |= {name: choice for name, choice in own.items() if settings.get(name) is None}
        given = {name: value for name, value in settings.items() if value is not None or name == "max_pointer_distance"}
        return Stream(self.model, StreamSettings(**given))
