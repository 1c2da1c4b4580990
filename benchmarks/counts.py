"""What traces come to over many rows."""

from __future__ import annotations

from collections.abc import Sequence

import coupled_decoding as cd


def joined(traces: Sequence[cd.Trace]) -> cd.Trace:
    """One trace over the rows of all; batches stop at different steps."""
    whole = cd.Trace(sum(trace.rows for trace in traces))
    for step in range(max(trace.steps for trace in traces)):
        counts: list[list[int]] = []
        for name in ("committed", "changed", "pending", "fed"):
            rows = [getattr(t, name)[step].tolist() if step < t.steps else [0] * t.rows for t in traces]
            counts.append([count for row in rows for count in row])
        whole.record(list(range(whole.rows)), *counts)
    return whole


def summary(trace: cd.Trace, length: int) -> dict[str, float]:
    """Means over rows, with the standard error of the mean NFE; ``length`` is what AR takes."""
    nfe = trace.nfe.double()
    active = trace.committed > 0
    behind = trace.pending > 0
    return {
        "nfe": nfe.mean().item(),
        "nfe_error": (nfe.std() / len(nfe) ** 0.5).item() if len(nfe) > 1 else 0.0,
        "ratio": length / nfe.mean().item(),
        "single": (trace.committed == 1).sum().item() / active.sum().item(),
        "changed": (trace.changed[behind] / trace.pending[behind]).mean().item() if behind.any() else 0.0,
    }
