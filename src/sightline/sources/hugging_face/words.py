"""Captioners and models that answer in words: BLIP, and an image encoder with a text decoder (as ViT with GPT-2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sightline.engine import Adapted, answered
from sightline.errors import TargetError
from sightline.language import Word
from sightline.model import Model, Task
from sightline.sources.hugging_face.place import Place

MOST = 40  # tokens that are written at most
_GREEDY = {
    "do_sample": False, "num_beams": 1, "max_new_tokens": MOST, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Way:
    """How one architecture is asked: for an image, its prompt's tokens (1, P) and, where it reads, a row of tokens.

    `write` gives the start and what is written after it, (1, T); `read` logits (N, T, vocabulary), row t for the token
    after t. A prompt is a `question` apart from what is written, or else its beginning.
    """

    write: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    read: Callable[[Any, Tensor, Tensor, Tensor], Tensor]
    question: bool = False


@dataclass(frozen=True)
class Sentences:
    """A language.Writer: greedy decoding, and the model's logits as it is given its own sentence."""

    module: nn.Module
    tokenizer: Any
    way: Way
    start: int
    end: int

    def write(self, image: Tensor, prompt: str | None = None) -> list[int]:
        """The likeliest token after token, MOST at most. Raises TargetError where a question is needed and missing."""
        begun, question = self._given(prompt)

        def written(module: nn.Module, image: Tensor) -> Tensor:
            return self.way.write(module, image, _row(begun, image), _row(question, image))

        found: list[int] = answered(Adapted(self.module, written), image[:1])[0, len(begun) :].tolist()
        return found[: found.index(self.end) + 1] if self.end in found else found

    def read(self, text: str) -> list[int]:
        """A sentence as tokens, the mark of its end included. Raises TargetError for words that have none."""
        tokens: list[int] = self._tokens(text)
        if not tokens or self.tokenizer.unk_token_id in tokens:
            raise TargetError(f"{text!r} can't be written in the model's words; use others")
        return [*tokens, self.end]

    def words(self, tokens: Sequence[int]) -> list[Word]:
        """Words as whitespace parts what the tokens spell; punctuation is none."""
        spans: list[list[int]] = []
        before = 0
        for place, token in enumerate(tokens):
            if token in self.tokenizer.all_special_ids or not _is_word(self._spelt([token])):
                continue
            count = sum(map(_is_word, self._spelt(tokens[: place + 1]).split()))
            if count > before or not spans:
                spans.append([place, place])
            spans[-1][1] = place + 1
            before = count
        return [Word(self._spelt(tokens[first:last]).strip(), slice(first, last)) for first, last in spans]

    def reading(self, tokens: Sequence[int], prompt: str | None = None) -> Adapted:
        """The model as it is given the sentence token by token: images -> logits (N, T, vocabulary)."""
        begun, question = self._given(prompt)
        return Adapted(self.module, _Reading(self.way, (*begun, *tokens[:-1]), len(begun), tuple(question)))

    def _given(self, prompt: str | None) -> tuple[list[int], list[int]]:
        """What the sentence begins with, and the question."""
        if not self.way.question:
            return [self.start, *(self._tokens(prompt) if prompt else ())], []
        if not prompt:
            raise TargetError("the model answers questions; ask one with --question (Python: question=...)")
        return [self.start], self.tokenizer(prompt).input_ids

    def _tokens(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return found

    def _spelt(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@dataclass(frozen=True)
class _Reading:
    way: Way
    tokens: tuple[int, ...]
    begun: int
    question: tuple[int, ...]

    def __call__(self, module: nn.Module, image: Tensor) -> Tensor:
        return self.way.read(module, image, _row(self.tokens, image), _row(self.question, image))[:, self.begun - 1 :]


def _is_word(text: str) -> bool:
    """Whether a text holds a letter or a digit, or a part of one, which tokenizers of bytes spell as U+FFFD."""
    return any(each.isalnum() or each == "\ufffd" for each in text)


def _row(tokens: Sequence[int], image: Tensor) -> Tensor:
    """Tokens as a row for each image."""
    return torch.tensor([tokens], dtype=torch.long, device=image.device).expand(len(image), -1)


def captioning(model: Model, module: Any, place: Place) -> Model:
    """BLIP as a captioner; a prompt begins the caption."""
    ids, way = module.config.text_config, Way(_blip_writes, _blip_reads)
    writer = Sentences(module, place.tokenizer(), way, ids.bos_token_id, ids.sep_token_id)
    return _writing(model, writer, "vision_model")


def answering(model: Model, module: Any, place: Place) -> Model:
    """BLIP as it answers questions: the prompt is the question."""
    ids, way = module.config.text_config, Way(_blip_answers, _blip_reads_answer, question=True)
    writer = Sentences(module, place.tokenizer(), way, ids.bos_token_id, ids.sep_token_id)
    return _writing(model, writer, "vision_model")


def decoding(model: Model, module: Any, place: Place) -> Model:
    """An image encoder with a text decoder; a prompt begins the caption."""
    ids, way = module.generation_config, Way(_decoder_writes, _decoder_reads)
    end = ids.eos_token_id[0] if isinstance(ids.eos_token_id, list) else ids.eos_token_id
    start = ids.bos_token_id if ids.decoder_start_token_id is None else ids.decoder_start_token_id
    writer = Sentences(module, place.tokenizer(), way, start, end)
    return _writing(model, writer, "encoder")


def _writing(model: Model, writer: Sentences, part: str) -> Model:
    """The layer is the image's own part, to all of whose tokens the words attend, as it gives them."""
    first = _Reading(writer.way, (writer.start,), 1, (writer.start,) if writer.way.question else ())
    return replace(model, module=Adapted(writer.module, first), task=Task.WORDS, writer=writer, layer=part)


def _blip_writes(module: Any, image: Tensor, begun: Tensor, question: Tensor) -> Tensor:
    ended = torch.cat([begun, begun[:, :1]], 1)  # its generate drops the last, as an end
    found: Tensor = module.generate(pixel_values=image, input_ids=ended, **_GREEDY)
    return found


def _blip_reads(module: Any, image: Tensor, tokens: Tensor, question: Tensor) -> Tensor:
    found: Tensor = module(pixel_values=image, input_ids=tokens).logits
    return found


def _blip_answers(module: Any, image: Tensor, begun: Tensor, question: Tensor) -> Tensor:
    found: Tensor = module.generate(pixel_values=image, input_ids=question, **_GREEDY)
    return found


def _blip_reads_answer(module: Any, image: Tensor, tokens: Tensor, question: Tensor) -> Tensor:
    """Its own forward keeps the answer's logits to itself."""
    seen = module.vision_model(pixel_values=image).last_hidden_state
    asked = module.text_encoder(input_ids=question, encoder_hidden_states=seen).last_hidden_state
    found: Tensor = module.text_decoder(input_ids=tokens, encoder_hidden_states=asked).logits
    return found


def _decoder_writes(module: Any, image: Tensor, begun: Tensor, question: Tensor) -> Tensor:
    every = torch.ones_like(begun)
    found: Tensor = module.generate(
        pixel_values=image, decoder_input_ids=begun, decoder_attention_mask=every, **_GREEDY
    )
    return found


def _decoder_reads(module: Any, image: Tensor, tokens: Tensor, question: Tensor) -> Tensor:
    every = torch.ones_like(tokens)
    given = module(pixel_values=image, decoder_input_ids=tokens, decoder_attention_mask=every, use_cache=False)
    found: Tensor = given.logits
    return found
