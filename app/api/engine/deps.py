"""The dependencies by which routes get the supervisor and the model session."""

from typing import Annotated

from app.api.http.deps import part
from app.engine.model_session import ModelSession
from app.engine.supervisor import Supervisor

SupervisorDep = Annotated[Supervisor, part("supervisor")]
ModelSessionDep = Annotated[ModelSession, part("model_session")]
