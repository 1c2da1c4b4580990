"""The forward that a training spends its time in: transformers' Llama without what a training does not need.

It reads the weights where :class:`~transformers.LlamaForCausalLM` has them, so what is trained is what is saved. Query,
key and value come out of one product, gate and up out of another; attention is computed by halves of the queries, each
over the keys that it may see, which spares a quarter of it and, on a CPU, is faster than the fused kernel in bfloat16.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaForCausalLM

HALVES = 2


def hidden_states(model: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """The last hidden states ``[B, T, D]`` of token ids ``[B, T]``, before the output head. No padding in front."""
    cosine, sine = _rotary(model, ids.shape[1])
    x = model.model.embed_tokens(ids)
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        y = _normed(x, layer.input_layernorm)
        mixed = F.linear(y, torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]))
        q, k, v = mixed.view(*ids.shape, 3, -1, attention.head_dim).permute(2, 0, 3, 1, 4)  # [B, heads, T, head_dim]
        read = causal_attention(_rotated(q, cosine, sine), _rotated(k, cosine, sine), v)
        x = x + F.linear(read.transpose(1, 2).flatten(2), attention.o_proj.weight)
        y = _normed(x, layer.post_attention_layernorm)
        gate, up = F.linear(y, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])).chunk(2, -1)
        x = x + F.linear(F.silu(gate) * up, mlp.down_proj.weight)
    return _normed(x, model.model.norm)


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of ``[B, heads, T, head_dim]`` each, every position over itself and those before."""
    length, out = q.shape[2], []
    bounds = [length * part // HALVES for part in range(HALVES + 1)]
    for first, end in pairwise(bounds):
        scores = (q[:, :, first:end] @ k[:, :, :end].mT).float() * q.shape[-1] ** -0.5
        later = torch.arange(end) > torch.arange(first, end).unsqueeze(1)
        out.append(scores.masked_fill(later, float("-inf")).softmax(-1).to(v.dtype) @ v[:, :, :end])
    return torch.cat(out, 2)


def _rotary(model: LlamaForCausalLM, length: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine ``[T, head_dim]`` of positions 0 to T - 1."""
    angles = torch.arange(length).unsqueeze(1) * model.model.rotary_emb.inv_freq.repeat(2)
    return angles.cos().bfloat16(), angles.sin().bfloat16()


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine


def _normed(x: Tensor, norm: Any) -> Tensor:
    return F.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)
