//! What systemd says of a unit, and what that means.
//!
//! The one thing systemd does not say is *why* an inactive unit is inactive. Its timestamps do: when a unit is stopped on
//! purpose it leaves the active state first and its main process ends after that; when the process ends by itself, or is
//! killed, the unit leaves the active state because of it, after it. So "left active before the main process ended" means
//! that somebody asked for it. A unit that exits 143 on SIGTERM ends as `failed`, and is still a stop; the watchdog, a
//! start limit or the OOM killer also end units from within, and are told apart by `Result`.
//!
//! A stop that systemd made for another unit's sake (`PartOf=`, `Conflicts=`) looks like a person's and is treated as one:
//! of two mistakes, not healing is the one that a person can see and undo.

use std::collections::HashMap;

use zbus::zvariant::{OwnedValue, Value};

use crate::model::{ExitStatus, ServiceState, ServiceStatus, Timestamp};

/// A main process that ended longer than this before its unit became inactive belongs to a unit that stays active
/// without one (`RemainAfterExit=`): only a stop ends those. In microseconds.
const REMAINED: u64 = 1_000_000;

/// The properties that matter. Times are microseconds: of the day, or of the monotonic clock where named so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnitView {
    pub(super) load_state: String,
    active: String,
    sub: String,
    result: String,
    restarts: u32,
    exit_code: i32,
    exit_status: i32,
    main_start_monotonic: u64,
    main_exit_monotonic: u64,
    active_exit_monotonic: u64,
    pub(super) active_exit: u64,
    state_change: u64,
    pub(super) can_reload: bool,
    pub(super) invocation: String,
    /// Its control group, from `/` on; empty while it has none.
    pub(super) cgroup: String,
}

fn text(properties: &HashMap<String, OwnedValue>, name: &str) -> String {
    match properties.get(name).map(|value| &**value) {
        Some(Value::Str(text)) => text.to_string(),
        _ => String::new(),
    }
}

