"""What answers say: every figure by hand, by a slow loop, or recovered from participants whose accuracy is known."""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sightline.errors import DataError
from sightline.study import Analysis, Answer, Key, Kind, Study, Trial, analyse
from sightline.study.agreement import Level, alpha
from sightline.study.doubts import doubts
from sightline.study.estimates import Estimate, difference, mean, mean_against, share, share_against
from sightline.study.judged import Columns, Judged, judged
from sightline.study.permutation import holm, swapped
from sightline.study.planning import power
from sightline.study.simulated import People, imagined, simulate
from sightline.study.words import sentences, told

PAPER = {"guided-backprop": 0.4444, "deconvnet": 0.5333, "guided-grad-cam": 0.6123}


def columns(values: list[float], people: list[int], pictures: list[int]) -> Columns:
    return Columns(np.array(values, float), np.array(people), np.array(pictures))


def some(seed: int = 0, count: int = 40) -> Columns:
    """Answers of five people to seven pictures, some of them missing."""
    random = np.random.default_rng(seed)
    cells = random.permutation(list(itertools.product(range(5), range(7))) * 2)[:count]
    cells[:7] = [[n % 5, n] for n in range(7)]
    return Columns(random.integers(0, 2, count).astype(float), cells[:, 0], cells[:, 1])


# agreement

RELIABILITY = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
"""Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011: four observers, twelve units, some not coded."""


@pytest.mark.parametrize(("level", "published"), [(Level.NOMINAL, 0.743), (Level.INTERVAL, 0.849)])
def test_alpha_of_krippendorffs_own_example(level: Level, published: float) -> None:
    units = [[int(each) for each in unit if each != "."] for unit in zip(*(row.split() for row in RELIABILITY))]
    assert round(alpha(units, level), 3) == published


@pytest.mark.parametrize("level", [Level.NOMINAL, Level.INTERVAL])
def test_alpha_is_what_pairs_say_in_a_slow_loop(level: Level) -> None:
    random = np.random.default_rng(1)
    units = [random.integers(-2, 3, random.integers(0, 6)).tolist() for _ in range(30)]
    apart = (lambda a, b: float(a != b)) if level is Level.NOMINAL else (lambda a, b: (a - b) ** 2)
    shared = [unit for unit in units if len(unit) > 1]
    flat = [value for unit in shared for value in unit]
    within = sum(apart(a, b) / (len(unit) - 1) for unit in shared for a, b in itertools.permutations(unit, 2))
    among = sum(apart(a, b) for a, b in itertools.permutations(flat, 2)) / (len(flat) - 1)
    assert alpha(units, level) == pytest.approx(1 - within / among)


def test_alpha_of_full_agreement_of_too_little_and_of_nothing_to_disagree_about() -> None:
    assert alpha([[0, 0], [1, 1, 1]]) == 1
    assert alpha([[0], [1], []]) is None
    assert alpha([[1, 1], [1, 1]]) is None
    assert alpha([[0, 1], [0, 1]]) < 0


# permutation tests


def slowly(own: np.ndarray, other: np.ndarray) -> float:
    """The test by full enumeration, a picture at a time."""

    def apart(swaps: tuple[bool, ...]) -> float:
        one, two = np.zeros(2), np.zeros(2)
        for swap, first, second in zip(swaps, own, other):
            one, two = one + (second if swap else first), two + (first if swap else second)
        return abs(one[0] / one[1] - two[0] / two[1])

    seen = apart((False,) * len(own))
    every = [apart(swaps) for swaps in itertools.product([False, True], repeat=len(own))]
    return float(np.mean([each >= seen - 1e-12 for each in every]))


def test_few_pictures_are_enumerated() -> None:
    random = np.random.default_rng(2)
    for _ in range(4):
        own, other = (np.stack([random.integers(0, 4, 7), random.integers(4, 9, 7)], 1).astype(float) for _ in "ab")
        assert swapped(own, other) == pytest.approx(slowly(own, other))
        assert swapped(own, other) == swapped(other, own)


