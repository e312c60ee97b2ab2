_base_ = 'comformer_voc_10-1.py'
from mmcomformer.recipe import complete

scenario = dict(setting='disjoint')
complete(globals(), '{{fileBasenameNoExtension}}')
