"""Captions cleaned as in LlamaGen's training."""

from __future__ import annotations

import re

CLEANING = (
    ("[‐-―−﹘﹣－]", "-"),
    ("[`´«»“”¨]", '"'),
    ("[‘’]", "'"),
    ("[\"']{2,}", '"'),
    (r"\.{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~()\[\]{}|/*\\]+", " "),
    (r"\s+\.\s+", " "),
    (r"\s+:\s", ": "),
    (r"(?<=[^\d][,./])\b", " "),  # a space after a comma or a full stop, but not within a number
    (r"\s+", " "),
    (r"""^\s*["'](.+)["']\s*$""", r"\1"),
    (r"^\s*[-'_,:;]|[-'_,:+]\s*$", ""),
)
"""Patterns and replacements, in this order."""


def cleaned(prompt: str) -> str:
    """A prompt in lower case, with plain quotes, dashes and spaces, and no brackets or signs.

    These are the rules of training (those of DeepFloyd IF) that sentences meet; its rules against litter of web pages
    (addresses, markup, file names, article numbers, "free shipping") are left out.
    """
    text = prompt.lower()
    for pattern, replacement in CLEANING:
        text = re.sub(pattern, replacement, text)
    if len(re.findall("[-_]", text)) > 3:
        text = re.sub("[-_]", " ", text)
    return text.strip()
