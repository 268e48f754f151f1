# Rankwise.  Folders are chapters; every .c below them is compiled by one pattern rule.
#   make            build/rankwise            make check      every test
#   make demo       four ranks, a minute or two   make check-unit the fast ones
#   make deps       Debian packages           make lint       includes, doors, formatting
#   make install    $(PREFIX)/bin/rankwise    make demo-model the demo's model again
#   make chaos      200 kills under the supervisor, 20 planted faults with their names
#   make fuzz SECONDS=n   every fuzz target for n seconds (clang)
#   make bench      what this machine can do, and ours beside it: ten minutes
#   make bench-cuda the same of a GPU
#   make check-cuda everything that needs an NVIDIA GPU, on one (EMULATED=1: rehearsed without)
#   make SAN=1 ...  ASan + UBSan, in build-san/

SAN    ?= 0
BUILD  ?= $(if $(filter 1,$(SAN)),build-san,build)
CC      = mpicc
# MPI's wrapper and pkg-config know where things are; the flags are the bit contract's.
CFLAGS ?= -O3 -g
WARN    = -Wall -Wextra $(if $(CI),-Werror)
STD     = -std=c11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -pthread
ifeq ($(SAN),1)
CFLAGS  = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DSANITIZED
endif
PKGS    = hdf5-openmpi libconfig jansson libxxhash libutf8proc zlib libcurl
INCLUDE = -I. -I$(BUILD) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS    = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -ldl

# A line a file; V=1 shows the whole commands.
say     = $(if $(V),,@echo '  $(1)'; )

LEVELS  = base compute data comm checkpoints model actor reward refmodel learner launch
sources = $(shell find $(1) -name '*.c' ! -name 'main.c' ! -path 'comm/nccl.c' ! -path '*/cuda/*' ! -path '*/demo/*' ! -path '*/example/*' | sort)
objects = $(patsubst %.c,$(BUILD)/%.o,$(call sources,$(1)))

all: $(BUILD)/rankwise

# The GPU's operations, in a shared object that the program looks for when it runs.  Without nvcc,
# or with CUDA=0, there is none.
NVCC   ?= $(firstword $(wildcard /usr/local/cuda/bin/nvcc) $(shell command -v nvcc))
CUDA   ?= $(if $(NVCC),1,0)
# 80 (A100), 90 (H100, H200) and 100 (B200), as far as the compiler knows them; other GPUs compile
# the first when they load it.
known   = $(filter $(shell $(NVCC) --list-gpu-arch),$(1))
TARGETS = -gencode=arch=compute_80,code=compute_80 \
          $(foreach t,$(patsubst compute_%,%,$(call known,compute_80 compute_90 compute_100)),\
          -gencode=arch=compute_$(t),code=sm_$(t))
