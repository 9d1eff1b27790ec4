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
            sed -n '2,/^set /{ /^#/s/^# \{0,1\}//p; }' "$(basename "${BASH_SOURCE[0]}")"
            exit 0
            ;;
    esac
done
if [ "${1:-}" = --slow ]; then
    shift
    set -- -m 'slow or not slow' "$@"
fi

bash setup.sh test
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
exec .venv/bin/python -m pytest "$@"
