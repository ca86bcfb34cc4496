"""Layers found by how a model is built, where queries make the automatic choice a guess."""

from torch import nn


def last_block(module: nn.Module, part: str) -> str:
    """The name of the last of the blocks, or stages, that a part of a model stacks."""
    inside = module.get_submodule(part)
    stacks = [
        f"{name}.{len(stack) - 1}"
        for name, stack in inside.named_modules(prefix=part)
        if isinstance(stack, nn.ModuleList) and len(stack) and _learns(stack[-1])
    ]
    return [*[f"{part}.{name}" for name, child in inside.named_children() if _learns(child)], *stacks][-1]


def _learns(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def part_named(module: nn.Module, name: str) -> str | None:
    """The outermost part of a model of this name, dotted; None where there is none."""
    found = [each for each, _ in module.named_modules() if each.rpartition(".")[2] == name]
    return min(found, key=lambda each: each.count("."), default=None)
