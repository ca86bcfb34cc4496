"""The study as a folder of plain files, for a web server or a crowd platform that knows nothing of Sightline."""

import json
import shutil
from pathlib import Path

from sightline.errors import DataError, first_line
from sightline.study.server import page, public, told
from sightline.study.trials import PICTURES, Study

EMPTY = '<script id="data" type="application/json">null</script>'


def export(folder: str | Path, out: str | Path) -> list[Path]:
    """Write `index.html`, all that is asked within it, and the pictures, to a new folder; the files that were written.

    The page keeps answers in the browser, and hands them over at the end: to Mechanical Turk where it was opened with
    `assignmentId` and `turkSubmitTo`, else as a file for `sightline study analyse --answers`. Each participant is given
    an order by chance, or the one that `?order=3` asks for, from 0. The key stays where it is. Raises DataError where
    there is no study, or the folder isn't empty or can't be written to.
    """
    folder, out = Path(folder), Path(out)
    study = Study.load(folder)
    whole = public(study) | {"trials": [told(trial) for trial in study.trials], "orders": study.orders}
    inside = json.dumps(whole, separators=(",", ":")).replace("<", "\\u003c")
    text = page()
    written = [out / "index.html"]
    try:
        if out.exists() and any(out.iterdir()):
            raise DataError(f"{out} isn't empty; choose another folder, as whatever lies there would be published too")
        (out / PICTURES).mkdir(parents=True, exist_ok=True)
        for file in sorted({file for trial in study.trials for file in trial.pictures}):
            written.append(Path(shutil.copyfile(folder / file, out / file)))
        written[0].write_text(text.replace(EMPTY, EMPTY.replace("null", inside)), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder} can't be copied to {out} ({first_line(error)}); choose another folder") from error
    return written
