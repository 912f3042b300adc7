"""Methods as estimators of scikit-learn."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from dipole.errors import InputError
from dipole.methods.base import Method
from dipole.ops.checks import check_choice
from dipole.runs.config import RunConfig
from dipole.runs.domains import domain_of
from dipole.runs.loading import load
from dipole.runs.train import train

LONG = 16  # channels of a series of one step that are rather its steps
AT_ONCE = 256  # samples that are embedded together


class ContrastiveTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Train an encoder on arrays without labels, and embed arrays with it.

    Time series are (N, T, C), NaN where a value is missing; those of `transform` may be longer or shorter. An array
    (N, T) holds series of one channel, and T stays the same. The same `random_state` gives the same bits on the same
    processor.

    Args:
        method: name of a method that is trained on arrays.
        epochs: passes over the series.
        batch_size: series per step, 2 or more.
        options: arguments of the method.
        loading: how its data are read, e.g. `{"window": 200}`.
        layout: of arrays with three axes: `"time"`, (N, T, C), or `"aeon"`, (N, C, T) as aeon and sktime have them; of
            lists, (T, C) or (C, T).
        random_state: of everything that is drawn.

    Attributes:
        method_: the trained method, in evaluation mode.
        n_features_in_: channels C of series (N, T, C), or steps T of series (N, T).

    Example:
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.svm import SVC
        >>> from dipole.data.timeseries import toy_patterns
        >>> train_set, test_set = toy_patterns()
        >>> small = {"hidden": 8, "depth": 3, "features": 16, "longest_kernel": 4}
        >>> model = make_pipeline(ContrastiveTransformer(epochs=1, options=small), SVC(C=1e8))
        >>> model = model.fit(train_set.values.numpy(), train_set.labels.numpy())
        >>> model.score(test_set.values.numpy(), test_set.labels.numpy()) > 0.6
        True
    """

    def __init__(
        self,
        method: str = "autotcl",
        *,
        epochs: int = 20,
        batch_size: int = 32,
        options: Mapping[str, Any] | None = None,
        loading: Mapping[str, Any] | None = None,
        layout: Literal["time", "aeon"] = "time",
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.epochs = epochs
        self.batch_size = batch_size
        self.options = options
        self.loading = loading
        self.layout = layout
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> "ContrastiveTransformer":  # noqa: N803 - as scikit-learn names it
        """Train the encoder.

        Args:
            X: (N, T, C) or (N, T).
            y: not looked at.

        Raises:
            InputError: an argument is out of range, or the method is not trained on arrays.
        """
        array = self._array(X)
        self.n_features_in_ = _width(array)
        self._ndim = array.ndim
        domain = domain_of(self.method, self.options or {})
        config = RunConfig(
            self.method,
            data="array",
            batch_size=self.batch_size,
            epochs=self.epochs,
            seed=self.random_state,
            precision="32-true",
            method=dict(self.options or {}),
            loading=dict(self.loading or {}),
        )
        sets = domain.sets_of_array(array)
        with isolate_rng(), tempfile.TemporaryDirectory() as folder:
            run = train(config, Path(folder) / "run", sets=sets, monitor=False, progress=False)
            self.method_: Method = load(run.path)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return embeddings (N, D) in single precision.

        Args:
            X: (N, T, C) or (N, T), of as many channels as `fit` has seen.

        Raises:
            InputError: they do not fit.
        """
        check_is_fitted(self, "method_")
        array = self._array(X)
        if array.ndim != self._ndim or _width(array) != self.n_features_in_:
            raise InputError(
                f"X has {_width(array)} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                f"features as input, in an array of {self._ndim} axes."
            )
        values = torch.from_numpy(array if array.ndim > 2 else array[:, :, None])
        with torch.inference_mode():
            parts = [self.method_.embed(part.to(self.method_.device)).cpu() for part in values.split(AT_ONCE)]
        return torch.cat(parts).float().numpy()

    @property
    def _n_features_out(self) -> int:
        """Number of names of `get_feature_names_out`."""
        shape = (1, self.n_features_in_) if self._ndim == 2 else (1, 1, self.n_features_in_)
        return self.transform(np.zeros(shape)).shape[1]

    def _array(self, X: Any) -> np.ndarray:  # noqa: N803
        """Numbers with 2 or 3 axes; series of unequal lengths are filled with NaN at the end."""
        check_choice(self.layout, ("time", "aeon"), "layout")
        X = _padded(X, self.layout)  # noqa: N806
        if isinstance(X, np.ndarray) and X.dtype.kind == "f" and np.isinf(X).any():
            raise InputError("X holds infinity: expected numbers, or NaN where a value is missing.")
        array: np.ndarray = check_array(
            X, dtype=np.float32, allow_nd=True, ensure_all_finite="allow-nan", estimator=self, input_name="X"
        )
        if array.ndim > 3:
            raise InputError(f"X has shape {array.shape}: expected (N, T, C) or (N, T).")
        if array.ndim == 3 and self.layout == "time" and array.shape[1] == 1 and array.shape[2] >= LONG:
            warnings.warn(
                f"X has shape {array.shape}: series of one step and {array.shape[2]} channels. If they are (N, C, T), "
                'as aeon has them, say layout="aeon".',
                stacklevel=3,
            )
        return np.ascontiguousarray(array)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what arrays are fine."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _padded(series: Any, layout: str) -> Any:
    """Series with the time first; a list of series (T, C) or (T,) of unequal lengths as one array (N, T, C).

    NaN stands after the end of each.

    Raises:
        InputError: the series differ in more than their length.
    """
    if not isinstance(series, (list, tuple)) and not (isinstance(series, np.ndarray) and series.dtype == object):
        turned = layout == "aeon" and getattr(series, "ndim", 0) == 3
        return np.swapaxes(np.asarray(series), 1, 2) if turned else series
    try:
        parts = [np.asarray(one, dtype=np.float32) for one in series]
    except (TypeError, ValueError):
        return series  # scikit-learn says what is wrong
    if layout == "aeon":
        parts = [part.T if part.ndim == 2 else part for part in parts]
    if len({part.shape for part in parts}) < 2:
        return np.stack(parts) if layout == "aeon" and parts else series
    if any(part.ndim not in (1, 2) or not len(part) for part in parts) or len({part.shape[1:] for part in parts}) > 1:
        raise InputError(
            f"X is a list of series of shapes {sorted({part.shape for part in parts})}: expected (T, C) with one "
            "number of channels C; only the lengths T may differ."
        )
    columns = [part if part.ndim == 2 else part[:, None] for part in parts]
    filled = np.full((len(parts), max(map(len, columns)), columns[0].shape[1]), np.nan, dtype=np.float32)
    for row, part in zip(filled, columns, strict=True):
        row[: len(part)] = part
    return filled


def _width(array: np.ndarray) -> int:
    """What `fit` and `transform` must have in common: channels, or the steps of series of one channel."""
    width: int = array.shape[-1]
    return width
