"""Keep parts of a model as they are."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

__all__ = ["freeze", "freeze_norm_statistics", "refuse_live_norm_statistics"]


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Take the gradient from parameters by name, in place.

    Args:
        model: the network.
        patterns: modules such as ``image_encoder.trunk`` with all that is in them, or patterns of whole parameter names
            such as ``*.norm*.weight`` (those of a shell: ``*``, ``?``, ``[...]``).

    Returns:
        The names of the frozen parameters.

    Raises:
        ValueError: a pattern matches no parameter, or nothing is left to train.
    """
    names = [name for name, _ in model.named_parameters()]
    frozen: set[str] = set()
    for pattern in patterns:
        matching = [name for name in names if fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")]
        if not matching:
            parts = ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))
            raise ValueError(f"Nothing is called {pattern!r} that could be frozen; the model's parts are {parts}.")
        frozen.update(matching)
    if len(frozen) == len(names):
        raise ValueError(f"Nothing is left to train: freeze={list(patterns)} is the whole model.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return sorted(frozen)


def freeze_norm_statistics(model: nn.Module) -> None:
    """Let batch normalisation (EdgeTAM's trunk has it) use the checkpoint's statistics, in place.

    A batch of fine-tuning is a few frames of one or two clips, whose statistics say little. `Module.train` undoes this.
    """
    for module in _batch_norms(model):
        module.eval()


def refuse_live_norm_statistics(model: nn.Module) -> None:
    """Refuse to compute activations twice, a picture at a time, where batch normalisation counts its statistics.

    Raises:
        ValueError: there is such a layer.
    """
    if any(module.training for module in _batch_norms(model)):
        raise ValueError(
            "Batch normalisation would count each picture alone, and twice: set checkpointing=false, or start from a "
            "checkpoint, whose statistics are kept."
        )


def _batch_norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
