"""Calibrate a trained checkpoint and write the result into the weights of its classifier.

``logit_map`` is what happens to the logits, ``folding`` the same written into a model's last
convolution, ``recalibrate`` the whole of ``mmseg-balance calibrate``.
"""

from mmseg_balance import compat

compat.require_mmsegmentation(__name__)
