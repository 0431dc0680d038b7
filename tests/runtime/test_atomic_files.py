"""Files that are whole or not there."""

import os
import signal
import stat
import threading
import time

import pytest
from mmengine.fileio import get_file_backend

from mmseg_balance.runtime.atomic_files import atomic_write, check_output, remove_partial_files


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'old')

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b'new')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']


def test_a_kill_leaves_what_was_there(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'old')
    said, say = os.pipe()
    writer = os.fork()
    if writer == 0:
        try:
            with atomic_write(path) as file:
                file.write(b'new' * 1000)
                file.flush()
                os.write(say, b'half')
                time.sleep(60)
        finally:
            os._exit(1)
    assert os.read(said, 4) == b'half'
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    assert path.read_bytes() == b'old'
    assert len(os.listdir(tmp_path)) == 2
    assert remove_partial_files(tmp_path) == 1
    assert os.listdir(tmp_path) == ['file']


def test_an_output_is_tried_without_being_made(tmp_path):
    check_output('--out', tmp_path / 'new' / 'folder' / 'file.json', ['.json'])
    assert os.listdir(tmp_path) == []
    (tmp_path / 'file').touch()
    for wrong in ('file/a.json', 'file/deep/a.json'):
        with pytest.raises(ValueError, match='^--out .* cannot be written, .*file: Not a dir'):
            check_output('--out', tmp_path / wrong)


def test_two_writers_do_not_mix(tmp_path):
    contents = [bytes([number]) * 100_000 for number in range(8)]

    def write(content):
        with atomic_write(tmp_path / 'deep' / 'file') as file:
            for start in range(0, len(content), 1000):
                file.write(content[start : start + 1000])

    threads = [threading.Thread(target=write, args=[content]) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / 'deep' / 'file').read_bytes() in contents
    assert os.listdir(tmp_path / 'deep') == ['file']


def test_others_may_read_as_the_umask_says(tmp_path):
    mask = os.umask(0o022)
    try:
        with atomic_write(tmp_path / 'file'):
            pass
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / 'file').stat().st_mode) == 0o644


def test_the_backend_is_mmengine_s(tmp_path):
    backend = get_file_backend(backend_args=dict(backend='atomic'))
    backend.put(b'data', tmp_path / 'folder' / 'file')
    assert backend.get(tmp_path / 'folder' / 'file') == b'data'
    assert os.listdir(tmp_path / 'folder') == ['file']
