"""All settings, one frozen tree. Environment variables start with `AEGIS_`; levels are joined by `__`.

Built once per process, at an entry point. `docs/configuration.md` explains every one; a test keeps it complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, SecretStr, Tag
from pydantic_settings import BaseSettings, SettingsConfigDict

Fusion = Literal["convex", "rrf", "dbsf"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _kind(default: str) -> Discriminator:
    """Choose the sub-model by `kind`, which may be left out."""

    def choose(value: Any) -> str:
        if isinstance(value, dict):
            return str(value.get("kind", default))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        return str(getattr(value, "kind", default))

    return Discriminator(choose)


class NoAuth(Section):
    kind: Literal["none"] = Field(default="none", description="Everyone who reaches the port is the user `local`.")


class SQLiteSettings(Section):
    kind: Literal["sqlite"] = Field(default="sqlite", description="A file in the data folder.")
    readers: int = Field(default=4, ge=1, le=64, description="Connections for reading, at most.")


class PostgresSettings(Section):
    kind: Literal["postgres"] = Field(default="postgres", description="A PostgreSQL server, 14 or later.")
    url: SecretStr = Field(description="postgresql://user:password@host:port/database")
    pool_size: int = Field(default=20, ge=1, le=200, description="Connections kept open.")
    timeout: float = Field(default=10, gt=0, description="Seconds to wait for a connection or a statement.")


class EdgeSettings(Section):
    kind: Literal["edge"] = Field(
        default="edge", description="Qdrant Edge in a child process, files in the data folder."
    )
    unindexed_limit: int = Field(
        default=5000, ge=100, description="Chunks searched without an index before one is built."
    )
    timeout: float = Field(default=10, gt=0, description="Seconds a search waits for the child process.")


class QdrantSettings(Section):
    kind: Literal["qdrant"] = Field(default="qdrant", description="A Qdrant server, 1.16 or later.")
    url: str = Field(default="http://127.0.0.1:6333", description="Its HTTP address.")
    grpc_port: int = Field(default=6334, ge=1, le=65535, description="Its gRPC port.")
    prefer_grpc: bool = Field(default=True, description="Search through gRPC.")
    api_key: SecretStr | None = Field(default=None, description="API key, if the server asks for one.")
    prefix: str = Field(
        default="aegis", pattern=r"^[a-z0-9_]+$", description="Start of the names of our collections there."
    )
    timeout: float = Field(default=10, gt=0, description="Seconds a call may take.")


class RelationalGraphSettings(Section):
    kind: Literal["relational"] = Field(default="relational", description="Neighbourhoods from the relational store.")


class Neo4jSettings(Section):
    kind: Literal["neo4j"] = Field(default="neo4j", description="A Neo4j server, 5.26 or later, as projection.")
    url: str = Field(default="bolt://127.0.0.1:7687", description="Its Bolt address.")
    user: str = Field(default="neo4j", description="User name; empty where the server has no authentication.")
    password: SecretStr = Field(default=SecretStr(""), description="Password.")
    timeout: float = Field(default=5, gt=0, description="Seconds a question to the graph may take.")


class ProcessCacheSettings(Section):
    kind: Literal["process"] = Field(default="process", description="Signals stay inside the process.")


class RedisSettings(Section):
    kind: Literal["redis"] = Field(default="redis", description="A Redis (7 or later) or Valkey server.")
    url: SecretStr = Field(default=SecretStr("redis://127.0.0.1:6379/0"), description="Its address.")
    prefix: str = Field(default="aegis:", description="Start of every key of ours.")
    timeout: float = Field(default=2, gt=0, description="Seconds a command may take.")


class BlobSettings(Section):
    url: str = Field(
        default="", description="Folder or fsspec address of original files; empty: `blobs` in the data folder."
    )


class WordLlamaSettings(Section):
    kind: Literal["wordllama"] = Field(default="wordllama", description="Static embeddings that come with the package.")
    dimensions: int = Field(
        default=256,
        ge=256,
        le=4096,
        description="More than 256 turns the same vectors into more dimensions, which ranks alike: for benchmarks.",
    )


class OnnxEmbedderSettings(Section):
    kind: Literal["onnx"] = Field(default="onnx", description="A transformer in ONNX from a folder (extra `onnx`).")
    folder: Path = Field(description="Folder with the model and `tokenizer.json`.")
    file: str = Field(default="", description="The model's file in it; empty: `model.onnx` or `onnx/model.onnx`.")
    pooling: Literal["auto", "mean", "cls"] = Field(
        default="auto", description="How tokens become one vector; `auto` goes by `1_Pooling/config.json`, else mean."
    )
    max_tokens: int = Field(default=512, ge=8, le=8192, description="Tokens of a text that are read, at most.")
    threads: int = Field(default=0, ge=0, le=256, description="Threads of one run; 0: as many as there are cores.")
    query_prefix: str = Field(default="", max_length=200, description="Put before questions, as some models want it.")
    passage_prefix: str = Field(default="", max_length=200, description="Put before passages.")


class MaxSimSettings(Section):
    kind: Literal["maxsim"] = Field(default="maxsim", description="Words compared by static embeddings: a millisecond.")


class CrossEncoderSettings(Section):
    kind: Literal["onnx"] = Field(default="onnx", description="A cross-encoder in ONNX from a folder (extra `onnx`).")
    folder: Path = Field(description="Folder with the model and `tokenizer.json`.")
    file: str = Field(default="", description="The model's file in it; empty: `model.onnx` or `onnx/model.onnx`.")
    max_tokens: int = Field(
        default=512, ge=16, le=8192, description="Tokens of question and passage together that are read, at most."
    )
    threads: int = Field(default=0, ge=0, le=256, description="Threads of one run; 0: as many as there are cores.")
    depth: int = Field(default=12, ge=2, le=100, description="Best candidates that are read; all with `rerank`.")
    share: float = Field(default=0.7, ge=0, le=1, description="Of a candidate's score, what the model says.")
    seconds: float = Field(
        default=1.5, gt=0, le=60, description="A search that takes longer, waiting included, is ranked without it."
    )


class OllamaEmbedderSettings(Section):
    kind: Literal["ollama"] = Field(default="ollama", description="A model of an Ollama server.")
    url: str = Field(default="http://127.0.0.1:11434", description="The server's address.")
    model: str = Field(default="bge-m3", description="The model that embeds.")
    dimensions: int = Field(default=1024, ge=1, le=65536, description="Width of its vectors.")
    batch: int = Field(default=32, ge=1, le=512, description="Texts of one request, at most.")
    timeout: float = Field(default=120, gt=0, description="Seconds a request may take.")
    query_prefix: str = Field(default="", max_length=200, description="Put before questions, as some models want it.")
    passage_prefix: str = Field(default="", max_length=200, description="Put before passages.")


class OpenAIEmbedderSettings(Section):
    kind: Literal["openai"] = Field(default="openai", description="A server that speaks OpenAI's `/embeddings`.")
    url: str = Field(default="https://api.openai.com/v1", description="Its address, up to the version.")
    api_key: SecretStr | None = Field(default=None, description="API key, if the server asks for one.")
    model: str = Field(default="text-embedding-3-small", description="The model that embeds.")
    dimensions: int = Field(default=1536, ge=1, le=65536, description="Width of its vectors.")
    batch: int = Field(default=64, ge=1, le=2048, description="Texts of one request, at most.")
    timeout: float = Field(default=60, gt=0, description="Seconds a request may take.")
    daily_budget: float = Field(
        default=2.0, ge=0, description="US dollars a day, at most; at a chat provider's address, that one's counts."
    )
    monthly_budget: float = Field(default=10.0, ge=0, description="US dollars a month, at most; likewise.")
    query_prefix: str = Field(default="", max_length=200, description="Put before questions, as some models want it.")
    passage_prefix: str = Field(default="", max_length=200, description="Put before passages.")


ModelRole = Literal["query", "generation", "extraction", "judge"]
"""The model that embeds belongs to the section `embedder`."""


class OllamaSettings(Section):
    """The model of a role that a server lacks is replaced by one that it has."""

    url: str = Field(default="http://127.0.0.1:11434", description="Where an Ollama server is looked for.")
    urls: tuple[str, ...] = Field(default=(), description="Further Ollama servers; the least busy one answers.")
    trusted_hosts: tuple[str, ...] = Field(
        default=(),
        description="Hosts that count as this machine, so that private questions may be sent to model servers there.",
    )
    model: str = Field(
        default="llama3.2:3b", description="Model that writes answers; any other it has is used if missing."
    )
    query_model: str = Field(default="llama3.2:3b", description="Model that works on questions.")
    extraction_model: str = Field(default="gemma3:4b", description="Model that draws facts from texts.")
    judge_model: str = Field(default="llama3.1:8b", description="Model that judges answers.")
    num_ctx: int = Field(
        default=8192, ge=1024, le=1_048_576, description="Context window in tokens, sent with every call."
    )
    timeout: float = Field(default=120, gt=0, description="Seconds a whole answer may take.")
    first_token_timeout: float = Field(default=60, gt=0, description="Seconds until the first token.")
    probe_interval: float = Field(default=5, gt=0, description="Seconds between looks for a server that was not there.")
    parallel: int = Field(default=4, ge=1, le=1000, description="Answers one server writes at a time.")
    queue: int = Field(default=100, ge=0, description="Answers that wait for a server, at most.")
    queue_timeout: float = Field(default=20, gt=0, description="Seconds an answer waits for a server, at most.")
    failures: int = Field(default=3, ge=1, description="Failures in a row after which a server is left alone.")
    rest: float = Field(default=10, gt=0, description="Seconds until a server that was left alone is tried again.")

    def model_for(self, role: ModelRole) -> str:
        return self.model if role == "generation" else str(getattr(self, f"{role}_model"))


class RemoteSettings(Section):
    """What servers that speak OpenAI's protocol have in common."""

    model: str = Field(description="Model that is asked.")
    models: dict[ModelRole, str] = Field(default={}, description="Other models, by role.")
    window: int = Field(default=32_000, ge=1024, description="Context window in tokens.")
    max_tokens: int = Field(default=1024, ge=1, description="Longest answer, in tokens.")
    first_token_timeout: float = Field(default=20, gt=0, description="Seconds until the first token.")
    timeout: float = Field(default=120, gt=0, description="Seconds a whole answer may take.")
    parallel: int = Field(default=16, ge=1, le=1000, description="Calls at a time.")
    queue: int = Field(default=100, ge=0, description="Calls that wait, at most.")
    queue_timeout: float = Field(default=10, gt=0, description="Seconds a call waits, at most.")
    failures: int = Field(default=3, ge=1, description="Failures in a row after which it is left alone.")
    rest: float = Field(default=30, gt=0, description="Seconds until it is tried again.")
    daily_budget: float = Field(default=2.0, ge=0, description="US dollars a day, at most.")
    monthly_budget: float = Field(default=10.0, ge=0, description="US dollars a month, at most.")

    def model_for(self, role: ModelRole) -> str:
        return self.models.get(role, self.model)

    @property
    def every_model(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.model, *self.models.values())))


