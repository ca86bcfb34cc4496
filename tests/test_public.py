"""What users import, and how the house is built."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sightline

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/sightline"
ORDER = (
    "errors", "named", "ahead", "geometry", "types", "layers", "outputs", "targets", "engine", "methods", "asking",
    "ask", "preprocess", "transforms", "language", "model", "randomised", "regions", "contours", "seeds", "exports",
    "images", "video", "adversarial", "trials", "metrics", "render", "checks", "posing", "origin", "explanation",
    "explainer", "signals", "volumes", "clips", "bundled", "sources", "datasets", "inside", "mil", "evaluation",
    "runs", "audit", "study", "cli",
)  # fmt: skip


def test_every_public_name_is_sorted_importable_and_documented() -> None:
    assert sightline.__all__ == sorted(sightline.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    for name in sightline.__all__:
        assert getattr(sightline, name).__doc__ or name in ("METHODS", "METRICS"), name
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        sightline.nothing_of_that_name  # noqa: B018


def test_the_version_is_the_changelogs_newest() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == sightline.__version__


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


def test_importing_loads_no_plotting_web_or_zoo() -> None:
    modules = loaded_by("import sightline; sightline.explain; sightline.load; sightline.Explanation")
    assert "torch" in modules
    assert not modules & {"matplotlib", "torchvision", "timm", "gradio", "fastapi", "pandas", "sklearn", "typer"}


def test_help_imports_no_torch() -> None:
    assert not loaded_by("import sightline.cli") & {"torch", "numpy", "PIL", "scipy"}


def imports(file: Path) -> set[str]:
    """The rooms of the package that a file imports when it is loaded."""
    tree = ast.parse(file.read_text())
    hidden = {id(node) for test in ast.walk(tree) if isinstance(test, ast.If) for node in ast.walk(test)}
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and id(node) not in hidden and (node.module or "").startswith("sightline"):
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


def test_a_file_imports_only_what_stands_above_it() -> None:
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room.startswith("__"):
            continue
        above = {*ORDER[: ORDER.index(room) + 1]}
        assert imports(file) <= above, f"{file.name} imports {imports(file) - above}"


def test_methods_and_engine_do_not_know_each_other() -> None:
    for file in (PACKAGE / "methods").glob("*.py"):
        assert "engine" not in imports(file)
    for file in (PACKAGE / "engine").glob("*.py"):
        assert "methods" not in imports(file)


def test_only_the_engine_touches_hooks_and_autograd() -> None:
    banned = re.compile(r"register_\w*hook|autograd\.grad|\.backward\(|requires_grad|enable_grad|no_grad")
    trains = PACKAGE / "mil/training.py"  # a net of our own: nothing is borrowed
    for file in PACKAGE.rglob("*.py"):
        if file.parent.name != "engine" and file != trains:
            assert not banned.search(file.read_text()), file.name


def test_no_file_is_a_drawer() -> None:
    assert not {file.stem for file in PACKAGE.rglob("*.py")} & {"utils", "helpers", "common", "base", "core"}
