"""Measure a ser-live server, and torment it: ``python tests/tools/load``.

``streams`` calls it with more and more voices at once, ``churn`` comes and goes thousands of
times, ``hostile`` does what no client should while a good one listens. Each starts a server of
its own, or takes the one at ``--server``, and ends with 1 where the server broke a promise.
"""
