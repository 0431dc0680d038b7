# MMSegmentation's 160k iterations, with the hooks of this project.
_base_ = ['mmseg::_base_/schedules/schedule_160k.py', '../run_hooks.py']
default_hooks = _base_.run_hooks
