#!/usr/bin/env bash
# Makes .venv, the virtual environment of this clone, and installs one of four sets of packages into it:
#
#   bash tools/setup.sh infer   # what infer.py needs on a CPU: 165 MB to download, Python 3.8 to 3.14
#   bash tools/setup.sh train   # with OneFlow and its CUDA libraries: 2.3 GB, Linux on x86-64 and Python 3.8 to 3.10
#   bash tools/setup.sh torch   # with PyTorch too, whose kernels train faster on a CPU: another 3 GB
#   bash tools/setup.sh test    # with the tests' tools
#
# infer.sh, train.sh and test.sh begin with it. `train` holds `infer`; `torch` and `test` hold both. Nothing is done
# where the set is there: .venv/installed-SET is a copy of what was installed, written when pip has succeeded.
# PYTHON=/path/to/python chooses the interpreter.
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
set=${1:-}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

if [ "$set" = help ]; then # for infer.sh, train.sh and test.sh: the comment that the script begins with
    sed -n '2,/^set /{ /^#/s/^# \{0,1\}//p; }' "$root/$2.sh"
    [ "$2" = test ] || printf '\nAll options: python %s.py --help, once the packages are there.\n' "$2"
    exit 0
fi

case $set in
    infer) versions='3.10 3.9 3.11 3.12 3.13 3.14 3.8' size='165 MB' installs='infer' requirements=requirements/infer.txt ;;
    train) versions='3.10 3.9 3.8' size='2.3 GB' installs='infer train' requirements=requirements.txt ;;
    torch) versions='3.10 3.9 3.8' size='5.3 GB' installs='infer train torch' requirements=requirements/torch.txt ;;
    test) versions='3.10 3.9 3.8' size='2.4 GB' installs='infer train test' requirements=requirements/test.txt ;;
    *) fail 'usage: bash tools/setup.sh infer|train|torch|test' ;;
esac
# `infer` prefers the Pythons that `train` can use too, so that nothing has to be built again for it.

# Prints VERSION and the path of the interpreter itself (also for one in a virtual environment, or a shim of pyenv).
# The path is empty if it cannot make virtual environments. Prints nothing where it is no CPython, or does not run.
probe() {
    "$1" -c '
import os, sys
if sys.implementation.name == "cpython" and sys.maxsize > 2**32:
    version = "%d.%d" % sys.version_info[:2]
    try:
        import ensurepip, venv
        path = os.path.join(sys.base_prefix, "bin", "python" + version)
        path = path if os.path.exists(path) else os.path.realpath(sys.executable)
    except ImportError:
        path = ""
    print(version + " " + path)
' </dev/null 2>/dev/null || true
}

# True if the probed interpreter ("VERSION PATH") will do for the set.
fits() {
    case " $versions " in
        *" ${1%% *} "*) [ -n "${1#* }" ] ;;
        *) false ;;
    esac
}

# Prints "VERSION PATH" of the interpreter to use, or nothing.
find_python() {
    local version candidate found
    for candidate in ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} ${CONDA_PREFIX:+"$CONDA_PREFIX/bin/python"}; do
        found=$(probe "$candidate")
        if [ -n "$found" ] && fits "$found"; then
            printf '%s\n' "$found"
            return
        fi
    done
    for version in $versions; do
        for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python python3 python; do
            found=$(probe "$candidate")
            if [ "${found%% *}" = "$version" ] && fits "$found"; then
                printf '%s\n' "$found"
                return
            fi
        done
    done
    command -v uv >/dev/null || return 0
    for version in $versions; do
        found=$(probe "$(uv python find "$version" 2>/dev/null)")
        if [ "${found%% *}" = "$version" ] && fits "$found"; then
            printf '%s\n' "$found"
            return
        fi
    done
    printf 'No fitting Python is installed: uv fetches 3.10.\n' >&2
    uv python install --quiet 3.10 >&2 && probe "$(uv python find 3.10)"
}

# Prints "VERSION PATH" of the interpreter that PYTHON names, or says why it does not do.
asked_python() {
    local found
    found=$(probe "$PYTHON")
    [ -n "$found" ] || fail "PYTHON=$PYTHON does not run, or is not a 64-bit CPython 3."
    case " $versions " in
        *" ${found%% *} "*) ;;
        *) fail "PYTHON=$PYTHON is Python ${found%% *}; needed is one of $versions." ;;
    esac
    [ -n "${found#* }" ] || fail "PYTHON=$PYTHON cannot make virtual environments: $(venv_advice "$found")"
    printf '%s\n' "$found"
}

venv_advice() {
    printf 'on Debian or Ubuntu, apt install python%s-venv.' "${1%% *}"
}

