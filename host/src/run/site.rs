//! An opened home: everything that runs share, loaded and checked once.
//!
//! Opening reads configuration, policy, trust and store, and refuses all of them if one is wrong: a host that is half
//! configured heals half of what it should and says so to nobody. It takes no lock and changes nothing; the trail is
//! opened apart, by whoever is going to write.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::audit::{AuditOptions, Body, OpenIntent, Reader, State, Trail, TrailLock};
use crate::capability::{Hands, RealHands, ServiceTools};
use crate::durable::Folder;
use crate::gate::{Approvals, EvidenceFolder, KeyedDigest, Leases, Ledger, Parts, UndoJournal};
use crate::inventory::{Configuration, Home, Inventory};
use crate::model::{Actor, Clock, Digest, ResourceName, RunId};
use crate::orders::Orders;
use crate::policy::{PolicySet, ResourceFact};
use crate::registry::{Cached, Compiled, CompiledCache, Compiler, HostKey, MacChecked, Store, ValidStamp};
use crate::sandbox::{Engine, Program};
use crate::trust::{TrustStore, VerifiedPlaybook};

use super::{Admitted, RunError};

/// An opened home.
pub struct Site {
    /// Where it lies.
    pub home: Home,
    /// What `guardian.toml` says.
    pub configuration: Configuration,
    /// The operator's policy.
    pub policy: Arc<PolicySet>,
    /// Whom the operator trusts.
    pub trust: TrustStore,
    /// The playbooks.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What calls under way have reserved.
    pub ledger: Arc<Ledger>,
    /// Which run acts on which target.
    pub leases: Arc<Leases>,
    /// What people ordered.
    pub orders: Arc<Orders>,
    /// Set when the process is asked to end.
    pub interrupted: Arc<AtomicBool>,
    inventory: Arc<Inventory>,
    cache: CompiledCache,
    stamp: ValidStamp,
    key: Arc<HostKey>,
    engine: OnceLock<Arc<Engine>>,
    program: PathBuf,
}

/// Where what must not stand on the trail is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What puts effects back.
    pub undo: Arc<UndoJournal>,
    /// How targets looked.
    pub evidence: Arc<EvidenceFolder>,
}

impl Kept {
    /// For a plan, which keeps nothing.
    #[must_use]
    pub fn of_a_plan(digest: KeyedDigest) -> Self {
        Self { undo: Arc::new(UndoJournal::of_a_plan(digest)), evidence: Arc::new(EvidenceFolder::nowhere()) }
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Site").field("home", &self.home).finish_non_exhaustive()
    }
}

/// Who runs this process.
#[must_use]
pub fn actor() -> Actor {
    // 4294967295 is the kernel's word for "nobody logged in".
    let login = crate::capability::login_uid().filter(|uid| *uid != u32::MAX);
    Actor { uid: rustix::process::getuid().as_raw(), login_uid: login }
}

impl Site {
    /// Opens a home. `program` is this binary, which is run again as compiler and as keeper.
    ///
    /// # Errors
    /// When any part of it is missing, wrong, or can be written by others.
    pub fn open(home: Home, program: PathBuf, clock: Arc<dyn Clock>) -> Result<Self, RunError> {
        let etc = home.open_etc()?;
        let configuration = Configuration::load(&etc)?;
        let inventory = Arc::new(configuration.inventory.clone());
        let trust = TrustStore::load(&etc.sub("trust")?)?;
        let var = home.open_var()?;
        let keys = var.sub("keys")?;
        // The other folders are checked by the rooms that open them: whoever can write one decides what runs.
        for folder in [&keys, &var.sub("state")?] {
            folder.trusted()?;
        }
        // A lost host key costs what it protected: compiled code is compiled again, and old keyed digests match nothing.
        let key = HostKey::load_or_make(&keys)?;
        let cache = CompiledCache::open(var.sub("cache")?, HostKey::load(&keys)?)?;
        let stamp = ValidStamp::open(var.sub("cache")?, HostKey::load(&keys)?)?;
        let policy = Arc::new(PolicySet::load(&etc.sub("policy")?, &facts(&configuration), stamp.get())?);
        let store = Store::open(var.sub("store")?)?;
        Ok(Self {
            home,
            configuration,
            policy,
            trust,
            store,
            clock,
            ledger: Arc::default(),
            leases: Arc::default(),
            orders: Arc::new(Orders::below(var.sub("state")?)),
            interrupted: Arc::default(),
            inventory,
            cache,
            stamp,
            key: Arc::new(key),
            engine: OnceLock::new(),
            program,
        })
    }

