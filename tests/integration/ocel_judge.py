"""What pm4py, which knows nothing of us, reads in exported files. Run as a program of its own: it is heavy and talks.

`python -m tests.integration.ocel_judge OCEL.json OCEL.sqlite LOG.xes` prints what it found as JSON.
"""

import contextlib
import io
import json
import sys
import warnings
from typing import Any


def _object_centric(read: Any) -> dict[str, Any]:
    import pm4py  # noqa: PLC0415

    log = read()
    graph = pm4py.discover_ocdfg(log)
    flat, first, last = pm4py.discover_dfg(pm4py.ocel_flattening(log, "order"))
    return {
        "activities": {name: int(many) for name, many in log.events["ocel:activity"].value_counts().items()},
        "objects": {name: int(many) for name, many in log.objects["ocel:type"].value_counts().items()},
        "process": sorted(graph["activities"]),
        "orders": {f"{one} > {other}": int(many) for (one, other), many in flat.items()},
        "begins": {name: int(many) for name, many in first.items()},
        "ends": {name: int(many) for name, many in last.items()},
        "relations": len(log.relations),
        "between_objects": len(log.o2o),
        "changed": sorted({str(name) for name in log.object_changes["ocel:field"]}),
    }


def judge(as_json: str, as_sqlite: str, as_xes: str) -> dict[str, Any]:
    """Return what pm4py makes of the three files."""
    import pm4py  # noqa: PLC0415
    from pm4py.objects.ocel.validation import ocel20_rel_validation  # noqa: PLC0415

    traces = pm4py.read_xes(as_xes)
    kept, broken = ocel20_rel_validation.apply(as_sqlite)
    return {
        "json": _object_centric(lambda: pm4py.read_ocel2_json(as_json)),
        "sqlite": _object_centric(lambda: pm4py.read_ocel2_sqlite(as_sqlite)),
        "rules_kept": len(kept),
        "rules_broken": list(broken),
        "cases": int(traces["case:concept:name"].nunique()),
        "case_events": len(traces),
        "case_process": {f"{one} > {other}": int(many) for (one, other), many in pm4py.discover_dfg(traces)[0].items()},
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = judge(*sys.argv[1:])
    sys.stdout.write(json.dumps(found))
