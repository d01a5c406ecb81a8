"""The HTTP gateway: pushes of platforms and of merchants' own programs in, orders out, health and figures for machines.

`app.make_app` builds it from what `ports` names; nothing here knows a broker, a log or a file of the cell.
"""
