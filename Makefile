# Rankwise.  Folders are chapters; every .c below them is compiled by one pattern rule.
#   make            build/rankwise            make check      every test
#   make demo       four ranks, two minutes   make check-unit the fast ones
#   make deps       Debian packages           make lint       includes, doors, formatting
#   make SAN=1 ...  ASan + UBSan, in build-san/

SAN    ?= 0
BUILD  ?= $(if $(filter 1,$(SAN)),build-san,build)
CC      = mpicc
# MPI's wrapper and pkg-config know where things are; the flags are the bit contract's.
CFLAGS ?= -O3 -g
WARN    = -Wall -Wextra $(if $(CI),-Werror)
STD     = -std=c11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -fopenmp
ifeq ($(SAN),1)
CFLAGS  = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DSANITIZED
endif
PKGS    = hdf5-openmpi libconfig jansson libxxhash zlib
INCLUDE = -I. -I$(BUILD) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS    = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm

LEVELS  = base compute data comm checkpoints model actor reward refmodel learner launch
sources = $(shell find $(1) -name '*.c' ! -name 'main.c' ! -path '*/demo/*' | sort)
objects = $(patsubst %.c,$(BUILD)/%.o,$(call sources,$(1)))

all: $(BUILD)/rankwise

# One archive a folder, so that a test links only the folders at or below its level.
define archive
$(BUILD)/lib$(1).a: $(call objects,$(1))
	@rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach f,$(LEVELS),$(eval $(call archive,$(f))))

archives = $(foreach f,$(1),$(BUILD)/lib$(f).a)
HIGH_TO_LOW = launch learner refmodel reward actor model checkpoints comm data compute base

$(BUILD)/rankwise: $(BUILD)/launch/main.o $(call archives,$(HIGH_TO_LOW))
	$(CC) $(CFLAGS) $(STD) -o $@ $(BUILD)/launch/main.o -Wl,--start-group $(call archives,$(HIGH_TO_LOW)) -Wl,--end-group $(LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(STD) $(WARN) $(INCLUDE) -MMD -MP -c -o $@ $<

# tests/test_X.c links the folders named in NEEDS_X (default: all).
NEEDS_base     = base
NEEDS_compute  = compute base
NEEDS_data     = data base
NEEDS_tokenizer = data base
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(call archives,$(HIGH_TO_LOW))
	$(CC) $(CFLAGS) $(STD) -o $@ $< -Wl,--start-group $(call archives,$(HIGH_TO_LOW)) -Wl,--end-group $(LIBS) -lcmocka

.PHONY: all
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
