"""All that the transformer is trained on, in memory: codes of every picture and its variants, captions as token ids.

    python -m training.emoji.examples   # build/emoji/pictures.* -> build/emoji/{examples,held_out}.pt, tokenizer.json

A picture stands there as it is, moved and scaled a little, mirrored where nothing in it is read or points somewhere,
and, if it has one colour, in six others. What is made of a held-out subject is held out with it; of subject and colour,
one pair in ten is left out besides (:func:`training.emoji.colours.left_out`).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from coupled_decoding.models.networks.vq import VQTokenizer
from training import checkpoints
from training.emoji.captions import draw_caption, prompt_ids, styled, train_text_tokenizer
from training.emoji.colours import HUES, is_person_or_flag, left_out, single_colour, turned
from training.emoji.data import BUILD
from training.emoji.tokenizer import load_pictures, load_vq, sampling_weights

TRAINED, HELD_OUT, TEXT = BUILD / "examples.pt", BUILD / "held_out.pt", BUILD / "tokenizer.json"
STYLE_WEIGHTS = {"noto": 3.5, "twemoji": 1.0, "flat": 1.0, "modern": 1.0}
"""How often a style is drawn: the first is the one to draw well, the others keep captions and pictures apart."""
TONED, TURNED = 0.35, 0.5
"""Weight of all skin tones of a subject together, and of its other colours together; the subject itself weighs 1."""
MOVED, MIRRORED = 0.2, 0.15
"""Shares of a picture's weight that its variants take."""
NAMES_ITS_COLOUR = 0.25
"""How often the caption of a drawing of one colour says which."""
CAPTIONS = 8
"""Different captions an example has at most."""
LONGEST = 16
"""Tokens of a caption, marks included, that is trained on: all forwards have one shape, and few names need more."""
READ = re.compile(r"\b(left|right|arrows?|o’clock|thirty|keycap|button|letters?|input|sign|symbol|clock|watch|calendar|"
                  r"books?|newspaper|chart|moon|crescent|zodiac|mark|writing|musical|score|one|two|three|four|five|six|"
                  r"seven|eight|nine|ten|[a-z]|\d+)\b")


