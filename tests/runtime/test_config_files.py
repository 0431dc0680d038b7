"""Values that no training can begin with end in a sentence that names the entry."""

import pytest
from mmengine.config import Config

from mmseg_balance.doctor.examination import examine
from mmseg_balance.runtime.config_files import ConfigError, override

WRONG = [
    ('train_cfg.max_iters', 'many', 'whole number'),
    ('train_cfg.val_interval', 2.5, 'whole number'),
    ('train_cfg.max_iters', float('inf'), 'whole number'),
    ('val_dataloader.batch_size', [2], 'whole number'),
    ('train_dataloader', 3, 'dict'),
    ('model', 'FCN', 'dict'),
]


def config():
    return Config(
        dict(
            model=dict(type='EncoderDecoder'),
            train_dataloader=dict(batch_size=2, num_workers=0),
            val_dataloader=dict(batch_size=1),
            test_dataloader=None,
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=20),
        )
    )


@pytest.mark.parametrize(('entry', 'value', 'allowed'), WRONG)
def test_a_main_entry_of_another_kind_is_named(entry, value, allowed):
    with pytest.raises(ConfigError, match=rf'{entry}=.*give a {allowed}'):
        override(config(), {entry: value})


@pytest.mark.parametrize('value', [30, 4e4, '50', None])
def test_what_mmengine_takes_as_a_length_is_kept(value):
    changed = config()
    override(changed, {'train_cfg.max_iters': value})
    assert changed.train_cfg.max_iters == value


def test_doctor_has_one_finding_then(repository):
    path = repository / 'configs' / 'deeplabv3_ce_camvid_small.py'
    found = examine(path, {'train_cfg.max_iters': 'many'}, labels=False, progress=False)
    assert [finding.check for finding in found.findings] == ['config-readable']
    assert "train_cfg.max_iters='many'" in found.findings[0].message
