"""From published emoji packages to one file of captioned 64x64 pictures.

Four styles of the same subjects: Noto (Google, Apache-2.0), Twemoji (CC-BY-4.0), and Fluent flat and shaded
(Microsoft, MIT). Packages are fetched by name and version with ``npm pack`` and refused unless their SHA-512 digest is
the one below. The held-out split is by base code point: the sequence of code points without skin tones and variation
selectors decides, so every tone and every style of a subject falls on the same side.

    python -m training.emoji.data            # writes build/emoji/pictures.npz and pictures.json
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

BUILD = Path("build/emoji")
SIZE = 64
PACKAGES = {  # name@version -> SHA-512 of the tarball, as the registry states it
    "emoji-datasource-google@16.0.0":
        "ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
    "emoji-datasource-twitter@16.0.0":
        "7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
    "fluentui-emoji@1.3.0":
        "JTXXwqIie2rWTgOkIJDJxr0WtwTz2WU4kdOq8buLVThYwQ264aFR2jdTyuon2oEbLqqGMT64zI4btyn1saB2xw==",
}
STYLES = {"noto": "noto", "twemoji": "twemoji", "flat": "fluent flat", "modern": "fluent shaded"}
SKIN_TONES = {"1F3FB": "light", "1F3FC": "medium-light", "1F3FD": "medium", "1F3FE": "medium-dark", "1F3FF": "dark"}
HELD_OUT_PERCENT = 6


def fetch(package: str, folder: Path) -> Path:
    """The tarball of ``name@version``, downloaded once; raises ValueError if its digest is not the recorded one."""
    path = folder / (package.replace("@", "-") + ".tgz")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if digest != PACKAGES[package]:
        raise ValueError(f"{path} has SHA-512 {digest}, expected {PACKAGES[package]}: delete it and fetch again")
    return path


def base_key(unified: str) -> str:
    """Code points without skin tones and variation selectors: what the held-out split is decided by."""
    return "-".join(c for c in unified.upper().split("-") if c not in SKIN_TONES and c != "FE0F")


def held_out(key: str) -> bool:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 100 < HELD_OUT_PERCENT


def name_of(unified: str) -> str:
    """The CLDR short name in lower case: ``'woman firefighter medium skin tone'``."""
    import emoji  # only this step needs it; the split and the captions are used without

    character = "".join(chr(int(c, 16)) for c in unified.split("-"))
    return emoji.EMOJI_DATA[character]["en"].strip(":").replace("_", " ").lower()


def flatten(png: bytes) -> np.ndarray:
    """RGBA over white, ``[64, 64, 3]`` uint8."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))


def content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} in the package is no file")
    return file.read()


def datasource(package: str, style: str) -> list[tuple[np.ndarray, dict]]:
    """All pictures of an ``emoji-datasource-*`` package, skin variants included."""
    vendor = package.split("@")[0].rsplit("-", 1)[1]
    rows = []
    with tarfile.open(fetch(package, BUILD / "packages")) as tar:
        files = {m.name: m for m in tar.getmembers()}
        catalogue = json.loads(content(tar, files["package/emoji.json"]))
        for entry in tqdm(catalogue, desc=package):
            for variant in [entry, *entry.get("skin_variations", {}).values()]:
                member = files.get(f"package/img/{vendor}/64/{variant['image']}")
                if member is None:
                    continue
                aliases = [entry["name"].lower()] if variant is entry and entry["name"] else []
                aliases += [s.replace("_", " ").replace("-", " ") for s in entry["short_names"]] * (variant is entry)
                rows.append((flatten(content(tar, member)), describe(variant["unified"], style, aliases)))
    return rows


def fluent(package: str, unified_by_slug: dict[str, str]) -> list[tuple[np.ndarray, dict]]:
    """The ``flat`` and ``modern`` drawings whose file name is a CLDR name; others cannot be placed in the split."""
    import cairosvg  # needs the cairo library

    rows = []
    with tarfile.open(fetch(package, BUILD / "packages")) as tar:
        for member in tqdm(tar.getmembers(), desc=package):
            match = re.fullmatch(r"package/icons/(flat|modern)/(.+)\.svg", member.name)
            if not match:
                continue
            tone = re.search(r"-(default|light|medium-light|medium|medium-dark|dark)$", match[2])
            # "-medium-light" also ends in "-light": the longest ending is the tone
            tone = re.search(r"-(medium-light|medium-dark)$", match[2]) or tone
            slug = match[2]
            if slug not in unified_by_slug and tone:
                slug = slug[: tone.start()] + ("" if tone[1] == "default" else f"-{tone[1]}-skin-tone")
            if slug not in unified_by_slug:
                continue
            png = cairosvg.svg2png(bytestring=content(tar, member), output_width=SIZE, output_height=SIZE)
            rows.append((flatten(png), describe(unified_by_slug[slug], match[1], [])))
    return rows


def describe(unified: str, style: str, aliases: list[str]) -> dict:
    key = base_key(unified)
    name = name_of(unified)
    return {
        "unified": unified, "key": key, "style": style, "held_out": held_out(key),
        "toned": any(c in SKIN_TONES for c in unified.split("-")),
        "name": name, "aliases": sorted({a for a in aliases if a != name}),
    }


def main() -> None:
    google, twitter, microsoft = PACKAGES
    rows = datasource(google, "noto")
    unified_by_slug = {re.sub(r"[^a-z0-9-]", "", d["name"].replace(" ", "-")): d["unified"] for _, d in rows}
    rows += datasource(twitter, "twemoji") + fluent(microsoft, unified_by_slug)
    BUILD.mkdir(parents=True, exist_ok=True)
    np.savez(BUILD / "pictures.npz", pictures=np.stack([picture for picture, _ in rows]))
    (BUILD / "pictures.json").write_text(json.dumps([d for _, d in rows]))
    print(f"{len(rows)} pictures, {sum(d['held_out'] for _, d in rows)} held out, in {BUILD}")


if __name__ == "__main__":
    main()
