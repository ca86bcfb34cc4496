"""Metrics are found by name, with options behind it, as methods are."""

import pytest

import sightline.metrics
from sightline.errors import MetricError
from sightline.metrics import METRICS, metric
from sightline.trials import Metric


def test_names_are_found_as_people_write_them() -> None:
    names = [row.name for row in METRICS]
    assert len(set(names)) == len(names)
    for row in METRICS:
        joined = [row.name.replace("-", between) for between in ("_", " ", "")]
        for spelling in (row, row.name, row.name.upper(), *joined):
            assert metric(spelling) is row


def test_options_go_behind_the_name_and_back() -> None:
    row = metric("pointing:tolerance=0:ties=first")
    assert (row.name, row.choices["tolerance"], row.choices["ties"], row.choices["smooth"]) == (
        "pointing", 0, "first", 0,
    )  # fmt: skip
    assert row.title == "pointing:tolerance=0:ties=first"
    assert metric(row.title) == row
    assert metric(row) is row


@pytest.mark.parametrize(("text", "said"), [
    ("pointing:tolerence=0", "pointing has no option 'tolerence'; its options: tolerance=15, ties=expected"),
    ("pointing:0", "option '0' of pointing can't be read; expected NAME=VALUE"),
    ("pointink:tolerance=0", "no metric 'pointink'; nearest: 'pointing'"),
    ("", "no metric ''; nearest: 'pointing'; sightline.metrics.METRICS lists all"),
])  # fmt: skip
def test_what_is_not_there_is_refused(text: str, said: str) -> None:
    with pytest.raises(MetricError, match=said):
        metric(text)


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_paper_is_named_beside_the_rule(row: Metric) -> None:
    module = __import__(row.rule.__module__, fromlist=["_"])
    assert row.paper in " ".join((module.__doc__ or "").split())
    assert row.rule.__doc__


def test_the_table_is_of_metrics() -> None:
    assert all(isinstance(row, Metric) for row in sightline.metrics.METRICS)
