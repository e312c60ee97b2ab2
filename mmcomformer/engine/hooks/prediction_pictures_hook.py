"""Hook that writes a picture of every prediction of a test."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmengine import fileio
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from ...outputs import check_outputs, output_picture, picture_path
from ...registry import HOOKS


@HOOKS.register_module()
class PredictionPicturesHook(Hook):
    """Write a picture of the prediction for each image of a test, named as the image.

    Sub-folders of the images are kept, so that images of the same name in two of them get a
    picture each. Whether all may be written is checked before the first image is read.

    Args:
        folder: Folder of the pictures.
        overwrite: Whether pictures that something else wrote may be replaced.

    Raises:
        ValueError: In ``before_test``, if a picture would be written over an input.
        FileExistsError: In ``before_test``, if there is a file that these tools did not write.
    """

    def __init__(self, folder: str, *, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        self.overwrite = overwrite
        self._root = ''

    def before_test(self, runner: Runner) -> None:
        """Choose the names, and check that all of them may be written."""
        dataset = runner.test_loop.dataloader.dataset
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        images = [info['img_path'] for info in infos]
        maps = [info['seg_map_path'] for info in infos if info.get('seg_map_path')]
        self._root = os.path.commonpath([os.path.dirname(path) for path in images])
        check_outputs(
            [self.picture(path) for path in images],
            inputs=[*images, *maps],
            folder=self.folder,
            overwrite=self.overwrite,
        )

    def picture(self, image: str) -> Path:
        """Return the path of the picture of an image."""
        return picture_path(self.folder / os.path.relpath(image, self._root or '.'), image)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Write the pictures of a batch."""
        visualizer = Visualizer.get_current_instance()
        for sample in outputs or ():
            image = mmcv.imfrombytes(fileio.get(sample.img_path), channel_order='rgb')
            with output_picture(self.picture(sample.img_path)) as temporary:
                visualizer.add_datasample(
                    'prediction', image, data_sample=sample, show=False, out_file=str(temporary)
                )
