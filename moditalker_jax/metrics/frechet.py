"""The Fréchet distance between two sets of features, from statistics gathered batch by batch.

FID (Heusel et al., NeurIPS 2017) is this distance of Inception's features of frames, FVD
(Unterthiner et al., 2018) that of I3D's features of clips.
"""

from dataclasses import dataclass

import numpy as np


@dataclass
class FeatureStatistics:
    """Mean and covariance of features that come in batches; holds one D x D matrix, in float64.

    Attributes:
      count: features so far.
      mean: (D,) their mean; 0 before the first.
      scatter: (D, D) sum of the outer products of their deviations from the mean.
    """

    count: int = 0
    mean: np.ndarray | float = 0.0
    scatter: np.ndarray | float = 0.0

    def update(self, features: np.ndarray) -> None:
        """Takes in a batch of features (N, D)."""
        features = np.asarray(features, np.float64)
        if len(features):
            mean = features.mean(axis=0)
            deviations = features - mean
            self.merge(FeatureStatistics(len(features), mean, deviations.T @ deviations))

    def merge(self, other: "FeatureStatistics") -> None:
        """Takes in all features of another set (Chan, Golub and LeVeque 1983)."""
        if other.count:
            count = self.count + other.count
            step = other.mean - self.mean
            weight = self.count * other.count / count
            self.scatter = self.scatter + other.scatter + weight * np.outer(step, step)
            self.mean = self.mean + step * (other.count / count)
            self.count = count

    @property
    def covariance(self) -> np.ndarray:
        """(D, D), over N - 1 as `numpy.cov` has it.

        Raises:
          ValueError: there are fewer than two features.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 features, got {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(statistics: FeatureStatistics, truth: FeatureStatistics) -> float:
    """Squared Fréchet distance of the normal distributions with these statistics; 0 is equal.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). With C = F F^T, the root's trace is the sum of the
    singular values of F1^T F2, which stays exact where there are fewer features than dimensions.
    The fewer features there are, the larger is the distance: compare only sets of one size.

    Raises:
      ValueError: one side has fewer than two features.
    """
    covariances = statistics.covariance, truth.covariance
    factor, true_factor = map(_factor, covariances)
    root_trace = np.linalg.svd(factor.T @ true_factor, compute_uv=False).sum()
    shift = np.square(statistics.mean - truth.mean).sum()
    distance = shift + sum(map(np.trace, covariances)) - 2 * root_trace
    return max(0.0, float(distance))  # Equal sets may come out below 0 by rounding.


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F (D, R) with F F^T the covariance of rank R."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])