class DashScopeSettings(RemoteSettings):
    kind: Literal["dashscope"] = Field(default="dashscope", description="Alibaba Cloud's DashScope.")
    name: str = Field(default="dashscope", pattern=r"^[a-z0-9_-]{1,40}$", description="What it is called.")
    url: str = Field(default="https://dashscope-intl.aliyuncs.com/compatible-mode/v1", description="Its address.")
    api_key: SecretStr = Field(description="Its API key.")
    model: str = Field(default="qwen-plus", description="Model that is asked.")


class OpenAISettings(RemoteSettings):
    kind: Literal["openai"] = Field(default="openai", description="OpenAI.")
    name: str = Field(default="openai", pattern=r"^[a-z0-9_-]{1,40}$", description="What it is called.")
    url: str = Field(default="https://api.openai.com/v1", description="Its address.")
    api_key: SecretStr = Field(description="Its API key.")
    model: str = Field(default="gpt-4o-mini", description="Model that is asked.")


class CompatibleSettings(RemoteSettings):
    """Where it runs on this machine it is asked before any cloud, for nothing; elsewhere it is a cloud."""

    kind: Literal["compatible"] = Field(default="compatible", description="Any server with OpenAI's protocol.")
    name: str = Field(default="compatible", pattern=r"^[a-z0-9_-]{1,40}$", description="What it is called.")
    url: str = Field(description="Its address, as a rule with /v1 at the end.")
    api_key: SecretStr = Field(default=SecretStr(""), description="Its API key, if it asks for one.")


