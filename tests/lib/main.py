# SPDX-License-Identifier: Apache-2.0
"""Runs the unittest file given, one line for each test: PASSED or FAILED and its name. A skipped test is a failed one:
what cannot be tested on a machine is said there, not passed over in silence."""

import importlib.util
import os
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


class Result(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        self.began = time.monotonic()

    def line(self, word, test):
        took = time.monotonic() - getattr(self, "began", time.monotonic())
        print(f"{word} {test.id().replace(' ', '_')} {took:.1f} s", flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.line("PASSED", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        print(self.failures[-1][1])
        self.line("FAILED", test)

    def addError(self, test, err):
        super().addError(test, err)
        print(self.errors[-1][1])
        self.line("FAILED", test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            print((self.failures + self.errors)[-1][1])
            self.line("FAILED", subtest)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"skipped: {reason}")
        self.line("FAILED", test)

    def printErrors(self):
        pass


def main(path):
    # A run that is told to stop cleans up as a test that fails does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    tests = unittest.defaultTestLoader.loadTestsFromModule(module)
    if len(sys.argv) > 2:
        tests = unittest.TestSuite(case for case in flatten(tests) if any(word in case.id() for word in sys.argv[2:]))
    result = unittest.TextTestRunner(stream=open(os.devnull, "w"), resultclass=Result, verbosity=0).run(tests)
    return 0 if result.wasSuccessful() and not result.skipped else 1


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


sys.exit(main(sys.argv[1]))
