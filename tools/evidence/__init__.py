"""From finished runs to ``docs/results/*.json``, and from these to tables, numbers and figures.

``trainings`` scores finished trainings as a screening scores heads, ``publishing`` writes the JSON
of a work dir, ``store`` reads all of them. From these alone: ``sections`` and ``claims`` write
tables, ``figures`` draws, ``zoo`` writes ``metafile.yml``, and ``pages`` puts the text in its place.
"""
