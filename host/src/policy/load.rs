//! Reading the operator's policies: strictly, completely, all or nothing.
//!
//! A load either gives a whole new set or says everything that is wrong and changes nothing, so that a running host keeps
//! the set it has. Three folders tell what a policy may do (`hard/` and `gates/` only forbid, `permits/` only permit); the
//! file system tells who may write it. There is no lenient mode, and no permit at all is an error: a host that quietly
//! denies everything looks like one that works.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use cedar_policy::{Policy, PolicyId, PolicySet as CedarSet, ValidationMode, Validator};
use miette::Diagnostic;
use sha2::{Digest as _, Sha256};

use crate::durable::Folder;
use crate::model::{Digest, Interface, PlaybookId};

use super::finding::{Finding, PolicyError};
use super::policy_text::FILE_BYTES;
use super::rules;
use super::schema;
use super::scope::Scope;
use super::slice::{Askers, Index};
use super::statement::{Place, Read};
use super::world::{ResourceFact, World};

/// The most policies of one set: ten times the largest set that was measured.
const POLICIES: usize = 10_000;

/// What a policy may do, by the folder it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `hard/`: forbids, whoever approves.
    Hard,
    /// `gates/`: forbids until approved.
    Gate,
    /// `permits/`: permits.
    Permit,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Hard, Self::Gate, Self::Permit];

    pub(super) const fn folder(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Gate => "gates",
            Self::Permit => "permits",
        }
    }

    fn of(path: &str) -> Option<Self> {
        let (folder, _) = path.split_once('/')?;
        Self::ALL.into_iter().find(|kind| kind.folder() == folder)
    }
}

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its path within the policy folder: `permits/web.cedar`.
    pub path: String,
    /// What it says.
    pub text: String,
}

/// One policy, checked.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) why: Option<String>,
    pub(super) approvers: BTreeSet<String>,
    pub(super) quorum: u32,
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) scope: Scope,
    pub(super) policy: Policy,
}

/// Every policy in force. Made by a load, never changed.
#[derive(Debug)]
pub struct PolicySet {
    world: World,
    policies: Vec<Loaded>,
    by_id: HashMap<String, usize>,
    index: Index,
    askers: Askers,
    digest: Digest,
    verdict: Digest,
}

impl PolicySet {
    /// Reads a policy folder: `hard/`, `gates/` and `permits/`, each with `*.cedar`. Missing folders count as empty.
    /// `inventory` is what the policies may name. `valid` is the verdict ([`PolicySet::verdict`]) that the caller has kept of
    /// an earlier load, if it can vouch that nobody else wrote it: then the same set is not validated again. Everything else
    /// is checked each time.
    ///
    /// # Errors
    /// When anything in it cannot be read, is not trusted or is not right; see [`PolicyError`].
    pub fn load(folder: &Folder, inventory: &[ResourceFact], valid: Option<Digest>) -> Result<Self, PolicyError> {
        let (sources, mut findings) = read(folder)?;
        // The schema takes longer than the policies, and neither needs the other: together they are half of a start.
        let (read, world) = std::thread::scope(|scope| {
            let world = std::thread::Builder::new().spawn_scoped(scope, || World::build(inventory));
            let read = parse(&sources, Some(folder.path()), &mut findings);
            let world = world.ok().and_then(|world| world.join().ok());
            // No thread to be had is no reason to fail.
            (read, world.unwrap_or_else(|| World::build(inventory)))
        });
        accept(read, digest(&sources), Some(folder.path()), &world?, findings, valid)
    }

    /// The set of these files. For tests, and for whoever has the texts elsewhere.
    ///
    /// # Errors
    /// When anything in them is not right.
    pub fn from_sources(sources: &[Source], world: &World) -> Result<Self, PolicyError> {
        let mut findings = Vec::new();
        let read = parse(sources, None, &mut findings);
        accept(read, digest(sources), None, world, findings, None)
    }

    /// Checks the `permits.cedar` that a playbook ships with: it may name no principal but the playbook itself, and may not
    /// be wide. Names of resources and groups are the author's examples and are checked when the operator installs it.
    ///
    /// # Errors
    /// When it says anything else.
    pub fn load_fragment(playbook: &PlaybookId, path: &str, text: &str) -> Result<Vec<String>, PolicyError> {
        let mut findings = Vec::new();
        let mut places = Vec::new();
        Place::all(path, text, Kind::Permit, &mut places, &mut findings);
        let mut loaded = Read::all(places, &mut findings);
        for one in &loaded {
            rules::names_exist(&one.policy, &one.place, None, &mut findings);
            rules::foreign(&one.notes, &one.place, playbook, &mut findings);
        }
        unique(&mut loaded, &mut findings);
        validate(&Validator::new(schema::parse()?), &loaded, &mut findings)?;
        PolicyError::unless_clean(findings, loaded.into_iter().map(|one| one.notes.id).collect())
    }

