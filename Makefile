# Builds libmln.so with its headers, message generator and examples, tests them, and installs them. `make help` lists the targets.
#
# Everything is written below $(BUILD). The exceptions are include/mln_ipc.h and capi/ipc_*_gen.c: they are generated from the
# message files in ipc_handlers/ and belong to the sources, so that a Go build without make works too.
#
# CC, CXX, CFLAGS, LDFLAGS, GOARCH and PREFIX may come from the environment or the command line. A cross build is
#     make GOARCH=arm64 CC=aarch64-linux-gnu-gcc

ifneq ($(filter 0 1 2 3,$(firstword $(subst ., ,$(MAKE_VERSION)))),)
$(error GNU make 4.0 or newer is needed, and this is $(MAKE_VERSION): install a newer make)
endif

# Make's built-in default is cc; the compiler that cgo and this library are tested with is gcc.
ifeq ($(origin CC),default)
CC = gcc
endif
GO ?= go
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
IPC_HANDLERS ?=
MELON_LINK ?=

ifneq ($(words $(PREFIX))$(filter /%,$(PREFIX)),1$(PREFIX))
$(error PREFIX is "$(PREFIX)", but it must be one absolute path without blanks, as in PREFIX=/usr/local)
endif

VERSION := $(shell cat VERSION)
SONAME := libmln.so.$(firstword $(subst ., ,$(VERSION)))
LIBRARY := libmln.so.$(VERSION)

# A toolchain is never fetched behind the user's back, and the library cannot be built without cgo.
export GOTOOLCHAIN = local
export CGO_ENABLED = 1
export CC

# What the library is made from. The lists are inputs too ($(BUILD)/inputs), so that a file that went away counts as a change.
go_sources := go.mod $(wildcard go.sum) $(sort $(shell find capi core -name '*.go' ! -name '*_test.go' ! -path 'capi/ctest/*'))
c_sources := $(wildcard capi/*.c capi/*.h) capi/exports.so VERSION
headers := $(wildcard include/*.h)
generator := $(sort $(shell find cmd/mlnipc -type f ! -name '*_test.go' ! -path '*/testdata/*'))
messages := $(foreach folder,ipc_handlers $(IPC_HANDLERS),$(wildcard $(folder)/* $(folder)/.numbers))
# A C++ compiler is not needed: without one, the C++ example and the C++ users' view in the tests are left out, with a note.
cxx := $(shell command -v $(firstword $(CXX)) 2>/dev/null)
examples := $(patsubst c_examples/%,$(BUILD)/examples/%,$(basename $(wildcard c_examples/*.c $(if $(cxx),c_examples/*.cc))))
note_cxx = $(if $(cxx),,@echo 'note: there is no $(CXX); what is for C++ is left out')

# A name for what is built, from the bytes of all its sources. A process compares it before it uses a second copy of the library. As
# a compiler flag it also makes changes of headers seen: Go's build cache knows nothing of those outside a package's folder.
build_id = $(VERSION)-$(shell cat $(go_sources) capi/*.[ch] capi/exports.so $(BUILD)/include/*.h $(wildcard $(BUILD)/gen/units/*) \
    | sha256sum | cut -c 1-16)
# The library's own C has these flags from capi/engine.go, so that a Go build without make has them, too. Here they are for Go's.
hardening = -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
definitions = '-DMLN_PREFIX=\"$(PREFIX)\"' '-DMLN_VERSION=\"$(VERSION)\"' '-DMLN_BUILD=\"$(build_id)\"'
cgo_env = CGO_CFLAGS="-O2 -g $(hardening) $(gen_include) $(definitions) $(CFLAGS)" CGO_LDFLAGS="-O2 -g $(LDFLAGS)"
link_flags = -Wl,-soname,$(SONAME) -Wl,-z,defs
# The runtime does without SIGURG, with which it would interrupt its own threads: calls of the engine are short. A library that is built
# without make sends it, to no effect unless the program handles it. //go:debug knows no such setting.
go_debug = $(shell sed -n 's|^//go:debug \(.*\)|\1,|p' capi/engine.go | tr -d '\n')asyncpreemptoff=1
# No path, date or build ID of this checkout goes into the file: the same sources and tools give the same bytes.
go_build = $(GO) build -trimpath -buildvcs=false

# With IPC_HANDLERS, the generated files are put over the sources' own in the build alone, and the checkout stays as it is.
# A header finds its neighbours in its own folder first, hence a whole folder of headers and not just mln_ipc.h.
ifneq ($(strip $(IPC_HANDLERS)),)
generated_header = $(BUILD)/gen/mln_ipc.h
generated_units = $(BUILD)/gen/units
overlay = -overlay $(BUILD)/gen/overlay.json
gen_include = -I$(abspath $(BUILD))/include
else
generated_header = include/mln_ipc.h
generated_units = capi
endif
generate_args = -header $(generated_header) -units $(generated_units) ipc_handlers $(IPC_HANDLERS)

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all lib examples demo check test memcheck faults soak storm fuzz man install uninstall clean help tools FORCE \
    bench bench-quick bench-docs bench-guard bench-programs

all: lib $(BUILD)/bin/mlnipc $(BUILD)/mln.pc ## Build the library, its headers and the message generator (the default).

lib: $(BUILD)/lib/$(LIBRARY) $(BUILD)/include/.stamp

examples: $(examples) ## Build every program of c_examples/ into build/examples/.
	$(note_cxx)

demo: examples ## Build the examples and run the main one, c_examples/demo.c.
	$(BUILD)/examples/demo

check: $(BUILD)/include/.stamp tools ## Check what needs no run: go vet, gofmt, and that the generated files are up to date.
	$(cgo_env) $(GO) vet ./...
	@bad=$$("$$($(GO) env GOROOT)/bin/gofmt" -l bench capi cmd core go_examples) || exit 1; \
	    [ -z "$$bad" ] || { echo "These files are not as gofmt writes them; run gofmt -w on them:" $$bad >&2; exit 1; }
	$(BUILD)/tools/mlnipc check $(generate_args)

# The Go tests of the C surface have a Go process compile and run C programs, which Go's test cache cannot see: -count=1.
# Most of them wait most of the time: more at a time than there are processors.
test: all check ## Run all checks and tests: Go (core under the race detector) and C, each under a deadline.
	$(note_cxx)
	$(if $(shell command -v python3),,@echo 'note: there is no python3; the worker in Python is left out of the tests')
	$(if $(wildcard /usr/lib/*/libjemalloc.so.2),,@echo 'note: there is no libjemalloc.so.2; another allocator is left out of the tests')
	$(GO) test -count=1 -race -timeout 5m ./core/...
	$(cgo_env) MLN_LIBDIR=$(abspath $(BUILD))/lib $(GO) test -count=1 -timeout 12m -parallel 4 \
	    $$($(GO) list ./... | grep -v '^melon/core\(/\|$$\)')

