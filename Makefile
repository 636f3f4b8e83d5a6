# SPDX-License-Identifier: Apache-2.0
# A thin front on meson and the scripts; CONTRIBUTING.md tells how to build parts by hand.
.PHONY: run test bench build install clean help setup-run setup-test setup-bench

help:
	@echo 'make run      build Tarn, start a manager and an agent here, deploy a guest and watch it boot'
	@echo 'make test     build with sanitizers and run every test; TESTS=PATTERN for some, CRASH=full for each crash point'
	@echo 'make bench    measure against bare QEMU, and against libvirt when it is installed (./setup peers)'
	@echo 'make build    build into build/'
	@echo 'make install  install what is built (DESTDIR is obeyed)'
	@echo 'make clean    remove what was built; guests and their disks stay where they are'

run: setup-run
	@tools/run

test: setup-test
	@tests/run

bench: setup-bench build
	@bench/run

build: setup-run
	@tools/build

install: build
	@meson install -C build --no-rebuild

clean:
	rm -rf build build-*

setup-run:
	@./setup run
setup-test:
	@./setup test
setup-bench:
	@./setup bench
