"""Out-of-distribution detection with the ratio of a language model to its own parent.

What Zhang, Xiao, Liu, Bamler and Wischik (2025) add, and only that: the scores, the detector, the metrics; around
them the fine-tuning that makes a child, the baselines, the studies of the chapter, and a workflow for files of texts.
"""

from loglik.language.llm_ood_ratio.detector import LikelihoodRatioDetector, conformal_threshold
from loglik.language.llm_ood_ratio.metrics import ood_metrics, selective_accuracy
from loglik.language.llm_ood_ratio.scores import kl_gap, log_likelihoods, qa_scores, ratio_scores
from loglik.language.llm_ood_ratio.tuning import finetune

__all__ = [
    "LikelihoodRatioDetector",
    "conformal_threshold",
    "finetune",
    "kl_gap",
    "log_likelihoods",
    "ood_metrics",
    "qa_scores",
    "ratio_scores",
    "selective_accuracy",
]
