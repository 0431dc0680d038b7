"""What the samplers are told survives a stop."""

import mmseg_balance  # noqa: F401, I001  first: it makes mmseg importable

from tests.support.tiny_run import Recorder, tiny_config, train
from tools.bad_inputs import config


def probabilities_after_2(root, work_dir, resume: bool) -> list[float]:
    """Of the next draw, in a run that stops after the validation of its second iteration."""
    cfg = tiny_config(root, work_dir, iterations=4)
    validating = config(root, work_dir, [])
    for part in ('val_cfg', 'val_dataloader', 'val_evaluator'):
        cfg[part] = validating[part]
    cfg.train_cfg.update(type='FastResumeTrainLoop', val_interval=2)
    cfg.train_dataloader.sampler = dict(type='ClassPerformanceSampler')
    cfg.resume = resume
    hooks = [dict(type='EMAHook'), dict(type='ClassPerformanceHook', source='val')]
    runner = train(cfg, Recorder(stop_after=2), hooks)
    assert runner.iter == 2
    return runner.train_dataloader.sampler.probabilities_at(2 * 2).tolist()


def test_a_report_of_the_validation_survives_a_resume(tmp_path, monkeypatch):
    """The checkpoint of an iteration is saved before its validation, which is not repeated."""
    monkeypatch.setenv('MMSEG_BALANCE_STATISTICS', str(tmp_path / 'statistics'))
    before, after = (
        probabilities_after_2(tmp_path / 'data', tmp_path / 'run', resume)
        for resume in (False, True)
    )
    assert len(set(before)) > 1  # a report was made
    assert after == before
