_base_ = './cityscapes_classes.py'

scenario = dict(increments=[14, 5])
