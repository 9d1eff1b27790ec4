#!/usr/bin/env bash
# Makes .venv, the virtual environment of this clone, and installs one of six sets of packages into it:
#
#   bash tools/setup.sh infer   # what infer.py needs on a CPU: 210 MB to download, Python 3.10 to 3.14
#   bash tools/setup.sh train   # with OneFlow and its CUDA libraries: 2 GB, Linux on x86-64 and Python 3.10
#   bash tools/setup.sh torch   # with PyTorch too, whose kernels train faster on a CPU: another 3 GB
#   bash tools/setup.sh page    # with gradio, for the page in the browser: 290 MB, as infer or beside another set
#   bash tools/setup.sh cluster # with Ray, for tools.cluster: 290 MB, as infer or beside another set
#   bash tools/setup.sh test    # with the tests' tools
#
# infer.sh, train.sh and test.sh begin with it. Nothing is done where the set is there: .venv/installed-SET is a copy of
# all requirements. PYTHON=/path/to/python chooses the interpreter of a new .venv.
[ -n "${BASH_VERSION:-}" ] || { echo 'This script needs bash: bash tools/setup.sh' >&2 && exit 2; }
set -euo pipefail
unset PYTHONPATH PYTHONHOME # another project's, as ROS sets it

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
set=${1:-}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

if [ "$set" = help ]; then # for infer.sh, train.sh and test.sh: the comment that the script begins with
    sed -n '2,/^\[ /{ /^#/s/^# \{0,1\}//p; }' "$root/$2.sh"
    [ "$2" = test ] || printf '\nAll options: .venv/bin/python %s.py --help, once the packages are there.\n' "$2"
    exit 0
fi

# `infer` prefers the Python that `train` needs, so that nothing has to be made again for it.
versions=3.10 size='2 GB' file=requirements/$set.txt holds="infer train $set"
case $set in
    infer) versions='3.10 3.11 3.12 3.13 3.14' size='210 MB' holds=infer ;;
    train) file=requirements.txt ;;
    page | cluster) versions='3.10 3.11 3.12 3.13 3.14' size='290 MB' holds="infer $set" ;;
    torch) size='5 GB' ;;
    test) ;;
    *) fail 'usage: bash tools/setup.sh infer|page|cluster|train|torch|test' ;;
esac

# Prints the version of an interpreter if it runs, is one of $versions, and can make virtual environments.
version_of() { # -I: the folder that the user stands in may have modules of the standard library's names
    local found
    found=$("$1" -I -c 'import ensurepip, sys, venv; print("%d.%d" % sys.version_info[:2])' </dev/null 2>/dev/null) || return 0
    case " $versions " in *" $found "*) printf '%s\n' "$found" ;; esac
}

# Prints the interpreter for a new .venv.
choose_python() {
    local version candidate candidates
    if [ -n "${PYTHON:-}" ]; then
        [ -n "$(version_of "$PYTHON")" ] || fail "PYTHON=$PYTHON does not run, cannot make virtual environments, or is none of $versions."
        command -v "$PYTHON"
        return
    fi
    candidates=(${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} ${CONDA_PREFIX:+"$CONDA_PREFIX/bin/python"})
    for version in $versions; do
        candidates+=("python$version" "${PYENV_ROOT:-${HOME:-}/.pyenv}/versions/$version".*/bin/python)
    done
    for candidate in "${candidates[@]}" python3 python; do
        candidate=$(command -v "$candidate") && [[ $candidate != "$venv"/* ]] || continue # that one does not serve
        [ -z "$(version_of "$candidate")" ] || { printf '%s\n' "$candidate" && return; }
    done
    if command -v uv >/dev/null; then
        uv python find --system 3.10 2>/dev/null || { uv python install 3.10 >&2 && uv python find --system 3.10; }
        return
    fi
    fail "No Python of $versions that can make virtual environments was found. Install one (uv python install 3.10, pyenv install 3.10, or on Debian and Ubuntu apt install python3-venv), or name it with PYTHON=/path/to/python3."
}

if command -v flock >/dev/null; then # a second set-up of this clone waits for the first
    exec 9<"${BASH_SOURCE[0]}"
    flock 9 2>/dev/null || true # some network file systems have no locks
fi
if [ -e "$venv.old" ]; then # a set-up was killed: before it was whole, or after
    compgen -G "$venv/installed-*" >/dev/null || { rm -rf "$venv" && mv "$venv.old" "$venv"; }
    rm -rf "$venv.old"
fi
stamp=$(cd "$root" && cat requirements.txt requirements/*.txt)
present=$(version_of "$venv/bin/python")
[ -z "$present" ] || [ "$(cat "$venv/installed-$set" 2>/dev/null)" != "$stamp" ] || exit 0
[[ $holds != *train* ]] || [ "$(uname -s) $(uname -m)" = 'Linux x86_64' ] ||
    fail "OneFlow 0.9.0 exists for Linux on x86-64 alone, and this is $(uname -s) on $(uname -m); bash infer.sh works here."
if [ -z "$present" ] || ! "$venv/bin/python" -I -m pip --version >/dev/null 2>&1; then
    python=$(choose_python)
    [ ! -e "$venv" ] || printf 'Making .venv anew with %s: the one that is there does not serve.\n' "$python" >&2
    if [ -e "$venv" ]; then # it comes back unless all is installed
        mv "$venv" "$venv.old"
        trap '[ ! -e "$venv.old" ] || { rm -rf "$venv" && mv "$venv.old" "$venv"; }' EXIT
    fi
    rm -rf "$venv"
    "$python" -I -m venv "$venv" || fail "$python could not make the virtual environment $venv."
fi
if [[ $set == page || $set == cluster ]]; then # these two leave the other sets as they are
    for other in "$venv"/installed-*; do
        [ "$(cat "$other" 2>/dev/null)" != "$stamp" ] || holds+=" ${other##*/installed-}"
    done
fi
rm -f "$venv"/installed-*
printf 'Installing what is needed for "%s" into .venv: once, up to %s to download.\n' "$set" "$size" >&2
pip() {
    PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ONLY_BINARY=:all: "$venv/bin/python" -I -m pip "$@" >&2 ||
        fail 'The packages could not be installed; pip says why above (without a network it finds "no matching distribution").' \
            'The same command goes on where it stopped.'
}
pip install -r "$root/$file"
pip install --no-deps -r "$root/requirements/detector.txt"
if ! said=$("$venv/bin/python" -I -c 'import cv2' 2>&1); then # servers have no libGL: OpenCV without windows does not need it
    printf '%s\n' "${said##*$'\n'}" 'Installing OpenCV without windows instead. For the window: apt install libgl1 libglib2.0-0 libsm6, or what' \
        'your system calls them; then remove .venv and run the same command again.' >&2
    pip uninstall --yes opencv-python
    pip install --force-reinstall --no-deps "$(sed -n 's/^opencv-python==/opencv-python-headless==/p' "$root/requirements/infer.txt")"
    said=$("$venv/bin/python" -I -c 'import cv2' 2>&1) || fail "OpenCV does not load: ${said##*$'\n'}"
fi
[[ $holds != *train* ]] || said=$(cd "$root" && "$venv/bin/python" -c 'import utils; utils.import_oneflow()' 2>&1) || fail "${said##*$'\n'}"
for set in $holds; do
    printf '%s\n' "$stamp" >"$venv/installed-$set"
done
trap - EXIT
rm -rf "$venv.old"
