"""The data sets that `dataset=` takes."""

from aectl.data.datasets.array import Array
from aectl.data.datasets.base import Dataset
from aectl.data.datasets.checked import Cifar10, Svhn
from aectl.data.datasets.digits import Digits
from aectl.data.datasets.folder import Folder
from aectl.data.datasets.like_mnist import Emnist, FashionMnist, Kmnist, Mnist
from aectl.data.datasets.mnist5k import Mnist5k
from aectl.data.datasets.synthetic import Synthetic
from aectl.settings.choices import Table

DATASETS = Table(
    Dataset, Mnist5k, Digits, Synthetic, Mnist, FashionMnist, Kmnist, Emnist, Cifar10, Svhn, Folder, Array
)
