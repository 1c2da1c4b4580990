# Two commands: `make demo` draws pictures with the shipped model, `make test` runs all tests.
# Both make their own environment in .venv and need Python 3 and make only.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
PROMPTS := "a red heart" "a slice of pizza" "a smiling face with sunglasses" "a blue car"

.PHONY: demo test check train clean

demo: $(STAMP)
	$(BIN)/scd generate $(PROMPTS) --guidance 3 --seed 7 -o out/demo
	$(BIN)/scd compare $(PROMPTS) --guidance 3 --window 16 --seed 7 -o out/demo/compare.png
	$(BIN)/scd video arena --num-frames 12 --compare --seed 7 -o out/demo/clip.gif
	@echo "Pictures: out/demo/contact-sheet.png    Methods compared: out/demo/compare.png, as a clip: out/demo/clip.gif"

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# From raw data to weights: hours on a CPU. Needs npm, and cairo for the Fluent drawings.
train: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[train]"
	$(BIN)/python -m training.emoji.data
	$(BIN)/python -m training.emoji.tokenizer
	$(BIN)/python -m training.emoji.transformer
	$(BIN)/python -m training.emoji.export
	$(BIN)/python -m training.doom.data
	$(BIN)/python -m training.doom.tokenizer
	$(BIN)/python -m training.doom.transformer
	$(BIN)/python -m training.doom.export

clean:
	rm -rf .venv build out
