"""Where a model of transformers is: a local folder, which is never left, or the hub."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sightline.errors import ModelError, first_line


def is_folder(name: str) -> bool:
    """Whether a name is a local folder that `save_pretrained` wrote."""
    return (Path(name) / "config.json").is_file()


@dataclass(frozen=True, slots=True)
class Place:
    """A local folder, or the name of a repository on the hub, and what can be read there."""

    name: str

    @property
    def is_local(self) -> bool:
        return Path(self.name).is_dir()

    @property
    def short(self) -> str:
        """The folder's own name, or the whole name on the hub."""
        return Path(self.name).resolve().name if self.is_local else self.name

    def config(self) -> Any:
        """The model's configuration. Raises ModelError where there is none."""
        return self._read(lambda: _transformers().AutoConfig.from_pretrained(self.name, **self._options))

    def module(self, architecture: str, config: Any, *, random: bool) -> tuple[nn.Module, str]:
        """The model in float32, with the weights found there or random ones, and what is to be said of weights missing.

        Raises ModelError.
        """
        kind: Any = getattr(_transformers(), architecture, None)
        if kind is None:
            raise ModelError(f"this transformers knows no {architecture}; install the release that wrote {self.name}")
        if random:
            built: nn.Module = self._read(lambda: kind(config))
            return built, ""
        module, found = self._read(
            lambda: kind.from_pretrained(
                self.name, config=config, dtype=torch.float32, output_loading_info=True, **self._options
            )
        )
        missing = sorted(found["missing_keys"])
        return module, f"{len(missing)} of its weights are missing and random ({missing[0]}, ...)" if missing else ""

    def image_processor(self) -> Any:
        """The image processor, or None where a local folder has none."""
        known = ("preprocessor_config.json", "processor_config.json")
        if self.is_local and not any((Path(self.name) / file).is_file() for file in known):
            return None
        return self._read(lambda: _transformers().AutoImageProcessor.from_pretrained(self.name, **self._options))

    def tokenizer(self) -> Any:
        """The tokenizer. Raises ModelError where there is none."""
        found = self._read(lambda: _transformers().AutoTokenizer.from_pretrained(self.name, **self._options))
        if len(found) <= len(found.all_special_tokens):  # made up by transformers, which found no file
            raise ModelError(f"{self.name} holds no tokenizer; save it there with tokenizer.save_pretrained")
        return found

    @property
    def _options(self) -> dict[str, Any]:
        return {"local_files_only": True} if self.is_local else {}

    def _read(self, read: Callable[[], Any]) -> Any:
        bars = _transformers().utils.logging
        quiet = self.is_local and bars.is_progress_bar_enabled()
        if quiet:
            bars.disable_progress_bar()
        try:
            return read()
        except Exception as error:  # the hub's client and the readers raise errors of many libraries
            advice = (
                "the folder must hold all that save_pretrained writes of the model, its processor and its tokenizer"
                if self.is_local
                else "fetch it once where there is a network, and give the path of its folder in place of its name"
            )
            raise ModelError(f"{self.name} can't be read by transformers ({first_line(error)}); {advice}") from error
        finally:
            if quiet:
                bars.enable_progress_bar()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ModelError('transformers is not installed; pip install "sightline[hf]"') from error
    return transformers