@dataclass(frozen=True)
class Examples:
    """N examples with up to K captions each."""

    codes: Tensor
    """int16 ``[N, 256]``."""
    prompts: Tensor
    """int16 ``[N, K, LONGEST]``: token ids, marks included, padded behind."""
    lengths: Tensor
    """int64 ``[N, K]``: tokens of each prompt."""
    weights: Tensor
    """float32 ``[N]``: how often each is drawn, relative to others."""

    def batch(self, rows: Tensor, which: Tensor, captioned: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures of the examples ``rows``, LongTensor ``[B]``, behind their captions or those of ``captioned``.

        ``which`` LongTensor ``[B]`` is the number of each caption; -1 is no caption at all. Returns token ids
        ``[B, LONGEST + 256]``, the places behind which each code stands ``[B, 256]``, and the codes.
        """
        source = rows if captioned is None else captioned
        prompts = self.prompts[source, which.clamp(min=0)].long()
        lengths = self.lengths[source, which.clamp(min=0)]
        codes = self.codes[rows].long()
        bare = which < 0  # <bos> <boi>: the first token of a prompt and its last
        prompts[bare, 1] = prompts[bare].gather(1, lengths[bare].unsqueeze(1) - 1).squeeze(1)
        before = torch.where(bare, 2, lengths).unsqueeze(1) - 1 + torch.arange(codes.shape[1])
        ids = F.pad(prompts, (0, codes.shape[1]))
        return ids.scatter(1, before + 1, codes), before, codes


def moved(picture: Tensor, generator: torch.Generator) -> Tensor:
    """uint8 ``[3, H, W]`` scaled to 80 to 100% and put anywhere it fits, white around it."""
    height, width = picture.shape[1:]
    scale = 0.8 + 0.2 * float(torch.rand((), generator=generator))
    size = (round(height * scale), round(width * scale))
    small = F.interpolate(picture[None].float(), size, mode="bilinear", antialias=True)[0].round().byte()
    top, left = (int(torch.randint(0, full - part + 1, (), generator=generator))
                 for full, part in zip((height, width), size, strict=True))
    out = torch.full_like(picture, 255)
    out[:, top : top + size[0], left : left + size[1]] = small
    return out


def mirrorable(description: dict) -> bool:
    """Whether the mirror image is as true to its caption."""
    return not is_person_or_flag(description) and READ.search(description["name"]) is None


def variants(picture: Tensor, description: dict, generator: torch.Generator) -> list[tuple[Tensor, float, str | None]]:
    """Pictures made of one, their share of its weight, and the colour that their captions must name."""
    mirror = MIRRORED if mirrorable(description) else 0.0
    out: list[tuple[Tensor, float, str | None]] = [(picture, 1 - MOVED - mirror, None)]
    out.append((moved(picture, generator), MOVED, None))
    if mirror:
        out.append((picture.flip(-1), mirror, None))
    pixels = picture.permute(1, 2, 0).numpy()
    own = single_colour(pixels, description)
    if own is not None and own != "brown":
        others = [c for c in HUES if c != own and not left_out(description["key"], c)]
        out += [(torch.from_numpy(turned(pixels, c).copy()).permute(2, 0, 1), TURNED / len(others), c) for c in others]
    return out


def captions(description: dict, colour: str | None, own: str | None, rng: random.Random) -> list[str]:
    """Different captions of one example; ``own`` is the colour that may be named, ``colour`` the one that must be."""
    drawn = {
        draw_caption(description, rng, colour or (own if rng.random() < NAMES_ITS_COLOUR else None))
        for _ in range(2 * CAPTIONS)
    }
    return sorted(drawn, key=lambda caption: rng.random())[:CAPTIONS]


@torch.no_grad()
def encode(vq: VQTokenizer, pictures: list[Tensor]) -> Tensor:
    """Codes of uint8 pictures, int16 ``[N, 256]``."""
    batches = [torch.stack(pictures[i : i + 64]) for i in range(0, len(pictures), 64)]
    shown = tqdm(batches, desc="encoding", mininterval=10)
    return torch.cat([vq.encode(batch.float() / 255).flatten(1).to(torch.int16) for batch in shown])


def caption_table(prompts: list[list[list[int]]]) -> tuple[Tensor, Tensor]:
    """``prompts`` and ``lengths`` of :class:`Examples`; captions of an example are repeated until there are enough."""
    most = max(map(len, prompts))
    full = [[some[k % len(some)] for k in range(most)] for some in prompts]
    padded = [[one + [0] * (LONGEST - len(one)) for one in some] for some in full]
    return torch.tensor(padded, dtype=torch.int16), torch.tensor([[len(one) for one in some] for some in full])


def build(pictures: Tensor, descriptions: list[dict], vq: VQTokenizer, text: Tokenizer) -> Examples:
    """Examples of all these pictures, for a caller who has left out what is held out.

    Variants none of whose captions fit into ``LONGEST`` tokens are left out: 40 of 42,640, all of them groups of people
    with their skin tones.
    """
    rng, generator = random.Random(0), torch.Generator().manual_seed(0)
    made, weights, prompts = [], [], []
    for picture, d, tones in zip(pictures, descriptions, sampling_weights(descriptions), strict=True):
        base = STYLE_WEIGHTS[d["style"]] * (TONED * float(tones) if d["toned"] else 1.0)
        own = single_colour(picture.permute(1, 2, 0).numpy(), d)
        for variant, share, colour in variants(picture, d, generator):
            ids = [prompt_ids(text, caption) for caption in captions(d, colour, own, rng)]
            if fitting := [one for one in ids if len(one) <= LONGEST]:
                made.append(variant)
                weights.append(base * share)
                prompts.append(fitting)
    return Examples(encode(vq, made), *caption_table(prompts), torch.tensor(weights))


def build_held_out(pictures: Tensor, descriptions: list[dict], vq: VQTokenizer, text: Tokenizer) -> Examples:
    """Pictures as they are, each with its name and style for a caption."""
    prompts = [prompt_ids(text, styled(d["name"], d)) for d in descriptions]
    fitting = [i for i, one in enumerate(prompts) if len(one) <= LONGEST]
    codes = encode(vq, [pictures[i] for i in fitting])
    return Examples(codes, *caption_table([[prompts[i]] for i in fitting]), torch.ones(len(fitting)))


def load_text() -> Tokenizer:
    return Tokenizer.from_file(str(TEXT))


def load_examples(path: Path) -> Examples:
    return Examples(**torch.load(path, weights_only=True))


def main() -> None:
    pictures, descriptions = load_pictures()
    train = [i for i, d in enumerate(descriptions) if not d["held_out"]]
    check = [i for i, d in enumerate(descriptions) if d["held_out"] and not d["toned"]]
    text = train_text_tokenizer([descriptions[i] for i in train])
    text.save(str(TEXT))
    for path, chosen, make in ((TRAINED, train, build), (HELD_OUT, check, build_held_out)):
        examples = make(pictures[chosen], [descriptions[i] for i in chosen], load_vq(), text)
        checkpoints.save(path, vars(examples))
        print(f"{path}: {len(examples.codes)} examples of {len(chosen)} pictures")


if __name__ == "__main__":
    main()
