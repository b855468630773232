//! `make bench`: how much Guardian costs, measured against what it stands on, in one run.
//!
//! Absolute times say more about a machine than about a program. So whatever can be is measured as a ratio: the same
//! component on bare wasmtime, the same bytes written and synced by a loop that does nothing else, the start of a shell.
//! Reference and subject take turns, pass by pass, and the ratio is the median over the passes; what the machine does
//! beside it hits both. Each line has a bar; a bar that does not hold fails the run, and `results.json` says which.
//!
//! What it does not do: compare with an earlier run (that is for whoever keeps the results), or measure under load.
//! `cargo bench --bench ratios -- audit` measures only the lines whose name contains `audit`.
#![allow(
    clippy::disallowed_methods,
    reason = "a bench acts from outside and writes the floor it compares with by itself"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "nothing here is in the product; a measurement that cannot be made has to end the run"
)]

mod bare;
mod crowd;
mod durable;
mod floor;
mod guest;
mod house;
mod in_process;
mod peers;
mod process;
mod reading;
mod report;
mod timing;
mod undo;

use anyhow::Result;

use report::Report;

/// A group of lines: a word for choosing it, and what measures it.
type Section = (&'static str, fn(&mut Report) -> Result<()>);

const SECTIONS: [Section; 5] = [
    ("run.in_process", in_process::measure),
    ("gate.read policy", reading::measure),
    ("audit.begin gate.effects", durable::measure),
    ("gate.undo", undo::measure),
    ("process.run", process::measure),
];

fn main() -> Result<std::process::ExitCode> {
    // cargo passes `--bench`; what else is there chooses.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let mut report = Report::new();
    for (words, measure) in SECTIONS {
        if chosen.is_empty() || chosen.iter().any(|word| words.contains(word.as_str())) {
            eprintln!("measuring: {words}");
            measure(&mut report)?;
        }
    }
    report.write(&house::results()?)?;
    Ok(if report.holds() { 0.into() } else { 1.into() })
}
