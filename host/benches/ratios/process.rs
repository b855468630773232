//! `guardian run` as a person types it: a process from exec to exit.
//!
//! The home is a used one: 20 policies, a trail of 100,000 records or more whose segment is half full. The run does one
//! effect that finds nothing to do, asks the service's own check (a TCP connection to a listener here), and ends with a
//! durable record and a published checkpoint. Against it: a shell that does nothing, and a module of Ansible that does
//! nothing.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use guardian::audit::{Body, Trail};
use guardian::model::{Reading, Verdict};

use crate::house::House;
use crate::report::{Bar, Report};
use crate::timing::{in_turns, median};
use crate::{crowd, guest, peers};

/// Records of the used home.
const RECORDS: u64 = 100_000;
/// Half a segment of 64 MiB.
const HALF: u64 = 32 << 20;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    // Takes every connection and drops it, until the process ends.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let house = House::new(&crowd::configuration(20, 0, port), &crowd::policies(20), &[guest::RESET])?;
    use_up(&house)?;

    let shell = || times(5, || silent("bash", &["-c", "true"]));
    let run = || times(5, || guardian(&house));
    let pair = in_turns(15, shell, run)?;
    report.pair("process.run", "ms", pair, "bash -c true", Bar::RatioAtMost(8.0));

    let Some(ansible) = peers::ansible()? else {
        report.missing("process.run.ansible", "ms", "run scripts/bench-packages");
        return Ok(());
    };
    let ping = || times(1, || ansible.ping());
    let mut faster = in_turns(5, || times(5, || guardian(&house)), ping)?;
    std::mem::swap(&mut faster.subject, &mut faster.reference);
    report.pair("process.run.ansible", "ms", faster, "ansible localhost -m ping", Bar::RatioAtLeast(60.0));
    Ok(())
}

/// Fills the trail as a long use would.
fn use_up(house: &House) -> Result<()> {
    let trail: Trail = house.trail()?;
    let resource = "service.web".parse::<guardian::model::ResourceName>().map_err(|error| anyhow!("{error}"))?;
    let mut records = 0;
    while records < RECORDS || trail.status().left_bytes > HALF {
        for _ in 0..1_000 {
            let reading = Reading {
                verdict: Verdict::Healthy,
                latency_us: records,
                seen: "connected in 85 us to 127.0.0.1, as the look before".to_owned(),
                assumed: false,
            };
            trail.append(None, None, Body::Check { resource: resource.clone(), reading, successes: 1, needed: 1 })?;
            records += 1;
        }
    }
    trail.close()?;
    eprintln!("a trail of {records} records");
    Ok(())
}

fn guardian(house: &House) -> Result<()> {
    let arguments =
        ["run", "bench/reset", "--incident", "service_crashed", "--target", "service.web", "--label", "by=bench"];
    let status = house.command(&arguments).status()?;
    ensure!(status.success(), "guardian run ended with {status}");
    Ok(())
}

fn silent(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{program} ended with {status}");
    Ok(())
}

/// The median time of some acts, in milliseconds.
fn times(count: u32, mut act: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut all = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        act()?;
        all.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(all))
}
