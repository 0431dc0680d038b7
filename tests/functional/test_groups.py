"""Groups of images from file names."""

import numpy as np
import pytest

from mmseg_balance.functional.groups import block_groups, make_groups, subject_groups


def test_blocks_are_consecutive_within_a_video_and_nearly_equal():
    names = [
        f'test/{video}_{prefix}{30 * frame:05d}.jpg'
        for frame in range(62)
        for video, prefix in (('0001TP', '00'), ('Seq05VD', 'f'))
    ]
    np.random.default_rng(0).shuffle(names)
    groups = block_groups(names, length=15)
    assert len(groups) == 124
    blocks = [sorted(np.array(names)[groups == group]) for group in range(groups.max() + 1)]
    assert sorted(map(len, blocks)) == [15] * 4 + [16] * 4
    for block in blocks:
        videos = {name.split('_')[0] for name in block}
        frames = [int(name[-9:-4]) for name in block]
        assert len(videos) == 1
        assert set(np.diff(frames)) == {30}


def test_frames_are_ordered_as_numbers_and_a_short_video_is_one_block():
    assert block_groups(['a_9.png', 'a_10.png', 'a_100.png', 'a_8.png', 'b_1.png'], 2).tolist() == [
        0,
        1,
        1,
        0,
        2,
    ]


@pytest.mark.parametrize('how', ['blocks', 'blocks:2', 'subjects:^(.)', 'images'])
def test_text_makes_the_groups(how):
    names = [f'{video}_{frame}.png' for video in 'ab' for frame in range(4)]
    expected = dict(blocks=[0] * 4 + [1] * 4, images=list(range(8)))
    expected |= {'blocks:2': [0, 0, 1, 1, 2, 2, 3, 3], 'subjects:^(.)': expected['blocks']}
    assert make_groups(names, how).tolist() == expected[how]


@pytest.mark.parametrize(
    'how', ['videos', 'blocks:', 'blocks:x', 'subjects:', 'subjects', 'images:2']
)
def test_refuses_another_text(how):
    with pytest.raises(ValueError, match="give 'images', 'blocks'"):
        make_groups(['a_1.png'], how)


def test_refuses_patterns_and_lengths():
    with pytest.raises(ValueError, match="does not match the image name 'plain'"):
        block_groups(['a_1.jpg', 'plain.jpg'])
    with pytest.raises(ValueError, match='has no group'):
        subject_groups(['a_1.jpg'], r'\d')
    with pytest.raises(ValueError, match='needs the groups'):
        block_groups(['a_1.jpg'], pattern=r'(a)_(\d)')
    with pytest.raises(ValueError, match=r"pattern is '\(' and no regular expression: missing"):
        make_groups(['a_1.jpg'], 'subjects:(')
    with pytest.raises(ValueError, match="takes '1b' of the image name 'a_1b' for the number"):
        block_groups(['a_1b.jpg'], pattern=r'(?P<video>a)_(?P<frame>.+)')
    with pytest.raises(ValueError, match='length is 0'):
        block_groups(['a_1.jpg'], 0)
