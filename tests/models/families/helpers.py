"""What every family must pass, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

import coupled_decoding as cd
from coupled_decoding.decoding.layout import Layout
from coupled_decoding.pipelines.pictures import PicturePipeline

DATA = Path(__file__).parent / "data"
METHODS = [cd.SJD(window=8), cd.SCD(window=8), cd.SCD(window=8, coupling="maximal"), cd.SeedExact(window=8)]
P_VALUE = 1e-9  # each family makes a handful of statistical tests: false alarms below 1e-7 a run


def published(name: str) -> dict[str, Tensor]:
    """Names and shapes of an official module's weights, as tensors on the meta device."""
    lines = (line.split(" ") for line in (DATA / f"{name}.txt").read_text().splitlines())
    return {key: torch.empty([int(n) for n in shape.split("x") if n], device="meta") for key, shape in lines}


def shapes(tensors: Mapping[str, Tensor] | nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes, to be compared."""
    tensors = tensors.state_dict() if isinstance(tensors, nn.Module) else tensors
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def write_tokenizer(path: Path, special: Sequence[str]) -> None:
    """A tokenizer of single characters, special tokens first."""
    characters = dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:|<>*\n")
    vocab = {token: i for i, token in enumerate([*special, "[UNK]", *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(list(special))
    tokenizer.save(str(path))


def assert_legal(layout: Layout, tokens: Tensor) -> None:
    """Every token is the forced one, or one of the codes that may stand there."""
    assert tokens.shape[1] == layout.length
    for index, forced in enumerate(layout.forced.tolist()):
        if forced >= 0:
            assert (tokens[:, index] == forced).all()
            continue
        codes = layout.codes
        if layout.legal is not None and layout.legal_set is not None:
            codes = codes[layout.legal[layout.legal_set[index]]]
        assert torch.isin(tokens[:, index], codes).all()


def assert_decodes_as_ar(pipe: PicturePipeline, prompts: Sequence[str], size: tuple[int, int] | None = None) -> None:
    """In float64, ``SeedExact`` gives AR's tokens, every method legal ones; fewer forwards, pictures of the size.

    So it does where the second prompt takes the place of the first.
    """
    calls = []
    hook = pipe.model.backbone.decoder.register_forward_pre_hook(lambda *_: calls.append(1))
    ar = pipe(prompts, method=cd.AR(), seed=3, size=size)
    hook.remove()
    assert len(calls) >= ar.trace.steps  # it is what forwards call, and so what can be compiled
    for method in METHODS:
        out = pipe(prompts, method=method, seed=3, size=size)
        assert_legal(pipe.model.layout_of(size or pipe.model.size), out.tokens)
        assert [image.size for image in out.images] == [size or pipe.model.size] * len(prompts)
        if isinstance(method, cd.SeedExact):
            assert torch.equal(out.tokens, ar.tokens)
            assert out.trace.nfe.sum() < ar.trace.nfe.sum()
    for number, one in pipe.generate_many(prompts, batch=1, method=cd.SeedExact(window=6), seed=3, size=size):
        assert torch.equal(one.tokens[0], ar.tokens[number])


def assert_draws_as_ar(pipe: PicturePipeline, prompt: str, pictures: int = 3000) -> None:
    """Pairs of neighbouring tokens of SCD and of AR, both drawn many times with different seeds, have one law.

    A two-sample chi-square test at three places, with codes in five classes; SCD of another prompt is told apart.
    """
    layout = pipe.model.layout_of(pipe.model.size)
    drawn = (layout.forced < 0).nonzero().flatten()
    places = [int(drawn[i]) for i in (0, len(drawn) // 2, len(drawn) - 2)]

    def pairs(method: cd.Method, seed: int) -> list[Tensor]:
        decoded = cd.decode(
            pipe.model.session([prompt] * pictures, pipe.guidance_scale, pipe.model.size), layout.length,
            method=method, sampling=pipe.sampling, layout=layout, seed=seed,
        )
        column = torch.searchsorted(layout.codes, decoded.tokens).clamp(max=len(layout.codes) - 1)
        return [torch.bincount(5 * (column[:, i] % 5) + column[:, i + 1] % 5, minlength=25) for i in places]

    for ours in (cd.SCD(window=6), cd.SCD(window=6, coupling="maximal")):
        for one, other in zip(pairs(cd.AR(), 0), pairs(ours, 10**6), strict=True):
            assert two_sample_p_value(one, other) > P_VALUE


def two_sample_p_value(one: Tensor, other: Tensor) -> float:
    """Chi-square test that two histograms of as many draws have one law; cells below 10 counts are pooled."""
    both = torch.stack([one, other]).double()
    rare = both.sum(0) < 20
    both = torch.cat([both[:, ~rare], both[:, rare].sum(1, keepdim=True)], 1)
    both = both[:, both.sum(0) > 0]
    if both.shape[1] < 2:
        return 1.0
    statistic = ((both[0] - both[1]).square() / both.sum(0)).sum()
    freedom = torch.tensor((both.shape[1] - 1) / 2, dtype=torch.float64)
    return torch.special.gammaincc(freedom, statistic / 2).item()


def logits_of_stream(pipe: PicturePipeline, prompt: str, tokens: Tensor, guidance_scale: float) -> Tensor:
    """Our guided logits at every place of one token stream, LongTensor ``[length]``: ``[length, C]``."""
    session = pipe.model.session([prompt], guidance_scale, pipe.model.size)
    fed = torch.cat([session.last_token, tokens[:-1]]).unsqueeze(0)
    return session.forward(fed, session.last_position.unsqueeze(1) + torch.arange(len(tokens)))[0]


Writer = Callable[[Path], None]
"""Writes a tiny random checkpoint into a new folder."""
