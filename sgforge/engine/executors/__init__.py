"""The one door to components: what is asked of one is `Work`, whoever answers is a `Crew`, an `Executor` opens it."""
