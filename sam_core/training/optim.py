"""Optimisers: AdamW, or Muon for the matrices inside the network with AdamW for the rest."""

from __future__ import annotations

import math

import torch
from torch import nn

from sam_core.training.settings import Stage

__all__ = ["make_optimizer", "rate_at"]


def rate_at(stage: Stage, step: int) -> float:
    """Return the learning rate of a step as a share of the peak."""
    share = 0.5 + 0.5 * math.cos(math.pi * min(step / max(stage.steps, 1), 1.0))
    rate = stage.rate_end + (stage.rate - stage.rate_end) * share
    return rate * min(1.0, (step + 1) / max(stage.warmup, 1))


def make_optimizer(
    model: nn.Module, auxiliary: nn.Module | None, kind: str, lr: float, muon_lr: float = 0.01, decay: float = 0.02
) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a model; each parameter group keeps its peak rate under ``base``.

    Args:
        model: its parameters with gradients are optimised.
        auxiliary: readouts that are optimised along with it.
        kind: ``adamw`` or ``muon`` ("Muon: an optimizer for hidden layers", Jordan et al., 2024).
        lr: AdamW's peak rate.
        muon_lr: Muon's peak rate.
        decay: weight decay of the weights of layers; embeddings, other free parameters and vectors have none.

    Raises:
        ValueError: unknown kind, or a PyTorch without it.
    """
    if kind not in ("adamw", "muon"):
        raise ValueError(f"unknown optimiser {kind!r}: adamw or muon")
    if kind == "muon" and not hasattr(torch.optim, "Muon"):
        raise ValueError(f"muon needs PyTorch 2.9 or newer, this is {torch.__version__}: take optimizer=adamw")
    layers = _layer_weights(model)
    matrices, plain, vectors = [], [], []
    for p in model.parameters():
        if not p.requires_grad:
            continue
        if p not in layers:
            vectors.append(p)
        elif kind == "muon" and p.ndim == 2 and min(p.shape) >= 16:
            matrices.append(p)
        else:
            plain.append(p)
    groups = [{"params": plain, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    if auxiliary is not None:
        groups.append({"params": list(auxiliary.parameters()), "weight_decay": 0.0})
    result: list[torch.optim.Optimizer] = [
        torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=(0.9, 0.98), eps=1e-8)
    ]
    if matrices:
        result.append(torch.optim.Muon(matrices, lr=muon_lr, weight_decay=decay, momentum=0.95, ns_steps=5))
    for optimizer in result:
        for group in optimizer.param_groups:
            group["base"] = group["lr"]
    return result


def _layer_weights(model: nn.Module) -> set[nn.Parameter]:
    """Return the weights of linear, convolutional and attention layers, by what owns them.

    Not among them are embeddings, and parameters that stand for themselves: tokens, positions, latents.
    """
    return {
        parameter
        for module in model.modules()
        if not isinstance(module, nn.Embedding)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim >= 2 and (name.endswith(("weight", "projection")))
    }
