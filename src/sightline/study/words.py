"""An analysis in words: what could be seen, what could not, and never more than the figures say."""

from sightline.study.analysis import CHANCE, Analysis, OfMethod, Pair
from sightline.study.estimates import Estimate
from sightline.study.trials import Kind

LISTED = 3  # pairs without a difference that are named

TOLD = {
    Kind.DISCRIMINATION: (
        "Participants told the class better than chance by {}.",
        "They told it worse than chance by {}.",
        "By {} no difference from chance could be seen.",
        "They told it better by {}.",
    ),
    Kind.TRUST: (
        "Participants found the better model the more reliable by {}.",
        "They found the other model the more reliable by {}.",
        "By {} neither model could be seen to be found the more reliable.",
        "They found the better model more reliable by {}.",
    ),
}


def sentences(analysis: Analysis) -> list[str]:
    """What the figures say where both p, after Holm's correction, and the interval do; the last, what isn't seen."""
    above, below, unsure, better = TOLD[analysis.kind]
    chance, found = CHANCE[analysis.kind], []
    sure = [each for each in analysis.methods if each.seen]
    for words, some in (
        (above, [each for each in sure if each.figure.value > chance]),
        (below, [each for each in sure if each.figure.value < chance]),
        (unsure, [each for each in analysis.methods if each not in sure]),
    ):
        if some:
            found.append(words.format(_listed([_method(each, analysis.kind) for each in some])))
    apart = [pair for pair in analysis.pairs if pair.seen]
    if apart:
        found.append(better.format(_listed([_pair(pair, analysis.kind) for pair in apart])))
    alike = [f"{pair.first} and {pair.other}" for pair in analysis.pairs if pair.difference and not pair.seen]
    if len(alike) > LISTED:
        which = f"in the other {len(alike)} pairs of methods" if apart else "between any two methods"
        found.append(f"No difference could be seen {which}.")
    elif alike:
        found.append(f"No difference could be seen between {'; nor between '.join(alike)}.")
    return found


def told(figure: Estimate, kind: Kind) -> str:
    """A figure and its interval: `64 % [58, 70]`, or `+1.27 [+1.01, +1.53]`."""
    if kind is Kind.DISCRIMINATION:
        return f"{100 * figure.value:.0f} %" + _ends(figure, 100, ".0f")
    return f"{figure.value:+.2f}" + _ends(figure, 1, "+.2f")


def told_apart(figure: Estimate, kind: Kind) -> str:
    """A difference and its interval: `+12 points [+5, +19]`, or `+0.27 [-0.02, +0.56]`."""
    if kind is Kind.DISCRIMINATION:
        return f"{100 * figure.value:+.0f} points" + _ends(figure, 100, "+.0f")
    return told(figure, kind)


def probability(p: float | None) -> str:
    """`0.031`, or `< 0.001`; `-` of none."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _ends(figure: Estimate, times: float, how: str) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f" [{times * figure.low:{how}}, {times * figure.high:{how}}]"


def _method(each: OfMethod, kind: Kind) -> str:
    return f"{each.method} ({told(each.figure, kind)})"


def _pair(pair: Pair, kind: Kind) -> str:
    figure, first, other = pair.difference, pair.first, pair.other
    if figure is None:
        return f"{first} than by {other}"
    if figure.value < 0:
        ends = (None if figure.high is None else -figure.high, None if figure.low is None else -figure.low)
        figure, first, other = Estimate(-figure.value, *ends), other, first
    return f"{first} than by {other} ({told_apart(figure, kind)}, p {probability(pair.sure)})"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + " and " * (len(names) > 1) + names[-1]
