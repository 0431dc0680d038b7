"""A checkpoint is data: MMEngine's own ones load, one that could run code never does."""

import pickle
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader

from mmseg_balance.runtime import checkpoints
from mmseg_balance.runtime.checkpoints import (
    CheckpointError,
    UnreadableCheckpointError,
    UntrustedCheckpointError,
)


@pytest.fixture(params=['weights_only', 'own_unpickler'], autouse=True)
def _both_ways(request, monkeypatch):
    """Every test runs as under PyTorch >= 2.6 (where that is here) and as under an older one."""
    if request.param == 'own_unpickler':
        monkeypatch.setattr(checkpoints, 'takes_stand_ins', lambda: False)
    elif not checkpoints.takes_stand_ins():
        pytest.skip('this PyTorch has no named safe globals')


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / 'checkpoint.pth')


def load(path: str):
    return CheckpointLoader.load_checkpoint(path, map_location='cpu')


class _Runs:
    """Pickles as a call of ``function(*args)``."""

    def __init__(self, function, *args) -> None:
        self.call = function, args

    def __reduce__(self):
        return self.call


class _Builds:
    """Pickles as an object made by ``function(*args)`` whose state is then set to ``state``."""

    def __init__(self, function, args, state) -> None:
        self.parts = function, args, state

    def __reduce__(self):
        return self.parts


def test_training_state_round_trips(path):
    history = HistoryBuffer()
    for value in (1.0, 2.0, 6.0):
        history.update(value)
    saved = dict(
        meta=dict(iter=3, cfg='a = 1', dataset_meta=ConfigDict(classes=('road', 'sky'))),
        message_hub=dict(log_scalars={'train/loss': history}, runtime_info={}),
        best=np.float64(0.5),
        count=np.int64(7),
        names=np.array(['road', 'sky']),
        grid=np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3)),
        flag=np.bool_(True),
        state_dict={'weight': torch.arange(4.0)},
        nested=[({'half': np.float16(0.25)},)],
    )
    torch.save(saved, path)
    loaded = load(path)

    restored = loaded['message_hub']['log_scalars']['train/loss']
    assert type(restored) is HistoryBuffer
    assert [part.tolist() for part in restored.data] == [[1.0, 2.0, 6.0], [1, 1, 1]]
    assert restored.mean() == 3.0
    assert restored.statistics('max') == 6.0
    restored.update(3.0)  # a resumed run goes on logging
    assert restored.current() == 3.0
    assert type(loaded['best']) is np.float64
    assert loaded['best'] == 0.5
    assert loaded['count'] == 7
    assert bool(loaded['flag']) is True
    assert loaded['nested'][0][0]['half'] == np.float16(0.25)
    assert type(loaded['grid']) is np.ndarray
    np.testing.assert_array_equal(loaded['grid'], [[0, 1, 2], [3, 4, 5]])
    assert loaded['names'].tolist() == ['road', 'sky']
    assert loaded['meta']['dataset_meta'].classes == ('road', 'sky')
    assert loaded['state_dict']['weight'].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_loaded_state_can_be_saved_by_stock_mmengine(path):
    history = HistoryBuffer([1.0], [1])
    torch.save(dict(history=history), path)
    torch.save(load(path), path)
    names = {line for line in _globals(path) if line.startswith('mmseg_balance')}
    assert names == set(), 'a stand-in has leaked into what is written'
    assert load(path)['history'].data[0].tolist() == [1.0]


def _globals(path: str) -> set[str]:
    return {arg for op, arg, _ in pickletools.genops(_read_pickle(path)) if op.name == 'GLOBAL'}


def _read_pickle(path: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith('data.pkl'))
        return archive.read(name)


def _forged_dtype():
    """A dtype that calls raw bytes an object pointer: reading such an array crashes Python."""
    fields = (3, '|', None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 1, 0)
    return _Builds(np.dtype, ('V8', False, True), fields)


