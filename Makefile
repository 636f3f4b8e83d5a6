# SPDX-License-Identifier: Apache-2.0
# A thin front on meson and the scripts; CONTRIBUTING.md tells how to build parts by hand.
.PHONY: run lab test chaos sim bench build install clean help root-lab setup-run setup-lab setup-test setup-bench

help:
	@echo 'make run      build Tarn, start a manager and an agent here, deploy a guest and watch it boot'
	@echo 'make lab      as root: a manager and SERVERS=3 servers in network namespaces, to try pools and failures on'
	@echo 'make test     build with sanitizers and run every test; TESTS=PATTERN for some, CRASH=full for each crash point'
	@echo 'make chaos    as root: cut, stop and kill what a lab of three servers runs, for MINUTES=10, drawn from SEED='
	@echo 'make sim      run the simulator on fresh seeds; HOURS=1 says for how long'
	@echo 'make bench    measure against bare QEMU, and against libvirt when it is installed (./setup peers)'
	@echo 'make build    build into build/'
	@echo 'make install  install what is built (DESTDIR is obeyed)'
	@echo 'make clean    remove what was built; guests and their disks stay where they are'

run: setup-run
	@tools/run

LAB = $(if $(SERVERS),--servers $(SERVERS)) --heartbeats $(or $(HEARTBEATS),1)
lab: root-lab setup-lab
	@$(if $(TARN_BUILD),,tools/build)
	@tools/lab start $(LAB)

test: setup-test
	@tests/run

chaos: setup-lab
	@$(if $(TARN_BUILD),,tools/build)
	@CHAOS_MINUTES=$(or $(MINUTES),10) CHAOS_SEED=$(or $(SEED),$$(date +%s)) python3 tests/lib/main.py tests/integration/test_chaos.py

sim: setup-test
	@test -d build-sim || meson setup build-sim --buildtype=debugoptimized -Dtests=false
	@ninja -C build-sim src/sim/tarn-sim
	@tests/sim/run build-sim/src/sim/tarn-sim $$(python3 -c 'print($(or $(HOURS),1) * 3600)')

bench: setup-bench build
	@bench/run

build: setup-run
	@tools/build

install: build
	@meson install -C build --no-rebuild

clean:
	rm -rf build build-*

# Said before anything is installed and built.
root-lab:
	@test "$$(id -u)" = 0 || { echo 'lab: network namespaces take root: run it as root, or with sudo' >&2; exit 1; }
	@! test -x /usr/bin/python3 || tools/lab start --check $(LAB)
setup-run:
	@./setup run
setup-lab:
	@./setup lab
setup-test:
	@./setup test
setup-bench:
	@./setup bench
