"""A run: what is asked is checked and kept, and the parts that are missing are explained."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sightline.ask import ask, is_list
from sightline.datasets import SCENES, open_data, subset
from sightline.engine import answered
from sightline.errors import DataError, LayerError, MethodError, ModelError, TargetError
from sightline.explainer import layers_of
from sightline.layers import LayerLike
from sightline.methods import method as method_of
from sightline.model import Model, Task
from sightline.outputs import wide
from sightline.runs import local
from sightline.runs.explaining import LABEL, PREDICTED
from sightline.runs.job import Job
from sightline.runs.kept import Run
from sightline.runs.local import Told
from sightline.runs.reading import Reader
from sightline.runs.store import Store, clear, compared
from sightline.targets import logits, question
from sightline.trials import DataSet
from sightline.types import Kind, Method, Needs

ENGINES = ("local", "ray")
RAY = ("actors", "gpus", "cpus", "address")  # options of the engine ray
TABLES = (".csv", ".tsv", ".parquet", ".json")
SAMPLE = 16  # logits of the first picture that are kept


def run(
    model: Model,
    data: DataSet | str | Path,
    targets: str | int | Sequence[str | int] = (PREDICTED,),
    methods: str | Method | Sequence[str | Method] = ("grad-cam",),
    *,
    folder: str | Path,
    layer: LayerLike | None = None,
    batch_size: int = 16,
    part_size: int = 256,
    sample: int | None = None,
    shard: tuple[int, int] = (1, 1),
    overlays: bool = False,
    workers: int | None = None,
    seed: int = 0,
    engine: str = "local",
    progress: Told | None = None,
    layout: str | None = None,
    split: str | None = None,
    spec: Mapping[str, Any] | None = None,
    fresh: bool = False,
    **options: Any,
) -> Run:
    """Explain a data set into a table, kept in a folder; where that holds some of the same run, the rest is explained.

    `data` is a data set, or what `open_data` takes, with its `layout` and `split`; of it `sample` pictures, drawn by
    the seed, or all. Of each picture the `targets` are asked: `predicted`, `label` (each class that the data set says
    is in it), or what `explain` takes of classes. The rows (see `columns.COLUMNS`) are written in parts of `part_size`
    pictures, each whole or not at all, so a run can be killed at any instant and the same call goes on; `fresh` begins
    again. What the rows depend on is kept beside them, and a call that asks something else is refused; what pictures
    of the same names hold isn't looked at, but each row has its picture's hash.

    A picture that can't be read, or of which a target can't be asked, is a row with its error. With `overlays` each
    map is drawn over its picture, as a small JPEG. `shard` (i, n), i from 1, does every n-th part, and so do the
    processes that torchrun starts, each on a GPU of its own where there are GPUs: several can fill one folder at once.
    `engine` is `local`, with so many `workers` reading, or `ray`, whose options are those of `cluster.run_parts`.
    `progress` is called with how many of how many pictures are done. `spec` says how the model was loaded.

    Raises, before anything is read in bulk: ModelError for a model that gives no classes, TargetError, MethodError and
    LayerError for what can't be asked of it, and DataError for a data set that can't be read, a folder that holds
    another run or can't be written to, and for shards that would be empty.
    """
    rules, asked = _rules(methods), _targets(targets)
    if strange := [name for name in options if name not in RAY]:
        raise TypeError(f"run() takes no {strange[0]!r}")
    _check(model, asked, rules, layer, batch_size, part_size, engine)
    if workers is not None and workers < 0:
        raise DataError(f"{workers} workers can't read; expected 0 (a thread of this process) or more")
    if options and engine != "ray":
        raise DataError(f"{', '.join(options)} can be set for the engine ray only (--engine ray)")
    if engine == "ray" and workers is not None:
        raise DataError(f"{workers} workers can be set for the engine local only; ray has actors")
    opened = None if not isinstance(data, str | Path) else _absolute(data)
    found = open_data(data, layout=layout, split=split) if isinstance(data, str | Path) else data
    found = found if sample is None else subset(found, sample, seed)
    if not len(found):
        raise DataError(f"{found.name} has no picture; expected one or more")
    parts = -(-len(found) // part_size)
    ours = _ours(parts, len(found), shard, fresh=fresh)
    model = _on_own_gpu(model)
    first = _first(model, found, rules, layer, seed)
    told: dict[str, Any] = {
        "model": model.name, "weights": replace(model).weights_hash,  # anew: it may have been trained on meanwhile
        "labels": _hash("\0".join(model.labels.names)), "multi_label": model.multi_label, "classes": first.classes,
        "preprocess": str(model.preprocess), "data": found.name, "opened": opened, "layout": layout, "split": split,
        "table": _table(opened), "sample": sample, "seed": seed, "pictures": len(found),
        "names": _hash("\0".join(found.names)),
        "targets": list(asked), "methods": [[rule.title, rule.choices] for rule in rules], "layer": first.layer,
        "part": part_size, "batch": batch_size, "overlays": overlays,
    }  # fmt: skip
    told["question"] = _hash(json.dumps(compared(told), sort_keys=True))
    told |= {"answer": first.answer, "spec": None if spec is None else dict(spec), "versions": _versions()}
    job = Job(
        model, found, Path(folder), asked, rules, first.asked, part_size, batch_size, overlays, seed, first.classes,
        told["question"],
    )  # fmt: skip
    job.explainer.check()
    if fresh:
        clear(job.folder)
    store = Store(job.folder, told, parts)
    there = set(ours) - set(store.missing())
    missing = [part for part in ours if part not in there]
    before = sum(len(job.places(part)) for part in there)
    total = sum(len(job.places(part)) for part in ours)
    tell: Told = (lambda done, _: None) if progress is None else (lambda done, _: progress(before + done, total))
    if engine == "ray":
        from sightline.runs.cluster import run_parts

        run_parts(job, missing, tell, **options)
    else:
        local.run_parts(job, missing, tell, workers=workers)
    if not store.missing():
        store.tidy()
    return Run(job.folder, found)


@dataclass(frozen=True)
class _First:
    """What a first picture tells: how many classes there are, and the layer, as its name and as it is asked for.

    `answer` are its first logits, by which a model is known that only its code tells from another.
    """

    classes: int
    answer: list[float]
    layer: str | None
    asked: LayerLike | None


def _rules(methods: str | Method | Sequence[str | Method]) -> tuple[Method, ...]:
    """The methods, each once. Raises MethodError for two that differ and have one title."""
    rules: dict[str, Method] = {}
    for rule in map(method_of, [methods] if isinstance(methods, str | Method) else methods):
        if rules.setdefault(rule.title, rule).choices != rule.choices:
            raise MethodError(f"two different methods are called {rule.title!r}; rename one with dataclasses.replace")
    return tuple(rules.values())


def _targets(targets: str | int | Sequence[str | int]) -> tuple[str, ...]:
    given = [targets] if isinstance(targets, str | int) else targets
    for target in given:
        if not isinstance(target, str | int):
            raise TargetError(f"{target!r} is no target; expected {PREDICTED}, {LABEL}, or a class's name or index")
    return tuple(dict.fromkeys(map(str, given)))


def _absolute(data: str | Path) -> str:
    """What is opened, so that it is found again from wherever the run is read."""
    return str(data) if str(data).startswith(SCENES) else str(Path(data).absolute())


def _table(opened: str | None) -> str | None:
    """Hash of the table of pictures that was opened, whose labels and further columns stand in the rows."""
    if opened is None or not opened.lower().endswith(TABLES):
        return None
    with open(opened, "rb") as file:  # noqa: PTH123 - what opens it for `file_digest`
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("sightline", "torch", "pillow")}


def _check(
    model: Model, targets: Sequence[str], rules: Sequence[Method], layer: Any, batch_size: int, part_size: int,
    engine: str,
) -> None:  # fmt: skip
    if model.task is not Task.CLASSES:
        raise ModelError(
            f"runs explain classes, and {model.name} gives {model.task}; sightline.explain asks it about one picture"
        )
    if model.frames:
        raise ModelError(f"{model.name} takes clips of {model.frames} frames, not pictures; runs read pictures")
    if not targets:
        raise TargetError(f"no target was given; name at least one, as {PREDICTED} or {LABEL}")
    if not rules:
        raise MethodError("no method was given; name at least one")
    if is_list(layer):
        raise LayerError("a run has one layer; run again into another folder for another one")
    if not all(isinstance(size, int) and size > 0 for size in (batch_size, part_size)):
        raise DataError(
            f"parts of {part_size} pictures, shown {batch_size} at a time, can't be made; expected whole numbers from "
            "1 on"
        )
    if engine not in ENGINES:
        raise DataError(f"no engine {engine!r}; choose {' or '.join(ENGINES)}")


def _ours(parts: int, pictures: int, shard: tuple[int, int], *, fresh: bool) -> list[int]:
    """The parts of this shard, and in it of this process, if torchrun started several. Raises DataError for none."""
    number, shards = shard
    if not 1 <= number <= shards:
        raise DataError(f"shard {number}/{shards} can't be made; expected i/n with i from 1 to n")
    rank, ranks = _number("RANK", 0), _number("WORLD_SIZE", 1)
    if not 0 <= rank < ranks:
        raise DataError(f"RANK={rank} isn't among WORLD_SIZE={ranks} processes, 0 to {ranks - 1}")
    if fresh and shards * ranks > 1:
        raise DataError("several that fill one folder can't each begin again (fresh); empty the folder first")
    if parts < shards * ranks:
        raise DataError(
            f"there are {parts} parts for {shards * ranks} that would each do some; make the parts smaller (--part "
            f"{max(1, pictures // (shards * ranks))}) or have fewer work at them"
        )
    return list(range(number - 1, parts, shards))[rank::ranks]


def _number(variable: str, otherwise: int) -> int:
    text = os.environ.get(variable, str(otherwise))
    if not text.isdigit():
        raise DataError(f"the environment has {variable}={text!r}; expected a whole number, as torchrun sets it")
    return int(text)


def _on_own_gpu(model: Model) -> Model:
    """The model on the GPU that torchrun means this process to use, if it uses any."""
    own = os.environ.get("LOCAL_RANK")
    if own is None or model.like.device.type != "cuda":
        return model
    return model.to(f"cuda:{int(own) % torch.cuda.device_count()}")


def _first(model: Model, data: DataSet, rules: Sequence[Method], layer: LayerLike | None, seed: int) -> _First:
    """The layer that is meant, or chosen by the first picture that can be read; methods are tried on it.

    Those that ask the model often, and ask nothing special of it, are not. Raises what `ask` raises.
    """
    reader = Reader(data, model.preprocess, overlays=False)
    why = "it is empty"
    for place in range(len(data)):
        batch = reader(0, [place])
        if batch.images is not None:
            break
        why = batch.pictures[0].error or why
    else:
        raise DataError(f"nothing in {data.name} could be read; the last problem: {why}")
    image = batch.images.to(model.like)
    values = wide(logits(answered(model.module, image)))
    if values.ndim != 2:
        raise ModelError(f"{model.name} gives {tuple(values.shape)}, not logits (N, classes)")
    if model.labels and len(model.labels) != values.shape[1]:
        raise ModelError(
            f"{model.name} has {values.shape[1]} classes and {len(model.labels)} labels; give it its own with --labels"
        )
    layers = layers_of(model, image, layer)[0] if any(rule.layered for rule in rules) else []
    tried = [rule for rule in rules if rule.kind is not Kind.ASKING or rule.needs is not Needs.NOTHING]
    if tried and bool(values.isfinite().all()):
        ask(model.module, image, question(None, model.labels, 1), layers, tried, seed=seed)
    one = layers[0] if layers else None
    asked = None if one is None else one.asked if one.call is None else (one.asked, one.call)
    answer = values[0, :SAMPLE].float().nan_to_num().tolist()
    return _First(values.shape[1], answer, None if one is None else str(one), asked)


def _hash(text: str) -> str:
    """16 hex digits of SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