def test_many_pictures_are_drawn_and_come_near_the_enumeration() -> None:
    random = np.random.default_rng(3)
    own, other = (np.stack([random.integers(0, 7, 14), np.full(14, 6)], 1).astype(float) for _ in "ab")
    exact = slowly(own, other)
    drawn = [swapped(own, other, seed) for seed in range(3)]
    assert drawn == pytest.approx([exact] * 3, abs=0.02)
    assert len(set(drawn)) > 1
    assert swapped(own, other, 1) == drawn[1]


def test_no_p_is_zero_and_equal_methods_have_one() -> None:
    right, wrong = (np.stack([np.full(40, value), np.ones(40)], 1) for value in (1.0, 0.0))
    assert swapped(right, wrong) == pytest.approx(1 / 10_001)
    assert swapped(right, right) == 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


# estimates


def by_hand(pulls: list[float], answers: Columns) -> float:
    """Cameron, Gelbach and Miller's variance, pair by pair of answers."""
    total = {"people": 0.0, "pictures": 0.0, "both": 0.0}
    for (a, one), (b, two) in itertools.product(enumerate(pulls), repeat=2):
        same = {name: getattr(answers, name)[a] == getattr(answers, name)[b] for name in ("people", "pictures")}
        for name in same:
            total[name] += one * two * same[name]
        total["both"] += one * two * (a == b)
    counts = {name: len(set(getattr(answers, name).tolist())) for name in ("people", "pictures")}
    found = sum(total[name] * counts[name] / (counts[name] - 1) for name in counts) - total["both"]
    return max(found, min(total[name] * counts[name] / (counts[name] - 1) for name in counts))


def test_the_interval_of_a_mean_is_students_of_the_two_way_variance() -> None:
    answers = replace(some(4), values=np.random.default_rng(5).normal(size=40))
    found = mean(answers)
    value = sum(answers.values) / 40
    spread = by_hand([(each - value) / 40 for each in answers.values], answers)
    half = stats.t.ppf(0.975, 4) * math.sqrt(spread)  # five people
    assert (found.value, found.low, found.high) == pytest.approx((value, value - half, value + half))


def test_the_interval_of_a_difference_counts_either_sides_answers() -> None:
    answers, first = some(6), np.random.default_rng(7).integers(0, 2, 40)
    found = difference(answers, first)
    sides = [answers.values[first == side] for side in (0, 1)]
    value = sides[1].mean() - sides[0].mean()
    pulls = [(2 * side - 1) * (v - sides[side].mean()) / len(sides[side]) for v, side in zip(answers.values, first)]
    half = stats.t.ppf(0.975, 4) * math.sqrt(by_hand(pulls, answers))
    assert (found.value, found.low, found.high) == pytest.approx((value, value - half, value + half))


def test_the_interval_of_a_share_is_wilsons_of_as_many_independent_answers() -> None:
    answers = some(8)
    found, value = share(answers), answers.values.mean()
    count = min(40, value * (1 - value) / by_hand([(each - value) / 40 for each in answers.values], answers))
    t = stats.t.ppf(0.975, 4)
    # Wilson's ends are where the value is t standard errors away
    for end in (found.low, found.high):
        assert abs(value - end) == pytest.approx(t * math.sqrt(end * (1 - end) / count))


def test_hanging_together_makes_intervals_wider() -> None:
    """Five people who answer all eight pictures alike, each for himself, say no more than five answers."""
    values = [float(person < 3) for person in range(5) for _ in range(8)]
    places = [person for person in range(5) for _ in range(8)]
    alike = share(columns(values, places, [*range(8)] * 5))
    mixed = share(columns([1.0, 0, 1, 0, 1, 1, 0, 1] * 5, places, [n % 8 for n in range(40)]))
    assert alike.value == 0.6
    assert alike.high - alike.low > 0.75
    assert mixed.high - mixed.low < alike.high - alike.low


