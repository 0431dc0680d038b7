#!/usr/bin/env bash
# Does this package train with a given set of other packages? Makes a fresh environment and tries.
#
#   tools/check_stack.sh lite            mmcv-lite, the versions of requirements/tested.txt
#   tools/check_stack.sh full            full mmcv 2.1.0, compiled here (about 12 minutes on 2 cores)
#   tools/check_stack.sh onedl           the maintained forks onedl-mmengine, -mmcv, -mmsegmentation
#   tools/check_stack.sh maskformer      mmcv-lite and mmdet 3.3.0: MaskFormer's tests, with a training step
#   tools/check_stack.sh lite mmcv-lite==2.2.0 torch==2.15.0     other versions in place of the tested ones
#
# ENVIRONMENT=dir keeps the environment there (default: a temporary one); PYTHON=python3.12 makes it.
# What is tried: train 3 iterations, resume, test; of maskformer, its tests.
# Ends with the versions and OK, or with FAILED and the end of the log.
set -euo pipefail
cd "$(dirname "$0")/.."

stack=${1:?which stack: lite, full or onedl}
shift
instead=("$@")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
environment=${ENVIRONMENT:-$work/environment}
python=$environment/bin/python
log=$work/log

step() {
    echo "$stack: $1"
    shift
    "$@" >"$log" 2>&1 || { tail -n 60 "$log"; echo "$stack: FAILED"; exit 1; }
}

# The tested versions, without those of the packages named on the command line.
cp requirements/tested.txt "$work/constraints.txt"
for requirement in "${instead[@]}"; do
    sed -i "/^${requirement%%[=<>~!]*}[=<>~!]/d" "$work/constraints.txt"
    echo "$requirement" >>"$work/constraints.txt"
done

install() { "$python" -m pip install --disable-pip-version-check -c "$work/constraints.txt" "$@"; }

# bash ignores `set -e` below `||`, hence the && in what `step` runs.
install_lite() { install -e '.[lite]' "${instead[@]}"; }

install_full() {
    install -e '.[mmseg]' "${instead[@]}" wheel ninja psutil &&
    MMCV_WITH_OPS=1 FORCE_CUDA=${FORCE_CUDA:-0} \
        install --no-build-isolation --no-binary mmcv mmcv==2.1.0
}

# The forks take the place of packages that this one requires by their old names, so what else it
# requires is installed by name. Built apart from torch, as pip does by default, onedl-mmcv has no ops.
install_onedl() {
    install torch numpy scipy jinja2 argcomplete matplotlib rich packaging ftfy regex 'setuptools<81' prettytable \
        "${instead[@]}" &&
    install onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2 &&
    install --no-deps -e .
}

# mmdet's own requirements are left out but for what it imports: they would bring a second OpenCV.
install_maskformer() {
    install -e '.[lite]' "${instead[@]}" pytest shapely pycocotools terminaltables six &&
    install --no-deps mmdet==3.3.0
}

check_opencv() {
    PIP="$python -m pip" PYTHON=$python tools/check_opencv.sh
}

versions() {
    "$python" - <<'EOF'
import importlib
import platform

import mmseg_balance  # noqa: F401
from mmengine.utils.dl_utils import mmcv_full_available

print('python', platform.python_version(), end='')
for name in ('torch', 'numpy', 'cv2', 'mmengine', 'mmcv', 'mmseg'):
    print(f', {name} {importlib.import_module(name).__version__}', end='')
print(', compiled ops' if mmcv_full_available() else ', no compiled ops')
EOF
}

smoke() {
    local config=configs/deeplabv3_lmp_street_scenes.py
    local small=(train_cfg.val_interval=4 default_hooks.logger.interval=1
                 val_dataloader.dataset.indices=2 test_dataloader.dataset.indices=2)
    "$python" tools/train.py $config --work-dir "$work/run" \
        --cfg-options "${small[@]}" train_cfg.max_iters=3 &&
    "$python" tools/train.py $config --work-dir "$work/run" --resume \
        --cfg-options "${small[@]}" train_cfg.max_iters=4 &&
    "$python" tools/test.py $config "$work/run/iter_4.pth" --work-dir "$work/run" \
        --cfg-options "${small[@]}"
}

check() {
    if [ "$stack" = maskformer ]; then
        MMSEG_BALANCE_REQUIRE_DATA=1 "$python" -m pytest -q -p no:warnings --tb=short tests/runtime/test_mask_classification.py
    else
        smoke
    fi
}

case $stack in
    lite | full | onedl | maskformer) ;;
    *) echo "there is no stack '$stack': lite, full, onedl or maskformer" >&2; exit 2 ;;
esac
step 'environment' "${PYTHON:-python3}" -m venv "$environment"
step 'install' "install_$stack"
step 'opencv' check_opencv
step 'train' check
versions
echo "$stack: OK"