MALICIOUS = {
    'system call': lambda mark: _Runs(__import__('os').system, f'touch {mark}'),
    'eval': lambda mark: _Runs(eval, f'open({mark!r}, "w")'),
    'getattr on a class': lambda mark: _Runs(getattr, np.ndarray, 'tofile'),
    'getattr on a string': lambda mark: _Runs(getattr, 'text', '__class__'),
    'getattr chain': lambda mark: _Runs(getattr, HistoryBuffer.mean, '__globals__'),
    'numpy function': lambda mark: _Runs(np.fromfile, mark),
    'array of objects': lambda mark: np.array([_Runs(eval, f'open({mark!r}, "w")')], dtype=object),
    'forged dtype': lambda mark: _forged_dtype(),
    'object dtype': lambda mark: np.dtype('O'),
    'subprocess': lambda mark: _Runs(__import__('subprocess').call, ['touch', mark]),
    'path object': lambda mark: Path(mark),
}


@pytest.mark.parametrize('kind', MALICIOUS)
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_malicious_checkpoint_is_refused_in_one_sentence(path, tmp_path, kind, zipped):
    mark = tmp_path / 'owned'
    saved = dict(state_dict={'weight': torch.zeros(2)}, extra=MALICIOUS[kind](str(mark)))
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UntrustedCheckpointError) as refusal:
        load(path)
    assert not mark.exists()
    message = str(refusal.value)
    assert path in message
    assert '--trust-checkpoint' in message
    assert len(message.splitlines()) == 1


def test_file_may_not_change_a_class(path):
    """BUILD on the class itself would replace HistoryBuffer.mean for the whole process."""
    payload = b'\x80\x02cmmengine.logging.history_buffer\nHistoryBuffer\nN}X\x04\x00\x00\x00meanX\x04\x00\x00\x00evils\x86b.'
    _write_pickle(path, payload)
    with pytest.raises(UntrustedCheckpointError):
        load(path)
    assert callable(HistoryBuffer.mean)


