"""What a user would write in an afternoon instead: LangChain's EnsembleRetriever behind FastAPI, for comparison only.

    python -m tests.performance.rival PORT CHUNKS

BM25 and a vector store over the same texts (one passage per section) and the same embedder, in memory, weights .5/.5.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI
from langchain_classic.retrievers import EnsembleRetriever
from langchain_community.retrievers import BM25Retriever
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel

from evals.bench import corpus
from retrieval.embedding.wordllama import load_wordllama

DIMENSIONS = 1024
TOP_K = 10


class Embedded(Embeddings):
    def __init__(self) -> None:
        self._model = load_wordllama(DIMENSIONS)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._model.embed_now(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class Query(BaseModel):
    query: str
    top_k: int = TOP_K
    mode: str = "hybrid"


def passages(chunks: int) -> list[Document]:
    return [
        Document(section.strip(), metadata={"source": document["source"]})
        for document in corpus.documents(chunks)
        for section in document["text"].split("\n\n## ")[1:]
    ]


def application(chunks: int) -> FastAPI:
    texts = passages(chunks)
    keywords = BM25Retriever.from_documents(texts, k=TOP_K)
    store = InMemoryVectorStore.from_documents(texts, Embedded())
    both = EnsembleRetriever(retrievers=[keywords, store.as_retriever(search_kwargs={"k": TOP_K})], weights=[0.5, 0.5])
    app = FastAPI()

    @app.get("/health/ready")
    def ready() -> dict[str, int]:  # pyright: ignore[reportUnusedFunction]  # a route
        return {"passages": len(texts)}

    @app.post("/api/v1/retrieval/search")
    def search(query: Query) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction]  # a route
        found = both.invoke(query.query)[: query.top_k]
        return {"hits": [{"text": one.page_content, **one.metadata} for one in found]}

    return app


if __name__ == "__main__":
    uvicorn.run(application(int(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