ctest = $(cgo_env) MLN_LIBDIR=$(abspath $(BUILD))/lib $(GO) test -count=1 -timeout 0 ./capi/ctest -run

memcheck: lib ## Run every C program that can under valgrind, which must be installed; takes a quarter of an hour.
	@command -v valgrind >/dev/null || { echo 'make memcheck needs valgrind, which is not installed' >&2; exit 1; }
	$(ctest) '^(TestPlainProgramsUnderMemcheck|TestEveryProgramUnderMemcheck)$$' -tags memcheck -v

FAULTS ?= all

faults: lib ## Have the kernel refuse every system call of a group's life, one after another, or any of them for FAULTS=2m; all take 20 minutes.
	MLN_FAULTS=$(FAULTS) $(ctest) '^TestRefusedCalls$$' -v -parallel 4

SOAKTIME ?= 1m
STORMTIME ?= 1m
FORKS ?= 10000

soak: lib ## Restart, reload and talk in C and in Go for SOAKTIME, kill for a third of it, kill masters; fork so often if FORKS is set.
	$(if $(findstring command,$(origin FORKS)),FORKS=$(FORKS)) SOAKTIME=$(SOAKTIME) $(ctest) '^(TestSoak|TestForkStorm)$$' -v -parallel 4

storm: lib ## Fork FORKS times in C, and then kill, stop and replace the workers of a group in Go for STORMTIME, and its master 200 times.
	FORKS=$(FORKS) $(ctest) '^TestForkStorm$$' -v
	CORE_STORM=$(STORMTIME) $(GO) test -count=1 -race -timeout 0 -run '^(TestStorm|TestAMasterIsKilledAtAnyMoment)$$' -v ./core

