"""How often a study's analysis is right: its 95 % intervals hold the truth, and it claims what isn't there.

python examples/study_intervals.py [--studies 400]

Simulated studies whose truth is known, of several sizes; the two tables of docs/study.md, the first beside the
intervals of the pigeonhole bootstrap. Needs no data; minutes.
"""

import argparse

import numpy as np

from sightline.study import Kind, analyse
from sightline.study.estimates import Estimate, difference, mean, share
from sightline.study.judged import Columns, judged
from sightline.study.simulated import People, imagined, simulate

SIZES = (
    (Kind.DISCRIMINATION, 6, 20, (0.65, 0.5, 0.55, 0.55)),
    (Kind.DISCRIMINATION, 12, 30, (0.65, 0.5, 0.55, 0.55)),
    (Kind.DISCRIMINATION, 12, 30, (0.9, 0.7, 0.55, 0.55)),
    (Kind.DISCRIMINATION, 24, 12, (0.6123, 0.4444, 0.55, 0.55)),
    (Kind.DISCRIMINATION, 43, 45, (0.6123, 0.4444, 0.55, 0.55)),
    (Kind.TRUST, 12, 30, (1.27, 1.0)),
    (Kind.TRUST, 54, 45, (1.27, 1.0)),
)
"""Kind, participants, pictures, and the truth of each method; the first is looked at, and how far the next is below."""

NOTHING = (
    (Kind.DISCRIMINATION, ((6, 20), (12, 30), (24, 20), (43, 45))),
    (Kind.TRUST, ((6, 20), (12, 30), (24, 20), (54, 45))),
)
"""Kind, and participants and pictures of studies of two methods, either of which tells people nothing."""

DRAWS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    args = parser.parse_args()
    nothing(args.studies)
    intervals(args.studies)


def nothing(studies: int) -> None:
    """How often p is below 0.05, before and after Holm's correction, and how often the words claim anything."""
    print("| study | participants | pictures | skills | p, chance | any method claimed | p, pair | pair claimed |")
    print("|---|---:|---:|---|---:|---:|---:|---:|")
    for kind, sizes in NOTHING:
        effect = dict.fromkeys("ab", 0.5 if kind is Kind.DISCRIMINATION else 0.0)
        for count, pictures in sizes:
            for skill, differ in ((0.4, "differ"), (0.0, "alike")):
                counts = np.zeros(4)
                for seed in range(studies):
                    study = imagined(kind, list(effect), pictures, count, seed)
                    found = analyse(study, simulate(study, People(effect, count, skill=skill), seed), seed=seed)
                    counts += (
                        np.mean([each.p < 0.05 for each in found.methods]),
                        any(each.seen for each in found.methods),
                        found.pairs[0].p < 0.05,
                        found.pairs[0].seen,
                    )
                shares = " | ".join(f"{100 * each / studies:.1f} %" for each in counts)
                print(f"| {kind} | {count} | {pictures} | {differ} | {shares} |", flush=True)
    print()


def intervals(studies: int) -> None:
    """How often intervals hold the truth, and how wide they are."""
    print("| study | participants | pictures | truth | figure | width | difference | pigeonhole | width |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    random = np.random.default_rng(0)
    for kind, count, pictures, truths in SIZES:
        effect = dict(zip("abcd", truths, strict=False))
        held, width = np.zeros(3), np.zeros(3)
        for seed in range(studies):
            study = imagined(kind, list(effect), pictures, count, seed)
            answers = judged(study, simulate(study, People(effect, count), seed))
            one, two = ([each for each in answers if each.key.method == method] for method in "ab")
            own = Columns.of(one)
            found = (
                (share if kind is Kind.DISCRIMINATION else mean)(own),
                difference(Columns.of([*one, *two]), np.repeat([1, 0], [len(one), len(two)])),
                pigeonhole(own, random),
            )
            for place, true in enumerate((truths[0], truths[0] - truths[1], truths[0])):
                low, high = found[place].low, found[place].high
                held[place] += low <= true <= high
                width[place] += (high - low) / studies
        figure, apart, drawn = (f"{100 * each / studies:.1f} %" for each in held)
        if kind is Kind.DISCRIMINATION:
            true, own_width, drawn_width = f"{100 * truths[0]:g} %", *(f"{100 * width[n]:.0f} points" for n in (0, 2))
        else:
            true, own_width, drawn_width = f"{truths[0]:+.2f}", *(f"{width[n]:.2f}" for n in (0, 2))
        sizes = f"{kind} | {count} | {pictures} | {true}"
        print(f"| {sizes} | {figure} | {own_width} | {apart} | {drawn} | {drawn_width} |", flush=True)


def pigeonhole(answers: Columns, random: np.random.Generator) -> Estimate:
    """Participants and pictures drawn with replacement, each for themselves; an answer counts as often as both."""
    sums = np.zeros((2, answers.people.max() + 1, answers.pictures.max() + 1))
    np.add.at(sums[0], (answers.people, answers.pictures), answers.values)
    np.add.at(sums[1], (answers.people, answers.pictures), 1)
    people, pictures = (random.multinomial(n, [1 / n] * n, size=DRAWS) for n in sums.shape[1:])
    drawn, counts = (((people @ each) * pictures).sum(1) for each in sums)
    low, high = np.percentile(drawn[counts > 0] / counts[counts > 0], [2.5, 97.5])
    return Estimate(float(answers.values.mean()), float(low), float(high))


if __name__ == "__main__":
    main()
