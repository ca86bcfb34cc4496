"""A model on loan: in eval mode and uncompiled while it is asked, and afterwards as it was found."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from sightline.engine.adapted import Adapted


def bare(model: nn.Module) -> nn.Module:
    """The module inside torch.compile's, DataParallel's and DistributedDataParallel's wrappers.

    A model that is called in another way stays so.
    """
    while True:
        if isinstance(model, Adapted):
            inside = bare(model.module)
            return model if inside is model.module else Adapted(inside, model.call)
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


@dataclass(slots=True)
class _Loan:
    training: list[nn.Module]
    compiled: bool
    borrowers: int = 0


@dataclass(slots=True)
class _Stance:
    """torch.compile's process-wide stance, forced to eager while any loan needs it."""

    context: AbstractContextManager[Any] = field(default_factory=nullcontext)
    users: int = 0

    def acquire(self) -> None:
        if not self.users:
            self.context = torch.compiler.set_stance("force_eager")
            self.context.__enter__()
        self.users += 1

    def release(self) -> None:
        self.users -= 1
        if not self.users:
            self.context.__exit__(None, None, None)


_lock = threading.Lock()
_loans: WeakKeyDictionary[nn.Module, _Loan] = WeakKeyDictionary()
_stance = _Stance()


def _is_compiled(module: nn.Module) -> bool:
    """Whether by `module.compile()`, as torch.compile's wrapper, or by a compiled forward."""
    wrapped = "_orig_mod" in module._modules or hasattr(module.forward, "_torchdynamo_orig_callable")
    return wrapped or module._compiled_call_impl is not None


@contextmanager
def borrowed(model: nn.Module) -> Iterator[None]:
    """The model in eval mode and uncompiled; training flags and the random state are put back at the end.

    Several threads may borrow one model: the first changes the flags, the last restores them.
    """
    while isinstance(model, Adapted):
        model = model.module
    with _lock:
        loan = _loans.get(model)
        if loan is None:
            modules = list(model.modules())
            compiled = any(map(_is_compiled, modules))
            loan = _loans[model] = _Loan([m for m in modules if getattr(m, "training", False)], compiled)
            if compiled:
                _stance.acquire()
            for module in loan.training:
                module.training = False
        loan.borrowers += 1
    try:
        # A walk over a large net's parameters costs as much as its hooks, so only where a GPU has been used.
        cuda = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
        devices = {p.device for p in model.parameters() if p.device.type == "cuda"} if cuda else ()
        with torch.random.fork_rng(list(devices)):
            yield
    finally:
        with _lock:
            loan.borrowers -= 1
            if not loan.borrowers:
                for module in loan.training:
                    module.training = True
                if loan.compiled:
                    _stance.release()
                del _loans[model]
