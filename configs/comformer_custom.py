# A template for one's own data: docs/custom_dataset.md
# or custom_panoptic_tiny.py, a model for a CPU
_base_ = ['_base_/custom_panoptic_r50.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

# edit these
data_root = 'data/pets/'
scenario = dict(
    thing_classes=['cat', 'dog'],
    stuff_classes=['grass', 'sky'],
    class_order=['grass', 'cat', 'sky', 'dog'],
    increments=[2, 2],
)
image_size = 640
schedule = dict(base_iters=20000, iters_per_class=400)
complete(globals(), '{{fileBasenameNoExtension}}')
