"""Pictures as files that are not yet read."""

import os
import pickle
from pathlib import Path

import pytest
from folders import picture, text

from sightline.datasets import open_data
from sightline.datasets.files import File, Files, labels_in, stored
from sightline.errors import DataError, PictureError
from sightline.images import size_of
from sightline.trials import Known, Truth


def test_a_file_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    file = File(stored(path), ("dog", "cat"), {"camera": "a"})
    data = Files.of("pets", {"a": file}, True, ["a problem"])
    assert (data.knows, data.problems, len(data)) == ({Known.CLASSES}, ("a problem",), 1)
    with pytest.raises(PictureError, match=r"a\.jpg can't be read \(No such file or directory\); expected a picture's"):
        data[0]
    picture(path)
    sample = data[0]
    assert (sample.name, sample.picture.size, sample.about) == ("a", (20, 10), {"camera": "a"})
    assert sample.truths == (Truth("dog"), Truth("cat"))
    assert size_of(data.entries["a"].read()) == (20, 10)
    assert Files.of("pets", {"a": file}, False, []).knows == frozenset()
    with pytest.raises(DataError, match="pets has no picture that can be judged: a problem"):
        Files.of("pets", {}, True, ["a problem"])


def test_a_folder_gives_its_files_and_processes_may_share_them(tmp_path: Path) -> None:
    path = picture(tmp_path / "dog/a.png")
    data = pickle.loads(pickle.dumps(open_data(tmp_path)))
    assert isinstance(data, Files)
    assert data.entries["dog/a.png"].read() == path.read_bytes()
    assert (data.entries["dog/a.png"].labels, data.entries["dog/a.png"].about) == (("dog",), {})


def test_what_is_no_file_names_itself(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, told in (("", "is no regular file"), ("pipe.jpg", "is no regular file"), ("a\0b", "'.*a.x00b' can't be")):
        with pytest.raises(PictureError, match=told) as error:
            stored(tmp_path / name)()
        assert "\n" not in str(error.value)
    text(tmp_path / "a.jpg", "nothing")
    with pytest.raises(PictureError, match="the name is no picture that can be read"):
        Files.of("pets", {"the name": File(stored(tmp_path / "a.jpg"))}, False, [])[0]


def test_labels() -> None:
    assert labels_in(" dog|cat | dog||") == ("dog", "cat")
    assert labels_in("a dog, perhaps") == ("a dog, perhaps",)
    assert labels_in(" | ") == ()
