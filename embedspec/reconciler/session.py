"""What every verb starts from: the spec, its target's adapter, its model's facts, its lock file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel

from embedspec.cache.vectors import VectorCache
from embedspec.catalog.card import read_card
from embedspec.catalog.policy import judge
from embedspec.errors import EmbedspecError, ModelError, PolicyError
from embedspec.models import lock as lockfile
from embedspec.models.identity import encoder_identity
from embedspec.models.resolve import ResolvedModel, resolve_model
from embedspec.reconciler.desired import Desired, ModelFacts, desire
from embedspec.reconciler.home import Home
from embedspec.results import PolicyVerdict
from embedspec.spec.env import home_of
from embedspec.spec.identity import fingerprint
from embedspec.spec.load import LoadedSpec
from embedspec.stores.adapters import adapter as find_adapter
from embedspec.stores.protocol import Adapter, OpenContext, Store
from embedspec.stores.records import BuildRecord, ModelReference


@dataclass(frozen=True, slots=True)
class ModelInUse:
    """A resolved model together with what the spec (or a stored build) makes of it."""

    resolved: ResolvedModel
    document_prompt: str
    weights: str
    facts: ModelFacts

    @property
    def fingerprint(self) -> str:
        return self.facts.reference.encoder


class Session:
    """Everything about one spec that needs no connection; parts are read when first asked for."""

    def __init__(self, loaded: LoadedSpec, *, upgrade: bool = False, locked: bool = False) -> None:
        self.loaded = loaded
        self.spec = loaded.spec
        self.home = Home(home_of(loaded))
        self._upgrade = upgrade
        self._locked = locked
        self._caches: dict[str, VectorCache] = {}

    @cached_property
    def adapter(self) -> Adapter:
        name = self.spec.target.get("store")
        if not isinstance(name, str):
            raise self.loaded.error(
                "target.store", "target.store is missing", "name the store, e.g. `store: pgvector`"
            )
        try:
            return find_adapter(name)
        except EmbedspecError as error:
            error.where = self.loaded.where("target.store")
            raise

    @cached_property
    def target(self) -> BaseModel:
        return self.loaded.target_as(self.adapter.target_model)

    @property
    def _lock_path(self) -> Path:
        return self.loaded.base / lockfile.FILE_NAME

    @cached_property
    def _lock_key(self) -> str:
        return lockfile.lock_key(self.spec.model.use, self.spec.model.revision)

    @cached_property
    def model(self) -> ModelInUse:
        """The spec's model, resolved and compared with the lock file (exit 8 if it differs)."""
        spec = self.spec.model
        self.home.prepare()
        entry = lockfile.read(self._lock_path).get(self._lock_key)
        resolved = resolve_model(
            spec.use,
            spec.revision,
            base=self.loaded.base,
            locked_commit=entry.get("commit") if entry and not self._upgrade else None,
            weights_needed=False,
            hash_cache=self.home.cache,
        )
        found = lockfile.check(entry, resolved)
        if found.status == "missing" and self._locked:
            raise ModelError(
                f"{spec.use} has no entry in {lockfile.FILE_NAME}, and --locked forbids adding one",
                where=str(self._lock_path),
                fix="run `embedspec reconcile` once without --locked and commit the lock file",
            )
        if found.status == "differs" and not self._upgrade:
            raise ModelError(
                f"{spec.use} is not the model that was locked: {'; '.join(found.differences)}",
                where=str(self._lock_path),
                fix="put the locked files back, or take the new model on purpose with `reconcile --upgrade`",
            )
        prompts = spec.prompts
        document = resolved.prompts.document if prompts.document is None else prompts.document
        query = resolved.prompts.query if prompts.query is None else prompts.query
        return model_in_use(resolved, document, query, spec.weights)

    @cached_property
    def desired(self) -> Desired:
        embedding = self.spec.embedding
        native = self.model.facts.native_dimension
        dimension = embedding.dimension or native
        if dimension > native:
            raise self.loaded.error(
                "embedding.dimension",
                f"dimension {dimension} is more than the model's {native}",
                f"use a dimension of at most {native}, or leave it out",
            )
        try:
            target = self.adapter.resolve(
                self.target,
                dimension=dimension,
                quantization=embedding.quantization,
                metric=embedding.metric,
            )
        except EmbedspecError as error:
            error.where = self.loaded.where(error.where or "target")
            raise
        if not self.adapter.capabilities.locks:
            alone = "this store cannot hold a lease: that only one run writes at a time is your own duty"
            target = replace(target, warnings=(*target.warnings, alone))
        return desire(self.spec, self.model.facts, target)

    @cached_property
    def policy(self) -> list[PolicyVerdict]:
        if self.spec.policy is None:
            return []
        return judge(self.spec.policy, read_card(self.model.resolved.folder, self.spec.model.use))

    def require_policy(self) -> None:
        """Raises PolicyError (exit 8) if a verdict forbids going on."""
        blocking = [v for v in self.policy if v.blocking]
        if blocking:
            raise PolicyError(
                "; ".join(f"policy {v.rule}: {v.verdict}, {v.reason}" for v in blocking),
                where=self.loaded.where("policy"),
                fix="choose a model that the policy allows, or change the policy on purpose",
            )

    def write_lock(self) -> None:
        """Add the model's entry, or replace it under --upgrade; the file is not touched if it is there."""
        lockfile.write(self._lock_path, {self._lock_key: lockfile.lock_entry(self.model.resolved)})

    @contextmanager
    def open_store(self, *, write: bool) -> Iterator[Store]:
        if write:
            self.home.prepare()
        context = OpenContext(base=self.loaded.base, home=self.home.root, write=write)
        store = self.adapter.open(self.target, context)
        try:
            yield store
        finally:
            store.close()
            for cache in self._caches.values():
                cache.close()
            self._caches.clear()

    def open_cache(self, encoder: str, dimension: int) -> VectorCache:
        """The vector cache of an encoder, brought up to date; closed with the store."""
        cache = self._caches.get(encoder)
        if cache is None:
            cache = self._caches[encoder] = VectorCache.open(self.home.cache, encoder, dimension)
        else:
            cache.refresh()
        return cache


