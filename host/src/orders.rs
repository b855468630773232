//! What people said that holds now: a resource is paused, everything is frozen, a publisher is no longer trusted.
//!
//! A run holds the trail for as long as it lasts, and a person who wants it to stop must not have to wait for that. So an
//! order is a file in `state/orders/`, written by whoever gives it, and the gate looks at the folder before every call: a
//! look costs one system call while nothing changes. The writer of the trail records an order when it first sees it.
//!
//! Orders only ever take away (INVARIANT 10): one that is forged could stop Guardian, and no more; who can write the folder
//! could delete the trail. They end by themselves: a pause that is forgotten must not leave a service without care for
//! ever. What this room does not do: grant anything, or decide what a stopped run does next.
//!
//! The default on doubt is to stop: an order that cannot be read counts as a freeze.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::durable::{DurableError, Folder};
use crate::model::{Actor, Given, Name, Order, ResourceName, Timestamp};
use cap_std::fs::MetadataExt as _;

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
            Order::Withdraw { .. } => false,
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
    state: Option<Folder>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// `orders`, once there is one: `init` makes it, or the first order.
    folder: Option<Folder>,
    /// The folder's time of change when it was read, if that was long enough ago to tell the next change by.
    changed: Option<(i64, i64)>,
    standing: Arc<Standing>,
}

impl Orders {
    /// The orders in `orders/` below the folder `state`.
    #[must_use]
    pub fn below(state: Folder) -> Self {
        Self { state: Some(state), seen: Mutex::default() }
    }

    /// No orders: for a gate that nobody can speak to, as in a test of the gate.
    #[must_use]
    pub fn none() -> Self {
        Self { state: None, seen: Mutex::default() }
    }

    /// What stands now. Costs one system call while nothing changes.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Arc<Standing> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.folder.is_none() {
            seen.folder = match self.state.as_ref().map(|state| state.sub(FOLDER)) {
                None => None,
                Some(Err(error)) if error.is_not_found() => None,
                Some(Ok(folder)) if folder.trusted().is_ok() => Some(folder),
                Some(found) => {
                    let problem =
                        found.map_or_else(|error| error.to_string(), |_| "others can write the orders".to_owned());
                    return Arc::new(Standing::default().doubtful(&problem));
                }
            };
        }
        let Some(folder) = &seen.folder else { return Arc::default() };
        let changed = folder.dir().dir_metadata().map(|metadata| (metadata.ctime(), metadata.ctime_nsec())).ok();
        if changed.is_some() && changed == seen.changed {
            return Arc::clone(&seen.standing);
        }
        let standing = Arc::new(read(folder));
        seen.standing = Arc::clone(&standing);
        seen.changed = changed.filter(|changed| settled(*changed, now));
        standing
    }

    /// Gives an order, durably. It replaces an earlier one about the same thing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn give(&self, given: &Given) -> Result<(), DurableError> {
        let Some(state) = &self.state else { return Ok(()) };
        let folder = state.make_sub(FOLDER)?;
        folder.trusted()?;
        folder.replace(&file_of(&given.what), &serde_json::to_vec(given).unwrap_or_default())
    }

    /// Removes an order that has ended and stands on the trail.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn clear(&self, what: &Order) -> Result<(), DurableError> {
        match self.state.as_ref().map(|state| state.sub(FOLDER)) {
            Some(Ok(folder)) => folder.remove(&file_of(what)),
            Some(Err(error)) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// The file of an order: one per thing that is ordered, so that a later word replaces an earlier one.
fn file_of(order: &Order) -> String {
    match order {
        Order::Pause { resource } => format!("pause.{resource}.json"),
        Order::Freeze => "freeze.json".to_owned(),
        Order::Withdraw { publisher } => format!("withdraw.{publisher}.json"),
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
        let given = folder.read_bounded(&name, LARGEST).map_err(|error| error.to_string()).and_then(|bytes| {
            let given = serde_json::from_slice::<Given>(&bytes).map_err(|error| error.to_string())?;
            // One file for one thing: a copy under another name would go on after the order itself was lifted.
            if file_of(&given.what) == name { Ok(given) } else { Err("it is about something else".to_owned()) }
        });
        match given {
            Ok(given) => drop(standing.given.insert(name, given)),
            Err(problem) => {
                let path = folder.path().join(&name);
                standing =
                    standing.doubtful(&format!("the order `{}` cannot be read: {problem}; remove it", path.display()));
            }
        }
    }
    standing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(until: u64) -> Given {
        Given {
            what: Order::Pause { resource: "service.web".parse().unwrap() },
            at: Timestamp::from_millis(1_000),
            until: Timestamp::from_millis(until),
            reason: "a deployment".to_owned(),
            by: Actor { uid: 0, login_uid: None },
        }
    }

    fn orders() -> (tempfile::TempDir, Orders) {
        let home = tempfile::tempdir().unwrap();
        let orders = Orders::below(Folder::open(home.path()).unwrap());
        (home, orders)
    }

    fn stops(orders: &Orders, resource: &str, now: u64) -> bool {
        let now = Timestamp::from_millis(now);
        let target = "service.web".parse().unwrap();
        orders.standing(now).stops(&resource.parse().unwrap(), &target, now).is_some()
    }

    #[test]
    fn an_order_is_seen_by_the_next_look_and_ends_by_itself() {
        let (_home, orders) = orders();
        // The machine's clock, because the folder's time is the machine's.
        let now = u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        for round in 0..50 {
            assert!(!stops(&orders, "config.site", now), "{round}");
            orders.give(&pause(now + 60_000)).unwrap();
            assert!(stops(&orders, "config.site", now), "it belongs to the target that is paused, round {round}");
            assert!(!stops(&orders, "config.site", now + 60_000), "it has ended");
            orders.give(&pause(0)).unwrap();
        }
    }

    #[test]
    fn an_order_that_cannot_be_read_stops_everything() {
        let (_home, orders) = orders();
        orders.state.as_ref().unwrap().make_sub(FOLDER).unwrap().create("freeze.json", b"{").unwrap();
        let now = Timestamp::from_millis(1);
        let standing = orders.standing(now);
        let resource = "service.db".parse().unwrap();
        assert!(matches!(standing.stops(&resource, &resource, now), Some(Stopped::Doubt(_))));
    }
}