    /// SHA-256 over the paths and bytes of all files: names the set on the trail.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Names the verdict that these files are valid: a digest of them and of everything else that validation depends on.
    #[must_use]
    pub const fn verdict(&self) -> Digest {
        self.verdict
    }

    /// How many policies it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether it has none. A load refuses that, so it never is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The interfaces of which at least one verb could be permitted to a playbook, by the scopes of the permits alone: what
    /// the link fence may link. A condition, a hard rule or a gate can still refuse every call.
    #[must_use]
    pub fn grants(&self, playbook: &PlaybookId) -> BTreeSet<Interface> {
        let Ok(asker) = self.askers.get(playbook, &self.world) else { return BTreeSet::new() };
        let publisher = std::slice::from_ref(&asker.publisher);
        let permits = self.policies.iter().filter(|policy| policy.kind == Kind::Permit);
        permits
            .filter(|permit| permit.scope.principal.matches(&asker.uid, publisher))
            .flat_map(|permit| permit.scope.verbs.iter().map(|verb| verb.interface()))
            .collect()
    }

    /// Whether any gate could ask people about this playbook: then what it would do is planned before it is done.
    #[must_use]
    pub fn may_ask(&self, playbook: &PlaybookId) -> bool {
        let Ok(asker) = self.askers.get(playbook, &self.world) else { return true };
        let publisher = std::slice::from_ref(&asker.publisher);
        let mut gates = self.policies.iter().filter(|policy| policy.kind == Kind::Gate);
        gates.any(|gate| gate.scope.principal.matches(&asker.uid, publisher))
    }

    /// Whom a gate asks; none if there is no gate of that id.
    #[must_use]
    pub fn gate(&self, id: &str) -> Option<super::GateTerms> {
        let gate = self.named(id).filter(|policy| policy.kind == Kind::Gate)?;
        Some(super::GateTerms { approvers: gate.approvers.clone(), quorum: gate.quorum })
    }

    /// Every gate's id and whom it asks.
    pub fn gates(&self) -> impl Iterator<Item = (&str, super::GateTerms)> {
        let gates = self.policies.iter().filter(|policy| policy.kind == Kind::Gate);
        gates.map(|gate| {
            let terms = super::GateTerms { approvers: gate.approvers.clone(), quorum: gate.quorum };
            (gate.id.as_str(), terms)
        })
    }

    pub(super) const fn world(&self) -> &World {
        &self.world
    }

    pub(super) fn policies(&self) -> &[Loaded] {
        &self.policies
    }

    pub(super) fn named(&self, id: &str) -> Option<&Loaded> {
        self.by_id.get(id).and_then(|place| self.policies.get(*place))
    }

    pub(super) const fn index(&self) -> &Index {
        &self.index
    }

    pub(super) const fn askers(&self) -> &Askers {
        &self.askers
    }
}

/// Reads the files; what does not belong there is a finding, what cannot be trusted an error.
fn read(folder: &Folder) -> Result<(Vec<Source>, Vec<Finding>), PolicyError> {
    folder.trusted()?;
    let (mut sources, mut findings) = (Vec::new(), Vec::new());
    for name in folder.names()? {
        folder.trusted_file(&name)?;
        let shown = folder.path().join(&name).display().to_string();
        if !Kind::ALL.into_iter().any(|kind| kind.folder() == name) {
            let remedy = "policies lie in `hard/`, `gates/` and `permits/`; move or remove it";
            findings.push(Finding::of_file(&shown, "does not belong into the policy folder", remedy));
            continue;
        }
        let inner = folder.sub(&name)?;
        inner.trusted()?;
        for file in inner.names()? {
            inner.trusted_file(&file)?;
            let shown = inner.path().join(&file).display().to_string();
            if !file.ends_with(".cedar") {
                let remedy = "rename it to end in `.cedar`, or remove it";
                findings.push(Finding::of_file(&shown, "is not a policy file", remedy));
                continue;
            }
            let bytes = inner.read_bounded(&file, FILE_BYTES)?;
            match String::from_utf8(bytes) {
                Ok(text) => sources.push(Source { path: format!("{name}/{file}"), text }),
                Err(_) => findings.push(Finding::of_file(&shown, "is not UTF-8 text", "write it again as plain text")),
            }
        }
    }
    Ok((sources, findings))
}

