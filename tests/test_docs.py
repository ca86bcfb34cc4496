"""What the README shows runs, and its table is the table."""

import re
import shutil
from importlib.metadata import metadata
from pathlib import Path

import methods_page
import metrics_page
import pytest
import questions
import torch

import sightline
from sightline import METHODS
from sightline.cli.explain import sample
from sightline.methods import method

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


class Pair(torch.nn.Module):
    """Two classes of an image and a text."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, 3, stride=8), torch.nn.Linear(7, 2)

    def forward(self, *, pixels: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.conv(pixels).relu().mean((2, 3)), text], 1))


class Yolo(torch.nn.Module):
    """One box in the middle (N, 4 + 2, 1), of the first of two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, 3, stride=8), torch.nn.Linear(4, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        shares = (self.head(self.conv(image).relu().mean((2, 3))) + torch.tensor([3.0, -3.0])).sigmoid()
        box = torch.tensor([112.0, 112.0, 64.0, 64.0]).expand(len(image), 4)
        return torch.cat([box, shares], 1)[..., None]


class Age(torch.nn.Module):
    """One number a picture (N,)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, 3, stride=8), torch.nn.Linear(4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(image).relu().mean((2, 3)))[:, 0]


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(sample(), "church.jpg")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 300)
    )
    names = {"my_module": net, "images": torch.rand(2, 3, 16, 16)}
    first, second, third, inner, fourth, fifth = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(first, names)
    assert names["maps"].shape == (2, 14, 14)
    assert names["why"]["church"].box(0.15) is not None
    assert Path("church.png").is_file()
    exec(second.replace("masks=500", "masks=8"), names)
    names |= {"my_pair_net": Pair(), "tokens": torch.ones(1, 3), "my_net": Yolo(), "my_age_net": Age()}
    exec(third, names)
    assert sightline.explain(names["pair"], "church.jpg").layer == "conv"
    exec(inner.replace("count=100", "count=12").replace("steps=128", "steps=2"), names)
    assert Path("units.png").is_file()
    assert Path("pixels.png").is_file()
    assert Path("church-from-inside.png").is_file()
    exec(fourth, names)
    assert names["found"]["grad-cam"].figures["pointing"].value > names["found"]["centre"].figures["pointing"].value
    exec(fifth, names)
    assert names["told"]["star"].verdict.blamed == ("marker",)


def test_the_page_of_methods_is_the_table() -> None:
    assert (ROOT / "docs/methods.md").read_text() == methods_page.page()


def test_the_page_of_metrics_is_the_table() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == metrics_page.page()


def test_the_readme_names_methods_that_are_there() -> None:
    """The count, and every name in the short table."""
    assert "Forty-six," in README
    assert len(METHODS) == 46
    section = README.partition("## Methods")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| [a-z ]+ \| (.+) \|$", section, re.MULTILINE)
    assert len(rows) == 5
    for name in re.findall(r"[a-z][a-z+-]+(?= \.\.\.|,|$)", ", ".join(rows)):
        if name != "tokens":
            assert method(name).name == name


def test_the_page_of_questions_has_the_table_of_targets() -> None:
    assert "\n".join(questions.what_is_asked()) in (ROOT / "docs/questions.md").read_text()


def test_the_readmes_extras_are_there() -> None:
    table = README.partition("| extra | for |")[2].partition("\n\n")[0]
    named = re.findall(r"`([a-z]+)`", table)
    assert set(named) == set(metadata("sightline").get_all("Provides-Extra") or ()) - {"bench", "dev"}


def test_the_first_python_stands_near_the_top() -> None:
    assert README.splitlines().index("```python") < 15


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_every_link_leads_somewhere(link: str) -> None:
    headings = [re.sub(r"[^a-z -]", "", line.lower()).strip().replace(" ", "-") for line in README.splitlines()]
    assert link[1:] in headings if link.startswith("#") else (ROOT / link).exists()
