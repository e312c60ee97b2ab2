"""What libraries read when they are imported: threads, and which devices there are."""

import os
import sys

# tests fork, and a child would wait for ever for its parent's threads
os.environ.setdefault('OMP_NUM_THREADS', '1')
_MARKERS = [
    word
    for before, word in zip(sys.argv, sys.argv[1:], strict=False)
    if before == '-m' or word.startswith('-m')
]
if any('gpu' in word for word in _MARKERS):
    # read when the first handle of cuBLAS is made
    os.environ['CUBLAS_WORKSPACE_CONFIG'] = ':4096:8'
elif 'PYTEST_XDIST_WORKER' not in os.environ:
    # all but `-m gpu` is about the CPU's bits, and forks, which CUDA does not survive; the
    # processes among which tests are divided inherit it
    os.environ['CUDA_VISIBLE_DEVICES'] = ''
