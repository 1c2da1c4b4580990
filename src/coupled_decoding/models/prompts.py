"""What is checked of prompts, whatever the family, and how they are named in errors."""

from __future__ import annotations


def checked_prompt(prompt: str) -> str:
    """The prompt; ValueError if there is nothing in it."""
    if not prompt.strip():
        raise ValueError("a prompt is empty: describe a picture, for example 'a red heart'")
    return prompt


def shorten(text: str, most: int = 60) -> str:
    """For error messages."""
    return text if len(text) <= most else text[: most - 1] + "…"
