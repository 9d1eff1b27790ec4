#!/usr/bin/env bash
# Lays the mask over the face: sets up what is needed and passes all arguments on to infer.py.
#
#   bash infer.sh                                  # the webcam, in a window
#   bash infer.sh --source photo.jpg --output masked.jpg
#   bash infer.sh --device cuda                    # OneFlow on a GPU: downloads 2 GB the first time
[ -n "${BASH_VERSION:-}" ] || { echo 'This script needs bash: bash infer.sh' >&2 && exit 2; }
set -euo pipefail
unset PYTHONPATH PYTHONHOME # another project's, as ROS sets it

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

# OneFlow and its CUDA libraries are installed for those alone who ask for them.
packages=infer help=no before=''
for argument in "$@"; do
    case $argument in
        --runtime=oneflow | --device=cuda) packages=train ;;
        -h | --help) help=yes ;;
    esac
    case $before=$argument in
        --runtime=oneflow | --device=cuda) packages=train ;;
    esac
    before=$argument
done

if [ $help = yes ] && [ ! -e "$root/.venv/installed-infer" ]; then # nothing is downloaded to be read about
    exec bash "$root/tools/setup.sh" help infer
fi
bash "$root/tools/setup.sh" $packages
exec "$root/.venv/bin/python" "$root/infer.py" "$@"
