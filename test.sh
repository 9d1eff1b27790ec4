#!/usr/bin/env bash
# Sets up what the tests need, checks the style, and runs the tests.
#
#   bash test.sh                        # all but the slow ones
#   bash test.sh --slow                 # the slow ones too
#   bash test.sh tests/test_infer.py -x # arguments are pytest's; paths are relative to the repository
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

for argument in "$@"; do
    case $argument in
        -h | --help)
            exec bash tools/setup.sh help test
            ;;
    esac
done
selection='not slow'
if [ "${1:-}" = --slow ]; then
    shift
    selection='slow or not slow'
fi

bash tools/setup.sh test
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
if [ $# -gt 0 ]; then
    exec .venv/bin/python -m pytest -m "$selection" "$@"
fi

# A process for each file: after hundreds of tests, OneFlow, OpenVINO and onnxruntime together in one process crash.
trap 'exit 130' INT # pytest's own status then is 2, as for other failures
failed=''
shopt -s nullglob
for file in tests/test_*.py tests/*/test_*.py; do
    status=0
    .venv/bin/python -m pytest -q -rs -m "$selection" "$file" || status=$?
    case $status in
        0 | 5) ;; # 5: nothing of this file was selected
        *) failed="$failed $file" ;;
    esac
done
if [ -n "$failed" ]; then
    printf 'FAILED:%s\n' "$failed" >&2
    exit 1
fi
printf 'All files passed.\n'
