_base_ = ['comformer_voc_15-5.py', '_base_/backbones/swin-t.py']
from mmcomformer.recipe import complete

complete(globals(), '{{fileBasenameNoExtension}}')
