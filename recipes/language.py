"""Train the embedded nets of language, and measure them: python recipes/language.py captions questions [--report].

Both see with one eye, a small residual net that is trained first: as the nets for pictures in Show and Tell and in
the VQA baseline, it is taught what there is and then stays as it is, while an LSTM learns to speak. It is taught in
two rounds: words and pairs of words that are true of some shape of the picture ("red", "red circle"), by each channel's
largest value alone; then also how large ("large red"), and how each lies to the others. Masks are not used.

Everything is drawn from seeds, nothing is downloaded. AdamW on one-cycle schedules, pictures turned and mirrored, bf16
autocast, one thread: five minutes for the eye, one and two for the nets. What is done lies in FOLDER, and is gone on
from. With `--report` nothing is trained: the embedded nets are measured, and the figures put into their cards.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from language_figures import of_captions, of_questions
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import sightline
from sightline.bundled.answerer import MOST as ASKED
from sightline.bundled.captioner import MOST as SAID
from sightline.bundled.eye import Eye
from sightline.datasets.phrases import KINDS, caption, questions
from sightline.datasets.relations import COLOURS, RELATIONS, SHAPES, TEXTURES, Arrangement, arrangement
from sightline.sources import bundled

PACKAGE = Path(__file__).parents[1] / "src/sightline/bundled"
NETS = "captions", "questions"
SCENES, DRAWS = 10_000, 2  # training scenes, questions of each kind about each
LENGTHS = "large", "middle", "small"
PAIRS = list(combinations(LENGTHS, 2))
THINGS = [
    *((word,) for words in (COLOURS, SHAPES, TEXTURES) for word in words),
    *((a, b) for one, other in combinations((COLOURS, SHAPES, TEXTURES), 2) for a in one for b in other),
]
SIZED = [(a, b) for words in (COLOURS, SHAPES, TEXTURES) for a in words for b in LENGTHS]
EPOCHS = {"captions": 25, "questions": 18}
DECAY = {"captions": 0.5, "questions": 0.05}  # what an LSTM knows by heart shows as evidence on other shapes
MIRRORED, UPSIDE, ACROSS = {"left": "right"}, {"above": "below"}, {"left": "above", "right": "below"}


@dataclass(frozen=True)
class Taught:
    """The pictures (n, 3, H, W), which THINGS and SIZED are true of each (n, 119), its relations or -1 (n, PAIRS),
    its caption (n, SAID) as tokens, -1 behind the end, its questions (n, DRAWS, kinds, ASKED), and the answers or -1.
    """

    pictures: Tensor
    true: Tensor
    relations: Tensor
    captions: Tensor
    questions: Tensor
    answers: Tensor


def swapped(words: list[str], ways: dict[str, str]) -> Tensor:
    """For each word its own index, or that of the word that takes its place; -1 stays."""
    both = ways | {b: a for a, b in ways.items()}
    return torch.tensor([words.index(both.get(word, word)) for word in words] + [-1])


def length(each: Arrangement, radius: float) -> str:
    """In words: the bounds lie between those of `relations.SIZES`."""
    share = 2 * radius / len(each.painting.ground)
    return "large" if share > 0.35 else "middle" if share > 0.25 else "small"


def drawn(folder: Path) -> Taught:
    """All that is taught, drawn once."""
    file = folder / "scenes.pt"
    if not file.exists():
        writer, asking = bundled.load("captions", "random").writer, bundled.load("questions", "random").answers
        answers = words("questions", "classes")
        rows: dict[str, list[Any]] = {name: [] for name in Taught.__annotations__}
        for place in range(SCENES):
            each = arrangement(place, "train")
            rows["pictures"].append(np.asarray(each.painting.picture()))
            said = [(i.colour, i.shape, i.texture, length(each, i.radius)) for i in each.items]
            rows["true"].append([any({*key} <= {*names} for names in said) for key in THINGS + SIZED])
            by = {length(each, item.radius): item for item in each.items}
            rows["relations"].append(
                [RELATIONS.index(by[a].relation(by[b])) if a in by and b in by else -1 for a, b in PAIRS]
            )
            tokens = writer.read(str(caption(each)))  # type: ignore[union-attr]
            rows["captions"].append(tokens + [-1] * (SAID - len(tokens)))
            draws = [{asked.kind: asked for asked in questions(each, nth)} for nth in range(DRAWS)]
            found = [[draw.get(kind) for kind in KINDS] for draw in draws]
            rows["questions"].append(
                [[asking.read(q.text) if q else [0] * ASKED for q in draw] for draw in found]  # type: ignore[union-attr]
            )
            rows["answers"].append([[answers.index(q.answer) if q else -1 for q in draw] for draw in found])
        values = {name: torch.from_numpy(np.array(value)) for name, value in rows.items()}
        values["pictures"] = values["pictures"].permute(0, 3, 1, 2).contiguous()
        torch.save(values, file)
    return Taught(**torch.load(file, weights_only=True))


def words(name: str, key: str = "vocabulary") -> list[str]:
    """A net's vocabulary, or its answers, by its card."""
    return [row["name"] if isinstance(row, dict) else row for row in bundled.card(name)[key]]


