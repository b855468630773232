//! What people said that holds now: a resource is paused, everything is frozen, a publisher is no longer trusted, broken
//! glass is over.
//!
//! A run holds the trail for as long as it lasts, and a person who wants it to stop must not have to wait for that. So an
//! order is a file in `state/orders/`, written by whoever gives it, and the gate looks at the folder before every call: a
//! look costs one system call while nothing changes. The writer of the trail records an order when it first sees it. Who
//! changes orders does so under a lock ([`Change`]), having seen what stands: nobody's word is lost to somebody else's.
//!
//! Orders only ever take away (INVARIANT 10): one that is forged could stop Guardian, and no more; who can write the folder
//! could delete the trail. They end by themselves: a pause that is forgotten must not leave a service without care for
//! ever. What this room does not do: grant anything, or decide what a stopped run does next.
//!
//! The default on doubt is to stop: an order that cannot be read counts as a freeze, and so does a folder that is gone, or is
//! another one, since this process first saw it.

mod change;

pub use self::change::Change;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cap_std::fs::MetadataExt as _;
use rustix::fs::Stat;
use rustix::io::Errno;

use crate::durable::{DurableError, Folder};
use crate::model::{Actor, Given, Name, Order, ResourceName, Timestamp};

/// The folder below `state`.
const FOLDER: &str = "orders";
/// The largest order, in bytes: a reason of a few lines.
const LARGEST: u64 = 16 * 1024;
/// The end of an order that nobody can read, in the year 9999: it ends when somebody mends it.
const UNTIL_MENDED: u64 = 253_402_300_799_000;
/// Names of files can change twice within one tick of the file system's clock; after this long a second change shows.
const TICK: Duration = Duration::from_millis(20);

/// Every order there is, those that have ended included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    given: BTreeMap<String, Given>,
    /// Why not everything could be read, as the freeze that it counts as.
    doubt: Option<Given>,
}

/// Why a call is not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// By this order.
    By(Given),
    /// Because the orders cannot be read.
    Doubt(String),
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::By(given) => given.fmt(out),
            Self::Doubt(problem) => write!(out, "everything is frozen: {problem}"),
        }
    }
}

impl Standing {
    /// What stops an effect on `resource`, which belongs to `target`.
    #[must_use]
    pub fn stops(&self, resource: &ResourceName, target: &ResourceName, now: Timestamp) -> Option<Stopped> {
        if let Some(doubt) = &self.doubt {
            return Some(Stopped::Doubt(doubt.reason.clone()));
        }
        let applies = |given: &&Given| match &given.what {
            Order::Freeze => true,
            Order::Pause { resource: paused } => paused == resource || paused == target,
            Order::Withdraw { .. } | Order::EndGlass => false,
        };
        self.given.values().filter(|given| given.holds(now)).find(applies).cloned().map(Stopped::By)
    }

    /// What stops every call of a publisher's playbooks.
    #[must_use]
    pub fn withdrawn(&self, publisher: &Name, now: Timestamp) -> Option<&Given> {
        let applies =
            |given: &&Given| matches!(&given.what, Order::Withdraw { publisher: whose } if whose == publisher);
        self.given.values().filter(|given| given.holds(now)).find(applies)
    }

    /// Up to when broken glass counts no more, if somebody ended it.
    #[must_use]
    pub fn glass_ended(&self) -> Option<Timestamp> {
        self.given.values().find(|given| given.what == Order::EndGlass).map(|given| given.at)
    }

    /// Every order that somebody gave, those that have ended included.
    pub fn written(&self) -> impl Iterator<Item = &Given> {
        self.given.values()
    }

    /// The same, and the freeze that an order counts as which cannot be read: what a person is shown.
    pub fn given(&self) -> impl Iterator<Item = &Given> {
        self.given.values().chain(&self.doubt)
    }

    /// Why everything stands still, if an order cannot be read.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_ref().map(|doubt| doubt.reason.as_str())
    }

    /// Everything stands still, because of that.
    fn doubtful(self, problem: &str) -> Self {
        let reason = crate::model::escape_to(problem, 300);
        let by = Actor { uid: rustix::process::getuid().as_raw(), login_uid: None };
        let (at, until) = (Timestamp::from_millis(0), Timestamp::from_millis(UNTIL_MENDED));
        Self { doubt: Some(Given { what: Order::Freeze, at, until, reason, by }), ..self }
    }
}

/// The folder of orders, and what was last read there.
#[derive(Debug)]
pub struct Orders {
    place: Option<Place>,
    seen: Mutex<Seen>,
}

/// Where the folder lies.
#[derive(Debug)]
struct Place {
    state: Folder,
    /// The folder's path, to see whether what lies there is what was opened.
    path: PathBuf,
}

#[derive(Debug, Default)]
struct Seen {
    /// `orders`, once there is one: `init` makes it, or the first order.
    folder: Option<Folder>,
    /// The folder's time of change when it was read, if that was long enough ago to tell the next change by.
    changed: Option<(i64, i64)>,
    /// Which folder that was: device and inode.
    which: (u64, u64),
    standing: Arc<Standing>,
}

impl Orders {
    /// The orders in `orders/` below the folder `state`.
    #[must_use]
    pub fn below(state: Folder) -> Self {
        let path = state.path().join(FOLDER);
        Self { place: Some(Place { state, path }), seen: Mutex::default() }
    }

