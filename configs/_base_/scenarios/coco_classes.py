# COCO panoptic's 133 classes under the names of mmdet's CocoPanopticDataset. The parent of the COCO
# scenarios, which add the increments.
step = {{'$STEP:0'}}

# fmt: off
thing_classes = [
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat',
    'traffic light', 'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog',
    'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella',
    'handbag', 'tie', 'suitcase', 'frisbee', 'skis', 'snowboard', 'sports ball', 'kite',
    'baseball bat', 'baseball glove', 'skateboard', 'surfboard', 'tennis racket', 'bottle',
    'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich', 'orange',
    'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant',
    'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone',
    'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors',
    'teddy bear', 'hair drier', 'toothbrush',
]
stuff_classes = [
    'banner', 'blanket', 'bridge', 'cardboard', 'counter', 'curtain', 'door-stuff', 'floor-wood',
    'flower', 'fruit', 'gravel', 'house', 'light', 'mirror-stuff', 'net', 'pillow', 'platform',
    'playingfield', 'railroad', 'river', 'road', 'roof', 'sand', 'sea', 'shelf', 'snow', 'stairs',
    'tent', 'towel', 'wall-brick', 'wall-stone', 'wall-tile', 'wall-wood', 'water-other',
    'window-blind', 'window-other', 'tree-merged', 'fence-merged', 'ceiling-merged',
    'sky-other-merged', 'cabinet-merged', 'table-merged', 'floor-other-merged', 'pavement-merged',
    'mountain-merged', 'grass-merged', 'dirt-merged', 'paper-merged', 'food-other-merged',
    'building-other-merged', 'rock-merged', 'wall-other-merged', 'rug-merged',
]
# the order of ECLIPSE's released configs ("c"), which mixes things and stuff
class_order = [
    'person', 'car', 'traffic light', 'banana', 'couch', 'boat', 'floor-wood', 'cat',
    'grass-merged', 'sky-other-merged', 'dog', 'food-other-merged', 'baseball bat',
    'ceiling-merged', 'potted plant', 'chair', 'pizza', 'fruit', 'clock', 'surfboard', 'toothbrush',
    'apple', 'rock-merged', 'cake', 'net', 'backpack', 'fork', 'bicycle', 'cell phone',
    'wall-brick', 'snowboard', 'bench', 'suitcase', 'fire hydrant', 'train', 'carrot', 'bridge',
    'roof', 'cardboard', 'refrigerator', 'airplane', 'spoon', 'tree-merged', 'light', 'door-stuff',
    'bowl', 'fence-merged', 'kite', 'dining table', 'sheep', 'scissors', 'wall-stone', 'tv',
    'playingfield', 'building-other-merged', 'remote', 'hair drier', 'platform', 'sports ball',
    'curtain', 'dirt-merged', 'sea', 'laptop', 'sandwich', 'baseball glove', 'bus', 'gravel',
    'orange', 'wall-tile', 'truck', 'mouse', 'wall-other-merged', 'house', 'handbag',
    'table-merged', 'bear', 'broccoli', 'counter', 'window-blind', 'tie', 'flower', 'oven',
    'toilet', 'stop sign', 'road', 'tent', 'mountain-merged', 'floor-other-merged', 'tennis racket',
    'banner', 'cow', 'bottle', 'wine glass', 'water-other', 'paper-merged', 'book', 'horse',
    'railroad', 'river', 'bed', 'frisbee', 'pavement-merged', 'microwave', 'skateboard',
    'parking meter', 'zebra', 'window-other', 'donut', 'umbrella', 'cabinet-merged', 'toaster',
    'keyboard', 'snow', 'rug-merged', 'cup', 'stairs', 'shelf', 'towel', 'blanket', 'sand', 'vase',
    'mirror-stuff', 'giraffe', 'bird', 'teddy bear', 'hot dog', 'elephant', 'pillow', 'sink',
    'wall-wood', 'knife', 'skis', 'motorcycle',
]
# fmt: on

scenario = dict(
    setting='{{$SETTING:overlap}}',
    thing_classes=thing_classes,
    stuff_classes=stuff_classes,
    class_order=class_order,
    step=step,
)
