"""The morning's list: the new papers of a store that are nearest to one's own.

from embedsearch.today.morning import morning

day = morning("indexes/default", ["my.bib"])
for paper in day.papers:
    print(paper.title, paper.nearest[0].title, paper.percentile)

`day` holds what a list is and where it lies, `ranking` puts papers in order, `listing` says why each stands where it
does, `newness` which are new, `arrivals` what is remembered of the days before; `morning` does all of it, from the
fetch on. This module brings in `day` alone.
"""

from embedsearch.today.day import DayList, DayPaper, Near, day_path, read_day

__all__ = ["DayList", "DayPaper", "Near", "day_path", "read_day"]