    /// Keeps other writers out, waiting for at most `wait` or as long as the configuration says, and then opens the home:
    /// trust or policy that was withdrawn while this waited does not count any more.
    ///
    /// # Errors
    /// As [`Site::open`], and when another process writes the trail for longer than that.
    pub fn open_to_write(
        home: Home,
        program: PathBuf,
        clock: Arc<dyn Clock>,
        wait: Option<Duration>,
    ) -> Result<(Self, TrailLock), RunError> {
        let configuration = Configuration::load(&home.open_etc()?)?;
        let mut options = audit_options(&home, &configuration);
        options.lock_wait = wait.unwrap_or(options.lock_wait);
        home.open_var()?;
        let lock = Trail::lock(&options)?;
        Ok((Self::open(home, program, clock)?, lock))
    }

    /// Opens the trail for writing, and records the policy if it is not the one of the last run.
    ///
    /// # Errors
    /// When it is damaged, or was put back to an earlier state.
    pub fn open_trail(&self, lock: TrailLock) -> Result<Trail, RunError> {
        let trail = Trail::open_locked(&self.audit_options(), lock, actor(), Arc::clone(&self.clock))?;
        let digest = self.policy.digest();
        if trail.state(crate::audit::State::policy) != Some(digest) {
            let policies = u64::try_from(self.policy.len()).unwrap_or(u64::MAX);
            trail.append(None, None, Body::Policy { digest, policies })?;
        }
        Ok(trail)
    }

    /// Where the trail lies and how large its parts are.
    #[must_use]
    pub fn audit_options(&self) -> AuditOptions {
        audit_options(&self.home, &self.configuration)
    }

    /// The real hands, on the inventory.
    ///
    /// # Errors
    /// When the folder of the keepers cannot be made, or no thread for the bus.
    pub fn hands(&self) -> Result<RealHands, RunError> {
        let tools = ServiceTools {
            folder: self.home.var().join("state/keeper"),
            bus: self.configuration.systemd.bus.clone(),
            keeper: self.program.clone(),
        };
        Ok(RealHands::on(&self.configuration.inventory, &tools, Arc::clone(&self.clock))?)
    }

    /// Digests that nobody without the host's key can guess the content from.
    #[must_use]
    pub fn keyed_digest(&self) -> KeyedDigest {
        let key = Arc::clone(&self.key);
        Arc::new(move |material| Digest::from_bytes(key.mac("undo", &[material])))
    }

    /// The digest of what stands behind the name of a resource: what the operator wrote, and its baseline. Keyed, because
    /// both can hold secrets.
    pub(super) fn digest_of_definition(&self, written: &[u8], baseline: &[u8]) -> Digest {
        Digest::from_bytes(self.key.mac("definition", &[written, baseline]))
    }

    /// The public key of the trail of this home, which tells one home from another: what people's words are for.
    ///
    /// # Errors
    /// When there is no trail, or its key cannot be read.
    pub fn trail_key(&self) -> Result<String, RunError> {
        Ok(Reader::open(self.home.var())?.key().text().to_owned())
    }

    /// Where undo material and evidence are kept.
    ///
    /// # Errors
    /// When a folder cannot be made, or others can write it.
    pub fn kept(&self) -> Result<Kept, RunError> {
        let state: Folder = self.home.open_var()?.make_sub("state")?;
        state.trusted()?;
        let (undo, evidence) = (state.make_sub("undo")?, state.make_sub("evidence")?);
        for folder in [&undo, &evidence] {
            folder.trusted()?;
        }
        Ok(Kept {
            undo: Arc::new(UndoJournal::new(undo, self.keyed_digest())),
            evidence: Arc::new(EvidenceFolder::in_folder(evidence)),
        })
    }

    /// What a gate acts with.
    #[must_use]
    pub fn parts(&self, trail: Arc<Trail>, hands: Arc<Hands>, kept: Kept, approvals: Approvals) -> Parts {
        let Kept { undo, evidence } = kept;
        Parts {
            policy: Arc::clone(&self.policy),
            trail,
            hands,
            ledger: Arc::clone(&self.ledger),
            leases: Arc::clone(&self.leases),
            orders: Arc::clone(&self.orders),
            inventory: Arc::clone(&self.inventory),
            undo,
            evidence,
            interrupted: Arc::clone(&self.interrupted),
            clock: Arc::clone(&self.clock),
            limits: self.configuration.limits.clone(),
            approvals,
        }
    }

    fn engine(&self) -> Result<Arc<Engine>, RunError> {
        if let Some(engine) = self.engine.get() {
            return Ok(Arc::clone(engine));
        }
        let made = Arc::new(Engine::new(&self.configuration.limits)?);
        Ok(Arc::clone(self.engine.get_or_init(|| made)))
    }