# Prints "VERSION PATH" of the interpreter to use; says what to install if there is none.
choose_python() {
    local found
    found=${asked:-$(find_python)}
    if [ -z "$found" ]; then
        found=$(probe python3)
        [[ " $versions " != *" ${found%% *} "* ]] || fail "python3 cannot make virtual environments: $(venv_advice "$found")"
        [ "$set" != infer ] || fail 'No Python from 3.8 to 3.14 was found: install one, or name it with PYTHON=/path/to/python3.'
        fail 'No Python 3.10, 3.9 or 3.8 was found, the only ones that OneFlow 0.9.0 exists for: install one (uv python install 3.10, or pyenv install 3.10), or name it with PYTHON=/path/to/python3.10.'
    fi
    printf '%s\n' "$found"
}

# What .venv/installed-SET holds if the set is installed: the interpreter and the requirements.
stamp() {
    probe "$venv/bin/python"
    (cd "$root" && case $1 in
        infer) cat requirements/infer.txt ;;
        train) cat requirements/infer.txt requirements.txt ;;
        torch) cat requirements/infer.txt requirements.txt requirements/torch.txt ;;
        test) cat requirements/infer.txt requirements.txt requirements/test.txt ;;
    esac)
}

installed() {
    [ -f "$venv/installed-$set" ] && [ "$(cat "$venv/installed-$set")" = "$(stamp "$set")" ] && as_asked
}

# False if another interpreter than that of .venv was asked for.
as_asked() {
    [ -z "$asked" ] || [ "$asked" = "$(probe "$venv/bin/python")" ]
}

make_venv() {
    local chosen present
    present=$(probe "$venv/bin/python")
    if [ -n "$present" ] && fits "$present" && as_asked && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    chosen=$(choose_python)
    if [ -e "$venv" ]; then
        printf 'Making .venv anew with Python %s, in place of %s.\n' "${chosen%% *}" "${present:-a broken one}" >&2
        rm -rf "$venv"
    fi
    "${chosen#* }" -m venv "$venv" || fail "${chosen#* } could not make the virtual environment $venv."
}

# Runs pip, shows the large downloads alone, and explains what went wrong.
run_pip() {
    local line status=1 trouble='' last=''
    while IFS= read -r line; do
        if [[ $line =~ Downloading\ ([^-]+)-([^-]+)-.*\(([0-9][0-9]+\.?[0-9]*\ MB)\) ]]; then
            printf '  downloading %s %s (%s)\n' "${BASH_REMATCH[@]:1}" >&2
        fi
        case $line in
            'Installing collected packages'*) printf '  unpacking\n' >&2 ;;
            *'No space left on device'*) trouble='the disk is full' ;;
            *'name resolution'* | *NewConnectionError* | *'imed out'* | *'Network is unreachable'* | *ProxyError* | \
                *'Connection broken'* | *ConnectionResetError* | *'Name or service not known'*)
                trouble='the package index cannot be reached: is there a network?' ;;
            'exit status '*) status=${line#exit status } ;;
        esac
        case $line in *ERROR* | *rror:*) last=$line ;; esac
    done < <(
        set +e
        PIP_USER=0 "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --only-binary :all: \
            -r "$root/$requirements" 2>&1
        printf 'exit status %s\n' $?
    )
    [ "$status" = 0 ] || fail "The packages could not be installed: ${trouble:-$last}" 'The same command begins again where it stopped.'
}

check_imports() {
    local said
    said=$("$venv/bin/python" -c 'import cv2' 2>&1) || fail "OpenCV does not load: ${said##*$'\n'}" \
        'It needs libraries of the system (on Debian or Ubuntu: apt install libgl1 libglib2.0-0 libsm6).'
    if [ "$set" != infer ]; then
        said=$(cd "$root" && "$venv/bin/python" -c 'import quiet' 2>&1) || fail "${said##*$'\n'}"
    fi
}

asked=''
[ -z "${PYTHON:-}" ] || asked=$(asked_python)
installed && exit 0

if [ "$set" != infer ] && [ "$(uname -s) $(uname -m)" != 'Linux x86_64' ]; then
    fail "OneFlow 0.9.0 exists for Linux on x86-64 alone, and this is $(uname -s) on $(uname -m); bash infer.sh works here."
fi

# One at a time: a second set-up of this clone waits for the first.
if command -v flock >/dev/null; then
    exec 9<"${BASH_SOURCE[0]}"
    flock 9
    installed && exit 0
fi

make_venv
rm -f "$venv"/installed-*
printf 'Installing what is needed for "%s" into .venv: once, up to %s to download.\n' "$set" "$size" >&2
run_pip
check_imports
for set in $installs; do
    stamp "$set" >"$venv/installed-$set.tmp"
    mv "$venv/installed-$set.tmp" "$venv/installed-$set"
done
