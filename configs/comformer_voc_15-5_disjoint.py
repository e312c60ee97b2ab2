_base_ = 'comformer_voc_15-5.py'
from mmcomformer.recipe import complete

scenario = dict(setting='disjoint')
complete(globals(), '{{fileBasenameNoExtension}}')
