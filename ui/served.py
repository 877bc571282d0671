"""API and page in one application. `create_served_app` is what `aegis serve` runs; `ui.served:app` is for uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Mount, Route, request_response

from aegis.settings import Settings
from ui import root
from ui.lean import import_chainlit

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ui.index import Index

_MEGABYTE = 1024 * 1024
# Replaced by ours: the page itself, and files, which only the documents' scoped route gives out.
_REPLACED = (
    "/{full_path:path}",
    "/project/file/{file_id}",
    "/openapi.json",
    "/docs",
    "/docs/oauth2-redirect",
    "/redoc",
)
_UNUSED = (
    "/copilot/",
    "/mcp",
    "/auth/oauth/",
    "/project/share/",
    "/project/thread/share",
    "/auth/jwt",
    "/login",
)


def create_served_app(settings: Settings | None = None) -> FastAPI:
    """Services are opened by the API's lifespan, or around the server with `api.app.opened`."""
    from api.app import create_app

    settings = settings or Settings()
    root.prepare(settings.folder)
    import_chainlit()
    app = create_app()
    _mount(app, settings)
    return app


def _mount(app: FastAPI, settings: Settings) -> None:
    """After all API routes. The page answers at /chat itself, without a redirect."""
    from ui.index import Index
    from ui.receipts import receipts
    from ui.viewer import Viewed
    from ui.welcome import notices

    index = Index()
    app.router.routes += [
        Route(root.PATH, Viewed(request_response(index.page))),
        Route(root.PATH + "/notices", Viewed(request_response(notices))),
        Route(root.PATH + "/receipts", Viewed(request_response(receipts))),
        Mount(root.PATH, Viewed(_chainlit(settings, index))),
    ]


def _chainlit(settings: Settings, index: Index) -> Starlette:
    """Chainlit's application with our callbacks registered; its lifespan does not run when it is mounted."""
    from chainlit.auth import ensure_jwt_secret
    from chainlit.config import config
    from chainlit.server import app, router

    from ui import page, refusals

    page.register()
    ensure_jwt_secret()
    upload = config.features.spontaneous_file_upload
    if upload is not None:
        upload.max_size_mb = max(1, settings.ingestion.max_file_bytes // _MEGABYTE)
    for routes in (router.routes, app.router.routes):
        routes[:] = [route for route in routes if _kept(route)]
    app.router.routes.append(Route("/{path:path}", index.page))
    refusals.install(app)
    return app


def _kept(route: Any) -> bool:
    path = str(getattr(route, "path", ""))
    return path not in _REPLACED and not path.startswith(_UNUSED)


def __getattr__(name: str) -> Any:
    """`app` is made when a server asks for it, not when this module is imported."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = made = create_served_app()
    return made
