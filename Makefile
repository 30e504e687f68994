# The verbs of this project. CI runs the same ones: whatever it does, you can do.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:

# The image's name, by default that of .env, as compose reads it, or the project's own. `contract`,
# `chaos` and `stack` build that one, but take one that you name yourself as it is: here, or pulled.
IMAGE ?= $(or $(shell sed -n 's/^IMAGE=//p' .env 2>/dev/null | tail -n 1),$(shell \
	sed -n '0,/^name = "/s/^name = "\([^"]*\)".*/\1/p' pyproject.toml))
# Any Python from 3.11 on runs the scripts and the tests.
PYTHON ?= python3
export IMAGE

# In hidden folders are other tools' copies.
DOCKERFILES = $(sort $(shell find * -name '*Dockerfile'))
# The variables of the command line by their names; what a person's shell exports is not meant.
GIVEN = $(foreach name,$(filter-out IMAGE PYTHON,$(.VARIABLES)),$(if $(filter command,$(firstword \
	$(origin $(name)))),$(name)))
NAMED := $(filter command environment,$(firstword $(origin IMAGE)))
BIN := .venv/bin
# Keeps each version that a lock has; uv takes them from the file that it is about to write.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url
# The lock that a service without a database does not have: docs/without-database.md.
DATABASE = $(wildcard requirements/database.txt)
# The newest of all, or of one.
upgrade: LOCK += $(if $(PACKAGE),--upgrade-package "$(PACKAGE)",--upgrade)

