# The programs of the benchmark suite; see docs/performance.md. The runner (go run ./bench) asks for those of the peers one by
# one, and does without those that cannot be built.

bench_flags = -std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra $(CFLAGS)
bench_programs = $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/floor/*.c bench/ours/*.c)) \
    $(BUILD)/bench/gocore/messages $(BUILD)/bench/gonet/messages

bench-programs: $(bench_programs)

$(BUILD)/bench/floor/%: bench/floor/%.c bench/floor/frames.h bench/bench.h $(BUILD)/inputs
	@mkdir -p $(@D)
	$(CC) $(bench_flags) $< -o $@ $(LDFLAGS)

$(BUILD)/bench/ours/%: bench/ours/%.c bench/ours/processes.h bench/bench.h $(BUILD)/lib/$(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(bench_flags) -I$(BUILD)/include $< -o $@ -pthread $(LDFLAGS) -L$(BUILD)/lib -lmln -Wl,-rpath,'$$ORIGIN/../../lib'

$(BUILD)/bench/gocore/messages $(BUILD)/bench/gonet/messages: $(BUILD)/bench/%/messages: FORCE | tools
	@mkdir -p $(@D)
	CGO_ENABLED=0 $(go_build) -o $@ ./bench/$*

bench_library_uv = -luv
bench_library_event = -levent
bench_library_nng = -lnng
bench_library_zmq = -lzmq -pthread

$(BUILD)/bench/peers/%: bench/peers/%.c $(wildcard bench/peers/*.h) bench/bench.h $(BUILD)/inputs
	@mkdir -p $(@D)
	$(CC) $(bench_flags) $< -o $@ $(LDFLAGS) $(bench_library_$(firstword $(subst _, ,$*)))
