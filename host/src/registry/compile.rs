//! Compiling in a process of its own.
//!
//! A compiler is a large program that strangers feed. A component can be made to take hours, gigabytes, or to crash it,
//! long before any of its code runs; in this process that would be the end of every run and of the trail. So the component
//! goes to a worker over its standard input (the very buffer that was verified, not a path), the code comes back over its
//! standard output, and the worker can be killed at any moment. It limits itself at its start ([`super::confine`]); this
//! side keeps a deadline by the wall, bounds what it reads, gives the worker an empty environment, kills its whole
//! process group, and always reaps it.
//!
//! What it does not do: it does not know what a component is. The worker's body belongs to the sandbox, which knows the
//! engine; here it is a program and its arguments.

mod pipes;

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use self::pipes::{Pipes, Pumped, wait_for};
use super::{CompiledCache, RegistryError};
use crate::model::{LimitHit, LimitName, Limits, escape_to};

/// Of its message, what is shown to a person.
const SHOWN: usize = 300;

/// What came of a compilation.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Compiled {
    /// The code, as the worker gave it.
    Code(Vec<u8>),
    /// The worker refused the component: its reason in one line, escaped.
    Refused(String),
    /// A limit was hit, and the worker is gone.
    Limit(LimitHit),
}

/// A program that compiles, and its limits.
#[derive(Clone, Debug)]
pub struct Compiler {
    program: PathBuf,
    arguments: Vec<String>,
    limits: Limits,
}

impl Compiler {
    /// The worker is `program` with `arguments`. It reads the component from its standard input until the end, writes the
    /// code to its standard output and exits with 0; or writes one line to its standard error and exits with anything else.
    #[must_use]
    pub const fn new(program: PathBuf, arguments: Vec<String>, limits: Limits) -> Self {
        Self { program, arguments, limits }
    }

    /// Compiles these bytes. Waits for at most twice `compile_seconds`: those are CPU seconds, and a loaded machine may
    /// give a process only half of one.
    ///
    /// # Errors
    /// When the worker cannot be started or spoken to. What is wrong with the component is no error but an answer.
    pub fn compile(&self, component: &[u8]) -> Result<Compiled, RegistryError> {
        let deadline = Instant::now() + Duration::from_secs(self.limits.compile_seconds.saturating_mul(2));
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| RegistryError::System { act: "start the compiling process", source })?;
        let mut worker = Worker { child };
        worker
            .converse(component, deadline)
            .map(|told| self.judge(told))
            .map_err(|source| RegistryError::System { act: "speak to the compiling process", source })
    }

    fn judge(&self, told: Told) -> Compiled {
        let Told { end, code, complaint } = told;
        let time = LimitHit { limit: LimitName::CompileTime, value: self.limits.compile_seconds };
        let memory = LimitHit { limit: LimitName::CompileMemory, value: self.limits.compile_mib };
        let complaint = String::from_utf8_lossy(&complaint);
        let status = match end {
            End::Late => return Compiled::Limit(time),
            End::Flood => {
                let most = CompiledCache::LARGEST >> 20;
                return Compiled::Refused(format!("its compiled code is larger than {most} MiB"));
            }
            End::Exited(status) => status,
        };
        if status.success() {
            return if code.is_empty() {
                Compiled::Refused("the compiler gave no code".to_owned())
            } else {
                Compiled::Code(code)
            };
        }
        // A failed allocation aborts, or comes up as the system's message; SIGKILL that is not ours is the kernel's, for
        // want of memory.
        let starved = complaint.contains("memory allocation of") || complaint.contains("Cannot allocate memory");
        match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::XCPU) => Compiled::Limit(time),
            Some(Signal::KILL) => Compiled::Limit(memory),
            _ if starved => Compiled::Limit(memory),
            _ => Compiled::Refused(reason(&complaint, status)),
        }
    }
}

fn reason(complaint: &str, status: ExitStatus) -> String {
    match complaint.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(line) => escape_to(line, SHOWN),
        None => format!("the compiler gave no reason ({status})"),
    }
}

/// What the worker did, and what it said.
struct Told {
    end: End,
    code: Vec<u8>,
    complaint: Vec<u8>,
}

enum End {
    Exited(ExitStatus),
    Late,
    Flood,
}

/// The worker's process. However it is left, its whole group is killed and it is reaped.
struct Worker {
    child: Child,
}

impl Worker {
    fn converse(&mut self, component: &[u8], deadline: Instant) -> std::io::Result<Told> {
        let mut pipes = Pipes {
            stdin: self.child.stdin.take(),
            stdout: self.child.stdout.take(),
            stderr: self.child.stderr.take(),
            unsent: component,
            code: Vec::new(),
            complaint: Vec::new(),
        };
        if let Some(stdin) = &pipes.stdin {
            rustix::io::ioctl_fionbio(stdin, true)?;
        }
        let end = match pipes.pump(deadline)? {
            Pumped::Closed => self.wait(deadline)?.map_or(End::Late, End::Exited),
            Pumped::Late => End::Late,
            Pumped::Flood => End::Flood,
        };
        Ok(Told { end, code: pipes.code, complaint: pipes.complaint })
    }

