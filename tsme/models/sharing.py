"""Modules used at several places of a network: one set of weights, saved once under one name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def share_modules(source: nn.Module, target: nn.Module, kinds: tuple[type[nn.Module], ...]) -> None:
    """Let `target` use the modules of these kinds that `source` has at the same places.

    Both have the same structure. Gradients of all uses add up; a copy of the whole network keeps them
    shared.
    """
    for path, module in source.named_modules():
        if isinstance(module, kinds):
            parent, _, name = path.rpartition(".")
            setattr(target.get_submodule(parent), name, module)


def first_names(network: nn.Module) -> dict[str, str]:
    """For each name of the state dict, the first name of the same tensor: its own if it is not shared."""
    first: dict[int, str] = {}
    state = network.state_dict(keep_vars=True)
    return {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}


def unique_state(network: nn.Module) -> dict[str, Tensor]:
    """The state dict with each shared tensor once, under the first of its names."""
    state = network.state_dict()
    return {name: state[name] for name, first in first_names(network).items() if name == first}


def load_unique_state(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what `unique_state` returned; RuntimeError if a name or a shape does not fit."""
    names = first_names(network)
    shared = {name: state[first] for name, first in names.items() if first in state}
    extra = {name: value for name, value in state.items() if names.get(name) != name}
    network.load_state_dict(shared | extra)
