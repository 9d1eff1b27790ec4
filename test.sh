#!/usr/bin/env bash
# Sets up what the tests need, checks the style, and runs the tests.
#
#   bash test.sh                        # all but the slow ones
#   bash test.sh --slow                 # the slow ones too
#   bash test.sh tests/test_infer.py -x # arguments are pytest's; paths are relative to the repository
[ -n "${BASH_VERSION:-}" ] || { echo 'This script needs bash: bash test.sh' >&2 && exit 2; }
set -euo pipefail
unset PYTHONPATH PYTHONHOME # another project's, as ROS sets it

CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

case " $* " in
    *' -h '* | *' --help '*) exec bash tools/setup.sh help test ;;
esac
selection='not slow'
if [ "${1:-}" = --slow ]; then
    shift
    selection='slow or not slow'
fi

bash tools/setup.sh test
.venv/bin/python -m ruff check .
.venv/bin/python -m ruff format --check .
exec .venv/bin/python -m pytest -q -rs -m "$selection" "$@"
