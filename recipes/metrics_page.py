"""Write docs/metrics.md from the table of metrics: python recipes/metrics_page.py."""

from pathlib import Path

from sightline import METRICS
from sightline.trials import Metric

OPENING = """# Metrics

What each metric asks of a map, which way is better, what it needs of a data set (masks give boxes too), whether it asks
the model, and where it comes from. Metrics take raw maps. A trial that can't be judged, such as an empty map where
evidence is needed, is counted, never scored. Definitions, and what differs from the paper, stand in the file that the
name leads to. Made by `python recipes/metrics_page.py`; a test compares.

| metric | question | better | of | needs | asks the model | paper |
|---|---|---|---|---|---|---|
"""


def row(metric: Metric) -> str:
    file = metric.rule.__module__.rpartition(".")[2]
    cells = (
        f"[{metric.name}](../src/sightline/metrics/{file}.py)", metric.idea,
        "" if metric.better == "neither" else metric.better.value, metric.about.value, metric.needs.value,
        "yes" if metric.asks else "", metric.paper,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def page() -> str:
    options = "".join(
        f"| {metric.name} | {', '.join(f'`{name}={value}`' for name, value in metric.choices.items())} | "
        f"{', '.join([*metric.more, *metric.curves])} |\n"
        for metric in METRICS if metric.choices or metric.more or metric.curves
    )  # fmt: skip
    heading = (
        "\n## Options and further figures\n\nOptions go behind the name: `pointing:tolerance=0`. Further figures and "
        "curves stand in the report and the JSON.\n\n| metric | options | further figures |\n|---|---|---|\n"
    )
    return OPENING + "".join(map(row, METRICS)) + heading + options


if __name__ == "__main__":
    file = Path(__file__).parents[1] / "docs/metrics.md"
    file.write_text(page(), encoding="utf-8")
    print(f"wrote {file}")
