"""The contract of a reward, and what this one says."""

from sgforge import Region, Relation, SceneGraph
from sgforge.stages import Outcome
from sgforge.testing import RewardContract


class TestCoverage(RewardContract):
    component = "coverage"

    def test_it_is_the_share_of_related_regions(self, tmp_path):
        regions = [Region(label) for label in ("dog", "bench", "tree")]
        graph = SceneGraph(0, 0, regions, [Relation(0, "beside", 1)])
        with self.built(tmp_path) as reward:
            [[credit]] = reward.score(self.samples(tmp_path)[:1], [[Outcome(graph)]])
        assert credit.total == 2 / 3
