"""Advantages of a group, and the policy losses that take them: pure functions on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from sgforge.errors import ConfigError
from sgforge_grpo.config import LOSSES, Loss, Scaling

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "LOSSES",
    "Loss",
    "Scaling",
    "advantages",
    "keep_top_groups",
    "loss_sum",
    "normaliser",
    "policy_loss",
    "token_losses",
]

_EPSILON: Final = 1e-4
_SEQUENCE_LOSSES: Final = ("gspo", "luspo")
_GATES: Final = (1.0, 1.05)
"""SAPO's temperatures of tokens with a positive and with another advantage (Gao et al. 2025, section 4)."""


def advantages(rewards: Any, group_size: int, *, scaling: Scaling = "group") -> Tensor:
    """How much better each answer of a group is than the group: a float32 tensor (N,) of rewards (N,) or (N, rewards).

    Rows of one group stand together, `group_size` of them, at least 2. "group": (r - mean) / (std + 1e-4) of the sum
    over the rewards, with the unbiased deviation (Shao et al. 2024, DeepSeekMath, section 4.1.2); "none": r - mean (Liu
    et al. 2025, Dr. GRPO, section 3); "split": each reward by its own mean and deviation, then their sum (an option of
    R1-SGG's released code). A group of equal rewards has advantages of 0.
    """
    grouped = _grouped(rewards, group_size)
    if scaling not in get_args(Scaling):
        raise ConfigError(f"scaling must be one of {', '.join(get_args(Scaling))}, not {scaling!r}")
    if scaling != "split":
        grouped = grouped.sum(-1, keepdim=True)
    centred = grouped - grouped.mean(1, keepdim=True)
    if scaling != "none":
        centred = centred / (grouped.std(1, keepdim=True) + _EPSILON)
    return centred.sum(-1).reshape(-1)


def keep_top_groups(rewards: Any, group_size: int, count: int) -> list[int]:
    """The `count` groups whose sums of rewards deviate most, by falling deviation; of equal ones the first."""
    spread = _grouped(rewards, group_size).sum(-1).std(1).tolist()
    return sorted(range(len(spread)), key=lambda group: -spread[group])[:count]


def _grouped(rewards: Any, group_size: int) -> Tensor:
    import torch

    table = torch.as_tensor(rewards, dtype=torch.float32)
    if table.ndim == 1:
        table = table[:, None]
    if group_size < 2:
        raise ConfigError(
            f"a group of {group_size} has no mean to be better than: sample at least 2 answers to each question"
        )
    if table.ndim != 2 or len(table) % group_size:
        raise ConfigError(f"rewards of shape {tuple(table.shape)} are no groups of {group_size}")
    return table.reshape(-1, group_size, table.shape[1])


def policy_loss(
    logps: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    old_logps: Tensor | None = None,
    ref_logps: Tensor | None = None,
    loss_type: Loss = "grpo",
    beta: float = 0.0,
    epsilon_low: float = 0.2,
    epsilon_high: float | None = None,
    importance_sampling_level: Literal["token", "sequence"] | None = None,
    max_completion_length: int | None = None,
) -> Tensor:
    """The loss of answers (B, T): log-probabilities now, advantages (B,), and a mask that is 0 behind their ends.

    `old_logps`: those that the answers were drawn with; None is those of now, a ratio of 1 with gradient. `beta`: the
    weight of the KL distance from `ref_logps`, by the k3 estimator (Schulman 2020). `epsilon_low`, `epsilon_high`: how
    far a ratio may go below and above 1 (clip-higher, Yu et al. 2025, DAPO, section 3.1; by default as far as below);
    for cispo `epsilon_high` is the cap of the ratio itself, as released trainers have it (MiniMax 2025, equation 4).

    `loss_type`: grpo, the mean over answers of means over tokens (DeepSeekMath, equation 3); bnpo and dapo, the mean
    over all tokens (DAPO, equation 8); dr_grpo, the sum over tokens by B * `max_completion_length` (default T); gspo,
    grpo with the ratio of the whole sequence (Zheng et al. 2025, equation 5); cispo, the clipped ratio as a weight
    without gradient; sapo, a smooth gate instead of a clip (Gao et al. 2025); luspo, the sequence ratio weighed by
    length. `importance_sampling_level` overrides whether a ratio is of tokens or of sequences.
    """
    mask = mask.to(logps.dtype)
    each = token_losses(
        logps,
        advantages,
        mask,
        old_logps=old_logps,
        ref_logps=ref_logps,
        loss_type=loss_type,
        beta=beta,
        epsilon_low=epsilon_low,
        epsilon_high=epsilon_high,
        importance_sampling_level=importance_sampling_level,
    )
    counted = normaliser(loss_type, mask.sum(-1), max_completion_length or mask.shape[1])
    loss: Tensor = loss_sum(loss_type, each, mask) / counted
    return loss


def token_losses(
    logps: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    old_logps: Tensor | None = None,
    ref_logps: Tensor | None = None,
    loss_type: Loss = "grpo",
    beta: float = 0.0,
    epsilon_low: float = 0.2,
    epsilon_high: float | None = None,
    importance_sampling_level: Literal["token", "sequence"] | None = None,
) -> Tensor:
    """The loss of each token (B, T), or of each sequence (B, 1) where it has one ratio; as `policy_loss`."""
    if loss_type not in LOSSES:
        raise ConfigError(f"loss must be one of {', '.join(LOSSES)}, not {loss_type!r}")
    if beta and ref_logps is None:
        raise ConfigError("a KL distance (beta above 0) needs the log-probabilities of a reference")
    level = importance_sampling_level or ("sequence" if loss_type in _SEQUENCE_LOSSES else "token")
    log_ratio = logps - (logps.detach() if old_logps is None else old_logps)
    if level == "sequence":
        log_ratio = (log_ratio * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1.0)
    high = epsilon_low if epsilon_high is None else epsilon_high
    each = _surrogate(loss_type, logps, log_ratio.exp(), advantages[:, None], epsilon_low, high)
    if beta and ref_logps is not None:
        away = ref_logps - logps
        each = each + beta * (away.exp() - away - 1)
    return each


def _surrogate(
    loss_type: Loss, logps: Tensor, ratio: Tensor, advantage: Tensor, epsilon_low: float, epsilon_high: float
) -> Tensor:
    """The loss of each token (B, T), or of each sequence (B, 1)."""
    import torch

    if loss_type == "cispo":
        return -(ratio.clamp(max=epsilon_high).detach() * advantage * logps)
    if loss_type == "sapo":
        gate = torch.where(advantage > 0, _GATES[0], _GATES[1])
        return -(torch.sigmoid(gate * (ratio - 1)) * 4 / gate * advantage)
    clipped = ratio.clamp(1 - epsilon_low, 1 + epsilon_high)
    return -torch.minimum(ratio * advantage, clipped * advantage)


def loss_sum(loss_type: Loss, each: Tensor, mask: Tensor) -> Tensor:
    """What `normaliser` divides: summed over answers, so that parts of a batch may be summed apart."""
    total = each * mask
    if loss_type in ("grpo", "gspo", "sapo"):
        return (total.sum(-1) / mask.sum(-1).clamp(min=1.0)).sum()
    return total.sum()


def normaliser(loss_type: Loss, lengths: Any, longest: int) -> Any:
    """What the sum over answers of these lengths is divided by."""
    if loss_type in ("grpo", "gspo", "sapo", "luspo"):
        return len(lengths)
    if loss_type == "dr_grpo":
        return len(lengths) * longest
    total = lengths.sum()
    return total.clamp(min=1.0) if hasattr(total, "clamp") else max(1.0, float(total))
