# Every target makes .venv and installs what is missing first; `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find core bench/load -name '*.pyx' -o -name '*.pxd' -o -name '*.h')
PROTOS := $(wildcard proto/nextbest/v1/*.proto)
CASES ?= ../shared/data/cel/cases_share.jsonl.gz
CONNECTIONS ?= 100000
CALLS ?= 10000000
RETAIL ?= ../shared/data/online_retail/online_retail_share_2010-12_to_2011-05.csv.gz
LEADS ?= ../shared/data/leads_xeducation/Leads_clean.csv.gz
SEEDS ?= 20000
# Inputs of the coverage-guided fuzzer; 10 million take about half an hour of one core.
RUNS ?= 10000000
DECISIONS ?= 100000
# Rounds of each fault, and the length of the soak.
TIMES ?= 1
MINUTES ?= 10
# libnghttp2 may come after a build without it, which then has to go on.
HTTP2_LATE := $(shell pkg-config --exists libnghttp2 2>/dev/null && \
	! ls core/lane_native.*.so >/dev/null 2>&1 && echo late)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The build's own requirements are installed first, and nothing is compiled with a second copy of
# them: what compiles must be older than what it compiles, or it would be compiled again.
define BUILD_REQUIRES
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")
endef
export BUILD_REQUIRES

.PHONY: late help build demo test lint bench bench-log bench-overhead bench-peers bench-telemetry bench-overload bench-bookkeeping bench-shadow bench-triggers retail again fuzz debug proto \
	otelcol clean cel shop-100 leads lane-attacks lane-clients lane-soak demo-cluster faults faults-soak sim

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18

build: $(VENV)/.built ## compile the native core, in place

demo: build ## a simulated day on the two example playbooks
	$(BIN)/nextbest demo

test: build ## all tests
	$(BIN)/python -m pytest -q

lint: build ## ruff, mypy, cython-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint core bench/load  # it calls pycodestyle by name

bench: build ## the micro benchmark, with its peers
	$(BIN)/python -m bench.micro

bench-overhead: build ## what the server adds to a bare grpc.aio servicer
	$(BIN)/python -m bench.overhead

bench-log: build ## the log beside bare Redis and SQLite, snapshots, recovery: some ten minutes
	$(BIN)/python -m bench.log

bench-telemetry: build ## what telemetry costs, beside a build without it: some five minutes
	$(BIN)/python -m bench.telemetry

bench-bookkeeping: build ## what records, caps and experiments cost the fast lane
	$(BIN)/python -m bench.bookkeeping

bench-shadow: build ## what a draft beside the active playbook costs it
	$(BIN)/python -m bench.shadow

bench-triggers: build ## what an event costs with 10 and with 1,000 segments that triggers name
	$(BIN)/python -m bench.micro.triggers

retail: build ## a quarter of a real shop as live traffic, every decision made again, a minute: make retail RETAIL=FILE
	@$(BIN)/python -m bench.retail --file $(RETAIL)

again: build ## 100,000 recorded decisions of both lanes, across a publish, each made again
	@$(BIN)/python -m bench.again --decisions $(DECISIONS)

bench-overload: build ## what the fast lane still does at 1.5 and 3 times its highest rate
	$(BIN)/python -m bench.overload

bench-peers: build ## both lanes beside gRPC C++, Cerbos, flagd and ZEN, those that can be built
	$(BIN)/python -m bench.peers build
	$(BIN)/python -m bench.peers

fuzz: build ## the codec against C++ protobuf, coverage-guided: make fuzz RUNS=N
	@PYTHON=$(BIN)/python RUNS=$(RUNS) tests/fuzz/run

shop-100: build ## write the benchmark's playbook, profiles and requests to build/shop-100/
	$(BIN)/python -m bench.micro.shop_100

cel: build ## run CEL conformance cases: make cel CASES=FILE
	@$(BIN)/python tests/core/cel_conformance.py $(CASES)

leads: build ## load the public lead data set, score it over gRPC, print the AUC: make leads LEADS=FILE
	@$(BIN)/python -m nextbest.server.examples.score_leads $(LEADS)

lane-attacks: build ## attack the fast lane, print what a well-behaved client saw
	@$(BIN)/python -m tests.lane.attacks

lane-soak: build ## the fast lane's memory after many connections and calls
	@$(BIN)/python -m tests.lane.soak --connections $(CONNECTIONS) --calls $(CALLS)

sim: build ## the log under simulated faults, a seed each: make sim SEEDS=N, or SEEDS=A:B
	@$(BIN)/python -m tests.faults.simulator --seeds $(SEEDS)

demo-cluster: build ## two nodes, three Redis: kill the master, then a node, lose nothing
	@$(BIN)/python -m tests.faults.demo

faults: build ## every fault but the soak: make faults TIMES=20
	@$(BIN)/python -m tests.faults.run all --times $(TIMES)

faults-soak: build ## something is killed each minute: make faults-soak MINUTES=60
	@$(BIN)/python -m tests.faults.run soak --minutes $(MINUTES)

lane-clients: ## install the Node client that the fast lane's tests call it with
	@mkdir -p build/clients
	npm install --silent --no-audit --no-fund --prefix build/clients \
		$$(node -p 'Object.entries(require("./tests/lane/clients/package.json").dependencies)\
		.map((one) => one.join("@")).join(" ")')

otelcol: ## build the small OpenTelemetry Collector that tests send spans to: some four minutes
	@mkdir -p build/otelcol
	cd tests/server/telemetry/otelcol && go build -trimpath -ldflags '-s -w' \
		-o $(CURDIR)/build/otelcol/otelcol .

debug: $(VENV)/.installed ## compile with bounds checks and -O0
	@$(MAKE) --no-print-directory clean
	NEXTBEST_DEBUG=1 $(BIN)/python setup.py -q build_ext --inplace
	@touch $(VENV)/.built

proto: $(VENV)/.installed ## generate the Python of the contract
	@# google/rpc/status.proto comes with googleapis-common-protos.
	@include=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && \
	$(BIN)/python -m grpc_tools.protoc -Iproto -I$$include --python_out=proto --pyi_out=proto \
		$(PROTOS) && \
	$(BIN)/python -m grpc_tools.protoc -Iproto -I$$include --grpc_python_out=proto \
		$$(grep -l '^service ' $(PROTOS))

# build/tree stays: the editable installation imports from it.
clean: ## delete what the compiler made
	rm -rf build/c build/lib* build/temp*
	find core bench/load -name '*.so' -delete
	rm -f $(VENV)/.built

$(VENV)/.system: .ci/bootstrap
	@PYTHON=$(PYTHON) .ci/bootstrap
	@mkdir -p $(VENV) && touch $@

$(VENV)/.installed: $(VENV)/.system pyproject.toml setup.py
	@echo "Installing nextbest and its tools into $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "$$BUILD_REQUIRES" >$(VENV)/build-requires.txt
	@$(BIN)/python -m pip install -q -r $(VENV)/build-requires.txt
	@NEXTBEST_COMPILE=0 $(BIN)/python -m pip install -q --no-build-isolation -e '.[dev]'
	@touch $@

$(VENV)/.built: $(VENV)/.installed $(SOURCES) $(HTTP2_LATE)
	@echo "Compiling the native core: a minute or three ..."
	@$(BIN)/python setup.py -q build_ext --inplace
	@touch $@
