# Two commands: `make demo` draws pictures with the shipped model, `make test` runs all tests.
# Both make their own environment in .venv and need Python 3 and make only.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
PUBLISHED := --method ar --method sjd --method scd-maximal --method scd-gumbel --method seed-exact --method pac \
	--method gsd --method jacobi
OURS := --method scd-gumbel:window=32,branches=32,predict --method seed-exact:window=32,branches=32,predict
PROMPTS := "a red heart" "a slice of pizza" "a smiling face with sunglasses" "a blue car"

.PHONY: demo test check train figures clean

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
	$(BIN)/python -m training.emoji.examples
	$(BIN)/python -m training.emoji.transformer
	$(BIN)/python -m training.emoji.export
	$(BIN)/python -m training.doom.data
	$(BIN)/python -m training.doom.tokenizer
	$(BIN)/python -m training.doom.transformer
	$(BIN)/python -m training.doom.export

# The tables and plots of docs/figures, about five hours (but video_quality, which needs more clips than are here). What
# was measured is kept: cut off, it continues where it was. Seconds come last, for a machine on which nothing else runs.
figures: $(STAMP)
	mkdir -p build/benchmarks
	for number in 4 20; do $(BIN)/python -m data.prompts $$number > build/benchmarks/prompts-$$number.txt; done
	for name in nfe drafts first_draft tree video_nfe; do $(BIN)/python -m benchmarks.$$name || exit; done
	$(BIN)/python -m benchmarks.entropy --pictures 40
	$(BIN)/python -m benchmarks.promise --pictures 10 --alone 5
	$(BIN)/scd bench --prompts build/benchmarks/prompts-20.txt $(PUBLISHED) --method zipar --guidance 1 --guidance 3 \
		--window 16 --window 32 --window 64 --batch 20 --repeat 0 -o docs/figures/pictures
	$(BIN)/scd bench --model doom $(PUBLISHED) --window 16 --window 32 --window 64 --window 128 --batch 4 --repeat 0 \
		-o docs/figures/clips
	$(BIN)/scd bench --prompts build/benchmarks/prompts-4.txt $(PUBLISHED) --method zipar $(OURS) --window 16 --window 64 \
		--generate --repeat 1 -o docs/figures/peers
	$(BIN)/python -m benchmarks.seconds --pictures 4
	$(BIN)/python -m benchmarks.video_seconds --clips 3
	for name in step forward roofline; do $(BIN)/python -m benchmarks.$$name || exit; done

clean:
	rm -rf .venv build out
