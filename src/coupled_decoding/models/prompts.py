"""What is checked of prompts, whatever the family, and how they are named in errors."""

from __future__ import annotations

from collections.abc import Iterable


def texts_of(prompts: object) -> list[str]:
    """One prompt, or several, as a list. TypeError for what is no text."""
    if isinstance(prompts, str):
        return [prompts]
    texts = list(prompts) if isinstance(prompts, Iterable) and not isinstance(prompts, bytes) else None
    wrong = [prompts] if texts is None else [text for text in texts if not isinstance(text, str)]
    if wrong:
        raise TypeError(f"a prompt is {shorten(repr(wrong[0]))}, which is no text: give a str, or a list of them")
    return texts or []


def checked_prompt(prompt: str) -> str:
    """The prompt; ValueError if there is nothing in it."""
    if not prompt.strip():
        raise ValueError("a prompt is empty: describe a picture, for example 'a red heart'")
    return prompt


def shorten(text: str, most: int = 60) -> str:
    """For error messages."""
    return text if len(text) <= most else text[: most - 1] + "…"
