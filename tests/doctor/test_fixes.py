"""Configs with the safe changes: what else the user wrote stays as it is."""

import pytest
from mmengine.config import Config

from mmseg_balance.doctor import examine, examine_config
from mmseg_balance.doctor.fixes import fixed_config
from tests.doctor.samples import save_config

FOCAL = dict(type='FocalLoss', use_sigmoid=False)  # its fix is a loss that is to be imported


def fixed(config, folder, options=None):
    path, out = save_config(config, folder), folder / 'fixed.py'
    found = examine(path, options, labels=False, progress=False)
    out.write_text(fixed_config(found.reading.config, found.findings, path, out)[0])
    return Config.fromfile(out, import_custom_modules=False)


def test_a_fixed_config_has_the_options_it_was_examined_with(config, tmp_path):
    """Changes that fit a run of 400 iterations were written for one of 4000."""
    config.train_cfg.update(max_iters=4000, val_interval=4000)
    config.param_scheduler[0].end = 4000
    found = fixed(config, tmp_path, {'train_cfg.max_iters': 400})
    assert found.train_cfg.max_iters == found.train_cfg.val_interval == 400
    assert found.param_scheduler[0].end == 400


def test_a_fix_keeps_allow_failed_imports(config, tmp_path):
    """The fixed config failed for a package that may be missing."""
    config.model.decode_head.loss_decode = FOCAL
    imports = ['not_installed_optional']
    config.custom_imports = dict(imports=imports, allow_failed_imports=True)
    with pytest.warns(UserWarning, match='not_installed_optional'):
        found = fixed(config, tmp_path).custom_imports
    assert found == dict(imports=[*imports, 'mmseg_balance'], allow_failed_imports=True)


def test_a_fix_may_replace_none_by_a_dict(config, tmp_path):
    """MMEngine refused the fixed config."""
    config.model.decode_head.loss_decode = FOCAL
    config.custom_imports = None
    found = fixed(config, tmp_path)
    assert found.custom_imports == dict(imports=['mmseg_balance'])
    assert examine_config(found, labels=False, progress=False).num_errors == 0