# Each worker takes one file after the other; what is marked `alone` comes last, one by one. More
# workers than cores, since each waits for part of its time.
SIDE_BY_SIDE := $(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder
# Two stacks at once: each is some seven containers.
STACKS := $(SIDE_BY_SIDE) --numprocesses 2 tests/drydock/stack

.PHONY: help up down logs dev rollout observe backup restore debug calls test test-full lint unit image \
	contract chaos stack pipeline tracing alerts apply kubernetes deploy swarm fork mutants bench bench-quick reproduce outdated \
	changes save push sbom scan rehearse publish join sign verify tag adopt update adopted release lock upgrade \
	migration format venv docs screenshot clean python

help: ## Show this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile
	@echo "IMAGE=name:tag names the image for every verb; it is now $(IMAGE)."

up: python ## Build and start the stack, wait until it is healthy, show where it is
	@$(PYTHON) scripts/stack.py up

down: ## Stop the stack, and its monitoring; the data is kept
	@docker compose --profile '*' down --remove-orphans

logs: ## Show what the stack prints; in a terminal, as it comes
	@docker compose --ansi never --profile '*' logs $$(if [[ -t 1 ]]; then echo --follow; fi)

dev: python ## Run the stack for development: an edit in src/ is served at once; Ctrl-C stops it
	@$(PYTHON) scripts/dev.py

rollout: python ## Replace the service by what is in this checkout, without a pause
	@$(PYTHON) scripts/rollout.py

observe: python ## Start the stack with its monitoring: Prometheus, alerts, a dashboard
	@$(PYTHON) scripts/observe.py

backup: python ## Save the database to a file: make backup FILE=app.dump
	@$(PYTHON) scripts/backup.py backup $(if $(FILE),"$(FILE)")

restore: python ## Put the database back from a file: make restore FILE=app.dump
	@$(PYTHON) scripts/backup.py restore $(if $(FILE),"$(FILE)")

debug: python ## Open a shell beside the running service, with bash, curl, ps and strace
	@$(PYTHON) scripts/engine.py
	@service=$$(docker compose ps --quiet app 2>/dev/null | head -n 1 || true); \
	if [[ -z $$service ]]; then echo "error: the service is not running; \`make up\`" >&2; exit 1; fi; \
	image=$$(IMAGE=$${IMAGE%%@*} $(PYTHON) scripts/image.py build --target debug); \
	docker run --rm --interactive $$(if [[ -t 0 ]]; then echo --tty; fi) --cap-drop ALL \
		--pid "container:$$service" --network "container:$$service" "$$image" bash

calls: python ## Show which kernel calls the profile denies: make calls RUN="app settings"
	@$(PYTHON) scripts/calls.py

# Without what is marked `slow`, which the verb of each folder runs, and so does CI on a pull request.
test: export TEST_QUICK := 1
test: lint unit image ## Prove each promise of the service, the image and the stack
	@$(STACKS) --image "$(IMAGE)"
	@$(SIDE_BY_SIDE) tests/drydock/image tests/drydock/chaos --image "$(IMAGE)"

# What each verb below proves at length with TEST_FULL=1 is listed in docs/testing.md.
test-full: export TEST_FULL := 1
test-full: test pipeline tracing alerts kubernetes swarm fork mutants ## Prove all of it at length, as CI does nightly

lint: $(BIN)/installed ## Check Dockerfiles, Python, shell scripts, workflows and the compose file
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	PYTHONPATH=tests $(BIN)/python scripts/docs.py --check
	$(BIN)/hadolint $(DOCKERFILES)
	$(BIN)/shellcheck .ci/run $(wildcard deploy/*/*.sh deploy/*/*.envsh)
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml deploy/*/compose.yaml \
		deploy/stand-ins/*.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	$(BIN)/python scripts/manifests.py
	$(BIN)/zizmor --offline --quiet --pedantic .github

unit: $(BIN)/installed ## Run the unit tests in the image, on SQLite and PostgreSQL, and on this machine
	@$(PYTHON) scripts/image.py build --target test
	@PYTHONPATH=tests $(BIN)/python scripts/unit.py

image: python ## Build the image and print its size; with FRESH=1 of Debian's newest, without the cache
	@$(PYTHON) scripts/image.py build $(if $(FRESH),--fresh)

contract: $(BIN)/installed ## Prove the image's promises against running containers
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(SIDE_BY_SIDE) tests/drydock/image --image "$(IMAGE)"

chaos: $(BIN)/installed ## Prove that nothing is lost by stops, reloads, crashes and attacks; show figures
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(BIN)/pytest -rP tests/drydock/chaos --image "$(IMAGE)"

stack: $(BIN)/installed ## Prove the stack's promises: outages, rollouts, secrets, the page
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(STACKS) --image "$(IMAGE)"

apply: $(BIN)/installed ## Put a version into Kubernetes: make apply OVERLAY=folder IMAGE=name@sha256:...
	@OVERLAY="$(OVERLAY)" DEPLOYED="$(if $(NAMED),$(IMAGE))" CONTEXT="$(CONTEXT)" $(BIN)/python scripts/apply.py

kubernetes: $(BIN)/installed ## Prove it in a cluster: one made here, or make kubernetes CONTEXT=kind-name
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(BIN)/python scripts/cluster.py $(BIN)/pytest -rP tests/drydock/kubernetes --image "$(IMAGE)"

deploy: python ## Put a version into a swarm: make deploy IMAGE=name@sha256:...; UNDO=1 goes back
	@$(if $(CONTEXT),DOCKER_CONTEXT="$(CONTEXT)") DEPLOYED="$(if $(NAMED),$(IMAGE))" UNDO="$(UNDO)" \
		$(PYTHON) scripts/deploy.py

swarm: $(BIN)/installed ## Prove it in a swarm of three nodes, which are containers here
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(BIN)/pytest -rP tests/drydock/swarm --image "$(IMAGE)"

pipeline: $(BIN)/installed ## Prove the verbs of the pipeline: build, push, sign, verify, rebuild
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(SIDE_BY_SIDE) tests/drydock/pipeline --image "$(IMAGE)"

tracing: $(BIN)/installed ## Prove the traces of an image that makes some, in a real receiver
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(BIN)/pytest -rP tests/drydock/tracing --image "$(IMAGE)"

alerts: $(BIN)/installed ## Prove the monitoring: each alert by its fault, a rollout that wakes nobody
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(BIN)/pytest tests/drydock/alerts --image "$(IMAGE)"

fork: $(BIN)/installed ## Make a fork in a temporary folder, follow the how-tos in it, prove it
	@$(BIN)/pytest -rP tests/drydock/fork

mutants: $(BIN)/installed ## Prove that the unit tests notice it when a line of drydock is broken
	@$(BIN)/python scripts/mutants.py

bench: $(BIN)/installed ## Measure the image beside its peers; write docs/benchmarks.md
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@PYTHONPATH=scripts:tests $(BIN)/python bench/run.py $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(ONLY),--only $(ONLY))

bench-quick: $(BIN)/installed ## Measure the most important of that, in 5 minutes; write nothing
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@PYTHONPATH=scripts:tests $(BIN)/python bench/run.py --quick

reproduce: python ## Build twice without a cache, as differently as can be; demand one digest
	@$(PYTHON) scripts/reproduce.py

outdated: python ## Show which Debian packages of the image are not the newest, security fixes included
	@$(PYTHON) scripts/outdated.py

changes: python ## Show what changed between two images: make changes OLD=name:1 (NEW=name:2)
	@$(PYTHON) scripts/changes.py "$(OLD)" "$(or $(NEW),$(IMAGE))"

save: python ## Keep the image in a file: make save FILE=image.tar
	@$(PYTHON) scripts/image.py save $(if $(FILE),"$(FILE)")

push: python ## Push the image, from FILE if given: make push IMAGE=registry/name:tag
	@$(PYTHON) scripts/image.py push $(if $(FILE),"$(FILE)")

sbom: $(BIN)/installed ## Write what the image is made of: make sbom OUT=folder (sbom/ without one)
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(BIN)/python scripts/sbom.py $(if $(OUT),--out "$(OUT)")

scan: python ## Fail on what grype found that has a fix: make scan REPORT=grype.json
	@$(PYTHON) scripts/scan.py $(REPORT)

rehearse: $(BIN)/installed ## Rehearse a release: push, sign, attest, verify, tag, pull back
	@$(PYTHON) scripts/image.py $(if $(NAMED),find,build)
	@$(BIN)/python scripts/rehearse.py

publish: python ## Push the image by its digest, without a tag: make publish REPOSITORY=registry/name
	@$(PYTHON) scripts/publish.py publish

join: python ## Push an index of images, one for each platform: make join IMAGES="...@... ...@..."
	@$(PYTHON) scripts/publish.py join

sign: $(BIN)/installed ## Sign and attest what is pushed: make sign IMAGE=name@sha256:... IDENTITY=...
	@$(BIN)/python scripts/publish.py sign

verify: python ## Verify that as a consumer does: make verify IMAGE=name@sha256:... IDENTITY=...
	@$(PYTHON) scripts/publish.py verify

tag: python ## Verify, then put tags on: make tag IMAGE=name@sha256:... IDENTITY=... TAGS="1.2.3 1.2"
	@$(PYTHON) scripts/publish.py tag

adopt: python ## Make the template yours: make adopt NAME=notes-service SAMPLE=remove; docs/fork.md
	@$(PYTHON) scripts/adopt.py $(GIVEN)

update: python ## Take the template's newest release, or make update TEMPLATE=address@ref
	@TEMPLATE=$(if $(filter TEMPLATE,$(GIVEN)),"$$TEMPLATE") $(PYTHON) scripts/update.py

adopted: python ## Show what a fork still has to fill in; a release asks for all of it
	@$(PYTHON) scripts/adopted.py

release: python ## Check, then write the changelog's entry, commit and tag: make release VERSION=1.2.3
	@$(PYTHON) scripts/release.py $(if $(VERSION),"$(VERSION)")

lock: $(BIN)/uv ## Bring the locks in requirements/ up to pyproject.toml; keep their versions
upgrade: $(BIN)/uv ## Renew all that is locked, or one: make upgrade PACKAGE=flask
lock upgrade:
	$(LOCK) pyproject.toml --output-file requirements/runtime.txt
	$(if $(DATABASE),$(LOCK) --group database --constraints requirements/runtime.txt \
		--output-file $(DATABASE))
	for group in build $(if $(DATABASE),driver) tracing test debug dev slim bench; do \
		$(LOCK) --group $$group --constraints requirements/runtime.txt \
			$(addprefix --constraints ,$(DATABASE)) --output-file requirements/$$group.txt; \
	done

format: $(BIN)/installed ## Format the Python code, and fix what ruff can fix by itself
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

migration: $(BIN)/installed ## Write a migration from the models: make migration NAME="add authors"
	@$(if $(DATABASE),,echo 'error: this service has no database: docs/without-database.md' >&2; exit 1)
	@$(if $(NAME),,echo 'error: name it: make migration NAME="add authors"' >&2; exit 1)
	@data=$$(mktemp -d); trap 'rm -r "$$data"' EXIT; \
	DATA_DIR=$$data DATABASE_URL= DATABASE_URL_FILE= DATABASE_PASSWORD= DATABASE_PASSWORD_FILE= \
		$(BIN)/alembic revision --autogenerate --message "$(NAME)"

venv: $(BIN)/installed ## Make .venv, with the service and all tools in it, for work without containers

docs: $(BIN)/installed ## Write what is generated: the lists in docs/ (settings, promises ...), .env.example
	@PYTHONPATH=tests $(BIN)/python scripts/docs.py

screenshot: $(BIN)/installed ## Take the docs' picture of the page, from the running stack
	@$(BIN)/python scripts/browser.py

clean: python ## Remove what the other verbs made; asks before it deletes the data
	@if docker version >/dev/null 2>&1; then \
		$(PYTHON) scripts/stack.py clean; \
		$(PYTHON) scripts/image.py remove; \
	fi
	rm -rf .venv .mutants .mypy_cache .pytest_cache .ruff_cache sbom

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "error: $(PYTHON) is not Python 3.11 or newer; name one: make PYTHON=python3.13" >&2; \
		exit 1; }

# What renews the locks must not need them to be in order.
$(BIN)/uv: | python
	@$(PYTHON) scripts/tools.py uv

$(BIN)/installed: requirements/runtime.txt requirements/dev.txt pyproject.toml | python
	@$(PYTHON) scripts/tools.py

# Any other word, also one that happens to be a file's or a folder's name.
NO_VERBS := $(filter-out bench deploy docs sbom Makefile pyproject.toml,$(wildcard *))
.PHONY: $(NO_VERBS)
$(NO_VERBS) .DEFAULT:
	@echo "error: there is no verb '$@'; \`make help\` lists them" >&2; exit 2