# The pages belong to the sources, so that they are installed where there is no Doxygen.
man: ## Write the man pages of docs/man/ anew from the headers; needs doxygen.
	@command -v doxygen >/dev/null || { echo 'make man needs doxygen, which is not installed' >&2; exit 1; }
	@mkdir -p $(BUILD) && rm -rf $(BUILD)/man && { cat docs/man/Doxyfile; echo 'OUTPUT_DIRECTORY = "$(BUILD)/man"'; } | doxygen -
	CGO_ENABLED=0 GOOS= GOARCH= $(GO) run ./cmd/mlnman -xml $(BUILD)/man/xml -out docs/man

FUZZTIME ?= 1m

fuzz: lib tools ## Run every fuzz test for FUZZTIME.
	@GO='$(GO)' MLN_LIBDIR='$(abspath $(BUILD))/lib' sh scripts/fuzz.sh '$(FUZZTIME)'

# "sudo make install" often has no Go on its path, and needs none after a make that was run before.
no_go = $(if $(shell command -v '$(GO)' 2>/dev/null),,yes)
install: $(if $(and $(no_go),$(wildcard $(BUILD)/mln.pc)),,all) ## Install under $(DESTDIR)$(PREFIX), with libmelon.so if MELON_LINK=1.
	@BUILD='$(BUILD)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' LIBRARY='$(LIBRARY)' SONAME='$(SONAME)' MELON_LINK='$(MELON_LINK)' \
	    sh scripts/install.sh install

uninstall: ## Remove exactly what install put under $(DESTDIR)$(PREFIX).
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh scripts/install.sh uninstall

# The runner, a Go program, has the programs measured in turn; the peers are built by it, as far as they can be.
bench: all bench-programs ## Measure, and compare with plain C and other libraries; see docs/performance.md.
	$(GO) run ./bench -build '$(BUILD)'

bench-quick: all bench-programs ## The same in less than two minutes, less exactly.
	$(GO) run ./bench -build '$(BUILD)' -quick

bench-docs: all bench-programs ## Measure, and put the table into docs/performance.md.
	$(GO) run ./bench -build '$(BUILD)' -markdown docs/performance.md

bench-guard: all bench-programs ## Fail if a central figure has become far worse.
	$(GO) run ./bench -build '$(BUILD)' -guard

include bench/bench.mk

clean: ## Remove everything that make built.
	rm -rf '$(BUILD)'

help: ## List the targets and options.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | awk -F '\t' '{ printf "make %-11s %s\n", $$1, $$2 }'
	@echo 'Options: PREFIX=DIR (now $(PREFIX)), DESTDIR=DIR, BUILD=DIR (now $(BUILD)), CC, CFLAGS, LDFLAGS, GOARCH,'
	@echo '         FUZZTIME=TIME (of each fuzz test, now $(FUZZTIME)),'
	@echo '         FAULTS=TIME (of make faults, now $(FAULTS)),'
	@echo '         SOAKTIME=TIME (of make soak, now $(SOAKTIME)), FORKS=NUMBER and STORMTIME=TIME (of make storm,'
	@echo '         now $(FORKS) and $(STORMTIME)),'
	@echo '         IPC_HANDLERS="DIR..." (folders of messages kept outside this repository),'
	@echo '         MELON_LINK=1 (installs the name libmelon.so too, for programs that link -lmelon).'

tools:
	@sh scripts/check_tools.sh '$(GO)' '$(CC)'

# Changes whenever a list of inputs or a flag does. What the generator writes follows from the rest, and is not listed.
inputs = $(filter-out include/mln_ipc.h capi/ipc_%_gen.c %/.numbers, \
        $(go_sources) $(c_sources) $(headers) $(generator) $(messages)) \
    $(go_build) $(if $(overlay),overlay) $(go_debug) $(link_flags) $(hardening) $(PREFIX) $(CC) $(CFLAGS) $(LDFLAGS) $(GOFLAGS) $(GOARCH) $(CURDIR)

$(BUILD)/inputs: FORCE | tools $(BUILD)
	@$(file >$@.new,$(inputs))
	@$(GO) version >>$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD):
	@mkdir -p $@

# The generator runs on the machine that builds; the one that is installed runs where the library does.
$(BUILD)/tools/mlnipc: $(generator) go.mod $(BUILD)/inputs
	@mkdir -p $(@D)
	CGO_ENABLED=0 GOOS= GOARCH= $(go_build) -o $@ ./cmd/mlnipc

$(BUILD)/bin/mlnipc: $(generator) go.mod $(BUILD)/inputs
	@mkdir -p $(@D)
	CGO_ENABLED=0 $(go_build) -ldflags '-s -w -buildid=' -o $@ ./cmd/mlnipc

