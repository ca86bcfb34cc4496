"""Small models of transformers, as `save_pretrained` writes them: every parameter drawn, tokenizers of a few words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from vits import drawn

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
WORDS = [*MARKS, "a", "red", "dog", "cat", "##s", "on", "the", "what", "is", ".", "?", "circle", "blue", "where"]
SPELLING = [chr(code) for code in range(ord("a"), ord("z") + 1)]
SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
NAMES = {0: "cat", 1: "dog", 2: "red circle", 3: "blue circle", 4: "nothing"}
CLASSES = {"num_labels": 5, "id2label": NAMES, "label2id": {name: index for index, name in NAMES.items()}}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}
CLIP_IDS = {"bos_token_id": 54, "eos_token_id": 55, "pad_token_id": 55}


def bert(folder: Path) -> Any:
    import transformers

    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"))


def gpt2(folder: Path) -> Any:
    import transformers

    merges = ["r e", "re d", "Ġ red", "d o", "do g", "Ġ dog", "Ġ a"]
    vocab = [*SPELLING, "Ġ", *(merge.replace(" ", "") for merge in merges), "<|endoftext|>"]
    (folder / "words.json").write_text(json.dumps({word: index for index, word in enumerate(vocab)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    return transformers.GPT2TokenizerFast(vocab=str(folder / "words.json"), merges=str(folder / "merges.txt"))


def clip_words(folder: Path) -> Any:
    import transformers

    vocab = [*SPELLING, *(f"{each}</w>" for each in SPELLING), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "words.json").write_text(json.dumps({word: index for index, word in enumerate(vocab)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>")
    return transformers.CLIPTokenizer(vocab=str(folder / "words.json"), merges=str(folder / "merges.txt"))


def _vit(t: Any) -> Any:
    return t.ViTForImageClassification(t.ViTConfig(**VISION, **CLASSES))


def _swin(t: Any) -> Any:
    small = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
    return t.SwinForImageClassification(t.SwinConfig(**small, **CLASSES))


def _convnext(t: Any) -> Any:
    small = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 16, 16], "image_size": 64}
    return t.ConvNextForImageClassification(t.ConvNextConfig(**small, **CLASSES))


def _segformer(t: Any) -> Any:
    small = {
        "num_encoder_blocks": 2, "depths": [1, 1], "hidden_sizes": [8, 16], "num_attention_heads": [1, 2],
        "sr_ratios": [2, 1], "patch_sizes": [7, 3], "strides": [4, 2], "mlp_ratios": [2, 2], "decoder_hidden_size": 16,
    }  # fmt: skip
    return t.SegformerForSemanticSegmentation(t.SegformerConfig(**small, **CLASSES))


def _detr(t: Any) -> Any:
    backbone = t.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"]
    )
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    small = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_queries": 6, **layers}
    return t.DetrForObjectDetection(t.DetrConfig(backbone_config=backbone, **small, **CLASSES))


def _yolos(t: Any) -> Any:
    small = {**SMALL, "image_size": [64, 80], "patch_size": 16, "num_detection_tokens": 6}
    return t.YolosForObjectDetection(t.YolosConfig(**small, use_mid_position_embeddings=False, **CLASSES))


def _clip(t: Any) -> Any:
    text = {**SMALL, "vocab_size": 56, "max_position_embeddings": 16, **CLIP_IDS}
    return t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12))


def _siglip(t: Any) -> Any:
    text = {**SMALL, "vocab_size": 56, "max_position_embeddings": 16, "projection_size": 24, **CLIP_IDS}
    return t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=VISION))


def _blip_config(t: Any) -> Any:
    ids = {"bos_token_id": 5, "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    text = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 64, "encoder_hidden_size": 24, **ids}
    return t.BlipConfig(text_config=text, vision_config=VISION, projection_dim=12)


def _blip(t: Any) -> Any:
    return t.BlipForConditionalGeneration(_blip_config(t))


def _blip_vqa(t: Any) -> Any:
    return t.BlipForQuestionAnswering(_blip_config(t))


def _vilt(t: Any) -> Any:
    text = {"vocab_size": len(WORDS), "max_position_embeddings": 20}
    return t.ViltForQuestionAnswering(t.ViltConfig(**VISION, **text, **CLASSES))


def _vit_gpt2(t: Any) -> Any:
    end = len(SPELLING) + 8
    ids = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    small = {"vocab_size": end + 1, "n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 2, **ids}
    text = t.GPT2Config(**small, is_decoder=True, add_cross_attention=True)
    config = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(t.ViTConfig(**VISION), text)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = end, end, end
    return t.VisionEncoderDecoderModel(config)


Build = Callable[[Any], Any]

# name: the model, its processor's class and options, its tokenizer
FOLDERS: dict[str, tuple[Build, tuple[str, dict[str, Any]], Callable[[Path], Any] | None]] = {
    "vit": (_vit, ("ViTImageProcessor", {"size": {"height": 32, "width": 32}}), None),
    "swin": (_swin, ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "resample": 3}), None),
    "convnext": (_convnext, ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}}), None),
    "segformer": (_segformer, ("SegformerImageProcessor", {"size": {"height": 64, "width": 64}}), None),
    "detr": (_detr, ("DetrImageProcessor", {"size": {"shortest_edge": 96, "longest_edge": 160}}), None),
    "yolos": (_yolos, ("YolosImageProcessor", {"size": {"shortest_edge": 64, "longest_edge": 80}}), None),
    "clip": (
        _clip,
        ("CLIPImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
        clip_words,
    ),
    "siglip": (_siglip, ("SiglipImageProcessor", {"size": {"height": 32, "width": 32}}), clip_words),
    "blip": (_blip, ("BlipImageProcessor", {"size": {"height": 32, "width": 32}}), bert),
    "blip-vqa": (_blip_vqa, ("BlipImageProcessor", {"size": {"height": 32, "width": 32}}), bert),
    "vilt": (_vilt, ("ViltImageProcessor", {"size": {"shortest_edge": 32}, "size_divisor": 8}), bert),
    "vit-gpt2": (_vit_gpt2, ("ViTImageProcessor", {"size": {"height": 32, "width": 32}}), gpt2),
}  # fmt: skip


def folder_of(name: str, root: Path) -> Path:
    """The folder in `root` of one of these models, written if it isn't there."""
    import transformers

    folder = root / name
    if not folder.is_dir():
        build, (kind, options), tokenizer = FOLDERS[name]
        folder.mkdir()
        net: Any = drawn(lambda: build(transformers), 0.1 if name == "detr" else 0.3)
        with torch.no_grad():
            for buffer in net.buffers():
                buffer.nan_to_num_()
        net.save_pretrained(folder)
        getattr(transformers, kind)(**options).save_pretrained(folder)
        if tokenizer is not None:
            tokenizer(folder).save_pretrained(folder)
    return folder
