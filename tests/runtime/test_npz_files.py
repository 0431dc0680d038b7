"""A damaged file of arrays ends in the sentence that its reader promises."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmseg_balance.metrics.confusion_file import load_confusions, save_confusions
from mmseg_balance.statistics import ClassStatistics

READERS = {'class statistics': ClassStatistics.load, 'confusion matrices': load_confusions}


@pytest.fixture(params=READERS)
def file(request, tmp_path):
    """Content, path of a good file, and its reader."""
    path = tmp_path / 'file.npz'
    if request.param == 'class statistics':
        ClassStatistics.from_rows('ab', [[1, 2]] * 50).save(path)
    else:
        save_confusions(path, np.arange(200).reshape(50, 2, 2), [f'{i}' for i in range(50)], 'ab')
    return request.param, path, READERS[request.param]


def array_of_its_own(path: Path) -> None:
    with path.open('wb') as file:
        np.save(file, np.zeros(3))


def unknown_compression(path: Path) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        starts = [one.header_offset for one in archive.infolist()]
    directory = content.index(b'PK\1\2')
    for start in starts:
        content[start + 8] = 97
    while directory >= 0:
        content[directory + 10] = 97
        directory = content.find(b'PK\1\2', directory + 1)
    path.write_bytes(content)


@pytest.mark.parametrize('spoil', [array_of_its_own, unknown_compression])
def test_a_file_of_another_kind_is_named(file, spoil):
    content, path, read = file
    spoil(path)
    with pytest.raises(ValueError, match=rf'file\.npz is not a file of {content} \(.*; remove it'):
        read(path)


def test_a_file_of_the_user_is_not_to_be_removed(file, tmp_path):
    """`class_stats --merge config.py` said to remove the config, and how to load a pickle."""
    content, path, read = file
    config = tmp_path / 'config.py'
    config.write_text('a = 1')
    with pytest.raises(
        ValueError, match=rf'config\.py is not a file of {content}: give one that ends in'
    ):
        read(config)
    path.write_text('a = 1')
    with pytest.raises(ValueError, match=r'\(no archive of arrays\); remove it'):
        read(path)


def test_any_damaged_byte_ends_in_that_sentence_or_does_not_matter(file):
    _, path, read = file
    whole, said = path.read_bytes(), []
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            read(path)
        except ValueError as error:
            said.append(str(error))
    assert said
    assert all(str(path) in one and 'remove it' in one for one in said)


def test_a_file_that_is_deleted_before_it_is_opened_is_missing(file, monkeypatch):
    content, path, read = file
    path.unlink()
    monkeypatch.setattr(Path, 'is_file', lambda self: True)
    with pytest.raises(FileNotFoundError, match=f'no {content} at'):
        read(path)
