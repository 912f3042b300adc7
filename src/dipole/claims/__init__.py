"""One small, honest experiment per paper: does its effect show here, with seeds and an interval, whatever comes out?"""

from dipole.claims.base import Arm, Claim, Comparison, Data
from dipole.claims.images import ImageData
from dipole.claims.registry import claims, get_claim
from dipole.claims.results import load_results

__all__ = ["Arm", "Claim", "Comparison", "Data", "ImageData", "claims", "get_claim", "load_results"]
