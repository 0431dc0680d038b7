"""Each broken data set or config has exactly its finding, and the healthy one none."""

import re

import pytest

from mmseg_balance.doctor import examine_config
from mmseg_balance.doctor.checks import table
from tests.doctor.samples import (
    BROKEN,
    CE,
    RARE,
    float16,
    scheduled_in_epochs,
    seldom_drawn_but_by,
    seldom_drawn_in_epochs,
)


def test_nothing_is_found_in_a_healthy_config(config):
    assert examine_config(config, progress=False).findings == []


HEALTHY = {
    'float16-of-means': float16(CE, loss_scale=512.0),
    # The sum of a number per image.
    'float16-sum-of-images': float16(dict(type='LovaszLoss', per_image=True, reduction='sum')),
    'epochs': lambda root, config: seldom_drawn_in_epochs(root, config, epochs=200),
    'schedule-in-epochs': scheduled_in_epochs,
    'rare-class-sampler': seldom_drawn_but_by('RareClassSampler'),
    'repeat-factor-sampler': seldom_drawn_but_by('RepeatFactorSampler', threshold=0.5),
}


@pytest.mark.parametrize('change', HEALTHY.values(), ids=HEALTHY)
def test_nothing_is_found_in_a_healthy_neighbour_of_a_broken_one(change, root, config):
    change(root, config)
    found = examine_config(config, progress=False).findings
    assert {one.check for one in found} <= set(RARE)


@pytest.mark.parametrize('broken', BROKEN, ids=str)
def test_a_broken_one_has_exactly_its_finding(broken, root, config):
    broken.spoil(root, config)
    every = examine_config(config, progress=False).findings
    found = [one for one in every if one.check not in ('not-read', *broken.beside)]
    assert {(one.check, one.severity) for one in found} == {(broken.check, broken.severity)}
    assert re.search(broken.message, found[0].message)
    assert found[0].where
    assert found[0].change


def test_every_check_has_a_broken_example():
    elsewhere = {'learning-rate'}  # test_examination: it is about files that inherit
    names = {name for _, name, _ in table()}
    assert names == {broken.check for broken in BROKEN} | elsewhere


def test_thirty_are_broken_in_ways_that_stop_or_spoil_a_training():
    assert sum(broken.severity != 'advice' for broken in BROKEN) >= 30
