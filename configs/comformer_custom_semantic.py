# A template for one's own label maps: docs/custom_dataset.md, section 7
# or custom_semantic_tiny.py, a model for a CPU
_base_ = ['_base_/custom_semantic_r101.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

# edit these
data_root = 'data/pets/'
scenario = dict(
    stuff_classes=['cat', 'dog', 'grass', 'sky'],
    class_order=['grass', 'cat', 'sky', 'dog'],
    increments=[2, 2],
)
dataset = dict(reduce_zero_label=False, img_suffix='.jpg', seg_map_suffix='.png')
image_size = 512
schedule = dict(base_iters=20000, iters_per_class=400)
complete(globals(), '{{fileBasenameNoExtension}}')
