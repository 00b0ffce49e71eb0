"""The parts of the engine, for the routes that use it."""

from typing import Annotated

from app.api.http.deps import part
from app.engine.model_session import ModelSession
from app.engine.supervisor import Supervisor

SupervisorDep = Annotated[Supervisor, part("supervisor")]
ModelSessionDep = Annotated[ModelSession, part("model_session")]
