"""From pictures to an audit with SqueezeNet 1.1: run, query, audit, as a user types them.

    python examples/audit_walk.py --data ../shared/data --work walk-out [--docs docs]

`--data` holds the weights and the 400 pictures of `imagenet_val_boxes`; `--work` gets the run, the audit with its
report, and section.md: the commands and all that they print, which --docs puts into audit.md. Minutes on two cores.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from planted_bias import put

ROOT = Path(__file__).parents[1]
TITLE = "A walk: run, query, audit"
OUTSIDE = (
    "SELECT picture, round(share, 3) AS inside, round(area, 3) AS area FROM evidence "
    "WHERE region = 'object' AND target = 'golf ball' ORDER BY share LIMIT 5"
)
MISTAKES = (
    "SELECT target, count(*) AS pictures, round(avg(correct::int), 3) AS recognised, "
    "round(avg(probability), 3) AS probability FROM run WHERE asked = 'label' GROUP BY target ORDER BY recognised"
)
STEPS = (
    (
        "Explain all pictures: each class that the data set says is there, and what the model says itself.",
        ("run", "{data}/imagenet_val_boxes", "--model", "recipes.real_nets:squeezenet1_1", "--target", "label",
         "--target", "predicted", "-o", "{work}/run"),
    ),
    ("Ask the table.", ("query", "{work}/run", MISTAKES)),
    (
        "Audit it. The data set's boxes are the object; `--confirm` hides what is in them and asks again.",
        ("audit", "{work}/run", "--confirm"),
    ),
    ("The audit is a table as well: the golf balls with most of the evidence outside their boxes.",
     ("query", "{work}/run", OUTSIDE)),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--docs", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    lines = []
    for says, command in STEPS:
        typed = [word.format(data=args.data, work=args.work) for word in command]
        shown = [word.format(data="DATA", work="walk") for word in command]
        told = _run(typed).replace(str(args.work), "walk").replace(str(args.data), "DATA")
        print(f"{says}\n$ sightline {_quoted(typed)}\n{told}\n", flush=True)
        lines += [says, "", "```console", f"$ sightline {_quoted(shown)}", told, "```", ""]
    lines += ["Made by `python examples/audit_walk.py --data ... --work ... --docs docs`.", ""]
    (args.work / "section.md").write_text("\n".join(lines), encoding="utf-8")
    if args.docs:
        put(args.docs / "audit.md", TITLE, "\n".join(lines))
        print("wrote", args.docs / "audit.md")


def _quoted(words: list[str]) -> str:
    return " ".join(f'"{word}"' if " " in word else word for word in words)


def _run(typed: list[str]) -> str:
    """What the command prints; progress goes to the terminal. Ends the walk where a command can't be asked."""
    done = subprocess.run(
        [sys.executable, "-m", "sightline", *typed], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False,
        env=os.environ | {"COLUMNS": "110", "NO_COLOR": "1"},
    )  # fmt: skip
    if done.returncode > 1:
        sys.exit(done.returncode)
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


if __name__ == "__main__":
    main()
