"""/v1 and the state of the server: the routes that programs ask."""

from fastapi import APIRouter

from embedsearch.server.api import embeddings, papers, search, service

router = APIRouter()
for part in (search.router, papers.router, embeddings.router, service.router, service.open_router):
    router.include_router(part)