# The contract's: no contraction, denormals, exact division and roots.
NVFLAGS = -std=c++17 -O3 -fmad=false $(TARGETS) -I. -Xcompiler -fPIC,-fvisibility=hidden,-fno-exceptions
GPU_SOURCES = $(sort $(wildcard compute/cuda/*.cu compute/cuda/*.c))
gpu_objects = $(patsubst %,$(BUILD)/$(1)%.o,$(GPU_SOURCES) $(2))
# Only its header is needed here; the library is looked for when several GPUs work together.
NCCL_H = $(firstword $(wildcard $(dir $(NVCC))../include/nccl.h /usr/include/nccl.h))

ifeq ($(CUDA),1)
all: $(BUILD)/librankwise_cuda.so
endif

$(BUILD)/librankwise_cuda.so: $(call gpu_objects,,$(if $(NCCL_H),comm/nccl.c))
	$(call say,link $@)$(NVCC) -shared -cudart static -o $@ $^ -lm
$(BUILD)/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(call say,compile $<)$(NVCC) $(NVFLAGS) -MMD -MF $(@:.o=.d) -MT $@ -c -o $@ $<
$(BUILD)/%.c.o: %.c
	@mkdir -p $(@D)
	$(call say,compile $<)$(CC) $(CFLAGS) $(STD) $(WARN) -I. -isystem $(dir $(NVCC))../include -fPIC -fvisibility=hidden -MMD -MP -c -o $@ $<

# The same without a GPU (tests/cuda/cuda_runtime.h), for tests.
EMULATED_CUDA = $(BUILD)/tests/librankwise_cuda.so
HOST_CXX = g++ -std=c++17 -O2 -g -ffp-contract=off $(WARN) -I. -Itests/cuda -fPIC -MMD -MP
$(EMULATED_CUDA): $(call gpu_objects,tests/emulated/,comm/nccl.c) $(patsubst %,$(BUILD)/tests/emulated/%.o,runtime block)
	$(call say,link $@)g++ -shared -o $@ $^
# NCCL without GPUs: it puts its jobs into the emulated stream.
EMULATED_NCCL = $(BUILD)/tests/librankwise_nccl.so
$(EMULATED_NCCL): $(BUILD)/tests/emulated/nccl.o $(EMULATED_CUDA)
	$(call say,link $@)g++ -shared -Wl,-rpath,'$$ORIGIN' -o $@ $< -L$(@D) -lrankwise_cuda
$(BUILD)/tests/emulated/%.cu.o: %.cu
	@mkdir -p $(@D)
	$(call say,emulate $<)$(HOST_CXX) $(if $(filter x86_64,$(shell uname -m)),-mfma) -x c++ -c -o $@ $<
$(BUILD)/tests/emulated/%.c.o: %.c
	@mkdir -p $(@D)
	$(call say,emulate $<)$(CC) -O2 -g $(STD) $(WARN) -I. -Itests/cuda -fPIC -MMD -MP -c -o $@ $<
$(BUILD)/tests/emulated/%.o: tests/cuda/%.cc
	@mkdir -p $(@D)
	$(call say,compile $<)$(HOST_CXX) -c -o $@ $<

# And without cuBLASLt.
EMULATED_LT = $(BUILD)/tests/emulated_lt.so
$(EMULATED_LT): tests/cuda/lt.c tests/cuda/cublasLt.h $(EMULATED_CUDA)
	$(call say,link $@)$(CC) -O2 -g $(STD) $(WARN) -I. -Itests/cuda -fPIC -shared -o $@ $< \
		-L$(BUILD)/tests -l:librankwise_cuda.so -Wl,-rpath,'$$ORIGIN'

# One archive a folder, so that a test links only the folders at or below its level.
define archive
$(BUILD)/lib$(1).a: $(call objects,$(1))
	@rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach f,$(LEVELS),$(eval $(call archive,$(f))))

archives = $(foreach f,$(1),$(BUILD)/lib$(f).a)
HIGH_TO_LOW = launch learner refmodel reward actor model checkpoints comm data compute base

$(BUILD)/rankwise: $(BUILD)/launch/main.o $(call archives,$(HIGH_TO_LOW))
	$(call say,link $@)$(CC) $(CFLAGS) $(STD) -o $@ $(BUILD)/launch/main.o -Wl,--start-group $(call archives,$(HIGH_TO_LOW)) -Wl,--end-group $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,compile $<)$(CC) $(CFLAGS) $(STD) $(WARN) $(INCLUDE) -MMD -MP -c -o $@ $<

# A test links the folders named in FOLDERS_<test> (default: all), so that it shows who needs whom.
FOLDERS_test_base       = base
FOLDERS_test_numbers    = base
FOLDERS_test_json       = base
FOLDERS_test_trace      = base
FOLDERS_test_config     = base
FOLDERS_test_config_mistakes = base
FOLDERS_test_compute    = compute base
FOLDERS_test_pool       = compute base
FOLDERS_test_compute_bf16 = compute base
FOLDERS_test_compute_attention = compute base
FOLDERS_test_compute_tensor = compute base
FOLDERS_test_lt         = compute base
FOLDERS_test_compute_math = compute base
FOLDERS_test_tensor_attention = compute base
FOLDERS_test_compute_slope = compute base
FOLDERS_test_gpu        = compute base
FOLDERS_test_compute_ragged = compute base
FOLDERS_test_data       = data base
FOLDERS_test_template   = data base
FOLDERS_test_template_whole = data base
FOLDERS_test_chat       = data base
FOLDERS_test_prompts    = data base
FOLDERS_test_records    = data base
FOLDERS_test_records_refused = data base
FOLDERS_test_tokenizer  = data base
FOLDERS_test_tokenizer_files = data base
FOLDERS_test_stop_strings = data base
FOLDERS_test_comm       = comm data compute base
FOLDERS_mpi_comm        = comm data compute base
FOLDERS_mpi_tree        = comm data compute base
FOLDERS_mpi_gpus        = comm data compute base
FOLDERS_mpi_link        = comm data compute base
FOLDERS_test_safetensors = checkpoints base
FOLDERS_test_safetensors_hostile = checkpoints base
FOLDERS_test_checkpoint = checkpoints comm data compute base
FOLDERS_test_checkpoint_folder = checkpoints comm data compute base
FOLDERS_test_image       = checkpoints comm data compute base
FOLDERS_mpi_checkpoint  = checkpoints comm data compute base
FOLDERS_test_model      = model comm data compute base
FOLDERS_test_scores     = model comm data compute base
FOLDERS_test_blocks     = model comm data compute base
FOLDERS_test_passes     = model comm data compute base
FOLDERS_test_cache      = model comm data compute base
FOLDERS_test_shape      = model comm data compute base
FOLDERS_test_actor      = actor model comm data compute base
FOLDERS_test_actor_draws = actor model comm data compute base
FOLDERS_test_sample     = compute base
FOLDERS_test_sequence   = compute base
FOLDERS_test_reward     = reward model comm data compute base
FOLDERS_test_reward_rules = reward model comm data compute base
FOLDERS_test_reward_outside = reward model comm data compute base
FOLDERS_test_reward_record = reward model comm data compute base
FOLDERS_test_scorer     = reward model comm data compute base
FOLDERS_test_mix        = reward model comm data compute base
FOLDERS_test_refmodel   = refmodel actor model comm data compute base
FOLDERS_test_algorithms = learner model comm data compute base
FOLDERS_test_algorithm_rows = learner model comm data compute base
FOLDERS_test_loss       = learner model comm data compute base
FOLDERS_test_loss_lists = learner model comm data compute base
FOLDERS_test_policy     = learner model comm data compute base
FOLDERS_test_policy_learner = learner model comm data compute base
FOLDERS_test_policy_steps = learner model comm data compute base
FOLDERS_test_combine    = learner model comm data compute base
FOLDERS_test_gram       = learner model comm data compute base
FOLDERS_test_raco       = learner model comm data compute base
FOLDERS_test_raco_sources = learner model comm data compute base
FOLDERS_test_raco_leaves = learner model comm data compute base
FOLDERS_mpi_raco        = learner model comm data compute base
FOLDERS_test_osp        = learner model comm data compute base
FOLDERS_test_verdicts   = reward model comm data compute base
FOLDERS_test_targets    = learner model comm data compute base
FOLDERS_test_score_shaping = learner model comm data compute base
FOLDERS_test_orchestrator = learner model comm data compute base
FOLDERS_test_optimizer  = learner model comm data compute base
FOLDERS_test_learner    = learner model comm data compute base
FOLDERS_test_sft        = learner model comm data compute base
FOLDERS_test_health     = learner model comm data compute base
FOLDERS_test_reward_model = learner model comm data compute base
FOLDERS_test_rm_learner = learner model comm data compute base
FOLDERS_test_preference = learner model comm data compute base
FOLDERS_test_objectives = learner model comm data compute base
FOLDERS_mpi_learner     = learner model comm data compute base

TESTS = $(patsubst tests/%.c,%,$(wildcard tests/test_*.c tests/mpi_*.c) tests/golden.c)
define test
$(BUILD)/tests/$(1): $(BUILD)/tests/$(1).o $(BUILD)/tests/support.o $(2) $(call archives,$(or $(FOLDERS_$(1)),$(HIGH_TO_LOW)))
	$$(call say,link $$@)$(CC) $(CFLAGS) $(STD) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LIBS) -lcmocka
endef
VARIANT_TESTS = test_compute test_compute_attention test_compute_bf16 test_compute_math \
	test_compute_ragged test_compute_slope test_sample test_tensor_attention
$(foreach t,$(filter-out golden test_reward_outside test_reward_record $(VARIANT_TESTS),$(TESTS)),$(eval $(call test,$(t),)))
$(eval $(call test,golden,$(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/golden_*.c))))

# AVX-512 without the processor (tests/emulated.h); -O3 takes four times as long.
EMULATED = $(BUILD)/tests/emulated_avx512.o $(BUILD)/tests/emulated_avx512_bf16.o
$(EMULATED): CFLAGS += -O1
$(EMULATED): STD += $(if $(filter x86_64,$(shell uname -m)),-mavx2 -mfma -Wno-psabi)
$(foreach t,$(VARIANT_TESTS),$(eval $(call test,$(t),$(EMULATED))))
tests: $(EMULATED_CUDA) $(EMULATED_NCCL) $(EMULATED_LT)
$(BUILD)/tests/test_tensor_attention.o $(BUILD)/tests/test_compute_tensor.o: INCLUDE += -Itests/cuda

# Rewards from outside: what answers, and shared objects that are loaded.
$(eval $(call test,test_reward_outside,$(BUILD)/tests/scorer.o))
$(eval $(call test,test_reward_record,$(BUILD)/tests/scorer.o))
$(BUILD)/tests/test_reward_outside: $(BUILD)/reward/example/vowels.so $(BUILD)/tests/plugin_flush.so \
	$(BUILD)/tests/plugin_scoreless.so
$(BUILD)/%.so: %.c reward/plugin.h
	@mkdir -p $(@D)
	$(call say,link $@)$(CC) $(CFLAGS) $(STD) $(WARN) -I. -fPIC -shared -o $@ $<

# Fuzz targets, one a file.  Under clang libFuzzer has the main function, else replay.c.
FUZZERS = $(filter-out support replay,$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c)))
FUZZERS_MADE = $(patsubst %,$(BUILD)/tests/fuzz/%,$(FUZZERS))
FUZZ_FOLDERS = reward model checkpoints comm data compute base
FUZZ_CFLAGS  = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined,fuzzer-no-link \
               -fno-sanitize-recover=undefined -DSANITIZED
FUZZ_MAIN = $(BUILD)/tests/fuzz/replay.o
$(FUZZERS_MADE): $(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $(BUILD)/tests/fuzz/support.o \
	$(filter %.o,$(FUZZ_MAIN)) $(call archives,$(FUZZ_FOLDERS))
	$(call say,link $@)$(CC) $(CFLAGS) $(filter -%,$(FUZZ_MAIN)) $(STD) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
fuzzers-made: $(FUZZERS_MADE)

# Reads the board of a job's ranks to hit one of them where it is wanted.
$(BUILD)/tests/chaos/strike: $(BUILD)/tests/chaos/strike.o $(call archives,comm data compute base)
	$(call say,link $@)$(CC) $(CFLAGS) $(STD) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)

# ---- what people type
DEPS = build-essential pkg-config openmpi-bin libopenmpi-dev libhdf5-openmpi-dev libconfig-dev \
       libjansson-dev libxxhash-dev libutf8proc-dev zlib1g-dev libcurl4-openssl-dev libcmocka-dev \
       libsimde-dev procps $(if $(CI),$(FUZZ_DEPS) iptables iproute2 slurm-wlm munge)
FUZZ_DEPS = clang libclang-rt-dev

# Debian packages, only those that are missing; says what it does, asks for sudo when not root.
deps:
	@sh launch/deps.sh $(DEPS)

demo:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory -j2 $(BUILD)/rankwise
	@BUILD=$(BUILD) sh launch/demo/demo.sh

check:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory -j2 all tests
	@BUILD=$(BUILD) SAN=$(SAN) sh tests/run.sh all

# tests/check_cuda.sh; every line a SKIP without a GPU.
check-cuda: all tests
	@BUILD=$(BUILD) SAN=$(SAN) sh tests/check_cuda.sh

check-unit:
	@$(MAKE) --no-print-directory -j2 tests
	@BUILD=$(BUILD) SAN=$(SAN) sh tests/run.sh unit

CHAOS = $(patsubst %,$(BUILD)/tests/chaos/%,at_rename.so read_only.so \
	shift_clock.so stuck_mpi.so strike)

tests: $(patsubst %,$(BUILD)/tests/%,$(TESTS)) $(CHAOS) fuzzers-made

# docs/fuzzing.md; SECONDS of each target.
SECONDS ?= 60
fuzz:
	@sh launch/deps.sh $(DEPS) $(FUZZ_DEPS)
	@$(MAKE) --no-print-directory fuzzers
	@sh tests/fuzz/run.sh $(SECONDS)
fuzzers:
	@OMPI_CC=clang $(MAKE) --no-print-directory -j2 BUILD=build-fuzz CFLAGS='$(FUZZ_CFLAGS)' \
		FUZZ_MAIN=-fsanitize=fuzzer fuzzers-made

# Kills, stops and damage, some 20 minutes of it.
chaos:
	@$(MAKE) --no-print-directory -j2 all $(CHAOS)
	@BUILD=$(BUILD) SAN=$(SAN) sh tests/chaos/kill.sh 200
	@BUILD=$(BUILD) SAN=$(SAN) sh tests/chaos/faults.sh all
	@BUILD=$(BUILD) sh tests/chaos/hosts.sh
	@BUILD=$(BUILD) sh tests/chaos/slurm.sh

lint:
	@sh tests/lint.sh

# Every figure of docs/performance.md's table of targets in under ten minutes, also into
# build/bench.jsonl; peers (PyTorch, llama.cpp) where they are.
bench: all
	@BUILD=$(BUILD) sh launch/bench.sh

# The same of a GPU, into build/bench-cuda.jsonl.
bench-cuda: all
	@BUILD=$(BUILD) sh launch/bench-cuda.sh

PREFIX ?= /usr/local
install: all
	install -D $(BUILD)/rankwise $(DESTDIR)$(PREFIX)/bin/rankwise
	[ $(CUDA) = 0 ] || install -D $(BUILD)/librankwise_cuda.so $(DESTDIR)$(PREFIX)/lib/librankwise_cuda.so
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/rankwise $(addprefix tests/oracle/bench_,torch.py torch_cuda.py llama.py)

# The demo's model, made again from nothing: world -> text and vocabulary -> training -> export.
demo-model: $(BUILD)/rankwise $(BUILD)/demo/stories $(BUILD)/demo/bpe
	BUILD=$(BUILD) sh launch/demo/make-model.sh

# Small files of preferences from samples of that model.
demo-preferences: $(BUILD)/rankwise $(BUILD)/demo/preferences
	BUILD=$(BUILD) sh launch/demo/make-preferences.sh

$(BUILD)/demo/%: $(BUILD)/launch/demo/%.o $(call archives,base)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(STD) -o $@ $^ $(LIBS)

clean:
	rm -rf $(BUILD)

.PHONY: all bench bench-cuda deps demo check check-cuda check-unit chaos fuzz fuzzers fuzzers-made tests lint install demo-model demo-preferences clean
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
