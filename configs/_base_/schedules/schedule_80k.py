# MMSegmentation's 80k iterations, with the hooks of this project.
_base_ = ['mmseg::_base_/schedules/schedule_80k.py', '../run_hooks.py']
default_hooks = _base_.run_hooks
