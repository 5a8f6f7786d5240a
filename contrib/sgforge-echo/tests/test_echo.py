"""The contract of a teacher, and what this one says."""

from sgforge.testing import TeacherContract


class TestEcho(TeacherContract):
    component = "echo"
    options = {"predicate": "beside"}

    def test_each_region_is_related_to_the_next(self, tmp_path):
        dogs = self.samples(tmp_path)[1]
        [edit] = self.answers(tmp_path, [dogs])
        assert [relation.triplet for relation in edit.relations] == [(0, "beside", 1)]