def model_in_use(resolved: ResolvedModel, document: str, query: str, weights: str) -> ModelInUse:
    identity = encoder_identity(resolved, document, weights)
    reference = ModelReference(use=resolved.use, revision=resolved.revision, encoder=fingerprint(identity))
    facts = ModelFacts(
        reference=reference,
        encoder=identity,
        native_dimension=resolved.native_dimension,
        normalizes=resolved.modules.normalize,
        query_prompt=query,
        matryoshka=resolved.matryoshka,
    )
    return ModelInUse(resolved, document, weights, facts)


def model_of_build(
    build: BuildRecord, query_prompt: str, base: Path, home: Home, *, weights_needed: bool = True
) -> ModelInUse:
    """The very model that a build was made with. Raises ModelError if it is not to be had any more."""
    home.prepare()
    resolved = resolve_model(
        build.model.use,
        build.model.revision,
        base=base,
        weights_needed=weights_needed,
        hash_cache=home.cache,
    )
    encoder = build.identity["encoder"]
    model = model_in_use(resolved, encoder["document_prompt"], query_prompt, weights_of(build))
    if model.fingerprint != build.fingerprints.encoder:
        raise ModelError(
            f"{build.model.use} is no longer the model that build {build.id} was made with",
            where=str(resolved.folder),
            fix="put the model's old files back, or let `embedspec reconcile` build with the new ones",
        )
    return model


def with_weights(model: ModelInUse, base: Path, home: Home) -> ModelInUse:
    """The same model with its weights on disk: planning takes card, configs and tokenizer only, so
    that policy decides before anything big is downloaded. Raises ModelError if it changed meanwhile."""
    found = model.resolved
    if all((found.folder / name).is_file() for name in found.weights):
        return model
    resolved = resolve_model(found.use, found.revision, base=base, weights_needed=True, hash_cache=home.cache)
    complete = model_in_use(resolved, model.document_prompt, model.facts.query_prompt, model.weights)
    if complete.fingerprint != model.fingerprint:
        raise ModelError(
            f"the weights of {found.use} are not the ones that were planned with",
            where=str(resolved.folder),
            fix="run again; if it stays so, delete the model from the hub's cache",
        )
    return complete


def weights_of(build: BuildRecord) -> str:
    """The `weights` setting that a build's numeric class came from."""
    return "auto" if build.identity["encoder"]["numeric"] == "full" else "float32"
