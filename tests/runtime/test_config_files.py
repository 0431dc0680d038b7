"""Values that no training can begin with end in a sentence that names the entry."""

import re

import pytest
from mmengine.config import Config

from mmseg_balance.doctor.examination import examine
from mmseg_balance.runtime.config_files import ConfigError, override, read_config

WRONG = [
    ('train_cfg.max_iters', 'many', 'whole number'),
    ('train_cfg.val_interval', 2.5, 'whole number'),
    ('train_cfg.max_iters', float('inf'), 'whole number'),
    ('val_dataloader.batch_size', [2], 'whole number'),
    ('train_cfg.max_iters', 0, 'whole number of at least 1'),
    ('train_cfg.val_interval', 0, 'whole number of at least 1'),
    ('train_dataloader.batch_size', 0, 'whole number of at least 1'),
    ('train_dataloader.num_workers', -1, 'whole number of at least 0'),
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


BROKEN = {
    'broken.json': (b'{"model": ', 'JSONDecodeError: '),
    'broken.yaml': (b'model: [', 'ParserError: '),
    'division.py': (b'a = 1 / 0', 'ZeroDivisionError: division by zero'),
    'base.py': (b'a = _base_.modl', '.*modl'),
    'unknown_base.py': (b"_base_ = 'mmseg::nope.py'", '.*package name'),
    'latin.py': ('a = "Stra\xdfe"'.encode('latin-1'), '.*codec'),
    'itself.py': (b"_base_ = './itself.py'", 'RecursionError: '),
    'imports.py': (
        b"custom_imports = dict(imports=['no_such_module'])",
        "No module named 'no_such_module'; install the package, or set PYTHONPATH",
    ),
}


@pytest.mark.parametrize('name', BROKEN)
def test_whatever_a_config_raises_is_a_sentence_with_its_name(tmp_path, name):
    content, said = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as refusal:
        read_config(tmp_path / name)
    assert re.search(f'{tmp_path}/{name}.*: {said}', str(refusal.value))
    assert len(str(refusal.value).splitlines()) == 1


def test_an_error_inside_a_module_of_the_user_keeps_its_traceback(tmp_path, monkeypatch):
    (tmp_path / 'own_module.py').write_text('1 / 0')
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['own_module'])")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError):
        read_config(tmp_path / 'config.py')


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
