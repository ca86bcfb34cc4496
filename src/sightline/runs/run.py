"""A run: what is asked is checked and kept, and the parts that are missing are explained."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sightline.ask import ask, is_list
from sightline.datasets import open_data, subset
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
from sightline.runs.store import Store, clear
from sightline.targets import logits, question
from sightline.trials import DataSet
from sightline.types import Kind, Method, Needs

ENGINES = ("local", "ray")


def run(
    model: Model,
    data: DataSet | str | Path,
    targets: Sequence[str] = (PREDICTED,),
    methods: Sequence[str | Method] = ("grad-cam",),
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
    again. What the rows depend on is kept beside them, and a call that asks something else is refused.

    A picture that can't be read, or of which a target can't be asked, is a row with its error. With `overlays` each
    map is drawn over its picture, as a small JPEG. `shard` (i, n), i from 1, does every n-th part, and so do the
    processes that torchrun starts, each on a GPU of its own where there are GPUs: several can fill one folder at once.
    `engine` is `local`, with so many `workers` reading, or `ray`, whose options are those of `cluster.run_parts`.
    `progress` is called with how many of how many pictures are done. `spec` says how the model was loaded.

    Raises, before anything is read in bulk: ModelError for a model that gives no classes, TargetError, MethodError and
    LayerError for what can't be asked of it, and DataError for a data set that can't be read, a folder that holds
    another run or can't be written to, and for shards that would be empty.
    """
    rules = tuple({rule.title: rule for rule in map(method_of, methods)}.values())
    asked = tuple(dict.fromkeys(targets))
    _check(model, asked, rules, layer, batch_size, part_size, engine)
    if engine == "ray" and workers is not None:
        raise DataError(f"{workers} workers can be set for the engine local only; ray has actors")
    opened = None if not isinstance(data, str | Path) else str(data)
    found = open_data(data, layout=layout, split=split) if isinstance(data, str | Path) else data
    found = found if sample is None else subset(found, sample, seed)
    parts = -(-len(found) // part_size)
    ours = _ours(parts, shard, fresh=fresh)
    model = _on_own_gpu(model)
    first = _first(model, found, rules, layer, seed)
    told: dict[str, Any] = {
        "model": model.name, "weights": model.weights_hash, "spec": None if spec is None else dict(spec),
        "preprocess": str(model.preprocess), "data": found.name, "opened": opened, "layout": layout, "split": split,
        "sample": sample, "seed": seed, "pictures": len(found), "names": _hash("\0".join(found.names)),
        "targets": list(asked), "methods": [[rule.title, rule.choices] for rule in rules], "layer": first.layer,
        "part": part_size, "batch": batch_size, "overlays": overlays,
    }  # fmt: skip
    told["question"] = _hash(json.dumps(told, sort_keys=True))
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
        if options:
            raise DataError(f"{', '.join(options)} can be set for the engine ray only")
        local.run_parts(job, missing, tell, workers=workers)
    if not store.missing():
        store.tidy()
    return Run(job.folder, found)


@dataclass(frozen=True)
class _First:
    """What a first picture tells: how many classes there are, and the layer, as its name and as it is asked for."""

    classes: int
    layer: str | None
    asked: LayerLike | None


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
    if min(batch_size, part_size) < 1:
        raise DataError(
            f"parts of {part_size} pictures, shown {batch_size} at a time, can't be made; expected 1 or more"
        )
    if engine not in ENGINES:
        raise DataError(f"no engine {engine!r}; choose {' or '.join(ENGINES)}")


def _ours(parts: int, shard: tuple[int, int], *, fresh: bool) -> list[int]:
    """The parts of this shard, and in it of this process, if torchrun started several. Raises DataError for none."""
    number, shards = shard
    if not 1 <= number <= shards:
        raise DataError(f"shard {number}/{shards} can't be made; expected i/n with i from 1 to n")
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if fresh and shards * ranks > 1:
        raise DataError("several that fill one folder can't each begin again (fresh); empty the folder first")
    if parts < shards * ranks:
        raise DataError(
            f"there are {parts} parts for {shards * ranks} that would each do some; make the parts smaller (--part) or "
            "have fewer work at them"
        )
    return list(range(number - 1, parts, shards))[rank::ranks]


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
    return _First(values.shape[1], None if one is None else str(one), asked)


def _hash(text: str) -> str:
    """16 hex digits of SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