fn number(properties: &HashMap<String, OwnedValue>, name: &str) -> u64 {
    match properties.get(name).map(|value| &**value) {
        Some(Value::U64(number)) => *number,
        Some(Value::U32(number)) => u64::from(*number),
        Some(Value::I32(number)) => u64::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

fn hex(properties: &HashMap<String, OwnedValue>, name: &str) -> String {
    let Some(Value::Array(bytes)) = properties.get(name).map(|value| &**value) else { return String::new() };
    bytes
        .iter()
        .filter_map(|byte| if let Value::U8(byte) = byte { Some(format!("{byte:02x}")) } else { None })
        .collect()
}

impl UnitView {
    pub(super) fn read(unit: &HashMap<String, OwnedValue>, service: &HashMap<String, OwnedValue>) -> Self {
        let small = |name| i32::try_from(number(service, name)).unwrap_or(0);
        Self {
            load_state: text(unit, "LoadState"),
            active: text(unit, "ActiveState"),
            sub: text(unit, "SubState"),
            result: text(service, "Result"),
            restarts: u32::try_from(number(service, "NRestarts")).unwrap_or(u32::MAX),
            exit_code: small("ExecMainCode"),
            exit_status: small("ExecMainStatus"),
            main_start_monotonic: number(service, "ExecMainStartTimestampMonotonic"),
            main_exit_monotonic: number(service, "ExecMainExitTimestampMonotonic"),
            active_exit_monotonic: number(unit, "ActiveExitTimestampMonotonic"),
            active_exit: number(unit, "ActiveExitTimestamp"),
            state_change: number(unit, "StateChangeTimestamp"),
            can_reload: matches!(unit.get("CanReload").map(|value| &**value), Some(Value::Bool(true))),
            invocation: hex(unit, "InvocationID"),
            cgroup: text(service, "ControlGroup"),
        }
    }

    fn state(&self) -> ServiceState {
        match (self.active.as_str(), self.sub.as_str()) {
            // `auto-restart-queued` is what newer versions say when the restart job itself waits.
            ("activating", "auto-restart" | "auto-restart-queued") => ServiceState::Restarting,
            ("active" | "reloading" | "refreshing", _) => ServiceState::Running,
            ("activating", _) => ServiceState::Starting,
            ("deactivating", _) => ServiceState::Stopping,
            ("inactive", _) => ServiceState::Stopped,
            ("failed", _) => ServiceState::Failed,
            _ => ServiceState::Unknown,
        }
    }

    /// Whether somebody asked for the unit to be inactive as it is now.
    fn stopped_on_purpose(&self) -> bool {
        let down = matches!(self.active.as_str(), "inactive" | "failed");
        // `exit-code` and `signal`: the process did not like to be stopped, or ExecStop= failed.
        let plain = matches!(self.result.as_str(), "" | "success" | "exit-code" | "signal");
        let was_active = self.active_exit_monotonic != 0;
        // The main process of *that* activity: one that was started since and died says nothing about why the unit left.
        let same_activity = self.main_start_monotonic <= self.active_exit_monotonic;
        let left_first = same_activity && self.active_exit_monotonic < self.main_exit_monotonic;
        let remained = self.active_exit_monotonic.saturating_sub(self.main_exit_monotonic) > REMAINED;
        down && plain && was_active && (left_first || remained)
    }

    /// Whether it runs.
    pub(super) fn runs(&self) -> bool {
        self.state() == ServiceState::Running
    }

    /// Whether systemd remembers nothing of it: it never ran, or was forgotten since.
    pub(super) fn is_blank(&self) -> bool {
        self.active == "inactive" && self.active_exit_monotonic == 0
    }

    /// What a guest is told. `ours`: the stop, if it was one, was Guardian's own. `forgotten`: it was seen running before
    /// systemd forgot it.
    ///
    /// A deliberate stop is `stopped` even where systemd says `failed` because of the exit status.
    pub(super) fn status(&self, now: Timestamp, ours: bool, forgotten: bool) -> ServiceStatus {
        let on_purpose = self.stopped_on_purpose() || forgotten;
        let state = if on_purpose { ServiceState::Stopped } else { self.state() };
        // `si_code` of the SIGCHLD: 1 exited, 2 killed, 3 dumped.
        let last_exit = match self.exit_code {
            1 => Some(ExitStatus::Code(self.exit_status)),
            2 | 3 => Some(ExitStatus::Signal(self.exit_status)),
            _ => None,
        };
        let since = Timestamp::from_millis(self.state_change / 1_000);
        let since_ms =
            (self.state_change != 0).then(|| u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX));
        ServiceStatus {
            state,
            since_ms,
            restarts: self.restarts,
            last_exit,
            stopped_by_person: on_purpose && !ours,
            assumed: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(active: &str, result: &str, left: u64, ended: u64) -> UnitView {
        UnitView {
            active: active.to_owned(),
            result: result.to_owned(),
            active_exit_monotonic: left,
            main_exit_monotonic: ended,
            ..UnitView::default()
        }
    }

    #[test]
    fn a_start_that_fails_later_is_no_stop_on_purpose() {
        // Active until 1,000; then started again at 2,000 and dead at 3,000 before it was ever active (Type=notify).
        let again = UnitView { main_start_monotonic: 2_000, ..view("failed", "exit-code", 1_000, 3_000) };
        assert!(!again.stopped_on_purpose());
        let stopped = UnitView { main_start_monotonic: 500, ..view("failed", "exit-code", 1_000, 3_000) };
        assert!(stopped.stopped_on_purpose());
    }

    #[test]
    fn a_stop_on_purpose_is_told_from_a_death() {
        for on_purpose in [
            view("inactive", "success", 1_000, 2_000),
            view("failed", "exit-code", 1_000, 2_000),
            // RemainAfterExit: the main process ended long ago.
            view("inactive", "success", 9_000_000, 1_000),
        ] {
            assert!(on_purpose.stopped_on_purpose(), "{on_purpose:?}");
        }
        for death in [
            view("failed", "signal", 2_100, 2_000),
            view("inactive", "success", 2_100, 2_000),
            view("failed", "watchdog", 1_000, 2_000),
            view("failed", "oom-kill", 1_000, 2_000),
            view("inactive", "success", 0, 0),
            view("active", "success", 1_000, 2_000),
            view("activating", "exit-code", 1_000, 2_000),
        ] {
            assert!(!death.stopped_on_purpose(), "{death:?}");
        }
    }

    #[test]
    fn our_own_stop_is_not_a_persons() {
        let now = Timestamp::from_millis(5);
        let stopped = view("inactive", "success", 1_000, 2_000);
        assert!(stopped.status(now, false, false).stopped_by_person);
        assert!(!stopped.status(now, true, false).stopped_by_person);
        let blank = view("inactive", "success", 0, 0);
        assert!(blank.is_blank() && !blank.status(now, false, false).stopped_by_person, "it never ran");
        assert!(blank.status(now, false, true).stopped_by_person, "it ran, and was forgotten after a stop");
        assert!(!blank.status(now, true, true).stopped_by_person);
    }
}
