"""A human study from a run to its table, with simulated people whose true accuracy is known.

python examples/study.py --work study-out [--plan]

Generated pictures of two shapes each are explained by four methods with the embedded net, the maps become trials, and
twelve people who don't exist answer them. What they were made to tell is printed beside what the analysis finds. With
--plan: how many people such a study needs. Needs no data; a minute on two cores, some more with --plan.
"""

import argparse
import shutil
from pathlib import Path

import sightline
from sightline.cli.progress import counting
from sightline.runs import run
from sightline.study import Kind, analyse, build
from sightline.study.answers import add, read
from sightline.study.planning import power
from sightline.study.proxy import proxy
from sightline.study.simulated import People, simulate
from sightline.study.words import probability, sentences, told, told_apart

TRUE = {"guided-backprop": 0.50, "deconvnet": 0.55, "guided-grad-cam": 0.75, "grad-cam": 0.80}
"""The accuracy of people at large by each method: made up."""

PICTURES, PEOPLE = 45, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--plan", action="store_true")
    args = parser.parse_args()
    data = f"scenes:shapes:objects=2:count={PICTURES}"
    with counting("explaining") as progress:
        done = run(
            sightline.load("shapes"), data, ["label"], list(TRUE), folder=args.work / "run",
            progress=lambda pictures, of, *_: progress(pictures, of),
        )  # fmt: skip
    folder = args.work / "study"
    shutil.rmtree(folder, ignore_errors=True)
    study = build(done, folder, kind=Kind.DISCRIMINATION, participants=PEOPLE)
    for each in simulate(study, People(TRUE, PEOPLE)):
        add(folder, each)
    found, alone = analyse(study, read(folder)), analyse(study, proxy(done, study))
    print("| method | true | answers | told | p, chance | the map's energy |\n|---|---:|---:|---:|---:|---:|")
    for each in found.methods:
        figure, energy = told(each.figure, study.kind), f"{100 * alone[each.method].figure.value:.0f} %"
        true = f"{100 * TRUE[each.method]:.0f} %"
        print(f"| {each.method} | {true} | {each.answers} | {figure} | {probability(each.sure)} | {energy} |")
    print("\n| methods | true | told | p |\n|---|---:|---:|---:|")
    for pair in found.pairs:
        true, seen = f"{100 * (TRUE[pair.first] - TRUE[pair.other]):+.0f} points", pair.difference
        figure = "-" if seen is None else told_apart(seen, study.kind)
        print(f"| {pair.first} - {pair.other} | {true} | {figure} | {probability(pair.sure)} |")
    print("", *sentences(found), sep="\n")
    if args.plan:
        plan()


def plan() -> None:
    """How often a difference is seen, by how large it is and how many people answer."""
    print("\n| people | pictures | +5 points | +10 | +15 | +20 |\n|---:|---:|---:|---:|---:|---:|")
    for pictures in (20, 45):
        for people in (6, 12, 24, 48):
            row = []
            for gap in (0.05, 0.10, 0.15, 0.20):
                effect = {"other": 0.55, "better": 0.55 + gap}
                seen = power(Kind.DISCRIMINATION, People(effect, people), pictures).pairs["other", "better"]
                row.append(f"{100 * seen:.0f} %")
            print(f"| {people} | {pictures} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
