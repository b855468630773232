//! The table for people and `results.json` for machines.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::timing::Pair;

/// What a line must hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// The ratio is at most this.
    RatioAtMost(f64),
    /// The ratio is at least this.
    RatioAtLeast(f64),
    /// The median is at most this.
    MedianAtMost(f64),
    /// Nothing: it stands here to be read beside the others.
    Shown,
}

#[derive(Debug, Serialize)]
struct Line {
    id: &'static str,
    median: f64,
    unit: &'static str,
    reference: Option<f64>,
    ratio: Option<f64>,
    bar: Option<String>,
    holds: bool,
    #[serde(skip)]
    against: &'static str,
}

/// All lines of one run.
#[derive(Debug)]
pub(crate) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(crate) const fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// A line with something it was compared with.
    pub(crate) fn pair(&mut self, id: &'static str, unit: &'static str, pair: Pair, against: &'static str, bar: Bar) {
        self.line(id, unit, pair.subject, Some(pair), against, bar);
    }

    /// A line of its own.
    pub(crate) fn alone(&mut self, id: &'static str, unit: &'static str, median: f64, bar: Bar) {
        self.line(id, unit, median, None, "", bar);
    }

    /// A line that could not be measured: its bar does not hold.
    pub(crate) fn missing(&mut self, id: &'static str, unit: &'static str, why: &'static str) {
        let bar = Some(why.to_owned());
        self.lines.push(Line { id, median: 0.0, unit, reference: None, ratio: None, bar, holds: false, against: "" });
    }

    fn line(
        &mut self,
        id: &'static str,
        unit: &'static str,
        median: f64,
        pair: Option<Pair>,
        against: &'static str,
        bar: Bar,
    ) {
        let ratio = pair.map(|pair| pair.ratio);
        // NaN, from a measurement that gave nothing, holds no bar.
        let (holds, bar) = match bar {
            Bar::RatioAtMost(most) => (ratio.is_some_and(|ratio| ratio <= most), Some(format!("ratio <= {most}"))),
            Bar::RatioAtLeast(least) => (ratio.is_some_and(|ratio| ratio >= least), Some(format!("ratio >= {least}"))),
            Bar::MedianAtMost(most) => (median <= most, Some(format!("median <= {most} {unit}"))),
            Bar::Shown => (true, None),
        };
        let reference = pair.map(|pair| pair.reference);
        self.lines.push(Line { id, median, unit, reference, ratio, bar, holds, against });
    }

    /// Whether every bar holds, and there was something to hold.
    pub(crate) fn holds(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(|line| line.holds)
    }

    /// Prints the table and writes `results.json`.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        println!(
            "{:<24} {:>12} {:<6} {:>12} {:>9}  {:<18} {:<5}  compared with",
            "line", "median", "unit", "reference", "ratio", "bar", "holds"
        );
        for line in &self.lines {
            let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
            println!(
                "{:<24} {:>12.2} {:<6} {:>12} {:>9}  {:<18} {:<5}  {}",
                line.id,
                line.median,
                line.unit,
                number(line.reference),
                number(line.ratio),
                line.bar.as_deref().unwrap_or("-"),
                if line.holds { "yes" } else { "NO" },
                line.against
            );
        }
        std::fs::create_dir_all(folder)?;
        let path = folder.join("results.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&self.lines)?)?;
        println!("written to {}", path.display());
        Ok(())
    }
}