/// Reads the policies of these files, as far as that needs no world.
fn parse<'a>(sources: &'a [Source], root: Option<&Path>, findings: &mut Vec<Finding>) -> Vec<Read<'a>> {
    let mut places = Vec::new();
    for source in sources {
        let shown = root.map_or_else(|| source.path.clone(), |root| root.join(&source.path).display().to_string());
        let Some(kind) = Kind::of(&source.path) else {
            let remedy = "put it into `hard/`, `gates/` or `permits/`";
            findings.push(Finding::of_file(&shown, "lies in no policy folder", remedy));
            continue;
        };
        Place::all(&shown, &source.text, kind, &mut places, findings);
    }
    Read::all(places, findings)
}

/// What was read becomes the set in force, if all of it is right.
fn accept(
    mut read: Vec<Read<'_>>,
    digest: Digest,
    root: Option<&Path>,
    world: &World,
    mut findings: Vec<Finding>,
    valid: Option<Digest>,
) -> Result<PolicySet, PolicyError> {
    for one in &read {
        rules::names_exist(&one.policy, &one.place, Some(world), &mut findings);
    }
    let permits = root.map_or_else(|| "permits".to_owned(), |root| root.join("permits").display().to_string());
    if findings.is_empty() && !read.iter().any(|one| one.place.kind == Kind::Permit) {
        let remedy = "write one `*.cedar` there; `guardian init` writes a first one";
        findings.push(Finding::of_file(&permits, "holds no permit, so every call would be denied", remedy));
    }
    if read.len() > POLICIES {
        let message = format!("{} policies are more than the {POLICIES} that are accepted", read.len());
        findings.push(Finding::of_file(&permits, message, "use groups and publishers instead of single names"));
    }
    unique(&mut read, &mut findings);
    let verdict = verdict(&digest);
    if valid != Some(verdict) {
        validate(world.validator(), &read, &mut findings)?;
    }
    let policies: Vec<Loaded> = PolicyError::unless_clean(findings, read)?.into_iter().map(Read::accepted).collect();
    let by_id = policies.iter().enumerate().map(|(place, policy)| (policy.id.clone(), place)).collect();
    let index = Index::of(&policies);
    Ok(PolicySet { world: world.clone(), policies, by_id, index, askers: Askers::default(), digest, verdict })
}

fn digest(sources: &[Source]) -> Digest {
    let mut sorted: Vec<&Source> = sources.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    digest_of(sorted.into_iter().flat_map(|source| [source.path.as_bytes(), source.text.as_bytes()]))
}

/// Strict validation looks at the policies and the schema; what it finds in them is up to the program that looks. The world
/// has no part in it: whether names exist is another check.
fn verdict(policies: &Digest) -> Digest {
    let cedar = cedar_policy::get_sdk_version().to_string();
    digest_of([
        policies.as_bytes().as_slice(),
        schema::schema_text().as_bytes(),
        cedar.as_bytes(),
        env!("CARGO_PKG_VERSION").as_bytes(),
    ])
}

/// Each part with its length before it, so that no two lists of parts share the bytes that are hashed.
fn digest_of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    Digest::from_bytes(hash.finalize().into())
}

/// Keeps the first policy of each id.
fn unique(read: &mut Vec<Read<'_>>, findings: &mut Vec<Finding>) {
    let mut seen: HashMap<String, (String, usize)> = HashMap::new();
    read.retain(|one| {
        let Some((path, line)) = seen.get(&one.notes.id) else {
            seen.insert(one.notes.id.clone(), (crate::model::escape(&one.place.shown), one.place.line));
            return true;
        };
        let message = format!("the id `{}` is taken by {path}:{line}", one.notes.id);
        findings.push(one.place.finding("@id", message, "give every policy an id of its own"));
        false
    });
}

/// Cedar's own strict validation; a warning (a policy that can never apply, letters that look like others) counts as an error.
fn validate(validator: &Validator, read: &[Read<'_>], findings: &mut Vec<Finding>) -> Result<(), PolicyError> {
    let all = CedarSet::from_policies(read.iter().map(|one| one.policy.clone()))
        .map_err(|error| PolicyError::World { source: Box::new(error) })?;
    let result = validator.validate(&all, ValidationMode::Strict);
    let places: HashMap<&PolicyId, &Place<'_>> = read.iter().map(|one| (one.policy.id(), &one.place)).collect();
    let errors =
        result.validation_errors().map(|error| (error.policy_id(), error as &dyn Diagnostic, error.to_string()));
    let warnings = result
        .validation_warnings()
        .map(|warning| (warning.policy_id(), warning as &dyn Diagnostic, warning.to_string()));
    for (id, error, message) in errors.chain(warnings) {
        if let Some(place) = places.get(id) {
            let remedy = "`guardian policy check --schema` prints what policies can name";
            findings.push(place.cedar(error, message, remedy));
        }
    }
    Ok(())
}
