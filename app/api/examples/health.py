"""Examples of the probes."""

from typing import Any

from app.api.examples.engine import ENGINE

BY_SCHEMA: dict[str, dict[str, Any]] = {
    "ReadyOut": {
        "status": "ready",
        "checks": [
            {"name": "store", "ok": True, "required": True, "reason": None},
            {"name": "store-writable", "ok": True, "required": False, "reason": None},
            {"name": "engine", "ok": True, "required": True, "reason": None},
            *(
                {"name": each["name"], "ok": each["available"], "required": False, "reason": each["reason"]}
                for each in ENGINE["capabilities"]
            ),
        ],
    },
    "AliveOut": {"status": "alive"},
}
