"""What the README shows runs, and its table is the table."""

import re
import shutil
from pathlib import Path

import methods_page
import metrics_page
import pytest
import torch

from sightline import METHODS
from sightline.cli.explain import sample
from sightline.methods import method

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(sample(), "church.jpg")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 300)
    )
    names = {"my_module": net, "images": torch.rand(2, 3, 16, 16)}
    first, second, third = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(first, names)
    assert names["maps"].shape == (2, 14, 14)
    assert names["why"]["church"].box(0.15) is not None
    assert Path("church.png").is_file()
    exec(second.replace("masks=500", "masks=8"), names)
    exec(third, names)
    assert names["found"]["grad-cam"].figures["pointing"].value > names["found"]["centre"].figures["pointing"].value


def test_the_page_of_methods_is_the_table() -> None:
    assert (ROOT / "docs/methods.md").read_text() == methods_page.page()


def test_the_page_of_metrics_is_the_table() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == metrics_page.page()


def test_the_readme_names_methods_that_are_there() -> None:
    """The count, and every name in the short table."""
    assert "Forty-six," in README
    assert len(METHODS) == 46
    rows = re.findall(r"^\| [a-z ]+ \| (.+) \|$", README, re.MULTILINE)
    assert len(rows) == 5
    for name in re.findall(r"[a-z][a-z+-]+(?= \.\.\.|,|$)", ", ".join(rows)):
        if name != "tokens":
            assert method(name).name == name


def test_the_first_python_stands_near_the_top() -> None:
    assert README.splitlines().index("```python") < 15


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
