_base_ = './coco_classes.py'

scenario = dict(increments=[83] + [5] * 10)
