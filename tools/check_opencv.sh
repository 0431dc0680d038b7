#!/usr/bin/env bash
# opencv-python needs libGL, which a server without a display often lacks: take its headless twin there.
# MMEngine requires opencv-python by name, so pip cannot choose between the two by itself.
set -euo pipefail
PIP=${PIP:-python3 -m pip}
PYTHON=${PYTHON:-python3}

if ! "$PYTHON" -c 'import cv2' 2>/dev/null; then
    echo 'opencv-python does not load here (no libGL?): taking opencv-python-headless instead.'
    $PIP uninstall --quiet --yes opencv-python
    $PIP install --quiet -c requirements/tested.txt opencv-python-headless
    "$PYTHON" -c 'import cv2'
fi
