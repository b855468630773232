//! The processes of a unit: what stands in its control group and the groups below it.
//!
//! Read from the kernel, not asked of systemd: `cgroup.procs` is what systemd itself goes by. Bounded, because a unit may
//! make groups of its own (`Delegate=`). On a machine with the old layout the groups of systemd lie one folder further in.

use std::path::PathBuf;

use rustix::process::Pid;

const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd"];
/// Groups looked at, and processes taken from them: far above what services have.
const GROUPS: usize = 256;
const MOST: usize = 10_000;

pub(super) fn processes(group: &str) -> Vec<Pid> {
    // The root group is everybody's.
    let plain = group.starts_with('/') && group.len() > 1 && !group.split('/').any(|part| part == "..");
    let roots = ROOTS.iter().map(|root| PathBuf::from(format!("{root}{group}")));
    let Some(found) = roots.into_iter().find(|folder| plain && folder.join("cgroup.procs").exists()) else {
        return Vec::new();
    };
    let (mut groups, mut processes) = (vec![found], Vec::new());
    let mut looked = 0;
    while let Some(group) = groups.pop().filter(|_| looked < GROUPS) {
        looked += 1;
        let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        processes.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
        let below = std::fs::read_dir(&group).into_iter().flatten().flatten();
        groups
            .extend(below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
    processes.truncate(MOST);
    processes
}
