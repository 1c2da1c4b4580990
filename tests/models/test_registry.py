"""The registry knows each family without importing it."""

from __future__ import annotations

import pytest

from coupled_decoding.models.contract import Model
from coupled_decoding.models.registry import FAMILIES, Family


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_where_the_registry_says(family: Family) -> None:
    found = family.model_class()
    assert issubclass(found, Model)
    assert found.card.name == family.name
