"""``model.generate(..., custom_generate="<this repository>", trust_remote_code=True, window=64, seed=7)``.

The repository form of ``coupled_decoding.generate_with``: it takes what ``generate`` takes, ``streamer`` included, and
``method`` ("scd", "sjd", "seed-exact" or "ar"), ``window``, ``coupling``, ``first_guess`` and ``seed`` beside.
"""

import coupled_decoding as cd

METHODS = {"scd": cd.SCD, "sjd": cd.SJD, "seed-exact": cd.SeedExact, "ar": cd.AR}


def generate(model, *, method="scd", seed=None, streamer=None, **arguments):
    """See ``coupled_decoding.generate_with``; returns what ``model.generate`` returns."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}: give one of {', '.join(METHODS)}")
    options = {key: arguments.pop(key) for key in ("window", "coupling", "first_guess") if key in arguments}
    decoding = cd.generate_with(METHODS[method](**options), seed=seed, streamer=streamer)
    return model.generate(**arguments, custom_generate=decoding)