def normalised(pictures: Tensor) -> Tensor:
    """uint8 pictures -> float images, channels last."""
    return ((pictures.float() / 255 - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)


def train_eye(folder: Path) -> dict[str, Tensor]:
    """The eye's weights after two rounds: of what there is; then also of how large it is, and where."""
    out = folder / "eye.safetensors"
    if out.exists():
        return load_file(out)
    data = drawn(folder)
    torch.manual_seed(0)
    eye: Eye = bundled.load("captions", "random").module.eye  # type: ignore[call-overload]
    nn.init.constant_(eye.what.bias, -2.5)  # most labels are false
    eye = eye.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train("what", eye, partial(eye_loss, eye, data, len(THINGS)), 10, 5e-3, 64, folder)
    train("where", eye, partial(eye_loss, eye, data, None), 5, 4e-3, 64, folder)
    save_file({key: value.contiguous() for key, value in eye.state_dict().items()}, out)
    return load_file(out)


def eye_loss(eye: Eye, data: Taught, things: int | None, chosen: Tensor) -> Tensor:
    """The loss of the first so many things in the chosen scenes, turned and mirrored by chance; or of all that is."""
    pictures, relations = data.pictures[chosen], data.relations[chosen]
    for flip, ways in ((3, MIRRORED), (2, UPSIDE), (0, ACROSS)):
        if torch.rand(()) < 0.5:
            pictures = pictures.flip(flip) if flip else pictures.transpose(2, 3)
            relations = swapped([each.split()[0] for each in RELATIONS], ways)[relations]
    with torch.autocast("cpu", torch.bfloat16):
        what, where = eye.scores(normalised(pictures))
    true = data.true[chosen, :things].float()
    loss = 10 * F.binary_cross_entropy_with_logits(what[:, :things].float(), true)
    if things is None:
        lies = where.float().view(-1, len(RELATIONS))
        loss = loss + 0.5 * F.cross_entropy(lies, relations.flatten(), ignore_index=-1)
    return loss


def train(
    name: str,
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    epochs: int,
    rate: float,
    batch: int,
    folder: Path,
    decay: float = 1e-2,
) -> None:
    """Train a module by the loss of chosen scenes, keeping all that is needed to go on after each epoch."""
    checkpoint = folder / f"{name}.checkpoint"
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=SCENES // batch * epochs)
    parts: dict[str, Any] = {"module": module, "optimizer": optimizer, "schedule": schedule}
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        first = state["epoch"] + 1
        torch.set_rng_state(state["rng"])
        for part, inner in parts.items():
            inner.load_state_dict(state[part])
    for epoch in range(first, epochs):
        module.train()
        started, losses = time.process_time(), []
        for chosen in torch.randperm(SCENES)[: SCENES // batch * batch].split(batch):
            value = loss(chosen)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            losses.append(value.item())
        seconds = round(time.process_time() - started)
        print(
            json.dumps({"net": name, "epoch": epoch, "loss": round(sum(losses) / len(losses), 4), "s": seconds}),
            flush=True,
        )
        kept = {part: inner.state_dict() for part, inner in parts.items()}
        torch.save(kept | {"epoch": epoch, "rng": torch.get_rng_state()}, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)


def vectors_of(eye: nn.Module, folder: Path) -> Tensor:
    """What the eye gives for the scenes (4, n, length): as they are, mirrored, upside down, and both."""
    file = folder / "vectors.pt"
    if not file.exists():
        pictures = drawn(folder).pictures
        turned = (pictures, pictures.flip(3), pictures.flip(2), pictures.flip(2, 3))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            torch.save(torch.stack([torch.cat([eye(normalised(p)) for p in t.split(200)]) for t in turned]), file)
    return torch.load(file, weights_only=True)  # type: ignore[no-any-return]


def embed(name: str, folder: Path) -> None:
    """Train a net on what the eye gives, and write its weights into the package in half precision."""
    torch.manual_seed(0)
    net: Any = bundled.load(name, "random").module
    net.eye.load_state_dict(train_eye(folder))
    data, vectors = drawn(folder), vectors_of(net.eye.eval(), folder).float()
    known = words(name)
    mirrored, upside = swapped(known, MIRRORED), swapped(known, UPSIDE)

    def loss(chosen: Tensor) -> Tensor:
        way = int(torch.randint(4, ()))
        tokens = (data.captions if name == "captions" else data.questions)[chosen]
        tokens = mirrored[tokens] if way & 1 else tokens
        tokens = upside[tokens] if way & 2 else tokens
        seen = vectors[way, chosen]
        if name == "captions":
            return F.cross_entropy(net.told(seen, tokens.clamp(min=0)).flatten(0, 1), tokens.flatten(), ignore_index=-1)
        draw = int(torch.randint(DRAWS, ()))
        found = net.answered(seen, tokens[:, draw].flatten(0, 1))
        return F.cross_entropy(found, data.answers[chosen, draw].flatten(), ignore_index=-1)

    head = nn.ModuleList(each for part, each in net.named_children() if part != "eye")
    train(name, head, loss, EPOCHS[name], 6e-3, 100, folder, DECAY[name])
    state = {key: value.half().contiguous() for key, value in net.state_dict().items() if value.is_floating_point()}
    save_file(state, PACKAGE / f"{name}.safetensors")


def report(name: str) -> None:
    """Measure an embedded net, print the figures and put them into its card."""
    model = sightline.load(name, device="cpu")
    measured = of_captions(model) if name == "captions" else of_questions(model)
    found = {
        "figures": {"command": f"python recipes/language.py {name} --report", **measured},
        "weights_hash": model.weights_hash,
        "parameters": sum(p.numel() for p in model.module.parameters()),
    }
    print(json.dumps(found, indent=2))
    (PACKAGE / f"{name}.json").write_text(json.dumps(bundled.card(name) | found, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Train, or report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="+", choices=NETS)
    parser.add_argument("--folder", type=Path, default=Path("build/language"), help="for checkpoints and scenes")
    parser.add_argument("--report", action="store_true", help="measure the embedded nets instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.nets:
        if options.report:
            report(name)
        else:
            embed(name, options.folder)


if __name__ == "__main__":
    main()
