//! The TCP sockets that processes hold open, as the kernel shows them in procfs.
//!
//! `/proc/PID/fd` names the inodes of sockets, `/proc/PID/net/tcp` and `tcp6` what they are (proc_pid_net(5)). Read once and
//! bounded; a process that went away or does not let itself be seen has none.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::process::Pid;

/// Sockets that are kept of one target: a screen full.
const MOST: usize = 64;
/// Descriptors that are looked at of one process: far above what a service holds, and under a second to read.
const DESCRIPTORS: usize = 100_000;
/// What is read of one table, in bytes: ten thousand sockets.
const TABLE: u64 = 2 * 1024 * 1024;

/// The sockets of these processes: `listen 127.0.0.1:8080`, `established 10.0.0.1:22 with 10.0.0.2:4711`.
pub(in crate::capability) fn of(processes: &[Pid]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for pid in processes {
        let pid = pid.as_raw_nonzero();
        let inodes = inodes(pid.get());
        if inodes.is_empty() {
            continue;
        }
        for table in ["tcp", "tcp6"] {
            let mut text = String::new();
            let path = format!("/proc/{pid}/net/{table}");
            if fs::File::open(path).is_ok_and(|file| file.take(TABLE).read_to_string(&mut text).is_ok()) {
                found.extend(text.lines().skip(1).filter_map(|line| socket(line, &inodes)));
            }
        }
    }
    found.into_iter().take(MOST).collect()
}

fn inodes(pid: i32) -> BTreeSet<u64> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let links = entries.take(DESCRIPTORS).filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

/// One line of the table, if the socket is among these.
fn socket(line: &str, inodes: &BTreeSet<u64>) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if !inodes.contains(&fields.get(9)?.parse().ok()?) {
        return None;
    }
    let local = address(fields.get(1)?)?;
    Some(match *fields.get(3)? {
        "0A" => format!("listen {local}"),
        "01" => format!("established {local} with {}", address(fields.get(2)?)?),
        state => format!("state {state} {local}"),
    })
}

/// `0100007F:1F90`: each 32-bit word of the address in the machine's own order.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_ones_own_is_seen_and_no_other() {
        for place in ["127.0.0.1:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(place).unwrap();
            let address = listener.local_addr().unwrap();
            let own = [rustix::process::getpid()];
            assert!(of(&own).contains(&format!("listen {address}")), "{:?}", of(&own));
            assert!(!of(&[Pid::INIT]).contains(&format!("listen {address}")));
        }
    }
}
