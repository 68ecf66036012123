"""The morning's list: the new papers of a store that are nearest to one's own.

`day` holds what a list is and where it lies, `ranking` puts papers in order, `listing` says why each stands where it
does, `arrivals` knows what is new, `morning` does all of it from the fetch on. This module brings in `day` alone.
"""

from embedsearch.today.day import DayList, DayPaper, Near, day_path, read_day

__all__ = ["DayList", "DayPaper", "Near", "day_path", "read_day"]
