# Generates and compiles the contract for C++ (Debian's libgrpc++-dev, libprotobuf-dev,
# protobuf-compiler-grpc), once for all that include it and link CONTRACT.
ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/..)
# google/rpc/*.proto; googleapis-common-protos has them.
PYTHON ?= python3
GOOGLEAPIS ?= $(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
CXXFLAGS ?= -O2 -std=c++17 -Wall -Wextra
GENERATED := $(ROOT)/build/cpp
CONTRACT := $(GENERATED)/libcontract.a
CPPFLAGS += -I$(GENERATED)
LDLIBS += $(shell pkg-config --libs grpc++ protobuf)
CONTRACT_PROTOS := $(addprefix nextbest/v1/,common.proto decision.proto event.proto profile.proto) \
	google/rpc/status.proto google/rpc/error_details.proto
CONTRACT_SERVICES := nextbest/v1/decision.proto nextbest/v1/event.proto nextbest/v1/profile.proto
CONTRACT_OBJECTS := $(CONTRACT_PROTOS:%.proto=$(GENERATED)/%.pb.o) \
	$(CONTRACT_SERVICES:%.proto=$(GENERATED)/%.grpc.pb.o)

$(GENERATED)/.stamp: $(wildcard $(ROOT)/proto/nextbest/v1/*.proto)
	@mkdir -p $(GENERATED)
	protoc -I$(ROOT)/proto -I$(GOOGLEAPIS) --cpp_out=$(GENERATED) $(CONTRACT_PROTOS)
	protoc -I$(ROOT)/proto -I$(GOOGLEAPIS) --grpc_out=$(GENERATED) \
		--plugin=protoc-gen-grpc=$$(command -v grpc_cpp_plugin) $(CONTRACT_SERVICES)
	@touch $@

$(CONTRACT_OBJECTS): $(GENERATED)/.stamp
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) -w -c -o $@ $(@:.o=.cc)

$(CONTRACT): $(CONTRACT_OBJECTS)
	$(AR) rcs $@ $^
