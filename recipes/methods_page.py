"""Write docs/methods.md from the table of methods: python recipes/methods_page.py."""

from pathlib import Path

from sightline import METHODS
from sightline.types import Method

OPENING = """# Methods

What each method's map shows, what it costs for one target of one image, what it needs of the model, and where it comes
from. *Signed* maps are negative where the evidence is against; *any* in the column class: the same map whatever is
asked. A forward is a pass through the whole model, a back a pass from the score to what is explained, a head a pass
through what follows the layer. Costs are written in the method's own options and in the layer's `channels`, `positions`
and the number of `layers` asked about (of blocks, in a transformer). Definitions, equations and what differs from the
paper stand in the file that the name leads to. Made by `python recipes/methods_page.py`; a test compares.

| method | idea | signed | class | cost | needs | paper |
|---|---|---|---|---|---|---|
"""


def row(method: Method) -> str:
    file = method.rule.__module__.rpartition(".")[2]
    cells = (
        f"[{method.name}](../src/sightline/methods/{file}.py)", method.idea, "signed" if method.signed else "",
        "" if method.discriminative else "any", method.cost, method.needs.value, method.paper,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    options = "".join(
        f"| {method.name} | {', '.join(f'`{name}={value}`' for name, value in method.choices.items())} |\n"
        for method in METHODS if method.choices
    )  # fmt: skip
    heading = "\n## Options\n\nThey go behind the name: `rise:masks=4000`.\n\n| method | options |\n|---|---|\n"
    return OPENING + "".join(map(row, METHODS)) + heading + options


if __name__ == "__main__":
    file = Path(__file__).parents[1] / "docs/methods.md"
    file.write_text(page(), encoding="utf-8")
    print(f"wrote {file}")
