_base_ = ['comformer_ade_semantic_100-50.py', '_base_/backbones/swin-t.py']
from mmcomformer.recipe import complete

complete(globals(), '{{fileBasenameNoExtension}}')
