"""Is the best setting better than the others, or lucky? Paired t-tests over seeds, in sentences."""

import statistics

from scipy import stats

from kerasref.lab.sweeps.comparison import Comparison, Setting
from kerasref.lab.sweeps.values import shown_metric

LEVEL = 0.05
MOST_TESTED = 10  # settings that are tested against the best


def significance(comparison: Comparison) -> list[str]:
    """Tests the best setting against each of the next ten, over the seeds that both were run with.

    Both p-values and intervals are Bonferroni's, for as many comparisons as there are other settings, since the best
    was picked among all of them: an interval contains 0 if and only if p is 0.05 or more. Intervals end at the greatest
    difference that the metric can have.
    """
    best, *others = comparison.settings
    return [_compared(best, other, comparison) for other in others[:MOST_TESTED]] or ["one setting: nothing to test"]


def _compared(best: Setting, other: Setting, comparison: Comparison) -> str:
    sign, comparisons = 1 if comparison.higher_is_better else -1, len(comparison.settings) - 1
    seeds = sorted(best.values.keys() & other.values.keys())
    gains = [sign * (best.values[seed] - other.values[seed]) for seed in seeds]
    if len(seeds) < 2:
        common = f"{len(seeds)} seed{'s' * (len(seeds) != 1)} in common"
        return f"{best} and {other}: {common}, a test needs 2 and is weak below 5"
    if max(gains) - min(gains) < 1e-12:
        constant = f"the difference is {shown_metric(gains[0])} in each of {len(seeds)} seeds"
        return f"{best} and {other}: {constant}, no spread to test"
    gain, test = statistics.mean(gains), stats.ttest_1samp(gains, 0)
    p = min(1.0, comparisons * test.pvalue)
    low, high = test.confidence_interval(1 - LEVEL / comparisons)
    smallest = (high - low) / 2  # a mean difference from here on would be significant, with this spread
    if comparison.span is not None:
        low, high = max(low, -comparison.span), min(high, comparison.span)
    if p < LEVEL:
        verdict = "more than chance"
    elif comparison.span is not None and smallest >= comparison.span:
        verdict = "not told apart; no difference could have been significant with so few seeds"
    else:
        undetectable = f"a difference below {shown_metric(smallest)} could not have been significant"
        verdict = f"not told apart; {undetectable}, more seeds would help"
    all_shared = len(seeds) == max(len(best.values), len(other.values))
    counted = f"{len(seeds)} seeds{'' if all_shared else ' that both have'}"
    return (
        f"{best} is {'better' if gain > 0 else 'worse'} than {other} by {shown_metric(abs(gain))} on average "
        f"(95 % interval of the gain {shown_metric(low)} to {shown_metric(high)}, {counted}, p = {p:.2g}): {verdict}"
    )
