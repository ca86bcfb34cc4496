"""Verdicts: each rule by a made-up class, and luck kept within what is said."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sightline.audit import Level, Look, Region, Verdict
from sightline.audit.groups import group
from sightline.audit.hiding import Hiding, hidden
from sightline.audit.verdicts import Case, chance, standing, uneven, verdicts

MARK, OBJECT = Region("mark", True), Region("object", False)


def looks(shares: Sequence[float], area: float = 0.1, region: Region = MARK) -> list[Look]:
    return [
        Look(
            picture=f"p{n}", place=n, content="", labels=("a",), about={}, index=0, target="a", predicted="a",
            correct=True, right=True, probability=0.9, shares={region.name: (share, area)}, misplaced=(share, area),
        )
        for n, share in enumerate(shares)
    ]  # fmt: skip


def case(shares: Sequence[float], region: Region = MARK, drops: Any = None, parts: Any = (), **others: Any) -> Case:
    own = looks(shares, region=region, **others)
    groups = [
        (group(name, part, [region], (None, None), (), 0), part)
        for name, part in [("all", own), *((name, looks(each, **others)) for name, each in parts)]
    ]
    if drops is None:
        return Case("a", groups)
    found = [Hiding(n, region.name, *each) for n, each in enumerate(drops)]
    pictures = [f"p{n}" for n in range(len(found))]
    told = hidden(region, found, pictures, 0), list(zip(pictures, found, strict=True))
    return Case("a", groups, {region.name: told})


def around(value: float, count: int = 40, spread: float = 0.02) -> list[float]:
    random = np.random.default_rng(0)
    noise = random.normal(0, spread, count)
    return (value + noise - noise.mean()).tolist()


def drops(there: float, count: int = 40) -> list[tuple[float, float, float, float]]:
    return [(each, 0.0, 0.01, 0.0) for each in around(there, count)]


def verdict(one: Case, region: Region = MARK) -> Verdict:
    return verdicts([one], [region])[0]


def test_without_hiding_the_evidence_decides() -> None:
    assert verdict(case(around(0.2))).level is Level.BIASED
    assert verdict(case(around(0.2))).blamed == ("mark",)
    assert "2.0 times" in verdict(case(around(0.2))).words
    assert verdict(case(around(0.05))).level is Level.CLEAR
    assert verdict(case(around(0.1))).level is Level.UNSURE
    assert verdict(case(around(0.2, 9))).level is Level.UNKNOWN
    assert verdict(case([])).level is Level.UNKNOWN


def test_hiding_decides_where_it_was_done() -> None:
    assert verdict(case(around(0.2), drops=drops(0.3))).level is Level.BIASED
    silent = verdict(case(around(0.05), drops=drops(0.3)))
    assert (silent.level, silent.blamed) == (Level.BIASED, ("mark",))
    assert "maps alone would not have told" in silent.words
    empty = verdict(case(around(0.2), drops=drops(0.01)))
    assert (empty.level, empty.blamed) == (Level.UNSURE, ())
    assert "evidence without effect" in empty.words
    assert verdict(case(around(0.1), drops=drops(0.01))).level is Level.CLEAR
    assert verdict(case(around(0.05), drops=drops(0.01))).level is Level.CLEAR


def test_an_effect_both_ways_counts_though_it_is_nothing_on_the_mean() -> None:
    there = [(0.3 if n % 2 else -0.3, 0.0, 0.01, 0.0) for n in range(40)]
    found = verdict(case(around(0.05), drops=there))
    assert found.level is Level.BIASED
    assert "moves 0.29 [0.29, 0.29] further" in found.words
    assert "falls by 0.00 on the mean" in found.words


def test_without_room_elsewhere_nobody_can_say_whether_it_tells() -> None:
    found = verdict(case(around(0.2), drops=[(0.3, 0.0, np.nan, np.nan)] * 40))
    assert (found.level, found.blamed) == (Level.UNSURE, ())
    assert "moves 0.30 [0.30, 0.30] and falls by 0.30 on the mean; there is no room to hide as much" in found.words
    assert "Without that nobody can say" in found.words
    some = [(0.3, 0.0, *([0.01, 0.0] if n < 3 else [np.nan, np.nan])) for n in range(40)]
    assert "there is room in 3 pictures only" in verdict(case(around(0.2), drops=some)).words
    # what moves nothing needs nothing to be compared with
    nothing = [(0.0, 0.0, np.nan, np.nan)]
    assert "evidence without effect" in verdict(case(around(0.2, 24), drops=nothing * 24)).words
    assert verdict(case(around(0.2, 24), drops=nothing * 24)).level is Level.UNSURE
    assert verdict(case(around(0.1), drops=nothing * 40)).level is Level.CLEAR
    # it moves, though in both directions
    both = verdict(case(around(0.05), drops=[(0.3 if n % 2 else -0.3, 0.0, np.nan, np.nan) for n in range(40)]))
    assert both.level is Level.UNSURE


def test_where_hiding_may_tell_the_maps_alone_make_nothing_clear() -> None:
    moved = [(0.9 if n % 20 == 0 else 0.0, 0.0, 0.0, 0.0) for n in range(50)]
    for lift in (0.05, 0.2):
        found = verdict(case(around(lift, 50), drops=moved))
        assert (found.level, found.blamed) == (Level.UNSURE, ())
        assert "moves 0.05 [0.00, 0.13] further" in found.words
        assert "may tell" in found.words
    few = verdict(case(around(0.05, 24), drops=drops(0.01, 24)))
    assert few.level is Level.UNSURE
    assert "24 pictures are too few to call it clear; expected 40 or more" in few.words


def test_a_mark_on_the_object_is_told() -> None:
    on = [(*each, 0.8) for each in drops(0.3)]
    assert "Most of it lies on the object" in verdict(case(around(0.05), drops=on)).words
    assert "lies on the object" not in verdict(case(around(0.05), drops=drops(0.3))).words


def test_clear_needs_more_pictures_and_small_subgroups_are_named() -> None:
    few = verdict(case(around(0.05, 39)))
    assert few.level is Level.UNSURE
    assert "39 pictures are too few to call it clear" in few.words
    parts = [("light=day", around(0.05, 50)), ("light=dusk", around(0.05, 12)), ("light=night", around(0.05, 4))]
    found = verdict(case(around(0.05, 66), parts=parts))
    assert found.level is Level.CLEAR
    assert found.words.endswith("Too few pictures to say so where light is dusk, or light is night.")
    assert verdict(case(around(0.2, 39), OBJECT), OBJECT).level is Level.UNSURE


@pytest.mark.parametrize("region", [MARK, OBJECT], ids=["mark", "object"])
def test_of_skewed_draws_luck_clears_hardly_any(region: Region) -> None:
    random, clear = np.random.default_rng(3), 0
    for _ in range(100):
        many = random.random(40) < 0.1
        # a shortcut of a tenth of the pictures, twice its area; an object missed in a tenth, as an even map would
        shares = np.where(many, 0.6, 0.0) if region is MARK else np.where(many, 0.0, 0.03 / 0.9)
        clear += verdict(case(shares.tolist(), region, area=0.03), region).level is Level.CLEAR
    assert clear <= 6


def test_a_shortcut_of_some_pictures_is_not_called_clear() -> None:
    shares = [0.3] * 10 + [0.001] * 30  # 0.77 times its share, and 3 times in a quarter
    found = verdict(case(shares))
    assert found.level is Level.UNSURE
    assert "3.0 times: ask for subgroups" in found.words
    told = verdict(case(shares, parts=[("light=day", around(0.3, 12)), ("light=night", around(0.001, 28, 1e-4))]))
    assert (told.level, told.blamed) == (Level.BIASED, ("mark",))
    assert "Where light is day it is 3.0 times" in told.words
    assert uneven(looks(shares), MARK) == pytest.approx(3)


def test_without_suspects_the_object_is_asked_about() -> None:
    for shares, area, level in (
        (around(0.05), 0.1, Level.BIASED), (around(0.2), 0.1, Level.CLEAR), (around(0.1), 0.1, Level.UNSURE),
        (around(0.97, spread=0.001), 0.95, Level.UNKNOWN), (around(0.2, 5), 0.1, Level.UNKNOWN),
    ):  # fmt: skip
        found = verdict(case(shares, OBJECT, area=area), OBJECT)
        assert (found.level, found.blamed) == (level, ())
    assert verdicts([case(around(0.2))], [])[0].level is Level.UNKNOWN
    assert verdicts([case(around(0.2), Region("person", False))], [Region("person", False)])[0].level is Level.UNKNOWN


def test_of_several_suspects_the_worst_counts_and_is_blamed() -> None:
    first, second = Region("first", True), Region("second", True)

    def both(one: Sequence[float], other: Sequence[float]) -> Verdict:
        own = looks(one, region=first)
        for look, share in zip(own, other, strict=False):
            look.shares[second.name] = (share, 0.1)  # type: ignore[index]
        for look in own[len(other) :]:
            look.shares[second.name] = None  # type: ignore[index]
        return verdicts([Case("a", [(group("all", own, [first, second], (None, None), (), 0), own)])], [first, second])[
            0
        ]

    assert both(around(0.2), around(0.05)).blamed == ("first",)
    assert both(around(0.05), around(0.2)).blamed == ("second",)
    assert both(around(0.05), around(0.2)).words.startswith("20.0 %")
    assert both(around(0.05), around(0.05)).level is Level.CLEAR
    assert both(around(0.05), []).level is Level.UNSURE  # clear of one, nothing known of the other


def test_the_chance_is_scipys_t_test() -> None:
    random = np.random.default_rng(0)
    for count in (2, 5, 40):
        values = random.normal(0.3, 1, count)
        assert chance(values.tolist()) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert chance([0.0, 0.0]) == 1
    assert chance([0.2, 0.2]) == 0
    assert chance([0.2]) == 1


def test_holm_by_hand() -> None:
    assert standing([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]  # 0.03 > 0.05 / 2 stops it
    assert standing([0.02, 0.02]) == [True, True]
    assert standing([0.03, 0.03]) == [False, False]
    assert standing([]) == []


def test_of_many_honest_classes_luck_blames_hardly_any() -> None:
    random, audits = np.random.default_rng(0), 0
    for _ in range(20):
        cases = [case((0.1 * random.gamma(4, 1 / 4, 30)).tolist()) for _ in range(10)]
        audits += any(each.level is Level.BIASED for each in verdicts(cases, [MARK]))
    assert audits <= 3  # of 20, where 5 % each are allowed; without Holm's correction four would be expected
