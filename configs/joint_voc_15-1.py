# the same training as that of joint_voc_15-5.py, whose model serves both
_base_ = 'joint_voc_15-5.py'
from mmcomformer.recipe import complete

complete(globals(), '{{fileBasenameNoExtension}}')
