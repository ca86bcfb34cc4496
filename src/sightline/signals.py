"""Signals: a line, such as a heartbeat or a sound, drawn over the evidence for a score."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sightline.methods.grids import resized
from sightline.render import colour
from sightline.render.sheet import INK, PAPER

Signal = NDArray[np.floating[Any]]

OPACITY = 0.7
MARGIN = 12  # pixels around the plot
LINE = 2  # pixels


def drawn(
    signal: Signal | torch.Tensor,
    heat: Signal | torch.Tensor,
    *,
    signed: bool = False,
    peak: float | None = None,
    size: tuple[int, int] = (960, 240),
) -> Image.Image:
    """A signal (L,), or channels (C, L) one below the other, as lines over a map (l,) in colours.

    The map's cells tile the signal evenly, linear in between. Unsigned, 0 and less is clear and `peak`, by default
    the largest value, has the last colour; signed, 0 is clear. `size` (width, height) is one channel's, in
    pixels; each fills its own height. Raises ValueError for other shapes and values that aren't finite.
    """
    lines = np.atleast_2d(np.asarray(signal, dtype=np.float64))
    cells = torch.as_tensor(np.asarray(heat, dtype=np.float64))
    if lines.ndim != 2 or not lines.size or cells.ndim != 1 or not cells.numel():
        raise ValueError(f"a signal {lines.shape} and a map {tuple(cells.shape)}; expected (L,) or (C, L), and (l,)")
    if not (np.isfinite(lines).all() and cells.isfinite().all()):
        raise ValueError("the signal or its map has values that aren't finite")
    width, height = size
    page = Image.new("RGB", (width, height * len(lines)), PAPER)
    band = Image.fromarray(_bands(cells, width - 2 * MARGIN, signed, peak)[None])
    page.paste(band.resize((band.width, page.height - 2 * MARGIN)), (MARGIN, MARGIN))
    draw = ImageDraw.Draw(page)
    across = MARGIN + (np.arange(lines.shape[1]) + 0.5) * (width - 2 * MARGIN) / lines.shape[1]
    for row, line in enumerate(lines):
        low, high = line.min(), line.max()
        share = (line - low) / (high - low) if high > low else np.full_like(line, 0.5)
        down = height * (row + 1) - 2 * MARGIN - share * (height - 4 * MARGIN)
        draw.line(list(zip(across.tolist(), down.tolist(), strict=True)), INK, LINE, joint="curve")
    return page


def _bands(cells: torch.Tensor, width: int, signed: bool, peak: float | None) -> NDArray[np.uint8]:
    """Colours (width, 3) of a map (l,) on paper."""
    values = resized(cells[None, None], (width,))[0, 0].numpy()
    last = float(np.abs(values).max() if signed else values.max()) if peak is None else peak
    share = np.clip(values / last, -1 if signed else 0, 1) if last > 0 else np.zeros_like(values)
    cover = OPACITY * (np.abs(share) * (2 - np.abs(share)))[:, None]
    ink = colour((share + 1) / 2, "tide") if signed else colour(share, "ember")
    return np.asarray(np.rint(cover * ink + (1 - cover) * np.array(PAPER)), dtype=np.uint8)
