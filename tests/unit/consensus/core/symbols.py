"""The object files of consensus/core import only what is on this list: it is pure."""
import re
import subprocess
import sys

ALLOWED = re.compile(
    r"^(raft_\w+"  # itself
    r"|cf_(alloc|zalloc|array|realloc|memdup|free|error_set|prng_(seed|next|below)"
    r"|buf_(init|done|add|add_slice|add_byte|add_u32|add_u64))"
    r"|(__)?mem(cpy|move|set|cmp|chr)(_chk)?|str(len|cmp)"
    r"|__assert_fail|__stack_chk_fail|__cpu_model|_GLOBAL_OFFSET_TABLE_"
    r"|__(asan|ubsan|tsan|gcov|sanitizer|llvm)_\w+)$")


def main():
    out = subprocess.run(["nm", "-u", sys.argv[1]], check=True, capture_output=True, text=True)
    wrong = sorted({line.split()[-1] for line in out.stdout.splitlines()
                    if len(line.split()) == 2 and line.split()[0] in "Uwv"
                    and not ALLOWED.match(line.split()[-1])})
    for name in wrong:
        print(f"consensus/core imports {name}: it must stay pure", file=sys.stderr)
    sys.exit(1 if wrong else 0)


main()
