//! Everything that a service started, found and ended.
//!
//! A service forks, and its children fork. The keeper is their subreaper, so whatever loses its parent becomes the
//! keeper's own child and stays in its tree, even if it left the process group. A process that was adopted from a dead
//! keeper has no such root: there the process group is followed, as long as its leader is known to be the right one.
//! Ending means SIGTERM to all, time, SIGKILL to what is left; every signal goes through a checked pidfd.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, waitpid};

use super::identity::{Handle, Identity, Stat};

/// Rounds of killing. Each ends what it sees; a fork bomb can outrun one round, but not with its parents dead.
const ROUNDS: u32 = 100;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(2);

/// The living processes below `root` and, if its leader lives, in the group of `leader`; neither `root` itself.
fn members(root: i32, leader: &Identity) -> Vec<Stat> {
    let all = Stat::all();
    let leads = leader.alive();
    let mut below = BTreeSet::from([root]);
    loop {
        let before = below.len();
        below.extend(all.iter().filter(|stat| below.contains(&stat.parent)).map(|stat| stat.pid).collect::<Vec<_>>());
        if below.len() == before {
            break;
        }
    }
    let in_group = |stat: &Stat| leads && stat.group == leader.pid() && stat.start >= leader.start();
    all.into_iter()
        .filter(|stat| stat.pid != root && !stat.ended && (below.contains(&stat.pid) || in_group(stat)))
        .collect()
}

/// The living processes of a service by number, to look at: below `root`, in the group of `leader`, and `leader` itself.
pub(crate) fn pids(root: i32, leader: &Identity) -> Vec<Pid> {
    let below = members(root, leader).into_iter().map(|stat| stat.pid);
    let leader = Some(leader.pid()).filter(|_| leader.alive());
    below.chain(leader).collect::<BTreeSet<_>>().into_iter().filter_map(Pid::from_raw).collect()
}

/// Sends SIGTERM to every process of the service, and returns handles on them: they stay good after their leader has
/// gone.
pub(crate) fn ask_to_end(root: i32, leader: &Identity) -> Vec<Handle> {
    let members = members(root, leader);
    let handles: Vec<Handle> =
        members.into_iter().filter_map(Identity::of_stat).filter_map(|process| process.open()).collect();
    for handle in &handles {
        handle.signal(Signal::TERM);
    }
    handles
}

/// Kills every process of the service, and waits until none is left. False if one is: it hangs in the kernel, or is
/// somebody's whom this process may not signal.
pub(crate) fn end(root: i32, leader: &Identity, known: &[Handle]) -> bool {
    for handle in known {
        handle.signal(Signal::KILL);
    }
    for _ in 0..ROUNDS {
        let left = members(root, leader);
        if left.is_empty() {
            return true;
        }
        for process in left.into_iter().filter_map(Identity::of_stat) {
            if let Some(handle) = process.open() {
                handle.signal(Signal::KILL);
            }
        }
        std::thread::sleep(BETWEEN_ROUNDS);
    }
    members(root, leader).is_empty()
}

/// Reaps the ended children of `root`, this process, except the service's own main process.
pub(crate) fn reap_strays(root: i32, leader: &Identity) {
    for stat in Stat::all() {
        if stat.ended && stat.parent == root && stat.pid != leader.pid() {
            let _ = waitpid(Pid::from_raw(stat.pid), WaitOptions::NOHANG);
        }
    }
}
