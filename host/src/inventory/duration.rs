//! Times as people write them: `800ms`, `5s`, `10m`, `2h`, `1d`. One number, one unit: a bare number has no meaning.

use std::time::Duration;

/// The longest time that makes sense in a configuration: thirty days.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Reads one.
///
/// # Errors
/// One line that says what is wrong and how to write it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{}` is not a time; write a number and a unit, as in 800ms, 5s, 10m, 2h, 1d",
            crate::model::escape_to(text, 32)
        )
    };
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let duration = Duration::from_millis(number.saturating_mul(millis));
    if duration > LONGEST { Err(format!("`{text}` is longer than 30 days")) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_needed() {
        assert_eq!(parse_duration("800ms"), Ok(Duration::from_millis(800)));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        for bad in ["", "5", "s", "5 s", "-5s", "5sec", "1.5s", "99999999999999999999s", "31d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
