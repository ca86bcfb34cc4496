"""What the README shows runs, and its table is the table."""

import re
import shutil
from pathlib import Path

import pytest
import torch

from sightline import METHODS
from sightline.cli.explain import sample

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(sample(), "church.jpg")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 300)
    )
    names = {"my_module": net, "images": torch.rand(2, 3, 16, 16)}
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(code, names)
    assert names["maps"].shape == (2, 14, 14)
    assert names["why"]["church"].box(0.15) is not None
    assert Path("church.png").is_file()


def test_the_readmes_table_is_the_table_of_methods() -> None:
    rows = re.findall(r"^\| ([a-z+-]+) \| (.+) \| (.+) \|$", README, re.MULTILINE)
    assert rows[1:] == [(method.name, method.idea, method.paper) for method in METHODS]


def test_the_first_python_stands_near_the_top() -> None:
    assert README.splitlines().index("```python") < 15


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_every_link_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
