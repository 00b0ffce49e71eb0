"""Chooses the model for a processor and checks the file before the load: a damaged one could end the engine process."""

from typing import Annotated

from anyio import to_thread
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.http.deps import part
from app.api.http.request_errors import CallerGone
from app.engine.contract.messages import CapabilityName
from app.engine.contract.processors import DEFAULT_MODEL, Processor
from app.engine.model_session import LoadRequest, ModelSession
from app.engine.supervisor import Supervisor
from app.store import Model, Store

LOAD_ERRORS = (
    errors.EngineNotReady,
    errors.EngineBusy,
    errors.EngineLacks,
    errors.EngineModelMissing,
    errors.ModelTooLarge,
    errors.ModelDamaged,
    errors.ModelLocked,
    errors.EngineCallFailed,
    errors.EngineTimedOut,
    errors.EngineDied,
    errors.EngineOutOfMemory,
    errors.NotAModel,
    errors.StoreUnavailable,
    CallerGone,
    RequestValidationError,
)
"""Errors of a route that loads a processor of AsposeAI."""


class ModelChoice:
    """Chooses the model to load for a processor, and checks it in the store."""

    def __init__(self, store: Store, supervisor: Supervisor, session: ModelSession) -> None:
        self._store = store
        self._supervisor = supervisor
        self._session = session
        self._undamaged: Model | None = None
        """The last model whose header was found whole; the header is read again only after the file has changed."""

    async def choose(self, processor: Processor, name: str | None = None) -> LoadRequest:
        """Return the load request for a processor and a model: the named one, or AsposeAI's default.

        Raises EngineNotReady, EngineLacks, EngineModelMissing, ModelDamaged, NotAModel and StoreUnavailable; for a
        named model also ModelNotFound, InvalidModelName and ModelNotLicensed.
        """
        facts = self._supervisor.facts
        if facts is None:
            self._supervisor.require_ready()
        self._supervisor.require_capability(CapabilityName.AI)
        try:
            model = await to_thread.run_sync(self._find, name or DEFAULT_MODEL)
        except errors.ModelNotFound:
            if name is None:
                raise errors.EngineModelMissing(DEFAULT_MODEL) from None
            raise
        if model.name != DEFAULT_MODEL and not (facts and facts.is_licensed):
            raise errors.ModelNotLicensed(model.name, DEFAULT_MODEL)
        return LoadRequest(processor, model.name, model.size_bytes)

    def _find(self, name: str) -> Model:
        """Return a model of the store. Raises ModelDamaged if its header is not whole.

        The header may have megabytes, so it is not read if the model is loaded, or is the one that was checked last.
        """
        model = self._store.find(name)
        if self._session.is_using(name) or model == self._undamaged:
            return model
        model, description = self._store.examine(name)
        if description.is_damaged:
            raise errors.ModelDamaged(name, description.problem or "")
        self._undamaged = model
        return model


ModelChoiceDep = Annotated[ModelChoice, part("model_choice")]
