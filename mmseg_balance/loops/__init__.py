"""Train loops."""
from mmseg_balance.loops.fast_resume_train_loop import FastResumeTrainLoop

__all__ = ['FastResumeTrainLoop']