    /// The first of these open intents that is about the target or anything that belongs to it, or that a run about the
    /// target wrote.
    pub(super) fn in_doubt(
        &self,
        state: &State,
        open: &BTreeMap<u64, OpenIntent>,
        target: &ResourceName,
    ) -> Option<(u64, OpenIntent)> {
        let inventory = &self.configuration.inventory;
        let owner = inventory.target_of(target);
        let about = |intent: &OpenIntent| {
            let touched =
                intent.resource.parse::<ResourceName>().map(|resource| inventory.touched(&intent.verb, &resource));
            touched.is_ok_and(|touched| touched.iter().any(|resource| inventory.target_of(resource) == owner))
        };
        let served = |run: &RunId| state.run(run).is_some_and(|run| inventory.target_of(&run.target) == owner);
        let matters = |intent: &OpenIntent| about(intent) || intent.run.as_ref().is_some_and(served);
        open.iter().find(|(_, intent)| matters(intent)).map(|(record, intent)| (*record, intent.clone()))
    }

    /// The name of the engine, for the trail: compiled code depends on it.
    ///
    /// # Errors
    /// When the engine cannot be made.
    pub fn engine_hash(&self) -> Result<String, RunError> {
        Ok(format!("{:016x}", self.engine()?.engine_hash()))
    }

    /// Compiles a verified component in a process of its own, or takes it from the cache.
    ///
    /// # Errors
    /// When the compiler refuses it or hits a limit.
    pub(super) fn code(&self, verified: &VerifiedPlaybook) -> Result<MacChecked, RunError> {
        let hash = self.engine()?.engine_hash();
        match self.cache.get(verified.digest(), hash)? {
            Cached::Hit(code) => return Ok(code),
            Cached::Absent => {}
            Cached::Tampered => {
                tracing::warn!(
                    "compiled code of {} was not written by this host or was damaged; compiling again",
                    verified.id()
                );
            }
        }
        let limits = &self.configuration.limits;
        let arguments = vec!["compile-worker".to_owned(), serde_json::to_string(limits).unwrap_or_default()];
        match Compiler::new(self.program.clone(), arguments, limits.clone()).compile(verified.bytes())? {
            Compiled::Code(code) => Ok(self.cache.put(verified.digest(), hash, &code)?),
            Compiled::Refused(reason) => Err(RunError::Compile(reason)),
            Compiled::Limit(hit) => Err(RunError::Compile(hit.to_string())),
        }
    }

    /// Removes compiled code of components that are no longer in the store, and of other engines.
    pub(super) fn sweep_cache(&self) -> Result<(), RunError> {
        let entries = self.store.list()?;
        let keep: Vec<Digest> =
            entries.values().flat_map(|entry| entry.releases.values().map(|release| release.digest)).collect();
        self.cache.sweep(&keep, self.engine()?.engine_hash())?;
        Ok(())
    }

    /// Keeps that the policy is valid, beside the code that was compiled, so that the next start need not find it out again.
    fn keep_verdict(&self) {
        let verdict = self.policy.verdict();
        if self.stamp.get() != Some(verdict)
            && let Err(error) = self.stamp.put(&verdict)
        {
            tracing::warn!("that the policy is valid was not kept, so the next start validates it again: {error}");
        }
    }

    /// The program of an admitted playbook, linked with what it was granted.
    ///
    /// # Errors
    /// As [`Site::code`], and when the code does not load.
    pub fn program(&self, admitted: &Admitted) -> Result<Program, RunError> {
        let code = self.code(admitted.verified())?;
        self.keep_verdict();
        Ok(Program::from_cache(&self.engine()?, &code, admitted.granted())?)
    }
}

/// Where the trail of a home lies.
#[must_use]
pub fn audit_options(home: &Home, configuration: &Configuration) -> AuditOptions {
    AuditOptions {
        segment_bytes: configuration.audit.segment_bytes,
        reserve_bytes: configuration.audit.reserve_bytes,
        lock_wait: configuration.audit.wait,
        trail_mib_per_day: configuration.limits.trail_mib_per_day,
        ..AuditOptions::at(home.var())
    }
}

/// The inventory as policies see it.
fn facts(configuration: &Configuration) -> Vec<ResourceFact> {
    let inventory = &configuration.inventory;
    let fact = |name| ResourceFact {
        groups: inventory.groups_of(&name),
        protected: inventory.protected(&name),
        target: inventory.target_of(&name),
        name,
    };
    inventory.names().into_iter().map(fact).collect()
}
