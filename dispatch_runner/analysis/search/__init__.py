"""Full-text search in a folder of code and documents, with an index that is kept between runs."""

from dispatch_runner.analysis.search.index import Hit, SearchIndex, SearchProblem
from dispatch_runner.analysis.search.words import query_words

__all__ = ["Hit", "SearchIndex", "SearchProblem", "query_words"]
