"""Django with Channels: sessions and users, groups in its in-memory layer, static files. The database is a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django
from django.conf import settings

FOLDER = Path(os.environ["COMPAT_FOLDER"])
STATIC = Path(__file__).parent / "static"

settings.configure(
    SECRET_KEY="for tests",
    DEBUG=True,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "channels",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / f"django-{os.getpid()}.sqlite"}},
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    STATIC_URL="/static/",
    STATICFILES_DIRS=[STATIC],
    USE_TZ=True,
)
django.setup()

from channels.auth import AuthMiddlewareStack  # noqa: E402  # all of these need the settings
from channels.generic.websocket import AsyncJsonWebsocketConsumer, WebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.contrib.auth import login  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

call_command("migrate", verbosity=0)


class Room(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await self.channel_layer.group_send(
            self.room, {"type": "said", "text": content["text"], "user": self.scope["user"].username}
        )

    async def said(self, event: dict[str, Any]) -> None:
        await self.send_json({"text": event["text"], "user": event["user"]})


class SyncEcho(WebsocketConsumer):  # type: ignore[misc]
    """Runs in a thread."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(text_data=text_data, bytes_data=bytes_data)


class Refusing(AsyncJsonWebsocketConsumer):  # type: ignore[misc]
    async def connect(self) -> None:
        await self.close()


def sign_in(request: HttpRequest, name: str) -> HttpResponse:
    user, _ = User.objects.get_or_create(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return JsonResponse({"user": user.username})


def who(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"user": request.user.username, "scheme": request.scheme, "path": request.path})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> Any:
        for i in range(3):
            yield f"{i}\n"

    return StreamingHttpResponse(parts())


urlpatterns = [path("sign-in/<name>", sign_in), path("who", who), path("stream", stream)]

app = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(get_asgi_application()),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(
                URLRouter(
                    [
                        path("rooms/<room>", Room.as_asgi()),
                        path("sync", SyncEcho.as_asgi()),
                        path("refusing", Refusing.as_asgi()),
                    ]
                )
            )
        ),
    }
)
