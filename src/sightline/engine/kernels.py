"""torch's attention kernels: without the fused ones where a pass needs to see inside, or be differentiated twice."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch.backends import cuda


@dataclass(slots=True)
class _Kernels:
    """torch's process-wide choice of attention kernels, without the fused ones while any pass needs that.

    Not torch.nn.attention.sdpa_kernel, which has to be left in the thread that entered it.
    """

    found: tuple[bool, ...] = ()
    users: int = 0

    def acquire(self) -> None:
        if not self.users:
            self.found = tuple(enabled() for enabled, _ in _SWITCHES)
            for _, enable in _SWITCHES:
                enable(enable is cuda.enable_math_sdp)
        self.users += 1

    def release(self) -> None:
        self.users -= 1
        if not self.users:
            for (_, enable), before in zip(_SWITCHES, self.found, strict=True):
                enable(before)


_SWITCHES: tuple[tuple[Callable[[], bool], Callable[[bool], None]], ...] = (
    (cuda.math_sdp_enabled, cuda.enable_math_sdp),
    (cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
    (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
    (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp),
)
_lock = threading.Lock()
_kernels = _Kernels()


@contextmanager
def unfused() -> Iterator[None]:
    """Attention by torch's own steps instead of a fused kernel; the last of several threads puts back what was."""
    with _lock:
        _kernels.acquire()
    try:
        yield
    finally:
        with _lock:
            _kernels.release()