def test_an_interval_where_all_are_right_is_that_of_the_pictures() -> None:
    found = share(columns([1.0] * 40, [n // 8 for n in range(40)], [n % 8 for n in range(40)]))
    t = stats.t.ppf(0.975, 4)
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(8 / (8 + t**2))


def test_one_person_or_one_picture_is_enough_and_one_answer_is_not() -> None:
    alone = mean(columns([1, 2, 3], [0, 0, 0], [0, 1, 2]))
    low, high = stats.t.interval(0.95, 2, 2, stats.sem([1, 2, 3]))
    assert (alone.low, alone.high) == pytest.approx((low, high))
    assert mean(columns([1, 2, 3], [0, 1, 2], [0, 0, 0])) == alone
    assert mean(columns([1], [0], [0])) == Estimate(1, None, None)
    assert share(columns([1], [0], [0])) == Estimate(1, None, None)
    assert mean(columns([1, 1], [0, 1], [0, 1])) == Estimate(1, None, None)


def test_p_against_chance_is_students_of_the_intervals_variance() -> None:
    answers = replace(some(4), values=np.random.default_rng(5).normal(0.3, size=40))
    value = sum(answers.values) / 40
    spread = by_hand([(each - value) / 40 for each in answers.values], answers)
    assert mean_against(answers, 0.1) == pytest.approx(2 * stats.t.sf(abs(value - 0.1) / math.sqrt(spread), 4))
    shares = some(8)
    value = shares.values.mean()
    count = min(40, value * (1 - value) / by_hand([(each - value) / 40 for each in shares.values], shares))
    away = abs(value - 0.3) / math.sqrt(0.3 * 0.7 / count)
    assert share_against(shares, 0.3) == pytest.approx(2 * stats.t.sf(away, 4))


@pytest.mark.parametrize(("rule", "against"), [(share, share_against), (mean, mean_against)], ids=["share", "mean"])
def test_p_is_5_percent_where_the_interval_ends(rule: Callable, against: Callable) -> None:
    for seed in range(5):
        found = rule(some(seed))
        for end in (found.low, found.high):
            assert against(some(seed), end) == pytest.approx(0.05)
            assert against(some(seed), end + (end - found.value) / 100) < 0.05
            assert against(some(seed), end - (end - found.value) / 100) > 0.05


def test_p_of_one_answer_and_of_answers_that_are_all_alike() -> None:
    one, alike = columns([1], [0], [0]), columns([2.0] * 20, [n // 4 for n in range(20)], [n % 4 for n in range(20)])
    assert mean_against(one, 0) == share_against(one, 0.5) == 1
    assert mean_against(alike, 2) == 1
    assert mean_against(alike, 0) == stats.binomtest(4, 4).pvalue  # four pictures, five people
    assert share_against(replace(alike, values=np.ones(20)), 0.5) == pytest.approx(2 * stats.t.sf(2, 3))


def test_an_estimate_holds_what_lies_within_its_ends() -> None:
    assert [Estimate(1, 0, 2).holds(value) for value in (-0.1, 0, 2, 2.1)] == [False, True, True, False]
    assert [Estimate(1, None, None).holds(value) for value in (0, 1)] == [False, True]


def test_classes_that_cancel_in_every_picture_leave_no_more_than_all_answers() -> None:
    """A map that is the same for both classes: of each picture's two answers one is right."""
    found = share(columns([1, 0] * 10, [0] * 20, [n // 2 for n in range(20)]))
    t = stats.t.ppf(0.975, 9)
    assert found.value == 0.5
    assert found.high - 0.5 == pytest.approx(t * math.sqrt(found.high * (1 - found.high) / 20))
    assert mean(columns([1, -1] * 10, [0] * 20, [n // 2 for n in range(20)])) == Estimate(0, None, None)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """100 simulated studies: 95 of them, give or take what chance does to a count of 100."""
    held: dict[str, int] = defaultdict(int)
    for seed in range(100):
        study = imagined(Kind.DISCRIMINATION, list(PAPER), 24, 12, seed)
        by = defaultdict(list)
        for each in judged(study, simulate(study, People(PAPER, 12), seed)):
            by[each.key.method].append(each)
        one, two = by["guided-grad-cam"], by["guided-backprop"]
        own = share(Columns.of(one))
        apart = difference(Columns.of([*one, *two]), np.repeat([1, 0], [len(one), len(two)]))
        held["share"] += own.low <= 0.6123 <= own.high
        held["difference"] += apart.low <= 0.6123 - 0.4444 <= apart.high
    assert all(90 <= count <= 99 for count in held.values()), held


def test_p_is_uniform_where_there_is_no_effect() -> None:
    ps, against = [], []
    for seed in range(120):
        study = imagined(Kind.DISCRIMINATION, ["a", "b"], 13, 24, seed)
        found = analyse(study, simulate(study, People({"a": 0.5, "b": 0.5}, 24), seed))
        ps.append(found.pairs[0].p)
        against.append(found["a"].p)
    for some_ps in (np.array(ps), np.array(against)):
        for level in (0.05, 0.1, 0.25, 0.5):  # exact ties make some p 1: uniform below
            spread = math.sqrt(level * (1 - level) / 120)
            assert abs(np.mean(some_ps <= level) - level) < 3 * spread


# simulated participants


@pytest.mark.parametrize(
    ("kind", "effect"),
    [(Kind.DISCRIMINATION, {"a": 0.42, "b": 0.9}), (Kind.TRUST, {"a": 1.27, "b": -0.5})],
    ids=["discrimination", "trust"],
)
def test_simulated_people_have_the_effect_that_was_asked_for(kind: Kind, effect: dict[str, float]) -> None:
    study = imagined(kind, list(effect), 600, 60)
    answers = simulate(study, People(effect, 60, lapses=0.1, seconds=5.0))
    found = defaultdict(list)
    for each in judged(study, answers):
        found[each.key.method].append(each.value)
    assert {method: float(np.mean(values)) for method, values in found.items()} == pytest.approx(effect, abs=0.06)
    assert np.median([each.seconds for each in answers]) == pytest.approx(5, rel=0.15)
    assert simulate(study, People(effect, 2)) == simulate(study, People(effect, 2))
    assert simulate(study, People(effect, 2), seed=1) != simulate(study, People(effect, 2))


def test_what_cannot_be_true_of_anybody_is_refused() -> None:
    study = imagined(Kind.DISCRIMINATION, ["a"], 4)
    with pytest.raises(DataError, match=r"effect of 0\.99 for a can't be had .* 0\.1; the nearest is 0\.95"):
        simulate(study, People({"a": 0.99}, lapses=0.1))
    with pytest.raises(DataError, match="no effect is given for a; given are b"):
        simulate(study, People({"b": 0.5}))
    with pytest.raises(DataError, match="0 methods"):
        imagined(Kind.TRUST, [])


def test_more_people_see_more() -> None:
    few, many = (power(Kind.DISCRIMINATION, People({"a": 0.5, "b": 0.7}, n), 12, 20) for n in (4, 24))
    assert few.pairs["a", "b"] < many.pairs["a", "b"] > 0.6
    assert many.chance["a"] <= 0.2
    assert many.chance["b"] > 0.8


# the analysis


def discrimination() -> Study:
    """Two pictures, both of their classes, by two methods."""
    key, trials = {}, []
    for picture, method, place in itertools.product(["one", "two"], ["grad-cam", "guided-grad-cam:x=1"], [0, 1]):
        name = f"{picture}-{method}-{place}"
        key[name] = Key(method, picture, f"{picture}: {place}", right=place)
        trials.append(Trial(name, (f"{name}.jpg",), ("dog", "cat")))
    return Study(Kind.DISCRIMINATION, "Which?", tuple(trials), (), key, {"models": ["net"]})


def answer(person: str, trial: str, place: int, seconds: float = 5.0) -> Answer:
    return Answer(person, trial, place, seconds, "2026-01-01T00:00:00+00:00")


def test_counts_of_a_small_study_by_hand() -> None:
    answers = [
        answer("ann", "one-grad-cam-0", 0, 3),
        answer("bob", "one-grad-cam-0", 0, 5),
        answer("bob", "two-grad-cam-1", 0, 9),
        answer("bob", "two-grad-cam-1", 1, 1),  # again: the first answer counts
        answer("ann", "two-guided-grad-cam:x=1-1", 1, 4),
    ]
    found = analyse(discrimination(), answers)
    own = found["grad-cam"]
    assert (own.answers, own.people, own.items, own.figure.value, own.seconds) == (3, 2, 2, 2 / 3, 5)
    assert own.shares == {0: 1 / 3, 1: 2 / 3}
    # variances in 81sts: people 4, pictures 16, answers 6, and 18 of a single answer: 18 / 14 answers, two people
    assert own.p == pytest.approx(2 * stats.t.sf((2 / 3 - 1 / 2) / math.sqrt(1 / 4 * 14 / 18), 1))
    assert [(pair.items, pair.difference.value) for pair in found.pairs] == [(1, -1.0)]
    assert found.study == {"models": ["net"]}
    assert [(each.participant, each.answers, each.value) for each in found.people] == [("ann", 2, 1), ("bob", 2, 0.5)]
    rows = found.rows()
    assert rows[2] == {
        "participant": "bob", "trial": "two-grad-cam-1", "method": "grad-cam", "picture": "two", "item": "two: 1",
        "answer": "dog", "place": 0, "value": 0.0, "seconds": 9, "at": "2026-01-01T00:00:00+00:00", "dropped": False,
    }  # fmt: skip
    assert json.loads(json.dumps(found.facts()))["methods"][0]["figure"]["value"] == 2 / 3


def test_methods_without_an_item_in_common_are_not_compared() -> None:
    found = analyse(
        discrimination(), [answer("ann", "one-grad-cam-0", 0), answer("ann", "two-guided-grad-cam:x=1-0", 0)]
    )
    assert [(pair.items, pair.difference, pair.p, pair.sure, pair.seen) for pair in found.pairs] == [
        (0, None, None, None, False)
    ]
    assert "between" not in sentences(found)[-1]


def test_trust_counts_for_the_better_model_whichever_side_it_stands_on() -> None:
    scale = (2.0, 1.0, 0.0, -1.0, -2.0)
    key = {f"{n}": Key("guided-grad-cam", f"p{n}", f"p{n}: dog", values=scale[:: 1 if n % 2 else -1]) for n in range(6)}
    options = ("A clearly", "A", "equal", "B", "B clearly")
    study = Study(Kind.TRUST, "?", tuple(Trial(name, ("a", "b"), options) for name in key), (), key)
    answers = [answer("ann", "1", 0), answer("ann", "2", 4), answer("bob", "3", 2), answer("bob", "4", 1)]
    own = analyse(study, answers)["guided-grad-cam"]
    assert own.figure.value == (2 + 2 + 0 - 1) / 4
    assert own.shares == {-2: 0, -1: 0.25, 0: 0.25, 1: 0, 2: 0.5}
    assert own.paper == 1.27
    # two people: Student's with one degree of freedom
    assert own.p == pytest.approx(2 * stats.t.sf(0.75 / (own.figure.high - 0.75) * stats.t.ppf(0.975, 1), 1))


def test_pairs_without_an_item_in_common_make_no_other_less_sure() -> None:
    """Three methods on eight pictures, the third on pictures of its own: one pair is looked at."""
    methods, trials, key, answers = ("a", "a", "b", "b", "c", "c"), [], {}, []
    for nth in range(48):
        method, picture = methods[nth % 6], f"{nth // 6}{' of its own' * (nth % 6 > 3)}"
        trials.append(Trial(str(nth), (), ("dog", "cat")))
        key[str(nth)] = Key(method, picture, f"{picture}: {nth % 2}", right=0)
        answers += [answer(person, str(nth), int(method != "a")) for person in ("ann", "bob")]
    found = analyse(Study(Kind.DISCRIMINATION, "?", tuple(trials), (), key), answers)
    assert [(pair.items, pair.p, pair.sure) for pair in found.pairs] == [
        (16, 2 / 2**8, 2 / 2**8), (0, None, None), (0, None, None),
    ]  # fmt: skip
    assert "between" not in sentences(found)[-1]
    assert json.loads(json.dumps(found.facts()))["pairs"][1]["p"] is None


def test_the_papers_figures_stand_beside_methods_of_that_name() -> None:
    methods = ["guided-backprop", "deconvnet", "deconvnet times grad-cam", "guided-grad-cam", "grad-cam"]
    study = imagined(Kind.DISCRIMINATION, methods, 5, 10)
    found = analyse(study, simulate(study, People(dict.fromkeys(methods, 0.6), 10)))
    assert [each.paper for each in found.methods] == [0.4444, 0.5333, 0.6037, 0.6123, None]


def test_methods_of_different_effect_are_told_apart_and_put_in_words() -> None:
    effect = {"guided-backprop": 0.5, "grad-cam": 0.85, "layer-cam": 0.85}
    study = imagined(Kind.DISCRIMINATION, list(effect), 30, 24)
    found = analyse(study, simulate(study, People(effect, 24)))
    assert [each.sure < 0.05 for each in found.methods] == [False, True, True]
    assert [pair.sure < 0.05 for pair in found.pairs] == [True, True, False]
    one, two, three, four = sentences(found)
    assert one.startswith("Participants told the class better than chance by grad-cam (8")
    assert two.startswith("By guided-backprop (")
    assert "grad-cam than by guided-backprop (+" in three
    assert four == "No difference could be seen between grad-cam and layer-cam."
    assert told(found["grad-cam"].figure, Kind.DISCRIMINATION) in one
    assert analyse(study, simulate(study, People(effect, 24))).facts() == found.facts()


def test_nothing_is_claimed_that_the_interval_denies() -> None:
    """Either p is 0.02 after the correction: as it may be of a permutation test, which takes people as given."""
    study = imagined(Kind.TRUST, ["a", "b"], 8, 8)
    answers = simulate(study, People({"a": 0.0, "b": 0.0}, 8))
    wide, narrow = Estimate(0.3, -0.01, 0.6), Estimate(0.3, 0.01, 0.6)
    for interval, p, claimed in ((wide, 0.02, False), (narrow, 0.02, True), (narrow, 0.06, False)):
        with pytest.MonkeyPatch.context() as patch:
            for rule in ("mean", "difference"):
                patch.setattr(f"sightline.study.analysis.{rule}", lambda *_, interval=interval: interval)
            patch.setattr("sightline.study.analysis.mean_against", lambda *_, p=p: p / 2)
            patch.setattr("sightline.study.analysis.swapped", lambda *_, p=p: p)
            found = analyse(study, answers)
        assert [each.sure for each in (*found.methods, *found.pairs)] == [p] * 3
        assert [each.seen for each in (*found.methods, *found.pairs)] == [claimed] * 3
        first = "Participants found the better model the more reliable by" if claimed else "By a (+0.30"
        assert sentences(found)[0].startswith(first)
        assert ("They found the better model more reliable by a than by b" in " ".join(sentences(found))) == claimed


def test_what_is_not_there_is_claimed_as_seldom_as_p_says() -> None:
    """80 studies of people who differ in skill; a test that takes them as given claims it in a good dozen."""
    claimed = 0
    for seed in range(80):
        study = imagined(Kind.TRUST, ["a"], 30, 12, seed)
        claimed += analyse(study, simulate(study, People({"a": 0.0}, 12), seed))["a"].p < 0.05
    assert claimed <= 8


def test_worse_than_chance_is_said() -> None:
    study = imagined(Kind.TRUST, ["saliency"], 30, 10)
    found = analyse(study, simulate(study, People({"saliency": -0.8}, 10)))
    assert sentences(found)[0].startswith("They found the other model the more reliable by saliency (-0.")


# doubts


def crowd() -> tuple[Study, list[Answer]]:
    """Eight people who are nearly always right, one who is quick, one who says dog, one who takes the other one."""
    study = imagined(Kind.DISCRIMINATION, ["grad-cam"], 30, 2)
    good = simulate(study, People({"grad-cam": 0.95}, 8, skill=0, difficulty=0, lapses=0))
    first = study.orders[0]
    right = {name: study.key[name].right or 0 for name in first}
    quick = [answer("quick", name, right[name], 0.8) for name in first]
    dog = [answer("dog", name, 0) for name in first]
    wrong = [answer("wrong", name, right[name] if n % 3 == 0 else 1 - right[name]) for n, name in enumerate(first)]
    return study, [*good, *quick, *dog, *wrong]


def test_doubts_are_told_and_nobody_is_dropped_unasked() -> None:
    study, answers = crowd()
    found = analyse(study, answers)
    about = {each.participant: each.doubts for each in found.people if each.doubts}
    assert about["quick"] == ("quick",)
    assert "one-sided" in about["dog"]
    assert about["wrong"] == ("guessing",)
    assert not [name for name in about if name.startswith("simulated")]
    assert not found.left


def test_whoever_is_dropped_does_not_count() -> None:
    study, answers = crowd()
    found = analyse(study, answers, drop=["quick", "guessing"])
    gone = {each.participant for each in found.people if each.dropped}
    assert gone >= {"quick", "wrong"}
    assert {each.answer.participant for each in found.left} == gone
    assert found["grad-cam"].answers == len(answers) - len(found.left)
    kept = [each for each in answers if each.participant not in gone]
    assert found["grad-cam"].figure == analyse(study, kept)["grad-cam"].figure
    assert [row["dropped"] for row in found.rows()] == [False] * len(kept) + [True] * len(found.left)


def test_few_answers_raise_no_doubt() -> None:
    study, answers = crowd()
    few = [each for each in judged(study, answers) if each.answer.participant == "dog"][:7]
    assert doubts(few) == {"dog": ()}


def test_a_middle_answer_is_on_no_side() -> None:
    trial, key = Trial("t", (), ("a", "b", "c", "d", "e")), Key("m", "p", "i", values=(2, 1, 0, -1, -2))
    sides = [Judged(answer("ann", "t", place), trial, key, 0.0).side for place in range(5)]
    assert sides == [0, 0, -1, 1, 1]


# errors


def test_answers_that_cannot_be_used_are_named() -> None:
    study = discrimination()
    with pytest.raises(DataError, match="nobody has answered"):
        analyse(study, [])
    with pytest.raises(DataError, match="ann answered trial 'nine', which this study doesn't have"):
        analyse(study, [answer("ann", "nine", 0)])
    with pytest.raises(DataError, match="ann answered 2 in trial one-grad-cam-0; expected the place of one of its 2"):
        analyse(study, [answer("ann", "one-grad-cam-0", 2)])
    with pytest.raises(DataError, match="dropped for 'slow'; choose of quick, one-sided, guessing"):
        analyse(study, [answer("ann", "one-grad-cam-0", 0)], drop=["slow"])
    with pytest.raises(DataError, match=r"each of the 1 participants is dropped \(quick\)"):
        analyse(study, [answer("ann", "one-grad-cam-0", 0, 0.5)], drop=["quick"])


def test_an_analysis_is_found_by_its_methods_name() -> None:
    found: Analysis = analyse(discrimination(), [answer("ann", "one-grad-cam-0", 0)])
    assert found["grad-cam"].method == "grad-cam"
    with pytest.raises(DataError, match="no answer is to a map by 'gradcam'; nearest: grad-cam"):
        found["gradcam"]