PerMillion = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CloudSettings(Section):
    """Without `allowed`, and a mark on every document and conversation concerned, nothing leaves this machine."""

    allowed: bool = Field(default=False, description="`yes` lets what is marked shareable go to cloud providers.")
    collections: tuple[str, ...] = Field(
        default=(),
        description='Collections whose documents may be sent to cloud providers (JSON list); `["*"]` is every one.',
    )
    embedding: bool = Field(
        default=False,
        description="`yes` lets an embedder elsewhere see every document and question; needs `allowed` and `*`.",
    )
    ask: bool = Field(default=False, description="Ask before each cloud call, showing its price.")
    user_daily_budget: float = Field(default=1.0, ge=0, description="US dollars a user may spend a day.")
    user_monthly_budget: float = Field(default=5.0, ge=0, description="US dollars a user may spend a month.")
    warn_at: float = Field(default=0.8, gt=0, le=1, description="Share of a budget from which it is warned.")
    prices: dict[str, tuple[PerMillion, PerMillion]] = Field(
        default={},
        description="US dollars per million tokens read and written, by model, from the provider's own list. "
        "A cloud model without a price is never asked.",
    )

    def may_send(self, collections: Iterable[str]) -> bool:
        """Whether documents of all these may be sent to a cloud provider."""
        return self.allowed and ("*" in self.collections or set(collections) <= set(self.collections))