def _write_pickle(path: str, payload: bytes) -> None:
    """A checkpoint file whose pickle is exactly ``payload``."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in parts.items():
            archive.writestr(name, payload if name.endswith('data.pkl') else content)


def test_trust_is_the_users_choice(path, tmp_path, monkeypatch):
    torch.save(dict(where=Path('somewhere')), path)
    with pytest.raises(UntrustedCheckpointError, match='pathlib'):
        load(path)
    monkeypatch.setenv(checkpoints.TRUST_VARIABLE, '0')
    checkpoints.trust_checkpoints()
    assert load(path)['where'] == Path('somewhere')


@pytest.mark.parametrize(
    ('keep', 'reason'),
    [
        (0, 'it is empty'),
        (10, '.*not a ZIP archive'),
        (200, '.*central directory'),
        (5000, 'it ends too early'),
    ],
)
def test_truncated_file_is_named(path, keep, reason):
    torch.save(dict(state_dict={'weight': torch.zeros(5000)}), path)
    Path(path).write_bytes(Path(path).read_bytes()[:keep])
    said = rf'^{path} is not a readable checkpoint \({reason}\): it may be truncated or damaged'
    with pytest.raises(UnreadableCheckpointError, match=said):
        load(path)


@pytest.mark.parametrize('content', [b'hello', b'<html>not found</html>', b'a = 1\n'])
def test_a_file_of_another_kind_is_told_without_the_words_of_the_unpickler(path, content):
    Path(path).write_bytes(content)
    with pytest.raises(UnreadableCheckpointError, match=r'\(it is no PyTorch file\)'):
        load(path)


@pytest.mark.parametrize(
    'content',
    [torch.zeros(3), [1], {'state_dict': [1]}, {1: torch.zeros(1)}],
    ids=['tensor', 'list', 'list of weights', 'numbers for names'],
)
def test_a_checkpoint_of_another_form_is_told_in_a_sentence(path, content):
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=f'^{path} holds no weights: give a checkpoint'):
        checkpoints.read_weights(path)


def test_a_checkpoint_need_not_have_a_meta(path):
    torch.save({'state_dict': {'a': torch.ones(1)}, 'meta': None}, path)
    assert checkpoints.read_weights(path) == ({'a': torch.ones(1)}, {})


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('nope.pth', 'there is no checkpoint nope.pth: training writes them into its work direct'),
        ('http://localhost:9/a.pth', r'a\.pth cannot be downloaded \(.*\): look at the address'),
    ],
)
def test_a_checkpoint_that_is_not_there_is_told_in_a_sentence(name, said):
    with pytest.raises(CheckpointError, match=said):
        checkpoints.read_weights(name)


def test_a_damaged_file_is_a_checkpoint_error_whatever_it_trips(path):
    """Bytes of the pickle changed at random: a sentence (or PyTorch's own), never a crash."""
    torch.save(
        dict(
            meta=dict(iter=3),
            history=HistoryBuffer([1.0], [1]),
            best=np.float64(0.5),
            grid=np.arange(4),
            state_dict={'weight': torch.zeros(3)},
        ),
        path,
    )
    whole = _read_pickle(path)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            damaged[position] = rng.integers(0, 256)
        _write_pickle(path, bytes(damaged))
        try:
            load(path)
        except RuntimeError as error:  # CheckpointError is one; a tensor's own size check another
            refused += isinstance(error, checkpoints.CheckpointError)
    assert refused > 30


def test_a_callers_own_choice_cannot_turn_it_off(path):
    """torch.hub, which MMEngine uses for http checkpoints, passes weights_only=False."""
    torch.save(dict(bad=_Runs(eval, '1')), path)
    with checkpoints.safe_loading(path), pytest.raises(UntrustedCheckpointError):
        torch.load(path, weights_only=False)


def test_nor_can_an_allow_list_with_the_real_getattr(path):
    """The fork onedl-mmengine allows getattr and numpy.dtype around its torch.load."""
    if not hasattr(torch.serialization, 'safe_globals'):
        pytest.skip('this PyTorch has no allow-list')
    torch.save(dict(bad=_Runs(getattr, np.ndarray, 'tofile')), path)
    allowed = [getattr, np.dtype, HistoryBuffer, slice]
    with torch.serialization.safe_globals(allowed), checkpoints.safe_loading(path):
        with pytest.raises(UntrustedCheckpointError, match='getattr'):
            torch.load(path)
        torch.save(dict(history=HistoryBuffer([1.0], [1])), path)
        assert torch.load(path)['history'].data[0].tolist() == [1.0]
        assert set(allowed) <= set(torch.serialization.get_safe_globals())


def test_nothing_stays_allowed_and_torch_load_is_put_back(path):
    before = torch.load
    torch.save(dict(history=HistoryBuffer([1.0], [1])), path)
    load(path)
    assert torch.load is before
    if checkpoints.takes_stand_ins():
        with pytest.raises(pickle.UnpicklingError):
            torch.load(path, weights_only=True)


def test_missing_file_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(str(tmp_path / 'none.pth'))


def test_weights_of_a_wrapped_model_lose_its_prefix(path):
    """One of three readers of weights did so, the others did not find the head."""
    torch.save({'state_dict': {'module.decode_head.a': torch.ones(1)}, 'meta': {'epoch': 2}}, path)
    weights, meta = checkpoints.read_weights(path)
    assert list(weights) == ['decode_head.a']
    assert meta == {'epoch': 2}
    torch.save({'b': torch.ones(1)}, path)
    assert checkpoints.read_weights(path) == ({'b': torch.ones(1)}, {})


def test_a_checkpoint_of_another_config_is_not_tested_with_initial_weights(path):
    model = torch.nn.ModuleDict(
        dict(decode_head=torch.nn.Linear(3, 2), auxiliary_head=torch.nn.Linear(3, 2))
    )
    weights = {k: v for k, v in model.state_dict().items() if 'auxiliary' not in k}
    torch.save({'state_dict': {**weights, 'more': torch.ones(1)}}, path)
    checkpoints.check_fit(model, path)
    model.decode_head = torch.nn.Linear(3, 4)
    with pytest.raises(
        CheckpointError,
        match=r'has decode_head\.weight of shape \(4, 3\) and the checkpoint has one of shape \(2, 3\)',
    ):
        checkpoints.check_fit(model, path)
    model.neck = torch.nn.Linear(1, 1)
    del model['decode_head']
    with pytest.raises(CheckpointError, match=r'the checkpoint lacks it \(2 of 2 weights differ\)'):
        checkpoints.check_fit(model, path)


def test_views_of_several_processes_have_the_weights_of_the_checkpoint(path):
    """``dist_test.sh … --tta`` was refused: there the names begin with ``module.module.``."""
    head = torch.nn.ModuleDict(dict(decode_head=torch.nn.Linear(3, 2)))
    torch.save({'state_dict': head.state_dict()}, path)
    averaged = torch.nn.ModuleDict(dict(module=torch.nn.ModuleDict(dict(module=head))))
    checkpoints.check_fit(averaged, path)