    /// Its exit status, or nothing if it is still there at the deadline.
    fn wait(&mut self, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
        let process = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let mut ended = [PollFd::new(&process, PollFlags::IN)];
            if wait_for(&mut ended, left)? > 0 {
                // Ended but not reaped: the group is still its own. Whatever it started goes with it.
                let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
                return self.child.wait().map(Some);
            }
        }
        Ok(None)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Already reaped (`try_wait` knows): its pid may be somebody else's by now, so nothing is signalled.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn shell(script: &str, seconds: u64) -> Compiler {
        let limits = Limits { compile_seconds: seconds, ..Limits::default() };
        Compiler::new("/bin/sh".into(), vec!["-c".to_owned(), script.to_owned()], limits)
    }

    #[test]
    fn what_goes_in_reaches_the_worker_whole_and_comes_back_whole() {
        // Larger than every pipe, so that neither side may wait for the other.
        let component: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(shell("cat", 30).compile(&component).unwrap(), Compiled::Code(component));
    }

    #[test]
    fn a_refusal_is_one_bounded_escaped_line() {
        let refused = |script: &str| match shell(script, 30).compile(b"x").unwrap() {
            Compiled::Refused(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("echo bad code >&2; echo more >&2; exit 3"), "bad code");
        assert_eq!(refused("printf 'a\\033[2Jb' >&2; exit 1"), "a\\u{1b}[2Jb");
        assert!(refused("exit 9").contains("no reason"));
        assert!(refused("cat >/dev/null").contains("no code"));
        assert!(refused("kill -SEGV $$").contains("signal"));
        let long = refused("head -c 10000000 /dev/zero | tr '\\0' x >&2; exit 1");
        assert!(long.chars().count() <= SHOWN + 1, "{}", long.len());
        // Code of a worker that failed is no code.
        assert_eq!(refused("echo code; echo no >&2; exit 1"), "no");
    }

    /// Whether no such process is left. A killed one that is not ours to reap takes a moment to go.
    fn all_gone(marker: &str) -> bool {
        let wanted = format!("sleep\0{marker}\0");
        (0..100).any(|_| {
            let left = std::fs::read_dir("/proc")
                .unwrap()
                .flatten()
                .any(|process| std::fs::read(process.path().join("cmdline")).unwrap_or_default() == wanted.as_bytes());
            if left {
                std::thread::sleep(Duration::from_millis(50));
            }
            !left
        })
    }

    #[test]
    fn a_worker_that_hangs_is_killed_with_all_it_started() {
        let marker = format!("3{:06}", std::process::id());
        let hit = LimitHit { limit: LimitName::CompileTime, value: 1 };
        for script in [
            format!("sleep {marker}"),
            format!("sleep {marker} & sleep {marker}"),
            // Its pipes closed, itself still there.
            format!("exec >&- 2>&-; sleep {marker}"),
            // Never reads its input.
            format!("sleep {marker} <&-"),
        ] {
            let begun = Instant::now();
            let component = vec![0; 1 << 20];
            assert_eq!(shell(&script, 1).compile(&component).unwrap(), Compiled::Limit(hit), "{script}");
            assert!(begun.elapsed() < Duration::from_secs(20), "{script}");
            assert!(all_gone(&marker), "{script} left a process behind");
        }
        let leaves_one = shell(&format!("sleep {marker} >&- 2>&- & echo code"), 30);
        assert_eq!(leaves_one.compile(b"x").unwrap(), Compiled::Code(b"code\n".to_vec()));
        assert!(all_gone(&marker), "a process was left behind");
    }

    #[test]
    fn a_flood_is_cut() {
        let Compiled::Refused(reason) = shell("yes", 60).compile(b"x").unwrap() else { panic!("a flood was kept") };
        assert!(reason.contains("256 MiB"), "{reason}");
    }

    #[test]
    fn the_environment_is_clean_and_a_missing_program_is_said() {
        let Compiled::Code(environment) = shell("env", 30).compile(b"").unwrap() else { panic!("no environment") };
        let environment = String::from_utf8(environment).unwrap();
        assert!(!environment.contains("CARGO") && !environment.contains("HOME"), "{environment}");
        let missing = Compiler::new("/nowhere/guardian".into(), Vec::new(), Limits::default());
        assert!(missing.compile(b"").unwrap_err().to_string().contains("start the compiling process"));
    }

    /// Runs one of the two workers below, as this test binary with that one test.
    fn confined(test: &str) -> Compiled {
        let program = std::env::current_exe().unwrap();
        let test = format!("registry::compile::tests::{test}");
        let arguments = [test.as_str(), "--exact", "--nocapture"].map(str::to_owned).to_vec();
        Compiler::new(program, arguments, Limits::default()).compile(b"work").unwrap()
    }

    /// Limits itself as a worker does; false when it was not started as one: a worker has an empty environment, a test
    /// has not.
    fn is_worker(limits: &Limits) -> bool {
        if std::env::vars_os().next().is_some() {
            return false;
        }
        super::super::confine(limits).unwrap();
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input).unwrap();
        input == b"work"
    }

    #[test]
    fn the_limits_that_a_worker_sets_itself_hold_and_are_named() {
        let hit = |limit, value| Compiled::Limit(LimitHit { limit, value });
        let limits = Limits::default();
        assert_eq!(confined("worker_that_never_ends"), hit(LimitName::CompileTime, limits.compile_seconds));
        assert_eq!(confined("worker_that_eats_memory"), hit(LimitName::CompileMemory, limits.compile_mib));
    }

    #[test]
    fn worker_that_never_ends() {
        let worker = is_worker(&Limits { compile_seconds: 1, ..Limits::default() });
        loop {
            if !worker {
                return;
            }
            std::hint::spin_loop();
        }
    }

    #[test]
    fn worker_that_eats_memory() {
        if is_worker(&Limits { compile_mib: 512, ..Limits::default() }) {
            let eaten = vec![1_u8; 1 << 30];
            assert_ne!(eaten.len(), 0);
        }
    }
}