$(BUILD)/generated: $(BUILD)/tools/mlnipc $(messages) $(BUILD)/inputs $(if $(wildcard include/mln_ipc.h),,FORCE)
	@rm -rf $(BUILD)/gen && mkdir -p $(dir $(generated_header)) $(generated_units)
	$(BUILD)/tools/mlnipc generate $(generate_args)
	@touch $@

# Units of the sources that are not generated again are taken out ("": no such file); then come the generated ones.
$(BUILD)/gen/overlay.json: $(BUILD)/generated
	@{ printf '{"Replace": {\n'; \
	for unit in capi/ipc_*_gen.c; do \
	    [ ! -e $$unit ] || [ -e $(generated_units)/$${unit##*/} ] || printf '"%s": "",\n' "$(CURDIR)/$$unit"; \
	done; \
	for unit in $(generated_units)/*.c; do \
	    printf '"%s": "%s",\n' "$(CURDIR)/capi/$${unit##*/}" "$(abspath $(generated_units))/$${unit##*/}"; \
	done; \
	printf '"%s": "%s"\n}}\n' "$(CURDIR)/include/mln_ipc.h" "$(abspath $(generated_header))"; } >$@

$(BUILD)/include/.stamp: $(headers) $(BUILD)/generated
	@rm -rf $(@D) && mkdir -p $(@D)
	cp $(filter-out include/mln_ipc.h,$(wildcard include/*.h)) $(generated_header) $(@D)
	@touch $@

$(BUILD)/lib/$(LIBRARY): $(go_sources) $(c_sources) $(BUILD)/include/.stamp $(if $(overlay),$(BUILD)/gen/overlay.json)
	@mkdir -p $(BUILD)/obj
	$(cgo_env) $(go_build) $(overlay) -buildmode=c-shared \
	    -ldflags '-s -w -buildid= -X runtime.godebugDefault=$(go_debug) -extldflags "$(link_flags)"' -o $(BUILD)/obj/libmln.so ./capi
	@rm -rf $(@D) && mkdir -p $(@D) && mv $(BUILD)/obj/libmln.so $@
	@ln -s $(LIBRARY) $(@D)/$(SONAME) && ln -s $(SONAME) $(@D)/libmln.so

$(BUILD)/mln.pc: VERSION $(BUILD)/inputs
	@printf '%s\n' 'prefix=$(PREFIX)' 'includedir=$${prefix}/include/melon' 'libdir=$${prefix}/lib' '' \
	    'Name: mln' 'Description: Engine for pre-forked multi-process programs, with the C API of Melon' \
	    'Version: $(VERSION)' 'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lmln' >$@

example_flags = -O2 -g -Wall -Wextra $(CFLAGS) -I$(BUILD)/include
example_libs = -pthread $(LDFLAGS) -L$(BUILD)/lib -lmln -Wl,-rpath,'$$ORIGIN/../lib'
example_inputs = $(BUILD)/lib/$(LIBRARY) $(wildcard c_examples/*.h)

$(BUILD)/examples/%: c_examples/%.c $(example_inputs)
	@mkdir -p $(@D)
	$(CC) $(example_flags) $< -o $@ $(example_libs)

$(BUILD)/examples/%: c_examples/%.cc $(example_inputs)
	@mkdir -p $(@D)
	$(CXX) -std=c++17 $(example_flags) $< -o $@ $(example_libs)

# It shows that a program which is executed as a worker needs nothing of the library.
$(BUILD)/examples/exec_worker: c_examples/exec_worker.c $(wildcard c_examples/*.h) $(BUILD)/inputs
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra $(CFLAGS) $< -o $@ $(LDFLAGS)

# A program with messages of its own is compiled together with what mlnipc makes of them.
$(BUILD)/examples/own_message: c_examples/own_message.c $(BUILD)/messages/ipc_types.h $(example_inputs)
	@mkdir -p $(@D)
	$(CC) $(example_flags) -I$(BUILD)/messages $< $(BUILD)/messages/*.c -o $@ $(example_libs)

$(BUILD)/messages/ipc_types.h: $(BUILD)/tools/mlnipc $(wildcard c_examples/messages/* c_examples/messages/.numbers)
	@mkdir -p $(@D)
	$(BUILD)/tools/mlnipc program -header $@ -units $(@D) c_examples/messages
	@touch $@
