#!/usr/bin/env bash
# Trains LinkNet34: sets up what is needed, fetches the published data and backbone if no others are named, and
# passes all arguments on to train.py.
#
#   bash train.sh                          # the published data (./faceseg_data) and backbone
#   bash train.sh --demo                   # minutes on a CPU, nothing to download but the packages
#   bash train.sh --data my_faces --size 128 --epochs 10
#   NPROC=2 bash train.sh                  # two GPUs, or two processes on a CPU
#   NPROC=8 NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 MASTER_PORT=29500 bash train.sh   # several machines
[ -n "${BASH_VERSION:-}" ] || { echo 'This script needs bash: bash train.sh' >&2 && exit 2; }
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
python=$root/.venv/bin/python
unset PYTHONHOME
export PYTHONPATH=$root # in place of another project's, as ROS sets it

data=missing start=missing help=no packages=train
for argument in "$@"; do
    case $argument in
        --data | --data=*) data=given ;;
        --weights | --weights=* | --backbone | --backbone=*) start=given ;;
        --demo | --resume | --resume=*) data=given start=given ;;
        -h | --help) help=yes ;;
    esac
done
case " $* " in *' --kernels torch '* | *' --kernels=torch '*) packages=torch ;; esac

if [ $help = yes ]; then # nothing is downloaded to be read about
    [ -e "$root/.venv/installed-train" ] || exec bash "$root/tools/setup.sh" help train
    exec "$python" "$root/train.py" "$@"
fi
bash "$root/tools/setup.sh" $packages
fetch() { # prints the folder, or says why there is none
    (cd "$root" && "$python" -m runtimes.download "$1")
}
if [ $data = missing ]; then
    folder=$(fetch data)
    set -- --data "$folder" "$@"
fi
if [ $start = missing ]; then
    # On data of one's own the backbone is a help, not a condition; on the published data it is part of the result.
    if folder=$(fetch backbone); then
        set -- --backbone "$folder" "$@"
    elif [ $data = given ]; then
        printf 'Training starts from random weights instead, which takes longer; --backbone none asks for that.\n' >&2
    else
        exit 1
    fi
fi

if [ "${NPROC:-1}" = 1 ] && [ "${NNODES:-1}" = 1 ]; then
    exec "$python" "$root/train.py" "$@"
fi
exec "$python" "$root/training/launch.py" --processes "${NPROC:-1}" --nodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}" \
    --address "${MASTER_ADDR:-127.0.0.1}" --port "${MASTER_PORT:-0}" "$root/train.py" "$@"
