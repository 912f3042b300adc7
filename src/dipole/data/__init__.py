"""Image sets and text sets, the files they are read from, and batches for training."""

from dipole.data.cifar_files import load_cifar10_binary
from dipole.data.digits import load_digits
from dipole.data.emoji import load_emoji
from dipole.data.epoch_sampler import EpochSampler
from dipole.data.folder_image_set import FolderImageSet
from dipole.data.image_data_module import ImageDataModule
from dipole.data.image_folder import load_image_folder, load_images, unreadable_images
from dipole.data.image_set import ImageSet
from dipole.data.imbalance import imbalanced_indices, imbalanced_sizes
from dipole.data.mnist_files import load_mnist_files
from dipole.data.npz_files import load_npz
from dipole.data.registry import DataSetInfo, available, load_image_sets
from dipole.data.shapes import load_shapes
from dipole.data.splits import stratified_split
from dipole.data.tensor_image_set import TensorImageSet
from dipole.data.text import (
    TextDataModule,
    TextSet,
    available_texts,
    load_retrieval,
    load_sts,
    load_texts,
)
from dipole.data.torchvision_sets import load_torchvision
from dipole.data.xor import XORInformation, XORTriples, combine_xor, draw_xor, xor_information

__all__ = [
    "DataSetInfo",
    "EpochSampler",
    "FolderImageSet",
    "ImageDataModule",
    "ImageSet",
    "TensorImageSet",
    "TextDataModule",
    "TextSet",
    "XORInformation",
    "XORTriples",
    "available",
    "available_texts",
    "combine_xor",
    "draw_xor",
    "imbalanced_indices",
    "imbalanced_sizes",
    "load_cifar10_binary",
    "load_digits",
    "load_emoji",
    "load_image_folder",
    "load_image_sets",
    "load_images",
    "load_mnist_files",
    "load_npz",
    "load_retrieval",
    "load_shapes",
    "load_sts",
    "load_texts",
    "load_torchvision",
    "stratified_split",
    "unreadable_images",
    "xor_information",
]