class RetrievalSettings(Section):
    top_k: int = Field(default=10, ge=1, le=100, description="Hits returned when a request does not say.")
    dense_weight: float | None = Field(
        default=None, ge=0, le=1, description="Share of the dense score in the fused score; empty: by the embedder."
    )
    fusion: Fusion = Field(
        default="convex",
        description="How words and meaning become one ranking: `convex` by score; `rrf`, `dbsf` in the engine.",
    )
    candidates: int = Field(default=50, ge=10, le=500, description="Chunks each half contributes before fusion.")
    chunk_tokens: int = Field(default=128, ge=32, le=2000, description="Size a chunk aims at, in tokens.")


class IngestionSettings(Section):
    max_file_bytes: int = Field(default=100_000_000, ge=1, description="Largest file taken, in bytes.")
    max_files: int = Field(default=10_000, ge=1, description="Most files of one job.")
    file_deadline: float = Field(default=120, gt=0, description="Seconds a file may take to be read and split.")
    worker_memory_mb: int = Field(default=2048, ge=256, description="Memory a reading process may use (Linux).")
    worker_idle: float = Field(default=20, gt=0, description="Seconds after which an idle reading process is stopped.")
    stall_deadline: float = Field(
        default=300, gt=0, description="Seconds without a step after which embedding and writing a file is stopped."
    )
    workers: int = Field(
        default=1, ge=0, le=16, description="Reading processes at most; 0 leaves all files to `aegis worker`."
    )
    parallel_jobs: int = Field(default=4, ge=1, le=64, description="Jobs worked on at a time by one server.")
    max_waiting: int = Field(default=200_000, ge=1, description="Files waiting in all jobs, at most.")
    kept_versions: int = Field(
        default=10, ge=0, description="Replaced versions of a document kept for `known_at`, at most."
    )
    kept_days: float = Field(
        default=365, ge=0, description="Days that a replaced or removed version is kept for `known_at`, at most."
    )
    samples: bool = Field(default=True, description="Take in the sample documents when the store is empty.")


class ExtractionSettings(Section):
    """Rules draw facts from every document; a model's come beside them."""

    enabled: bool = Field(
        default=False, description="`yes` has a model read documents for facts, too, in the background."
    )
    calls_per_minute: float = Field(default=60, gt=0, description="Calls of the model that reads, at most.")


class ChatSettings(Section):
    max_question_chars: int = Field(default=8000, ge=1, description="Longest question, in characters.")
    history_turns: int = Field(default=5, ge=0, le=50, description="Earlier turns used to understand a follow-up.")
    query_timeout: float = Field(
        default=3, ge=0, le=60, description="Seconds a model may take to word a follow-up anew; 0: rules alone."
    )
    rewrites: int = Field(default=1, ge=0, le=3, description="New attempts when the first passages do not answer.")
    max_running: int = Field(default=64, ge=1, description="Questions one process answers at a time.")
    deadline: float = Field(default=300, gt=0, description="Seconds a whole answer may take, searching included.")


