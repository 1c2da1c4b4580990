"""Tiny random checkpoints on the Chameleon base, in the layouts that are published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    ChameleonConfig,
    ChameleonForConditionalGeneration,
    ChameleonVQVAE,
    ChameleonVQVAEConfig,
    JanusVQVAE,
    JanusVQVAEConfig,
)

from coupled_decoding.models.checkpoints.reading import under
from coupled_decoding.models.families.janus import renamed_port
from coupled_decoding.models.networks.vqgan import renamed_vq16
from tests.models.families.helpers import write_tokenizer

CODES = 24
VQ = {
    "embed_dim": 8, "num_embeddings": CODES, "latent_channels": 32, "base_channels": 32,
    "channel_multiplier": [1, 1, 1, 1, 1], "num_res_blocks": 1,
}


def name_of(code: int) -> str:
    return "IMGIMG" + "".join("ABCDEFGHIJ"[int(digit)] for digit in str(code)) + "Z"


def special_tokens(codes: int = CODES, reserved: Sequence[int] = (8706, 8799, *range(8801, 8809))) -> list[str]:
    """In the published order, codes shuffled: ids do not follow them."""
    shuffled = torch.randperm(codes, generator=torch.Generator().manual_seed(0)).tolist()
    names = [name_of(code) for code in shuffled]
    marks = [f"<reserved{n:05}>" for n in reserved]
    return ["<s>", "<pad>", "</s>", "<unk>", *names, "<eoss>", "<racm3:break>", *marks]


def tiny(*, swin: bool = False, vocab: int = 128) -> ChameleonForConditionalGeneration:
    """As 7B, or as 34B: norms behind its blocks, grouped heads, per-head norms of two shards."""
    torch.manual_seed(0)
    shards = 2 if swin else 1
    model = ChameleonForConditionalGeneration(ChameleonConfig(
        vocab_size=vocab, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2 if swin else 4, max_position_embeddings=256, initializer_range=0.2, swin_norm=swin,
        model_parallel_size=shards, vocabulary_map={}, vq_config=VQ,
    )).eval()
    for layer in model.model.layers:
        for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):
            for weight, mean in ((norm.weight, 1.0), (norm.bias, 0.0)):
                own = mean + 0.3 * torch.randn(shards, weight.shape[1])
                weight.data = own.repeat_interleave(len(weight) // shards, 0)
    return model


def language_tensors(model: ChameleonForConditionalGeneration) -> dict[str, Tensor]:
    """In transformers' names, per-head norms one a shard of training."""
    shards = model.config.model_parallel_size
    return {
        name: (tensor[:: len(tensor) // shards] if "_norm." in name else tensor).clone()
        for name, tensor in model.state_dict().items() if ".vqmodel." not in name
    }


def config_json(model: ChameleonForConditionalGeneration, **more: Any) -> dict[str, Any]:
    """As transformers wrote it when these models were published."""
    config = model.config.to_dict()
    config = {name: config[name] for name in (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "swin_norm",
        "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "model_parallel_size", "model_type",
    )}
    vq = {**VQ, "model_type": "chameleon_vqgan", "out_channels": 3, "double_latent": False, "attn_resolutions": []}
    return {
        **config, "_name_or_path": "/checkpoints/base", "rope_theta": 10000.0, "rope_scaling": None,
        "torch_dtype": "bfloat16", "transformers_version": "4.42.3", "vq_config": vq, "vocabulary_map": {"<image>": 1},
        **more,
    }


def janus_vqvae(codes: int = CODES) -> JanusVQVAE:
    """Another implementation of the same VQGAN, with attention in its coarsest level."""
    torch.manual_seed(1)
    vq = JanusVQVAE(JanusVQVAEConfig(
        **{**VQ, "num_embeddings": codes}, num_patches=4, projection_dim=32, image_token_embed_dim=32,
    )).eval()
    for weight in vq.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return vq


def vqgan_tensors(codes: int = CODES) -> dict[str, Tensor]:
    """In the names of taming-transformers, which ``vqgan.ckpt`` has."""
    ported = {f"model.vqmodel.{name}": tensor for name, tensor in janus_vqvae(codes).state_dict().items()}
    return renamed_vq16(under("gen_vision_model.", renamed_port(ported)))


def chameleon_vqvae() -> ChameleonVQVAE:
    """Transformers' own, which encodes only."""
    vq = ChameleonVQVAE(ChameleonVQVAEConfig(**VQ, resolution=64, attn_resolutions=[4])).eval()
    vq.load_state_dict({name: t for name, t in vqgan_tensors().items() if not name.startswith("decoder.")})
    return vq


def write_vqgan(path: Path, codes: int = CODES) -> None:
    """A checkpoint of training: what is not the VQGAN is there too."""
    tensors = {**vqgan_tensors(codes), "loss.discriminator.main.0.weight": torch.zeros(3)}
    torch.save({"epoch": 7, "global_step": 100, "state_dict": tensors}, path)


def write_tokenizers(folder: Path, special: Sequence[str] | None = None, codes: int = CODES) -> None:
    """``text_tokenizer.json`` and ``vqgan.ckpt``, as Meta publishes them."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder / "text_tokenizer.json", special or special_tokens())
    write_vqgan(folder / "vqgan.ckpt", codes)


def write_shards(folder: Path, tensors: dict[str, Tensor], shards: int) -> None:
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    files, names = {}, list(tensors)
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        files |= dict.fromkeys(names[i::shards], file)
        save_file({name: tensors[name] for name in names[i::shards]}, folder / file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))


def reference_logits(
    model: ChameleonForConditionalGeneration, prompt: list[int], tokens: Tensor, codes: Tensor
) -> Tensor:
    """Of transformers' modules, read at once without a cache: ``[length, codes]``."""
    read = torch.cat([torch.tensor(prompt), tokens[:-1]]).unsqueeze(0)
    hidden = model.model(input_ids=read).last_hidden_state[0, len(prompt) - 1 :]
    return hidden @ model.lm_head.weight[codes].T


def assert_codes_and_pixels(vq: Any) -> None:
    """Our VQGAN of these weights against two of transformers': one decodes, one encodes. Not square."""
    codes = torch.randint(CODES, (2, 2, 6), generator=torch.Generator().manual_seed(2))
    janus, chameleon = janus_vqvae(), chameleon_vqvae()
    with torch.no_grad():
        latents = janus.quantize.embedding.weight[codes].permute(0, 3, 1, 2)
        pixels = janus.decoder(janus.post_quant_conv(latents))
        encoded = chameleon.encode(pixels, return_dict=True).image_tokens.view(codes.shape)
    torch.testing.assert_close(vq.decode(codes), pixels / 2 + 0.5, rtol=0, atol=1e-4)
    assert torch.equal(vq.encode(pixels / 2 + 0.5), encoded)
    assert len(encoded.unique()) > 1
