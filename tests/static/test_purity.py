# SPDX-License-Identifier: Apache-2.0
"""What keeps src/core and src/guest pure: the symbols that their objects (and those of base and api below them) ask for.

The list says what is allowed, so that a new call has to be thought about. No system call, no clock, no randomness, no
environment, no file, no thread, no output.
"""

import os
import re
import subprocess
import unittest

BUILD = os.environ["TARN_BUILD"]

ALLOWED = re.compile(r"""^(
    mem(cpy|move|set|cmp|chr|rchr|mem)|explicit_bzero
  | str(len|nlen|cmp|ncmp|casecmp|ncasecmp|casestr|chr|chrnul|rchr|str|spn|cspn|pbrk|dup|ndup|cpy|ncpy|sep|tok_r|cat)
  | stp(cpy|ncpy)
  | malloc|calloc|realloc|reallocarray|free|abort
  | (__isoc\d\d_)?strto(l|ll|ul|ull|d)|atoi|(__isoc\d\d_)?sscanf
  | v?snprintf|v?asprintf|strerror
  | qsort|qsort_r|bsearch
  | inet_pton                              # text to bytes
  | gmtime_r|timegm                        # arithmetic on a time that is given; no time zone, no clock
  | __ctype_(b|tolower|toupper)_loc|tolower|toupper
  | fmod|floor|ceil|round|lround|llround|rint|modf|fabs|isnan|isinf|ldexp|frexp|pow|log|log2|exp
  | __errno_location|__assert_fail
  | __stack_chk_fail|__\w+_chk             # FORTIFY and stack protector
  | json_\w+
  | __(asan|ubsan|lsan|sanitizer|tsan|sancov|gcov|llvm)_\w+
  | _GLOBAL_OFFSET_TABLE_|_ITM_\w+|__gmon_start__|__cxa_finalize
  | __udivti3|__umodti3|__divti3|__popcountdi2|__muloti4
)$""", re.X)

# jansson can read and write files and seeds its tables from the system; the pure layers keep to memory.
JANSSON_REFUSED = re.compile(r"^json_(load_file|loadf|loadfd|load_callback|dump_file|dumpf|dumpfd|object_seed)$")
# base is used by the shells as well: what it alone may call.
BASE_MORE = {"base": re.compile(r"^__tls_get_addr$")}  # json_scratch_begin(): a block for each thread


def symbols(library, undefined):
    out = subprocess.run(["nm", "-P", "--undefined-only" if undefined else "--defined-only", library], check=True,
                         capture_output=True, text=True).stdout
    found = {}
    member = ""
    for line in out.splitlines():
        if line.endswith(":"):
            member = line
        elif line and (undefined or line.split()[1].isupper()):
            found.setdefault(line.split()[0].split("@")[0], member)
    return found


class Purity(unittest.TestCase):
    def libraries(self):
        return {name: os.path.join(BUILD, f"src/{name}/lib{name}.a") for name in ("base", "api", "core", "guest")}

    def test_pure_layers_ask_for_nothing_outside(self):
        ours = set()
        for library in self.libraries().values():
            ours |= set(symbols(library, undefined=False))
        for name, library in self.libraries().items():
            with self.subTest(name):
                bad = sorted(f"{symbol} ({member})" for symbol, member in symbols(library, undefined=True).items()
                             if symbol not in ours and (not ALLOWED.match(symbol) or JANSSON_REFUSED.match(symbol))
                             and not BASE_MORE.get(name, BASE_MORE["base"]).match(symbol))
                self.assertEqual(bad, [], f"src/{name} must not call these")

    def test_core_and_guest_do_not_know_each_other(self):
        libraries = self.libraries()
        core, guest = symbols(libraries["core"], undefined=False), symbols(libraries["guest"], undefined=False)
        self.assertEqual(sorted(set(symbols(libraries["core"], undefined=True)) & set(guest)), [])
        self.assertEqual(sorted(set(symbols(libraries["guest"], undefined=True)) & set(core)), [])

    def test_the_scan_sees_a_forbidden_call(self):
        for name in ("open", "time", "clock_gettime", "getrandom", "rand", "printf", "getenv", "socket", "localtime_r"):
            self.assertIsNone(ALLOWED.match(name), name)
