"""Weight randomisation: a copy of a model that has lost what it learnt, from the logits down.

Adebayo et al., *Sanity Checks for Saliency Maps*, 2018, arXiv 1810.03292, section 4: a map that hardly
changes when the weights do says nothing about the model. They re-initialise layers as they were
before training, which takes the recipe; here every tensor is drawn from a normal distribution with
its own mean and standard deviation, which works for any module and about keeps the activations' scale.
A batch norm's weight and bias are drawn; its running mean and variance stay, for they are the data's
as much as the weights'. A tensor whose values are all equal has nothing to lose, and stays.
"""

import copy

import torch
from torch import Tensor, nn

from sightline import engine
from sightline.errors import MethodError, ModelError, first_line


def randomised(module: nn.Module, share: float, seed: int, image: Tensor | None = None) -> nn.Module:
    """A deep copy in which the last `share` (above 0, to 1) of the modules with weights have theirs drawn anew.

    Counted from the logits down, in the order in which the pass of an `image` (N, C, H, W) calls them,
    else in that of their definition; rounded, one at least. One seed draws the same for a module
    whatever the share. Parameters that modules share stay shared; buffers and the model given stay as
    they are, as does the global random state.
    Raises MethodError for another share, ModelError for a model without weights and one that can't be copied.
    """
    if not 0 < share <= 1:
        raise MethodError(f"a share of the weights is above 0 and at most 1, got {share}; 1 draws all of them anew")
    made = _copied(engine.bare(module))
    modules = dict(made.named_modules())
    names = from_the_logits(made, image)
    if not names:
        raise ModelError(f"{type(made).__name__} has no weights that could be drawn anew; give it a model with some")
    generator = torch.Generator().manual_seed(seed)
    drawn: set[Tensor] = set()
    for name in names[: max(1, int(share * len(names) + 0.5))]:
        for weights in modules[name].parameters(recurse=False):
            if _can_be_drawn(weights) and weights not in drawn:
                weights.data.copy_(_alike(weights.data, generator))
                drawn.add(weights)
    return made


def from_the_logits(module: nn.Module, image: Tensor | None = None) -> list[str]:
    """The names of the modules with weights of their own, the one nearest the logits first; see `randomised`.

    A module called several times counts as of its last call. One that holds others stands before the
    first of them, for its own weights may be a token or a position; one that its parent doesn't call, but
    reads the weights of, as attention does, stands beside its parent. What isn't called at all comes last.
    """
    owners = [name for name, part in module.named_modules() if any(map(_can_be_drawn, part.parameters(recurse=False)))]
    owners.reverse()
    if image is None:
        return owners
    places = {"": -1}
    for place, called in enumerate(engine.called(module, image[:1])):
        parts = called.split(".")
        for depth in range(len(parts)):
            places.setdefault(".".join(parts[: depth + 1]), place)

    def place_of(name: str) -> tuple[int, int]:
        known = name
        while known not in places:
            known = known.rpartition(".")[0]
        return places[known] if known or not name else -2, name.count(".")

    return sorted(owners, key=place_of, reverse=True)


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:  # what a module holds may raise anything
        raise ModelError(
            f"{type(module).__name__} can't be copied, so its weights can't be drawn anew ({first_line(error)}); "
            "make copy.deepcopy of it work, or leave out what compares with such a copy"
        ) from error


def _can_be_drawn(weights: Tensor) -> bool:
    return weights.is_floating_point() and weights.numel() > 0


def _alike(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise of the tensor's mean and standard deviation, drawn on the CPU, so the same whatever the device."""
    values = weights.cpu().double()
    noise = torch.randn(weights.shape, generator=generator, dtype=torch.float64)
    return values.mean() + values.std(correction=0) * noise
