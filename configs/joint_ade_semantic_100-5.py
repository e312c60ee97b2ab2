# the same training as that of joint_ade_semantic_100-50.py, whose model serves both
_base_ = 'joint_ade_semantic_100-50.py'
from mmcomformer.recipe import complete

complete(globals(), '{{fileBasenameNoExtension}}')
