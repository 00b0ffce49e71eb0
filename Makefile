# make serve and make test need only Python 3.11 to 3.13 and make: each creates .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Fetches OpenSSL 1.1 and llama.cpp for the engine, once. Without them the service runs, but with fewer capabilities.
NATIVE = @$(BIN)/python -m app provision || echo 'Continuing without these libraries. GET /engine shows which capabilities are missing.'

# How many tests run at once. They wait for processes more than they compute, so four are right for two cores.
AT_ONCE ?= 4
# The tests on hung storage run alone, since they require answers within a second while the storage hangs.
SLOW_AT_ONCE ?= 4
HUNG := tests/volumes/test_hung_server.py
TRIMMED ?= tests/engine tests/api/ocr tests/api/ai tests/api/engine tests/corpus tests/pulls

# The image, and the program that builds it: docker, podman or buildah. RELEASE=true refuses a base without a digest.
# The image and its files are dated by their commit, so that building a commit again gives the same image. Docker takes
# the date as an argument of the build, podman and buildah as an option.
IMAGE ?= ocr-model-service
DOCKER ?= docker
RELEASE ?= false
SOURCE ?= unknown
COMMIT_TIME = $$(git show --no-patch --format=%ct HEAD)
TIMESTAMP = $(if $(filter docker,$(notdir $(DOCKER))),--build-arg SOURCE_DATE_EPOCH,--timestamp)=$(COMMIT_TIME)
VERSION = $$(sed -n 's/^__version__ = "\(.*\)"/\1/p' app/__init__.py)

.PHONY: help serve examples image pin-base test test-slow test-trimmed test-crashes test-kernel-volumes test-docker lint check lock bench clean
help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 21

serve: $(VENV)/serve examples ## Set everything up and serve on 127.0.0.1:8000.
	$(NATIVE)
	@$(BIN)/python -m app serve

image: ## Build the image with its labels; RELEASE=true for a release, SOURCE for the label's URL.
	$(DOCKER) build --platform=linux/amd64 --tag "$(IMAGE):$(VERSION)" $(if $(filter true,$(RELEASE)),--no-cache )--build-arg RELEASE=$(RELEASE) \
	    --build-arg VERSION="$(VERSION)" --build-arg SOURCE=$(SOURCE) \
	    --build-arg REVISION="$$(git rev-parse HEAD)$$(git diff --quiet HEAD || echo -changed)" \
	    --build-arg CREATED="$$(git show --no-patch --format=%cI HEAD)" $(TIMESTAMP) .

pin-base: ## Write the present digest of the base image to the Dockerfile; needs skopeo or Docker.
	$(PYTHON) deploy/pin_base.py

test: $(VENV)/dev ## Set everything up and run the test suite.
	$(NATIVE)
	$(BIN)/python -m pytest -n $(AT_ONCE) --dist loadfile

test-slow: $(VENV)/dev ## Run the slow tests: a browser, a fuzz of the API, the image, the manifests.
	$(NATIVE)
	$(BIN)/python -m pytest -m slow --timeout 900 -n $(SLOW_AT_ONCE) --dist loadfile --no-loadscope-reorder --ignore $(HUNG)
	$(BIN)/python -m pytest -m slow --timeout 900 $(HUNG)

test-trimmed: $(VENV)/dev ## Test recognition, texts and pulls with the packages trimmed as in the image; a quarter of an hour.
	rm -rf build/trimmed && mkdir -p build/trimmed && cp -al $(VENV)/. build/trimmed
	build/trimmed/bin/python deploy/trim_packages.py build/trimmed/lib/python3.*/site-packages
	build/trimmed/bin/python -m pytest -m 'slow or not slow' --timeout 1800 -n $(AT_ONCE) --dist loadfile $(TRIMMED)

test-crashes: $(VENV)/dev ## Kill over 1,000 processes and services while they work; CI kills 150.
	TEST_KILLS=1000 $(BIN)/python -m pytest -m slow --timeout 1800 -s tests/e2e/crashes/test_crashes.py tests/e2e/crashes/test_resumable_crashes.py

test-kernel-volumes: $(VENV)/dev ## Test two QEMU machines on one folder over NFS and CIFS; as root, half an hour.
	$(BIN)/python -m tests.volumes.machines nfs cifs

test-docker: $(VENV)/dev ## Test the image with Docker, which needs no installation; as root, a quarter of an hour.
	$(BIN)/python -m tests.deploy.docker

lint: $(VENV)/dev ## Check format, style, types and layers.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	MYPYPATH=benchmarks:. $(BIN)/mypy benchmarks/*.py
	$(BIN)/lint-imports

bench: $(VENV)/dev ## Run the benchmarks and print the tables of docs/benchmarks.md.
	$(BIN)/python benchmarks/list_models.py
	$(BIN)/python benchmarks/freshness.py
	$(BIN)/python benchmarks/list_pages.py
	$(BIN)/python benchmarks/scans.py
	$(BIN)/python benchmarks/deletes.py
	$(BIN)/python benchmarks/uploads.py
	$(BIN)/python benchmarks/while_the_engine_works.py
	$(BIN)/python benchmarks/at_rest.py
	$(BIN)/python benchmarks/engine_cycles.py
	$(BIN)/python benchmarks/recognition_overhead.py
	$(BIN)/python benchmarks/cores.py

lock: $(VENV)/dev ## Pin the newest versions that pyproject.toml allows, with hashes.
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make lock' --extra otel --extra cluster pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make lock' --extra otel --extra cluster --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make lock' --python-version 3.11 tests/deploy/checkov.in -o tests/deploy/checkov.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make lock' --python-version 3.11 -c requirements-dev.lock --group pyproject.toml:sbom -o requirements-sbom.lock

clean: ## Remove what make created, except data/ and native/.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build

# Two example files, to list and to delete after the first start: in the folder that is served, if it has no file yet.
examples:
	@folder="$${OCR_MODELS_DIR:-data/models}"; \
	if [ ! -e "$$folder" ] || { found=$$(ls -A "$$folder") && [ -d "$$folder" ] && [ -z "$$found" ]; }; then \
	    mkdir -p "$$folder" && for name in en_ocr_v2.bin old_en_ocr_v1.bin; do \
	        printf 'an example, not a model\n' > "$$folder/$$name"; \
	    done; \
	fi

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	    || { echo 'Python 3.11, 3.12 or 3.13 is needed; name one with: make PYTHON=python3.12 ...'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/serve: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

$(VENV)/dev: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@ $(VENV)/serve
