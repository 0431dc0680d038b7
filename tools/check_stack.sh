#!/usr/bin/env bash
# Does this package train with a given set of other packages? Makes a fresh environment and tries.
#
#   tools/check_stack.sh lite            mmcv-lite, the versions of requirements/tested.txt
#   tools/check_stack.sh full            full mmcv 2.1.0, compiled here (about 12 minutes on 2 cores)
#   tools/check_stack.sh onedl           the maintained forks onedl-mmengine, -mmcv, -mmsegmentation
#   tools/check_stack.sh wheel           the built wheel, outside this folder: alone, then with its extra lite
#   tools/check_stack.sh maskformer      mmcv-lite and mmdet 3.3.0: tests of MaskFormer and Mask2Former, with training steps
#   tools/check_stack.sh lite mmcv-lite==2.2.0 torch==2.15.0     other versions in place of the tested ones
#
# ENVIRONMENT=dir keeps the environment there (default: a temporary one); PYTHON=python3.12 makes it.
# What is tried: train 3 iterations, resume, test; of maskformer, its tests; of the wheel, the functions
# without MMSegmentation, and a training in an empty folder with a config on mmseg_balance:: and mmseg::.
# Ends with the versions and OK, or with FAILED and the end of the log.
set -euo pipefail
cd "$(dirname "$0")/.."

stack=${1:?which stack: lite, full, onedl, wheel or maskformer}
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
environment=${ENVIRONMENT:-$work/environment}
case $environment in /*) ;; *) environment=$PWD/$environment ;; esac
python=$environment/bin/python
log=$work/log

step() {
    echo "$stack: $1"
    shift
    "$@" >"$log" 2>&1 || { tail -n 60 "$log"; echo "$stack: FAILED"; exit 1; }
}

# The tested versions, without those of the packages named on the command line.
cp requirements/tested.txt "$work/constraints.txt"
for requirement in "$@"; do
    grep -v "^${requirement%%[=<>~!]*}[=<>~!]" "$work/constraints.txt" >"$work/others.txt"
    { cat "$work/others.txt"; echo "$requirement"; } >"$work/constraints.txt"
done

install() { "$python" -m pip install --disable-pip-version-check -c "$work/constraints.txt" "$@"; }

# bash ignores `set -e` below `||`, hence the && in what `step` runs.
install_lite() { install -e '.[lite]' "$@"; }

install_full() {
    install -e '.[mmseg]' "$@" wheel ninja psutil &&
    MMCV_WITH_OPS=1 FORCE_CUDA=${FORCE_CUDA:-0} \
        install --no-build-isolation --no-binary mmcv mmcv==2.1.0
}

# The forks take the place of packages that this one requires by their old names, so what else it
# requires is installed by name. Built apart from torch, as pip does by default, onedl-mmcv has no ops.
install_onedl() {
    install torch numpy scipy jinja2 argcomplete matplotlib rich packaging ftfy regex 'setuptools<81' prettytable \
        "$@" &&
    install onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2 &&
    install --no-deps -e .
}

# mmdet's own requirements are left out but for what it imports: they would bring a second OpenCV.
install_maskformer() {
    install -e '.[lite]' "$@" pytest shapely pycocotools terminaltables six tqdm &&
    install --no-deps mmdet==3.3.0
}

# With the extra at last; before that, PyTorch and NumPy have to be enough.
install_wheel() {
    install build twine &&
    "$python" -m build --outdir "$work/dist" &&
    "$python" -m twine check --strict "$work"/dist/* &&
    "$python" -m venv --clear "$environment" &&
    install "$(ls "$work"/dist/*.whl)" && functions_alone &&
    install "$(ls "$work"/dist/*.whl)[lite]" "$@"
}

functions_alone() {
    (cd "$work" && "$python" - <<'EOF'
import importlib.util

import torch

from mmseg_balance.functional import soft_dice_loss

print('soft Dice', soft_dice_loss(torch.zeros(1, 2, 4, 4), torch.ones(1, 4, 4, dtype=torch.long)))
for name in ('mmengine', 'mmcv', 'mmseg', 'cv2', 'matplotlib'):
    assert importlib.util.find_spec(name) is None, name
try:
    import mmseg_balance.losses
except ImportError as error:
    print(error)
EOF
    ) >"$work/functions" 2>&1 || { cat "$work/functions"; return 1; }
}

empty_folder() {
    mkdir "$work/empty" && cd "$work/empty" && cat >mine.py <<'EOF' &&
_base_ = [
    'mmseg_balance::_base_/models/deeplabv3_r18_small.py',
    'mmseg_balance::_base_/datasets/street_scenes.py',
    'mmseg_balance::_base_/losses/soft_dice.py',
    'mmseg_balance::_base_/schedules/schedule_400.py',
    'mmseg::_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=_base_.num_classes, loss_decode=_base_.loss_decode),
)
train_cfg = dict(max_iters=3, val_interval=4)
default_hooks = dict(logger=dict(interval=1))
EOF
    "$environment/bin/mmseg-balance" train mine.py && ls work_dirs/mine/iter_3.pth &&
    cat "$work/functions" && grep -rh 'Iter(train).*loss:' work_dirs/mine/*/*.log
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
    elif [ "$stack" = wheel ]; then
        (empty_folder)
    else
        smoke
    fi
}

case $stack in
    lite | full | onedl | wheel | maskformer) ;;
    *) echo "there is no stack '$stack': lite, full, onedl, wheel or maskformer" >&2; exit 2 ;;
esac
step 'environment' "${PYTHON:-python3}" -m venv "$environment"
step 'install' "install_$stack" "$@"
step 'opencv' check_opencv
step 'train' check
if [ "$stack" = wheel ]; then tail -n 6 "$log"; fi
versions
echo "$stack: OK"
