"""Exports: the log and the read models in open formats, for tools that others make. One file for each format.

All of them stream: what is kept in memory does not grow with the log. What each event means in a format is said by pure
mappings (`projections.cloud_event`, `projections.object_log`, `projections.epcis`); here it is read and written.
"""
