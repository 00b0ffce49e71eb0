"""FastAPI dependencies that pass the supervisor and the known facts of the engine to routes."""

from typing import Annotated

from app.api.http.deps import part
from app.engine.model_session import ModelSession
from app.engine.ocr_model_leases import OcrModelLeases
from app.engine.ocr_model_refusals import OcrModelRefusals
from app.engine.supervisor import Supervisor
from app.engine.wheel.installed_wheel import InstalledWheel

SupervisorDep = Annotated[Supervisor, part("supervisor")]
ModelSessionDep = Annotated[ModelSession, part("model_session")]
InstalledWheelDep = Annotated[InstalledWheel, part("installed_wheel")]
OcrModelLeasesDep = Annotated[OcrModelLeases, part("ocr_model_leases")]
OcrModelRefusalsDep = Annotated[OcrModelRefusals, part("ocr_model_refusals")]
