"""Class scores of queries: how well each agrees with the whole prompt."""

from __future__ import annotations

from torch import Tensor, nn

from sam_core.layers import MLP
from sam_core.sam3.text import PromptTokens


class ResidualMLP(MLP):
    """An MLP whose input is added to its output, then normed."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(channels, hidden, channels, num_layers=2)
        self.out_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., channels) to the same shape."""
        return self.out_norm(x + super().forward(x))


class DotProductScoring(nn.Module):
    """Scaled dot product of projected queries with the projected mean of the prompt's tokens.

    Args:
        channels: channels of queries and prompt.
        hidden: hidden width of the prompt's MLP.
        max_logit: logits are clamped to ± this.
    """

    def __init__(self, channels: int, hidden: int, max_logit: float = 12.0) -> None:
        super().__init__()
        self.max_logit = max_logit
        self.prompt_mlp = ResidualMLP(channels, hidden)
        self.prompt_proj = nn.Linear(channels, channels)
        self.hs_proj = nn.Linear(channels, channels)

    def pool(self, prompt: PromptTokens) -> Tensor:
        """Return one feature for each of B prompts, (B, C): the mean of its tokens after the MLP."""
        valid = prompt.valid[..., None]
        tokens = self.prompt_mlp(prompt.tokens).masked_fill(~valid, 0)
        return tokens.sum(dim=1) / valid.sum(dim=1).clamp(min=1)

    def forward(self, queries: Tensor, prompt: PromptTokens) -> Tensor:
        """Score queries (B, Q, C) against B prompts; returns logits (B, Q), float32."""
        projected = self.prompt_proj(self.pool(prompt)).float()
        logits = (self.hs_proj(queries).float() @ projected[..., None]).squeeze(-1) * projected.shape[-1] ** -0.5
        return logits.clamp(-self.max_logit, self.max_logit)
