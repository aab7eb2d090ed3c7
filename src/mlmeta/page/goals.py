"""What a metric's name tells: whether less of it is better, and whether it is what an experiment is about."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mlmeta.page.model import Goal


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LESS = _set(
    "loss losses err error errors mse rmse rmsle mae mape smape wape mad rss sse nll ce bce ece mce ppl perplexity "
    "entropy crossentropy logloss hinge kl divergence deviance brier wer cer ter mer eer fid kid lpips distance time "
    "seconds secs ms duration latency delay cost costs fpr fnr fdr far frr regret aic bic residual residuals memory "
    "mem size violations failures failed toxicity hallucination drift gap penalty"
)
_LESS_WITHIN = ("loss", "error", "entropy", "perplex", "latency", "rmse", "duration")
_MORE_WITHIN = ("accuracy", "f1", "score", "reward", "precision", "recall", "auc", "success")
_QUALITY = _set(
    "acc accuracy auc auroc auprc roc f1 f2 fbeta precision recall score r2 map ndcg mrr bleu rouge meteor iou miou "
    "dice kappa mcc reward return hits psnr ssim success sharpe"
)
_HELD_OUT = _set("val valid validation test testing eval evaluation holdout heldout dev cv oof")
_BESIDE = _set(
    "epoch epochs step steps iter iteration iterations batch batches lr learning rate grad norm time timestamp seconds "
    "secs ms duration latency throughput memory mem gpu cpu ram disk network system count n num samples tokens size "
    "params bytes mb gb percentage utilization power"
)


def words_of(key: str) -> list[str]:
    """The words in the name of a metric, in lower case: ``valLoss_RMSE/2`` has val, loss, rmse and 2."""
    return [word.lower() for word in _WORD.findall(key)]


def goal_of(key: str) -> Goal:
    """What is better, as far as the name tells; more, where it does not."""
    words = words_of(key)
    plain = key.lower()
    if any(part in plain for part in _MORE_WITHIN) and not any(part in plain for part in _LESS_WITHIN):
        return "max"
    return "min" if _LESS.intersection(words) or any(part in plain for part in _LESS_WITHIN) else "max"


def in_order(coverage: Iterable[tuple[str, float]]) -> list[str]:
    """Metrics, the one that tells most of an experiment first.

    Args:
        coverage: of each metric, the share of the runs that have it.
    """

    def order(item: tuple[str, float]) -> tuple[bool, int, bool, bool, str]:
        key, share = item
        words = set(words_of(key))
        is_known = bool(words & (_QUALITY | _LESS - _BESIDE))
        return (bool(words & _BESIDE) and not is_known, -round(share * 5), not words & _HELD_OUT, not is_known, key)

    return [key for key, _ in sorted(coverage, key=order)]
