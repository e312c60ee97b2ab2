_base_ = './voc_classes.py'

scenario = dict(increments=[10] + [1] * 10)
