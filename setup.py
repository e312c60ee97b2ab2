"""Build script. Everything that is not code for ``mim`` is declared here as well."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools < 70.1
    from wheel.bdist_wheel import bdist_wheel

ROOT = Path(__file__).resolve().parent
PACKAGE = 'mmcomformer'
MIM_ITEMS = ('tools', 'configs', 'model-index.yml')


def read_version() -> str:
    """Read the version without importing the package, which would import torch."""
    text = (ROOT / PACKAGE / 'version.py').read_text(encoding='utf-8')
    match = re.search(r"^__version__ = '([^']+)'", text, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError(f'no __version__ in {PACKAGE}/version.py')
    return match[1]


def read_requirements(name: str) -> list[str]:
    """Read ``requirements/<name>.txt`` without comments and empty lines."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    stripped = (line.split('#')[0].strip() for line in lines)
    return [line for line in stripped if line]


def read_long_description() -> str:
    """Read the README, which a partial checkout may lack."""
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.is_file() else ''


def copy_mim(folder: Path) -> None:
    """Write the folder in which ``mim`` looks for tools and configs.

    Args:
        folder: The ``.mim`` folder; a former one is replaced.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    ignore = shutil.ignore_patterns('__pycache__', '*.pyc')
    for item in MIM_ITEMS:
        source = ROOT / item
        if source.is_dir():
            shutil.copytree(source, folder / item, ignore=ignore)
        else:
            shutil.copy2(source, folder / item)


def link_mim(folder: Path) -> None:
    """Link the tools of an editable installation to where ``openmim`` looks for them.

    ``onedl-mim`` searches the whole checkout and finds tools and configs at its root. It follows
    links, and a config that it finds twice is an error: so the configs are not linked.

    Args:
        folder: The ``.mim`` folder inside the package.
    """
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        os.symlink(Path('..', '..', 'tools'), folder / 'tools', target_is_directory=True)
    except OSError:  # Windows without the right to make links
        shutil.copytree(ROOT / 'tools', folder / 'tools')


class BuildPy(build_py):
    """Also fill ``mmcomformer/.mim``: copies in a wheel, a link in an editable installation."""

    def run(self) -> None:
        """Build the package, then ``.mim``."""
        super().run()
        if getattr(self, 'editable_mode', False):
            link_mim(ROOT / PACKAGE / '.mim')
        else:
            copy_mim(Path(self.build_lib) / PACKAGE / '.mim')


class BdistWheel(bdist_wheel):
    """Also put ``.mim`` beside the metadata.

    ``onedl-mim`` 0.5 takes the folder of the first file of an installed distribution for the
    package. Files are sorted, so where distribution and package have one name that is the
    metadata folder. A console script would come before it, so there is none: the commands are run
    with ``python -m mmcomformer``.
    """

    def write_wheelfile(self, wheelfile_base: str, *args: str) -> None:
        """Write the file ``WHEEL``, and ``.mim`` unless the installation is an editable one."""
        super().write_wheelfile(wheelfile_base, *args)
        if not getattr(self.get_finalized_command('build_py'), 'editable_mode', False):
            copy_mim(Path(wheelfile_base) / '.mim')


setup(
    name=PACKAGE,
    version=read_version(),
    description='CoMFormer for OpenMMLab: continual semantic and panoptic segmentation',
    long_description=read_long_description(),
    long_description_content_type='text/markdown',
    author='mmcomformer authors',
    license='Apache-2.0',
    keywords='computer vision, continual learning, panoptic segmentation, semantic segmentation',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Typing :: Typed',
    ],
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={'': ['py.typed', '*.pyi'], f'{PACKAGE}.report': ['templates/*.j2']},
    python_requires='>=3.10',
    install_requires=read_requirements('runtime'),
    extras_require={
        name: read_requirements(name) for name in ('onedl', 'openmmlab', 'tests', 'docs')
    },
    cmdclass={'build_py': BuildPy, 'bdist_wheel': BdistWheel},
    zip_safe=False,
)
