"""The terms of a piecewise linear net's score: the image's and every bias's (Srinivas and Fleuret 2019, eq. 3)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sightline.engine.gradients import NO_GRADIENT
from sightline.engine.loan import borrowed
from sightline.engine.passes import Hook, plain, run
from sightline.errors import CutOff


def bias_terms(model: nn.Module, image: Tensor, scores_of: Callable[[Any], Tensor]) -> tuple[Any, Tensor, list[Tensor]]:
    """The output, gradients (N, K, C, ...) in the image, and gradient times bias (N, K, ...) for each affine call.

    A module that owns a bias or running statistics is taken to be affine, and what it gives for 0 to
    be its bias; whether the terms add up to the score is for the caller to check.
    """
    outputs: list[Tensor] = []
    offsets: list[Tensor] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> Tensor:
        with torch.no_grad():
            offsets.append(module.forward(torch.zeros_like(inputs[0][:1])))
        outputs.append(output if output.requires_grad else output.detach().requires_grad_())
        return outputs[-1].clone()

    hooks: list[tuple[nn.Module, Hook]] = [(module, note) for module in model.modules() if _is_affine(module)]
    with borrowed(model), torch.inference_mode(False), torch.enable_grad():
        leaf = plain(image).requires_grad_()
        output = run(model, leaf.clone(), hooks)
        scores = scores_of(output)
        if not scores.requires_grad:
            raise CutOff(NO_GRADIENT)
        in_image, terms = [], []
        for score in scores.sum(0):
            gradients = torch.autograd.grad(score, [leaf, *outputs], retain_graph=True, allow_unused=True)
            in_image.append(torch.zeros_like(leaf) if gradients[0] is None else gradients[0])
            terms.append(
                [
                    torch.zeros_like(where) if gradient is None else gradient * offset
                    for where, offset, gradient in zip(outputs, offsets, gradients[1:], strict=True)
                ]
            )
    return output, torch.stack(in_image, 1), [torch.stack(term, 1).detach() for term in zip(*terms, strict=True)]


def _is_affine(module: nn.Module) -> bool:
    if isinstance(module, torch.jit.ScriptModule):
        return True  # it may be: a hook on it is refused in words
    owned = (module._parameters.get("bias"), module._buffers.get("running_mean"))
    return any(value is not None for value in owned) and not any(module.children())
