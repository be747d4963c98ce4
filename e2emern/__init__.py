"""The distribution's one package: its sub-packages are the folders flows, tasks, model, warehouse and defaults.

In the repository they are links to these folders. An installation has nothing else at the top of its site-packages, so
that a module `tasks` or `model` of another project does not replace ours.
"""
