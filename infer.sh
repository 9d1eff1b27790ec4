#!/usr/bin/env bash
# Lays the mask over the face: sets up what is needed and passes all arguments on to infer.py.
#
#   bash infer.sh                                  # the webcam, in a window
#   bash infer.sh --source photo.jpg --output masked.jpg
#   bash infer.sh --device cuda                    # OneFlow on a GPU: downloads 2.3 GB the first time
set -euo pipefail

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

case " $* " in
    *' -h '* | *' --help '*)
        if [ ! -e "$root/.venv/installed-infer" ]; then # to read the help, nothing should have to be downloaded
            sed -n '2,/^set /{ /^#/s/^# \{0,1\}//p; }' "${BASH_SOURCE[0]}"
            printf '\nAll options: python infer.py --help, once the packages are there.\n'
            exit 0
        fi
        ;;
esac

# OneFlow and its CUDA libraries are installed for those alone who ask for them.
packages=infer before=''
for argument in "$@"; do
    case $argument in
        --runtime=oneflow | --device=cuda) packages=train ;;
    esac
    case $before=$argument in
        --runtime=oneflow | --device=cuda) packages=train ;;
    esac
    before=$argument
done

bash "$root/setup.sh" $packages
exec "$root/.venv/bin/python" "$root/infer.py" "$@"
