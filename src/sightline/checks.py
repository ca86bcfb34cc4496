"""Whether to believe an explanation: cheap checks of this very map, and what they come to in words.

Three questions, each of which a map that explains the model must pass. Does it change with the class?
Does it change with the weights (Adebayo et al., *Sanity Checks for Saliency Maps*, arXiv 1810.03292)?
Does hiding what it marks lower the score more than hiding as much elsewhere (the idea of deletion,
arXiv 1806.07421)? Passing them doesn't prove a map right; failing one proves it wrong, or idle.
The thresholds are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sightline.ask import ask
from sightline.asking import Asking, Session
from sightline.engine import answered, bare
from sightline.errors import ModelError
from sightline.layers import Layer, same_in
from sightline.metrics.correlation import spearman
from sightline.metrics.order import order
from sightline.outputs import wide
from sightline.randomised import randomised
from sightline.targets import Phrase, Question, logits, top_indices
from sightline.trials import in_image
from sightline.types import Method

SAME_CLASS = 0.9  # a rank correlation above which two classes' maps are the same map
SAME_WEIGHTS = 0.5  # the same, of the model and of one that knows nothing
COPIES = 3  # of the model, with weights drawn anew
HIDDEN = 0.2  # share of the pixels
ELSEWHERE = 19  # other places at which as much is hidden
SHARED = 0.25  # of the marked pixels, which another place may have too
LUCK = 0.1  # share of other places that may lower the score as much


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what it found in words, and whether the map passed; None where it couldn't be made."""

    name: str
    passed: bool | None
    said: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checks come to."""

    checks: tuple[Check, ...]

    @property
    def believed(self) -> bool:
        """Whether no check failed, and at least one could be made."""
        made = [check.passed for check in self.checks if check.passed is not None]
        return bool(made) and all(made)

    @property
    def words(self) -> str:
        """The verdict in one line."""
        failed = [check.said for check in self.checks if check.passed is False]
        if failed:
            return f"don't believe it: {'; '.join(failed)}"
        if not self.believed:
            return f"can't say: {'; '.join(check.said for check in self.checks)}"
        return f"no reason for doubt: {'; '.join(check.said for check in self.checks)}"

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Claim:
    """One map of one target `k` of one image (1, C, H, W); the question is fixed, so it can be asked again."""

    module: nn.Module
    image: Tensor
    question: Question
    k: int
    layers: Sequence[Layer]
    method: Method
    seed: int

    def check(self) -> Verdict:
        """The verdict, at about 6 maps' and 20 forward passes' cost."""
        here = self._map(self.module, self.question, self.k)
        if not here.max() > 0:
            return Verdict((Check("evidence", False, "it marks nothing: the map is nowhere above zero"),))
        return Verdict((self._classes(here), self._weights(here), self._hiding(here)))

    def _map(self, module: nn.Module, question: Question, k: int) -> Tensor:
        layers = same_in(bare(module), self.layers)
        found = ask(module, self.image, question, layers, [self.method], seed=self.seed).found[0]
        return found.maps[0, k].float()

    def _classes(self, here: Tensor) -> Check:
        """The strongest other class, one in the middle, and the weakest."""
        if not self.question.phrases:
            return Check("class", None, "the target is no class, so there is no other class to compare with")
        values = wide(logits(answered(self.module, self.image)))
        asked = self.question.phrases[0][self.k]
        ranked: list[int] = top_indices(values, values.shape[1])[0].tolist()
        others = [index for index in ranked if index not in (asked.index % len(ranked), asked.rival)]
        if not others:
            return Check("class", None, "the model has no other class to compare with")
        chosen = list(dict.fromkeys([others[0], others[len(others) // 2], others[-1]]))
        phrases = tuple(Phrase(index, negated=asked.negated) for index in chosen)
        asking = replace(self.question, phrases=(phrases,))
        found = ask(self.module, self.image, asking, self.layers, [self.method], seed=self.seed).found[0].maps[0]
        same = [value for each in found if (value := spearman(here, each.float())) is not None]
        if not same:
            return Check("class", True, "other classes' maps are empty")
        least = min(same)
        if least > SAME_CLASS:
            return Check("class", False, f"other classes have the same map (rank correlation {least:.2f} and more)")
        return Check("class", True, f"it changes with the class (rank correlation down to {least:.2f})")

    def _weights(self, here: Tensor) -> Check:
        same = []
        for draw in range(COPIES):
            try:
                copy = randomised(bare(self.module), 1.0, self.seed + draw, self.image)
                value = spearman(here, self._map(copy, self.question, self.k))
            except ModelError as error:
                return Check("weights", None, f"the weights couldn't be drawn anew: {error}")
            same.append(0.0 if value is None else value)
        mean = sum(same) / len(same)
        if mean > SAME_WEIGHTS:
            return Check("weights", False, f"a net without its weights has the same map (rank correlation {mean:.2f})")
        return Check("weights", True, f"it changes with the weights (rank correlation {mean:.2f})")

    def _hiding(self, here: Tensor) -> Check:
        """The marked pixels, and the same shape moved to other places, are covered with the mean colour."""
        height, width = self.image.shape[-2:]
        generator = torch.Generator().manual_seed(self.seed)
        marked = torch.zeros(height * width, dtype=torch.bool)
        marked[order(in_image(here, (height, width)), generator)[: round(HIDDEN * height * width)]] = True
        covers = [marked.view(height, width)]
        while len(covers) <= ELSEWHERE:
            down, across = (int(torch.randint(side, (), generator=generator)) for side in (height, width))
            moved = covers[0].roll((down, across), (0, 1))
            if (moved & covers[0]).sum() <= SHARED * marked.sum():
                covers.append(moved)
        seen = self.image * ~torch.stack(covers)[:, None].to(self.image.device)
        asking = Asking(Session(self.module, self.image, self.question, self.seed), None)
        scores = asking.of_images(seen[None])[0, :, self.k]
        left, elsewhere = float(scores[0]), scores[1:]
        before, luck = float(asking.scores[0, self.k]), float((elsewhere <= left).float().mean())
        said = (
            f"hiding the fifth that it marks takes the score from {before:.3g} to {left:.3g}, "
            f"as much elsewhere to {float(elsewhere.mean()):.3g}"
        )
        return Check("hiding", luck <= LUCK and left < before, said)
