"""What a sentence embedder does after its encoder: pooling, dense layers, normalisation, as its folder says.

Source: sentence-transformers, modules ``Pooling``, ``Dense`` and ``Normalize``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors.torch import load_file

from pillion.backends.api import LoadOptions, ModelLoadError
from pillion.backends.hub_folder import Module, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Pooling", "later_steps", "pooling"]

_LEGACY: Final[Mapping[str, str]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The switches of older folders. Several that are on are joined in this order."""
_ACTIVATIONS: Final[Mapping[str, type[torch.nn.Module]]] = {
    "Tanh": torch.nn.Tanh,
    "Identity": torch.nn.Identity,
    "ReLU": torch.nn.ReLU,
    "GELU": torch.nn.GELU,
    "Sigmoid": torch.nn.Sigmoid,
}


@dataclass(frozen=True, slots=True)
class Pooling:
    """From a vector for each token to one for the text."""

    modes: tuple[str, ...] = ("mean",)

    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """``tokens`` (N, T, D) and ``mask`` (N, T) to (N, D times modes)."""
        return torch.cat([_POOLS[mode](tokens, mask) for mode in self.modes], dim=-1)


def pooling(folder: Path) -> Pooling:
    """What a folder's configuration says.

    Raises:
        ModelLoadError: a mode that is not known, or one that leaves the prompt out.
    """
    config = read_json(folder / "config.json")
    mode = config.get("pooling_mode") or [mode for key, mode in _LEGACY.items() if config.get(key)] or "mean"
    modes = (mode,) if isinstance(mode, str) else tuple(mode)
    unknown = [mode for mode in modes if mode not in _POOLS]
    if unknown:
        raise ModelLoadError(
            f"{folder.name}: pooling {unknown[0]!r} is not served", f"there are: {', '.join(sorted(_POOLS))}"
        )
    if config.get("include_prompt") is False:
        raise ModelLoadError(
            f"{folder.name}: pooling that leaves the prompt's tokens out (include_prompt) is not served",
            "serve a class of your own that loads it with sentence-transformers",
        )
    return Pooling(modes)


def later_steps(
    modules: tuple[Module, ...], options: LoadOptions, device: torch.device
) -> tuple[Callable[[torch.Tensor], torch.Tensor], ...]:
    """What comes after pooling, each from (N, D) to (N, D').

    Raises:
        ModelLoadError: a module that is not served.
    """
    return tuple(_step(module, options).to(device).eval() for module in modules)


def _step(module: Module, options: LoadOptions) -> torch.nn.Module:
    if module.kind == "Normalize":
        return _Normalize()
    if module.kind == "Dense":
        return _dense(module.folder, options)
    raise ModelLoadError(
        f"modules.json: the module {module.kind} is not served",
        "Transformer, Pooling, Dense and Normalize are; for others serve a class of your own",
    )


class _Normalize(torch.nn.Module):  # type: ignore[misc] # PyTorch is not installed where types are checked
    """To length one."""

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, D) to the same."""
        return torch.nn.functional.normalize(vectors, p=2, dim=1)


def _dense(folder: Path, options: LoadOptions) -> torch.nn.Module:
    config = read_json(folder / "config.json")
    named = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    package, _, name = named.rpartition(".")
    if not package.startswith("torch.nn") or name not in _ACTIVATIONS:
        raise ModelLoadError(
            f"{folder.name}: the activation {named} is not served", f"there are: {', '.join(_ACTIVATIONS)}"
        )
    linear = torch.nn.Linear(config["in_features"], config["out_features"], bias=bool(config.get("bias", True)))
    weights = _dense_weights(folder, options)
    try:
        linear.load_state_dict({key.removeprefix("linear."): value for key, value in weights.items()})
    except RuntimeError as error:
        raise ModelLoadError(
            f"{folder.name}: the weights are not those of its config.json: {str(error).splitlines()[-1].strip()}",
            "save the embedder again with model.save_pretrained(FOLDER)",
        ) from error
    return torch.nn.Sequential(linear, _ACTIVATIONS[name]())


def _dense_weights(folder: Path, options: LoadOptions) -> dict[str, Any]:
    safe = folder / "model.safetensors"
    if safe.is_file() or not options.allow_pickle:
        found: dict[str, Any] = load_file(safe)
        return found
    loaded: dict[str, Any] = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    return loaded


def _cls(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return tokens[torch.arange(len(tokens), device=tokens.device), mask.int().argmax(dim=1)]


def _last(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    last = mask.shape[1] - 1 - mask.int().flip(1).argmax(dim=1)
    return tokens[torch.arange(len(tokens), device=tokens.device), last]


def _max(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return tokens.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).max(dim=1).values


def _sum(tokens: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted sum over the tokens, and the sum of the weights."""
    weights = weights.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weights).sum(dim=1), weights.sum(dim=1).clamp(min=1e-9)


def _mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    total, count = _sum(tokens, mask)
    return total / count


def _mean_sqrt(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    total, count = _sum(tokens, mask)
    return total / count.sqrt()


def _weighted(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Later tokens count more."""
    return _mean(tokens, mask * torch.arange(1, mask.shape[1] + 1, device=mask.device))


_POOLS: Final[Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted,
    "lasttoken": _last,
}
