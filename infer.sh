#!/usr/bin/env bash
# Marks or hides faces: sets up what is needed and passes all arguments on to infer.py.
#
#   bash infer.sh                                  # the webcam, in a window
#   bash infer.sh --source photo.jpg --output masked.jpg
#   bash infer.sh --page                           # a page for the browser: downloads 80 MB the first time
#   bash infer.sh --device cuda                    # OneFlow on a GPU: downloads 2 GB the first time
[ -n "${BASH_VERSION:-}" ] || { echo 'This script needs bash: bash infer.sh' >&2 && exit 2; }
set -euo pipefail
unset PYTHONPATH PYTHONHOME # another project's, as ROS sets it

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

case " $* " in
    *' -h '* | *' --help '*) # nothing is downloaded to be read about
        [ -e "$root/.venv/installed-infer" ] || exec bash "$root/tools/setup.sh" help infer
        exec "$root/.venv/bin/python" "$root/infer.py" "$@" ;;
esac
packages=infer # OneFlow and its CUDA libraries are installed only for those who ask for them
case " $* " in
    *' --runtime oneflow '* | *' --runtime=oneflow '* | *' --device cuda '* | *' --device=cuda '*) packages=train ;;
esac
bash "$root/tools/setup.sh" $packages
case " $* " in *' --page '* | *' --page='*) bash "$root/tools/setup.sh" page ;; esac
exec "$root/.venv/bin/python" "$root/infer.py" "$@"
