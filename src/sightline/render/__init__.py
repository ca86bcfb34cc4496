"""Pictures of maps: colours, overlays, captions and contact sheets, with Pillow and numpy only."""

from sightline.render.colours import ColourError, colour, table
from sightline.render.overlay import outlined, overlay
from sightline.render.sheet import EVIDENCE, SIGNED, Bar, Tile, captioned, sheet

__all__ = [
    "EVIDENCE",
    "SIGNED",
    "Bar",
    "ColourError",
    "Tile",
    "captioned",
    "colour",
    "outlined",
    "overlay",
    "sheet",
    "table",
]