    /// No orders: for a gate that nobody can speak to, as in a test of the gate.
    #[must_use]
    pub fn none() -> Self {
        Self { place: None, seen: Mutex::default() }
    }

    /// What stands now. Costs one system call while nothing changes.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Arc<Standing> {
        let Some(place) = &self.place else { return Arc::default() };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.look(place, now) {
            Ok(()) => Arc::clone(&seen.standing),
            Err(problem) => {
                // What was read before still holds, so that `status` can show it beside the doubt.
                let doubtful = Standing::clone(&seen.standing).doubtful(&problem);
                seen.changed = None;
                Arc::new(doubtful)
            }
        }
    }

    /// Keeps everybody else from changing orders, to see what stands and change it.
    ///
    /// # Errors
    /// When the folder cannot be made or can be written by others, or somebody else is changing orders for longer than that
    /// takes.
    pub fn change(&self) -> Result<Change, DurableError> {
        Change::below(self.place.as_ref().map(|place| &place.state))
    }

    /// Removes an order that has ended and stands on the trail, unless there is another one about the same thing by now, or
    /// somebody is changing orders: then the next one who looks removes it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn clear(&self, ended: &Given) -> Result<(), DurableError> {
        match self.place.as_ref().map(|place| Change::at_once(&place.state)) {
            None | Some(Ok(None)) => Ok(()),
            Some(Ok(Some(change))) => change.remove(ended),
            Some(Err(error)) => Err(error),
        }
    }
}

impl Seen {
    /// Looks at the folder by its path, and reads it if it has changed. A handle goes on working after its folder was removed
    /// or replaced, and nobody would hear the orders in the new one.
    fn look(&mut self, place: &Place, now: Timestamp) -> Result<(), String> {
        let there = match rustix::fs::stat(&place.path) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if self.folder.is_none() => return Ok(()),
            Err(error) => {
                let (path, error) = (place.path.display(), std::io::Error::from(error));
                return Err(format!("the folder of orders `{path}` cannot be looked at: {error}; {MEND}"));
            }
        };
        if self.folder.is_none() {
            let folder = place.state.sub(FOLDER).map_err(|error| error.to_string())?;
            let opened = folder.dir().dir_metadata().map_err(|error| error.to_string())?;
            self.which = (opened.dev(), opened.ino());
            self.folder = Some(folder);
        }
        let Some(folder) = &self.folder else { return Ok(()) };
        if (there.st_dev, there.st_ino) != self.which {
            let path = place.path.display();
            return Err(format!("`{path}` is another folder than the one of orders that this process opened; {MEND}"));
        }
        let changed = Some(changed(&there));
        if changed == self.changed {
            return Ok(());
        }
        folder.trusted().map_err(|error| error.to_string())?;
        self.standing = Arc::new(read(folder));
        self.changed = changed.filter(|changed| settled(*changed, now));
        Ok(())
    }
}

/// What to do about a folder that is not the one it was.
const MEND: &str = "put back what was there, or give the orders that shall hold again and start this process anew";

/// When the folder last got, lost or exchanged a name.
fn changed(folder: &Stat) -> (i64, i64) {
    (folder.st_ctime, i64::try_from(folder.st_ctime_nsec).unwrap_or(0))
}

/// The file of an order: one per thing that is ordered, so that a later word replaces an earlier one.
fn file_of(order: &Order) -> String {
    match order {
        Order::Pause { resource } => format!("pause.{resource}.json"),
        Order::Freeze => "freeze.json".to_owned(),
        Order::Withdraw { publisher } => format!("withdraw.{publisher}.json"),
        Order::EndGlass => "end-glass.json".to_owned(),
    }
}

fn settled((seconds, nanos): (i64, i64), now: Timestamp) -> bool {
    let changed = i128::from(seconds) * 1_000 + i128::from(nanos / 1_000_000);
    i128::from(now.millis()) > changed + i128::try_from(TICK.as_millis()).unwrap_or(i128::MAX)
}

fn read(folder: &Folder) -> Standing {
    let mut standing = Standing::default();
    let names = match folder.names() {
        Ok(names) => names,
        Err(error) => return standing.doubtful(&error.to_string()),
    };
    for name in names {
        match read_one(folder, &name) {
            // Whoever clears away what has ended may do so between two looks at the folder.
            Ok(None) => {}
            Ok(Some(given)) => drop(standing.given.insert(name, given)),
            Err(problem) => {
                let path = folder.path().join(&name);
                standing =
                    standing.doubtful(&format!("the order `{}` cannot be read: {problem}; remove it", path.display()));
            }
        }
    }
    standing
}

/// One order; none if the file is not there.
fn read_one(folder: &Folder, name: &str) -> Result<Option<Given>, String> {
    let bytes = match folder.read_bounded(name, LARGEST) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let given = serde_json::from_slice::<Given>(&bytes).map_err(|error| error.to_string())?;
    // One file for one thing: a copy under another name would go on after the order itself was lifted.
    if file_of(&given.what) == name { Ok(Some(given)) } else { Err("it is about something else".to_owned()) }
}

#[cfg(test)]
mod tests;
