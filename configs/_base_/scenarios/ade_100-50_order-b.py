_base_ = './ade20k_classes_order-b.py'

scenario = dict(increments=[100, 50])
