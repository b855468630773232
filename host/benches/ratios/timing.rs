//! Medians, and two things measured in turns.

use std::time::Instant;

use anyhow::Result;

/// What came out of measuring two things in turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    /// The median of the passes of what is measured.
    pub(crate) subject: f64,
    /// The median of the passes of what it is compared with.
    pub(crate) reference: f64,
    /// The median of the ratios of neighbouring passes.
    pub(crate) ratio: f64,
}

/// The middle of these; of an even number, the upper one of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Median time of `times` calls, in microseconds.
pub(crate) fn micros(times: u32, mut act: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut all = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        act()?;
        all.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(all))
}

/// Measures both in turns: one pass of each to warm up, then `passes`, each beginning with the other one.
pub(crate) fn in_turns(
    passes: u32,
    mut reference: impl FnMut() -> Result<f64>,
    mut subject: impl FnMut() -> Result<f64>,
) -> Result<Pair> {
    reference()?;
    subject()?;
    let (mut references, mut subjects, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pass in 0..passes {
        let (of_reference, of_subject) = if pass % 2 == 0 {
            let first = reference()?;
            (first, subject()?)
        } else {
            let first = subject()?;
            (reference()?, first)
        };
        references.push(of_reference);
        subjects.push(of_subject);
        ratios.push(of_subject / of_reference);
    }
    Ok(Pair { subject: median(subjects), reference: median(references), ratio: median(ratios) })
}
