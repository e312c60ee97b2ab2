_base_ = 'comformer_voc_19-1.py'
from mmcomformer.recipe import complete

scenario = dict(setting='disjoint')
complete(globals(), '{{fileBasenameNoExtension}}')