class MemorySettings(Section):
    consolidate: bool = Field(
        default=True, description="Once a day merge duplicate entities, remove what belongs to nothing, summarise."
    )
    consolidate_at: int = Field(default=3, ge=0, le=23, description="The hour of it, UTC; missed, it is made up for.")


class AnswerCacheSettings(Section):
    enabled: bool = Field(default=True, description="Serve answers again where asking again would find the same.")
    limit: int = Field(default=10_000, ge=100, description="Cached answers at most, the oldest going first.")
    hot: int = Field(default=100, ge=1, description="Of these, kept in each process.")


class AdmissionSettings(Section):
    searches: int = Field(default=16, ge=1, description="Searches worked on at a time; more make each slower.")
    patience: float = Field(default=0.25, ge=0, description="Seconds a search waits for its turn before 503.")
    uploads: int = Field(default=8, ge=1, description="Ingestion requests received at a time.")
    upload_patience: float = Field(
        default=30, ge=0, description="Seconds an ingestion request waits for its turn before 503."
    )


Database = Annotated[
    Annotated[SQLiteSettings, Tag("sqlite")] | Annotated[PostgresSettings, Tag("postgres")], _kind("sqlite")
]
Vectors = Annotated[Annotated[EdgeSettings, Tag("edge")] | Annotated[QdrantSettings, Tag("qdrant")], _kind("edge")]
Graph = Annotated[
    Annotated[RelationalGraphSettings, Tag("relational")] | Annotated[Neo4jSettings, Tag("neo4j")],
    _kind("relational"),
]
EmbedderSettings = Annotated[
    Annotated[WordLlamaSettings, Tag("wordllama")]
    | Annotated[OnnxEmbedderSettings, Tag("onnx")]
    | Annotated[OllamaEmbedderSettings, Tag("ollama")]
    | Annotated[OpenAIEmbedderSettings, Tag("openai")],
    _kind("wordllama"),
]
RerankerSettings = Annotated[
    Annotated[MaxSimSettings, Tag("maxsim")] | Annotated[CrossEncoderSettings, Tag("onnx")], _kind("maxsim")
]
Cache = Annotated[
    Annotated[ProcessCacheSettings, Tag("process")] | Annotated[RedisSettings, Tag("redis")], _kind("process")
]

Provider = Annotated[DashScopeSettings | OpenAISettings | CompatibleSettings, Field(discriminator="kind")]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="AEGIS_",
        env_nested_delimiter="__",
        env_file=".env",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a wrong setting may be a secret
    )

    data_dir: Path = Field(
        default=Path("var"), description="Folder that holds everything; owned by one server at a time."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port to listen on.")
    allow_open: bool = Field(
        default=False, description="`yes` lets a server without authentication listen beyond loopback."
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Further host names that requests may name (JSON list)."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="How much is logged.")
    providers: tuple[Provider, ...] = Field(
        default=(), description="Model servers with OpenAI's protocol, in the order they are asked, after Ollama."
    )
    auth: NoAuth = NoAuth()
    database: Database = SQLiteSettings()
    vectors: Vectors = EdgeSettings()
    graph: Graph = RelationalGraphSettings()
    cache: Cache = ProcessCacheSettings()
    blobs: BlobSettings = BlobSettings()
    embedder: EmbedderSettings = WordLlamaSettings()
    reranker: RerankerSettings = MaxSimSettings()
    ollama: OllamaSettings = OllamaSettings()
    cloud: CloudSettings = CloudSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    ingestion: IngestionSettings = IngestionSettings()
    extraction: ExtractionSettings = ExtractionSettings()
    chat: ChatSettings = ChatSettings()
    memory: MemorySettings = MemorySettings()
    answer_cache: AnswerCacheSettings = AnswerCacheSettings()
    admission: AdmissionSettings = AdmissionSettings()

    @property
    def folder(self) -> Path:
        """The data folder, whatever the working directory becomes."""
        return self.data_dir.absolute()

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"
